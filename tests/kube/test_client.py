"""The same claims about the same code, on the sandbox's API server and on the real one."""

import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from chaosplugin.core.topics import (
    AnalysisRunsTopic,
    Applied,
    ChaosTopic,
    Deleted,
    EventsTopic,
    Lost,
    PodsTopic,
    Synced,
    WatchEvent,
)
from chaosplugin.kube.client import KubernetesCluster, connect
from chaosplugin.kube.session import Limits
from chaosplugin.provider.ports import Access, AlreadyExists, Conflict, Invalid, NotFound, Unavailable
from chaosplugin.sandbox import cluster as sandbox
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from tests.kube.conftest import QUICK, Bed, Json, clock, in_one_task
from tests.realbed.bed import Bed as RealBed

DEADLINE_S = 60


@pytest.fixture
async def cluster(bed: Bed) -> AsyncIterator[KubernetesCluster]:
    async with in_one_task(connect(bed.config, clock=clock, pace=QUICK)) as cluster:
        yield cluster


@pytest.fixture
async def namespace(bed: Bed) -> str:
    name = f"kube-{uuid.uuid4().hex[:8]}"
    await bed.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


def pod_chaos(namespace: str, name: str = "experiment", **labels: str) -> Json:
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "PodChaos",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "chaosplugin", **labels},
        },
        "spec": {
            "action": "pod-failure",
            "mode": "all",
            "duration": "30s",
            "selector": {"namespaces": [namespace], "labelSelectors": {"app": "shop"}},
        },
    }


def analysis_run(name: str = "run") -> Json:
    metrics = [{"name": "m", "provider": {"job": {"spec": {"template": {"spec": {"containers": []}}}}}}]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {"name": name},
        "spec": {"metrics": metrics},
    }


def pod(name: str, value: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"hash": value}},
        "spec": {"containers": [{"name": "main", "image": "shop:1"}], "terminationGracePeriodSeconds": 0},
    }


async def told(events: AsyncIterator[WatchEvent], last: tuple[type[WatchEvent], str]) -> list[str]:
    """What is told until `last` is told of: "Applied name", ...; each once."""
    found: dict[str, None] = {}
    with anyio.fail_after(DEADLINE_S):
        async for event in events:
            name = event.object.metadata.name if isinstance(event, Applied | Deleted) else ""
            found[f"{type(event).__name__} {name}".strip()] = None
            if (type(event), name) == last:
                break
    return list(found)


async def test_an_experiment_is_created_read_patched_and_deleted(
    cluster: KubernetesCluster, namespace: str
) -> None:
    created = await cluster.create_chaos(pod_chaos(namespace))
    patched = await cluster.patch_chaos(
        "PodChaos", namespace, "experiment", {"metadata": {"annotations": {"a": "b"}}}
    )
    found = await cluster.read_chaos("PodChaos", namespace, "experiment")

    assert created.metadata.uid == patched.metadata.uid == found.metadata.uid
    assert found.metadata.annotation("a") == "b"
    assert found.spec["action"] == "pod-failure"
    with pytest.raises(AlreadyExists, match="already exists"):
        await cluster.create_chaos(pod_chaos(namespace))
    with pytest.raises(Conflict, match="UID"):
        await cluster.delete_chaos("PodChaos", namespace, "experiment", "another")
    async with cluster.watch(ChaosTopic("PodChaos", namespace)) as events:
        await cluster.delete_chaos("PodChaos", namespace, "experiment", created.metadata.uid)
        await told(events, (Synced, ""))
        with suppress(NotFound):  # gone already, or with its finalizers still to be removed
            await cluster.read_chaos("PodChaos", namespace, "experiment")
            await told(events, (Deleted, "experiment"))
    with pytest.raises(NotFound, match="not found"):
        await cluster.delete_chaos("PodChaos", namespace, "experiment", created.metadata.uid)
    with pytest.raises(NotFound, match="not found") as caught:
        await cluster.read_chaos("PodChaos", namespace, "experiment")
    assert not caught.value.no_kind


