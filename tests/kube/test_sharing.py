"""One stream for all who follow the same: who gets what of it, and how long it is kept."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import anyio
import pytest
from aiohttp import web

from chaosplugin.core.topics import Applied, ChaosTopic, Deleted, PodsTopic, Synced, WatchEvent
from chaosplugin.kube.client import KubernetesCluster, connect
from chaosplugin.kube.resources import PODS, REPLICA_SETS
from tests.kube.conftest import QUICK, Bed, Script, clock, in_one_task
from tests.kube.watches import TOPIC, added, bookmark, hang, line, stream, take


@pytest.fixture
async def cluster(script_config: str) -> AsyncIterator[KubernetesCluster]:
    async with in_one_task(connect(script_config, clock=clock, pace=QUICK)) as cluster:
        yield cluster


async def review(request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": {"allowed": True}})


def chaos(name: str, namespace: str) -> bytes:
    metadata = {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "5"}
    return line("ADDED", {"kind": "PodChaos", "metadata": metadata})


async def test_one_stream_serves_all_namespaces_and_all_subscribers(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(review, review)
    script.then(stream(chaos("a", "shop"), chaos("b", "bank"), bookmark(7, ends=True), then="hang"))

    async with (
        cluster.watch(ChaosTopic("PodChaos", "shop")) as shop,
        cluster.watch(ChaosTopic("PodChaos", "bank")) as bank,
    ):
        assert await take(shop, 2) == ["+a@5", "synced"]
        assert await take(bank, 2) == ["+b@5", "synced"]
        async with cluster.watch(ChaosTopic("PodChaos", "shop")) as late:
            assert await take(late, 2) == ["+a@5", "synced"]

    watches = [seen for seen in script.seen if seen.method == "GET"]
    assert [seen.path for seen in watches] == ["/apis/chaos-mesh.org/v1alpha1/podchaos"]
    assert watches[0].query["labelSelector"] == "app.kubernetes.io/managed-by=chaosplugin"


async def test_who_follows_a_stream_that_is_open_is_told_all_that_it_knows_at_once(
    script: Script, cluster: KubernetesCluster
) -> None:
    """Each time something is told to a gate it is looked at."""
    script.then(stream(added("a", 5), added("b", 6), bookmark(7, ends=True), then="hang"))
    told: list[tuple[WatchEvent, ...]] = []

    async with cluster.watch(TOPIC) as events:
        await take(events, 3)
        end = await cluster.follow(TOPIC, lambda *events: told.append(events))
        end()

    assert [[type(event) for event in events] for events in told] == [[Applied, Applied, Synced]]


async def test_a_stream_that_was_taken_up_again_is_behind_until_it_had_time_to_tell_what_was_missed(
    script: Script, script_config: str
) -> None:
    script.then(stream(added("a", 5), bookmark(7, ends=True), added("b", 8)), hang)
    pace = replace(QUICK, catch_up_s=1.0)

    async with (
        in_one_task(connect(script_config, clock=clock, pace=pace)) as cluster,
        cluster.watch(TOPIC) as events,
    ):
        assert not cluster.follows(TOPIC)
        assert await take(events, 2) == ["+a@5", "synced"]
        assert cluster.follows(TOPIC)
        assert await take(events, 1) == ["+b@8"]
        with anyio.fail_after(20):
            while len(script.seen) < 2:
                await anyio.sleep(0.01)
            assert not cluster.follows(TOPIC)
            while not cluster.follows(TOPIC):
                await anyio.sleep(0.01)


async def test_who_may_not_watch_everywhere_watches_the_namespace(
    script: Script, cluster: KubernetesCluster
) -> None:
    async def denied(_: web.Request) -> web.StreamResponse:
        return web.json_response({"status": {"allowed": False}})

    script.then(denied, stream(chaos("a", "shop"), bookmark(7, ends=True), then="hang"))

    async with cluster.watch(ChaosTopic("PodChaos", "shop")) as events:
        assert await take(events, 2) == ["+a@5", "synced"]

    assert script.seen[1].path == "/apis/chaos-mesh.org/v1alpha1/namespaces/shop/podchaos"


async def test_a_stream_is_closed_some_time_after_its_last_subscriber(
    script: Script, cluster: KubernetesCluster
) -> None:
    closed = anyio.Event()

    async def watched(request: web.Request) -> web.StreamResponse:
        try:
            return await stream(added("a", 5), bookmark(7, ends=True), then="hang")(request)
        finally:
            closed.set()

    script.then(watched)
    async with cluster.watch(TOPIC) as events:
        await take(events, 2)
    async with cluster.watch(TOPIC) as events:
        assert await take(events, 2) == ["+a@5", "synced"]
    assert len(script.seen) == 1

    with anyio.fail_after(10):
        await closed.wait()
    script.then(stream(bookmark(8, ends=True), then="hang"))
    async with cluster.watch(TOPIC) as events:
        assert await take(events, 1) == ["synced"]


async def test_a_hundred_and_fifty_watches_do_not_stop_other_requests(
    script: Script, cluster: KubernetesCluster
) -> None:
    async def any_step(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await stream(bookmark(7, ends=True), then="hang")(request)
        return web.json_response({"metadata": {"name": "x"}})

    script.always = any_step

    async def watch(value: str) -> None:
        async with cluster.watch(PodsTopic("shop", "hash", value)) as events:
            assert await take(events, 1) == ["synced"]
            await anyio.sleep_forever()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for n in range(150):
                group.start_soon(watch, str(n))
            while len(script.seen) < 150:
                await anyio.sleep(0.01)
            assert (await cluster.read_rollout("shop", "x")).metadata.name == "x"
            group.cancel_scope.cancel()


async def test_pods_of_many_canaries_come_from_one_stream_each_to_whom_they_concern(bed: Bed) -> None:
    """A pod that changes its label leaves one canary for another."""
    path = "/api/v1/namespaces/default/pods"

    def body(value: str) -> dict[str, object]:
        containers = [{"name": "web", "image": "web:1"}]
        return {"metadata": {"name": "moves", "labels": {"hash": value}}, "spec": {"containers": containers}}

    topics = [PodsTopic("default", "hash", f"canary-{number}") for number in range(110)]
    async with in_one_task(connect(bed.config, clock=clock)) as cluster, AsyncExitStack() as stack:
        told = [await stack.enter_async_context(cluster.watch(topic)) for topic in topics]
        with anyio.fail_after(30):
            for events in told:
                assert isinstance(await anext(events), Synced)
            await bed.create(path, body("canary-108"))
            assert isinstance(await anext(told[108]), Applied)
            await bed.patch(f"{path}/moves", {"metadata": {"labels": {"hash": "canary-109"}}})
            assert await _until_gone(told[108])
            assert isinstance(await anext(told[109]), Applied)
            await bed.delete(f"{path}/moves")
            assert await _until_gone(told[109])
        assert cluster._streams.count(PODS) == 101


async def _until_gone(events: AsyncIterator[WatchEvent]) -> bool:
    """A kubelet may write meanwhile."""
    async for event in events:
        if isinstance(event, Deleted):
            return True
    return False


async def test_replica_sets_are_listed_from_a_watch_that_is_opened_once(bed: Bed) -> None:
    path = "/apis/apps/v1/namespaces/default/replicasets"

    def body(value: str) -> dict[str, object]:
        labels = {"rollouts-pod-template-hash": value}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        return {"metadata": {"name": f"web-{value}", "labels": labels}, "spec": spec}

    await bed.create(path, body("one"))
    await bed.create(path, body("two"))
    async with in_one_task(connect(bed.config, clock=clock)) as cluster:
        for value in ("one", "two", "one"):
            (found,) = await cluster.list_replica_sets("default", f"rollouts-pod-template-hash={value}")
            assert found.metadata.name == f"web-{value}"
        assert await cluster.list_replica_sets("default", "rollouts-pod-template-hash=three") == []
        assert cluster._streams.count(REPLICA_SETS) == 1
        await bed.delete(f"{path}/web-one")
        with anyio.fail_after(10):
            while await cluster.list_replica_sets("default", "rollouts-pod-template-hash=one"):
                await anyio.sleep(0.01)
