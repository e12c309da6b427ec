"""Watches over what happens to API servers, on the sandbox and on the real one."""

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from chaosplugin.core.topics import Applied, ChaosTopic, Deleted, Lost, Synced, WatchEvent
from chaosplugin.kube.client import connect
from chaosplugin.kube.session import Limits
from tests.kube.conftest import QUICK, Bed, Json, clock
from tests.kube.gatekeeper import gatekeeper
from tests.kube.test_client import DEADLINE_S, pod_chaos, told
from tests.realbed.bed import Bed as RealBed

PATIENT = Limits(connect_s=DEADLINE_S, try_s=DEADLINE_S)
STILL = replace(QUICK, idle_s=DEADLINE_S)
CHAOS = "/apis/chaos-mesh.org/v1alpha1"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def make_namespace(bed: Bed) -> str:
    name = f"kube-{uuid.uuid4().hex[:8]}"
    await bed.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


async def answers(bed: Bed, path: str, status: int) -> None:
    with anyio.fail_after(DEADLINE_S):
        while (await bed.status(path)) != status:
            await anyio.sleep(0.05)


async def served(bed: Bed, path: str) -> None:
    """Wait until a collection can be watched: 429 says that its storage is only beginning."""
    await answers(bed, f"{path}?watch=true&timeoutSeconds=1", 200)


async def forgotten(bed: Bed, path: str, version: str) -> None:
    """Wait until a collection is watched again, and no longer from this version."""
    query = f"watch=true&timeoutSeconds=1&resourceVersion={version}"
    with anyio.fail_after(DEADLINE_S):
        while True:
            async with bed.get(f"{path}?{query}") as response:
                if b'"code":410' in await response.content.readline():
                    return
            await anyio.sleep(0.05)


async def test_a_kind_that_is_deleted_and_created_anew_is_watched_again(bed: Bed) -> None:
    """Last of its module on a bed: the kind's other objects go with it."""
    namespace = await make_namespace(bed)
    crd = f"{CRD}/timechaos.chaos-mesh.org"
    found = await bed.call("GET", crd)
    chaos = pod_chaos(namespace) | {"kind": "TimeChaos"}
    chaos["spec"] = {
        "mode": "all",
        "timeOffset": "1m",
        "duration": "30s",
        "selector": {"namespaces": [namespace]},
    }
    path = f"{CHAOS}/namespaces/{namespace}/timechaos"
    await bed.create(path, chaos)

    async with (
        connect(bed.config, clock=clock, pace=QUICK) as cluster,
        cluster.watch(ChaosTopic("TimeChaos", namespace)) as events,
    ):
        assert await told(events, (Synced, "")) == ["Applied experiment", "Synced"]
        await bed.delete(crd)
        await told(events, (Deleted, "experiment"))
        await told(events, (Lost, ""))
        await answers(bed, crd, 404)

        await bed.create(CRD, {**found, "metadata": kept(found)})
        await answers(bed, path, 200)
        await told(events, (Synced, ""))
        await bed.create(path, chaos)
        assert "Applied experiment" in await told(events, (Applied, "experiment"))


def kept(crd: Json) -> Json:
    metadata = crd["metadata"]
    assert isinstance(metadata, dict)
    return {key: metadata[key] for key in ("name", "annotations") if key in metadata}


async def test_a_version_from_the_future_is_accepted_in_silence(bed: Bed) -> None:
    namespace = await make_namespace(bed)
    path = f"{CHAOS}/namespaces/{namespace}/podchaos"
    await served(bed, path)
    query = "watch=true&allowWatchBookmarks=true&timeoutSeconds=2&resourceVersion=99999999"

    async with bed.get(f"{path}?{query}") as response:
        await bed.create(path, pod_chaos(namespace))

        assert (response.status, await response.read()) == (200, b"")


async def test_a_streaming_list_from_the_future_is_an_error_in_the_stream(bed: Bed) -> None:
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999999"
    await served(bed, f"{CHAOS}/podchaos")

    async with bed.get(f"{CHAOS}/podchaos?{query}") as response:
        event = json.loads(await response.content.readline())

    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 504, "Timeout")
    assert event["object"]["message"].startswith("Timeout: Too large resource version: 99999999, current: ")


def _expired(event: WatchEvent) -> bool:
    return isinstance(event, Lost) and "too old resource version" in event.reason


@pytest.mark.e2e
async def test_a_version_that_a_restarted_api_server_no_longer_keeps_is_told_anew(
    real_bed: RealBed, tmp_path: Path
) -> None:
    """A real 410: the watch cache of the new process begins after the version at which we go on."""
    async with (
        Bed(str(real_bed.kubeconfig)) as bed,
        gatekeeper(bed.url) as (keeper, url),
    ):
        namespace = await make_namespace(bed)
        path = f"{CHAOS}/namespaces/{namespace}/podchaos"
        config = json.loads(real_bed.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = url
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        first: Any = await bed.create(path, pod_chaos(namespace, "first"))
        async with (
            connect(str(tmp_path / "kubeconfig"), clock=clock, limits=PATIENT, pace=STILL) as cluster,
            cluster.watch(ChaosTopic("PodChaos", namespace)) as events,
        ):
            assert await told(events, (Synced, "")) == ["Applied first", "Synced"]
            keeper.shut()  # the next try waits at the door; if it gave up, the one after would list anew
            await bed.delete(f"{path}/first")
            await bed.create(path, pod_chaos(namespace, "second"))
            await to_thread.run_sync(lambda: real_bed.processes.stop("apiserver", kill=True))
            real_bed.start_apiserver()  # it dies with the thread that has started it
            await forgotten(bed, path, first["metadata"]["resourceVersion"])
            keeper.open()
            with anyio.fail_after(DEADLINE_S):
                assert _expired(await anext(events))

            assert sorted(await told(events, (Synced, ""))) == ["Applied second", "Deleted first", "Synced"]