async def test_fields_that_the_kind_does_not_know_are_refused(
    cluster: KubernetesCluster, namespace: str
) -> None:
    manifest = pod_chaos(namespace)
    assert isinstance(manifest["spec"], dict)
    manifest["spec"]["scheduler"] = {"cron": "@every 1m"}

    with pytest.raises(Invalid, match=r'unknown field "spec\.scheduler"'):
        await cluster.create_chaos(manifest)


async def test_a_name_from_elsewhere_cannot_lead_to_another_path(
    cluster: KubernetesCluster, namespace: str
) -> None:
    with pytest.raises(Invalid):
        await cluster.read_chaos("PodChaos", namespace, "..")
    with pytest.raises((Invalid, NotFound)):
        await cluster.read_chaos("PodChaos", namespace, "../../secrets/x?y#z")


async def test_an_experiment_in_a_namespace_that_is_not_there_is_not_found(
    cluster: KubernetesCluster,
) -> None:
    with pytest.raises(NotFound, match="nowhere") as caught:
        await cluster.create_chaos(pod_chaos("nowhere"))
    assert not caught.value.no_kind


async def test_what_was_created_since_a_version_is_remembered_also_when_it_is_gone(
    cluster: KubernetesCluster, namespace: str, bed: Bed
) -> None:
    runs = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/analysisruns"
    await cluster.list_chaos("PodChaos", namespace, "")  # the first request of a kind begins its memory
    before: Json = (await bed.create(runs, analysis_run()))["metadata"]  # type: ignore[assignment]
    version = str(before["resourceVersion"])
    made = await cluster.create_chaos(pod_chaos(namespace))
    await cluster.create_chaos(pod_chaos(namespace, "other"))
    await cluster.delete_chaos("PodChaos", namespace, "experiment", made.metadata.uid)
    with anyio.fail_after(DEADLINE_S), suppress(NotFound):
        while (
            await cluster.read_chaos("PodChaos", namespace, "experiment")
        ).metadata.name:  # its finalizer may hold it
            await anyio.sleep(0.01)

    assert await cluster.created_since("PodChaos", namespace, "experiment", version) is True
    assert await cluster.created_since("PodChaos", namespace, "third", version) is False


async def test_what_the_api_server_has_forgotten_is_not_known(tmp_path: Path) -> None:
    async with (
        sandbox.start(clock, tmp_path) as started,
        connect(str(started.kubeconfig()), clock=clock) as cluster,
    ):
        made = await cluster.create_chaos(pod_chaos("default"))
        started.faults.expire()

        version = made.metadata.resource_version
        assert await cluster.created_since("PodChaos", "default", "experiment", version) is None


async def test_a_version_from_before_a_restored_backup_tells_nothing(tmp_path: Path) -> None:
    async with (
        sandbox.start(clock, tmp_path) as started,
        connect(str(started.kubeconfig()), clock=clock) as cluster,
    ):
        made = await cluster.create_chaos(pod_chaos("default"))
        started.faults.restore_backup()

        version = made.metadata.resource_version
        assert await cluster.created_since("PodChaos", "default", "experiment", version) is None


