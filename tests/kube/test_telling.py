"""What is told of requests and watches, and that a traced request carries its trace."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from chaosplugin.core.topics import Applied, ChaosTopic, Synced
from chaosplugin.core.trace import Trace
from chaosplugin.kube.client import KubernetesCluster, connect
from chaosplugin.kube.session import Limits
from chaosplugin.provider.facts import Fact, Gate, Requested, WatchBegan, WatchCut, WatchEnded, gate
from chaosplugin.provider.ports import NotFound, Unavailable
from tests.kube.answers import OBJECT, answer, refuse
from tests.kube.conftest import QUICK, Bed, Script, clock, in_one_task

TRACE = Trace("0af7651916cd43dd8448eb211c80319c")
LIMITS = Limits(try_s=5, total_s=0.2, create_s=5, first_delay_s=0.01)


@pytest.fixture
def told() -> list[Fact]:
    return []


@pytest.fixture
async def cluster(script_config: str, told: list[Fact]) -> AsyncIterator[KubernetesCluster]:
    connection = connect(script_config, clock=clock, limits=LIMITS, observer=told.append)
    async with in_one_task(connection) as cluster:
        yield cluster


async def _read(cluster: KubernetesCluster) -> None:
    await cluster.read_chaos("PodChaos", "shop", "x")


async def test_each_try_is_told_with_its_answer(
    cluster: KubernetesCluster, script: Script, told: list[Fact]
) -> None:
    script.then(answer("busy", 503), answer(OBJECT), refuse(404, "NotFound", "no such"))
    await _read(cluster)
    with pytest.raises(NotFound):
        await _read(cluster)
    requests = [fact for fact in told if isinstance(fact, Requested)]

    assert [fact.status for fact in requests] == [503, 200, 404]
    assert {fact.path for fact in requests} == {"/apis/chaos-mesh.org/v1alpha1/namespaces/shop/podchaos/x"}
    assert all(0 < fact.seconds < 5 for fact in requests)


async def test_a_request_that_is_not_answered_is_told_with_the_reason(
    cluster: KubernetesCluster, script: Script, told: list[Fact]
) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    script.always = hang_up
    with pytest.raises(Unavailable):
        await _read(cluster)
    first = told[0]

    assert isinstance(first, Requested)
    assert first.status == 0
    assert first.error.startswith("read PodChaos shop/x: no answer")


@pytest.mark.parametrize("sampled", [True, False])
async def test_a_request_of_a_gate_carries_its_trace_if_that_is_recorded(
    cluster: KubernetesCluster, script: Script, told: list[Fact], sampled: bool
) -> None:
    script.then(answer(OBJECT), answer(OBJECT))
    await _read(cluster)
    token = gate.set(Gate("0123456789", TRACE, "proof", sampled, ()))
    await _read(cluster)
    gate.reset(token)
    alone, traced = (seen.headers.get("traceparent") for seen in script.seen)
    fact = told[-1]

    assert isinstance(fact, Requested)
    assert alone is None
    if sampled:
        assert re.fullmatch(f"00-{TRACE.id}-[0-9a-f]{{16}}-01", traced or "")
        assert fact.span_id in (traced or "")
    else:
        assert traced is None
        assert fact.span_id == ""


async def _until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not holds():
            await anyio.sleep(0.01)


async def test_a_watch_is_told_from_begin_to_end(bed: Bed, told: list[Fact], tmp_path: Path) -> None:
    path = "/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos"
    spec = {"action": "pod-kill", "mode": "one", "selector": {"namespaces": ["default"]}}
    labels = {"app.kubernetes.io/managed-by": "chaosplugin"}
    body: dict[str, object] = {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "PodChaos",
        "metadata": {"name": "x", "labels": labels},
        "spec": spec,
    }
    async with (
        in_one_task(connect(bed.config, clock=clock, pace=QUICK, observer=told.append)) as cluster,
        cluster.watch(ChaosTopic("PodChaos", "default")) as events,
    ):
        while not isinstance(await anext(events), Synced):
            pass
        (pulse,) = [fact.pulse for fact in told if isinstance(fact, WatchBegan)]
        heard_at = pulse.heard_at
        await bed.create(path, body)
        while not isinstance(await anext(events), Applied):
            pass

        assert pulse.resource == "podchaos"
        assert pulse.heard_at > heard_at
    await _until(lambda: any(isinstance(fact, WatchEnded) for fact in told))
    await bed.delete(f"{path}/x")


async def test_a_watch_that_breaks_off_is_told_with_the_reason(
    cluster: KubernetesCluster, script: Script, told: list[Fact]
) -> None:
    review = {"status": {"allowed": True}}
    script.then(answer(review), answer(review))
    script.always = refuse(410, "Expired", "too old")
    async with cluster.watch(ChaosTopic("PodChaos", "shop")):
        await _until(lambda: [fact for fact in told if isinstance(fact, WatchCut)])
    (first, *_) = [fact.reason for fact in told if isinstance(fact, WatchCut)]

    assert first == "expired"