async def test_two_writers_of_one_version_cannot_both_win(
    cluster: KubernetesCluster, bed: Bed, namespace: str
) -> None:
    await bed.create(f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/analysisruns", analysis_run())
    run = await cluster.read_analysis_run(namespace, "run")

    def patch(value: str) -> dict[str, object]:
        return {
            "metadata": {
                "resourceVersion": run.metadata.resource_version,
                "annotations": {"verdict": value},
            }
        }

    first = await cluster.patch_analysis_run(namespace, "run", patch("first"))
    with pytest.raises(Conflict):
        await cluster.patch_analysis_run(namespace, "run", patch("second"))
    assert first.metadata.annotation("verdict") == "first"
    assert (await cluster.read_analysis_run(namespace, "run")).metadata.annotation("verdict") == "first"


async def test_pods_and_replica_sets_and_secrets_are_found(
    cluster: KubernetesCluster, bed: Bed, namespace: str
) -> None:
    await bed.create(f"/api/v1/namespaces/{namespace}/pods", pod("canary", "new"))
    await bed.create(
        f"/apis/apps/v1/namespaces/{namespace}/replicasets",
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": "canary", "labels": {"hash": "new"}},
            "spec": {
                "replicas": 0,
                # else its controller would adopt the pod, and delete it
                "selector": {"matchLabels": {"app": "another"}},
                "template": {
                    "metadata": {"labels": {"app": "another"}},
                    "spec": {"containers": [{"name": "main", "image": "shop:1"}]},
                },
            },
        },
    )
    await bed.create(
        f"/api/v1/namespaces/{namespace}/secrets",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "far", "labels": {"chaosplugin.io/credentials": "true"}},
            "data": {"token": "c2VjcmV0"},
        },
    )

    found = await cluster.find_pod(namespace, "canary")
    assert found is not None
    assert found.metadata.label("hash") == "new"
    assert await cluster.find_pod(namespace, "another") is None
    assert [r.spec.replicas for r in await cluster.list_replica_sets(namespace, "hash=new")] == [0]
    assert await cluster.list_replica_sets(namespace, "hash=old") == []
    assert (await cluster.read_replica_set(namespace, "canary")).metadata.name == "canary"
    labels, data = await cluster.read_secret(namespace, "far")
    assert labels["chaosplugin.io/credentials"] == "true"
    assert data == {"token": b"secret"}


async def test_the_origin_is_the_uid_of_kube_system(cluster: KubernetesCluster, bed: Bed) -> None:
    found = await bed.call("GET", "/api/v1/namespaces/kube-system")

    assert isinstance(found["metadata"], dict)
    assert await cluster.origin() == found["metadata"]["uid"]
    assert timedelta(seconds=-2) < cluster.clock_offset < timedelta(seconds=1)


async def test_an_administrator_may_everything(cluster: KubernetesCluster, namespace: str) -> None:
    assert await cluster.allowed(Access("delete", "chaos-mesh.org", "podchaos"))
    assert await cluster.allowed(Access("get", "", "secrets", namespace))


async def test_a_watch_tells_what_is_there_then_what_happens(
    cluster: KubernetesCluster, bed: Bed, namespace: str
) -> None:
    path = f"/apis/chaos-mesh.org/v1alpha1/namespaces/{namespace}/podchaos"
    await bed.create(path, pod_chaos(namespace, "before"))
    foreign = pod_chaos(namespace, "foreign")
    assert isinstance(foreign["metadata"], dict)
    del foreign["metadata"]["labels"]
    await bed.create(path, foreign)
    await bed.create(
        "/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos", pod_chaos("default", namespace)
    )

    async with cluster.watch(ChaosTopic("PodChaos", namespace)) as events:
        assert await told(events, (Synced, "")) == ["Applied before", "Synced"]
        created = await cluster.create_chaos(pod_chaos(namespace, "after"))
        assert "Applied after" in await told(events, (Applied, "after"))
        async with cluster.watch(ChaosTopic("PodChaos", namespace)) as late:
            assert sorted(await told(late, (Synced, ""))) == ["Applied after", "Applied before", "Synced"]
        await cluster.delete_chaos("PodChaos", namespace, "after", created.metadata.uid)
        seen = await told(events, (Deleted, "after"))
        assert not {"Applied foreign", f"Applied {namespace}"} & set(seen)


async def test_pods_are_watched_by_one_value_of_a_label(
    cluster: KubernetesCluster, bed: Bed, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    async with cluster.watch(PodsTopic(namespace, "hash", "new")) as events:
        assert await told(events, (Synced, "")) == ["Synced"]
        await bed.create(path, pod("stable", "old"))
        await bed.create(path, pod("canary", "new"))
        assert await told(events, (Applied, "canary")) == ["Applied canary"]
        await bed.patch(f"{path}/canary", {"metadata": {"labels": {"hash": "old"}}})
        assert (await told(events, (Deleted, "canary")))[-1] == "Deleted canary"


async def test_an_analysis_run_is_watched_as_soon_as_it_carries_our_mark(
    cluster: KubernetesCluster, bed: Bed, namespace: str
) -> None:
    await bed.create(f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/analysisruns", analysis_run())

    async with cluster.watch(AnalysisRunsTopic(namespace)) as events:
        assert await told(events, (Synced, "")) == ["Synced"]
        await cluster.patch_analysis_run(
            namespace, "run", {"metadata": {"labels": {"chaosplugin.io/gate": "1"}}}
        )
        assert await told(events, (Applied, "run")) == ["Applied run"]
        await bed.delete(f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/analysisruns/run")
        assert await told(events, (Deleted, "run")) == ["Deleted run"]


async def test_only_failures_of_experiments_are_told_of_the_events(
    cluster: KubernetesCluster, bed: Bed, namespace: str
) -> None:
    def event(name: str, kind: str, reason: str, type_: str) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name},
            "involvedObject": {"kind": kind, "namespace": namespace, "name": "x", "uid": "u"},
            "reason": reason,
            "message": "it went wrong",
            "type": type_,
        }

    path = f"/api/v1/namespaces/{namespace}/events"
    async with cluster.watch(EventsTopic(namespace)) as events:
        assert await told(events, (Synced, "")) == ["Synced"]
        await bed.create(path, event("image", "Pod", "Failed", "Warning"))
        await bed.create(path, event("applied", "PodChaos", "Applied", "Normal"))
        await bed.create(path, event("failed", "PodChaos", "Failed", "Warning"))
        assert await told(events, (Applied, "failed")) == ["Applied failed"]


async def test_the_rights_of_the_controller_and_of_deploy_suffice(tmp_path: Path) -> None:
    async with sandbox.start(clock, tmp_path) as started:
        config = str(started.kubeconfig(ARGO_ROLLOUTS))
        async with connect(config, clock=clock, pace=QUICK) as cluster:
            created = await cluster.create_chaos(pod_chaos("default"))
            await cluster.patch_chaos(
                "PodChaos", "default", "experiment", {"metadata": {"labels": {"a": "b"}}}
            )
            for topic in (
                ChaosTopic("PodChaos", "default"),
                PodsTopic("default", "hash", "new"),
                AnalysisRunsTopic("default"),
                EventsTopic("default"),
            ):
                async with cluster.watch(topic) as events:
                    assert "Synced" in await told(events, (Synced, ""))
            assert await cluster.find_pod("default", "x") is None
            assert await cluster.origin()
            await cluster.delete_chaos("PodChaos", "default", "experiment", created.metadata.uid)
            assert not await cluster.allowed(Access("get", "", "pods", "default"))

        paths = {seen.path for seen in started.server.seen if seen.verb == "watch"}

    assert "/apis/chaos-mesh.org/v1alpha1/podchaos" in paths
    assert "/api/v1/namespaces/default/pods" in paths


@pytest.mark.e2e
async def test_what_happens_while_the_real_api_server_is_away_is_told_when_it_is_back(
    real_bed: RealBed,
) -> None:
    async with Bed(str(real_bed.kubeconfig)) as bed:
        namespace = f"kube-{uuid.uuid4().hex[:8]}"
        await bed.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        limits = Limits(total_s=1, try_s=1)
        async with connect(bed.config, clock=clock, pace=QUICK, limits=limits) as cluster:
            created = await cluster.create_chaos(pod_chaos(namespace))
            async with cluster.watch(ChaosTopic("PodChaos", namespace)) as events:
                await told(events, (Synced, ""))
                await to_thread.run_sync(lambda: real_bed.processes.stop("apiserver", kill=True))
                await told(events, (Lost, ""))
                with pytest.raises(Unavailable) as caught:
                    await cluster.create_chaos(pod_chaos(namespace, "second"))
                assert not caught.value.sent
                real_bed.start_apiserver()  # it dies with the thread that has started it
                await cluster.delete_chaos("PodChaos", namespace, "experiment", created.metadata.uid)
                assert "Deleted experiment" in await told(events, (Deleted, "experiment"))
