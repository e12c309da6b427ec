"""Watches against a server that misbehaves on command."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest
from aiohttp import web

from chaosplugin.core.topics import Applied, ChaosTopic, Deleted, Lost, PodsTopic, Synced, WatchEvent
from chaosplugin.kube.client import KubernetesCluster, connect
from chaosplugin.kube.reflector import Pace
from chaosplugin.kube.session import Limits
from tests.kube.conftest import QUICK, Script, Step, clock, in_one_task

TOPIC = PodsTopic("shop", "hash", "new")


def pod(name: str, version: int, uid: str = "", **extra: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": "shop", "uid": uid or name, "resourceVersion": str(version)}
    return {"metadata": metadata, **extra}


def line(type_: str, found: dict[str, object]) -> bytes:
    return json.dumps({"type": type_, "object": found}).encode() + b"\n"


def added(name: str, version: int, uid: str = "") -> bytes:
    return line("ADDED", pod(name, version, uid))


def bookmark(version: int, *, ends: bool = False) -> bytes:
    annotations = {"k8s.io/initial-events-end": "true"} if ends else {}
    return line("BOOKMARK", {"metadata": {"resourceVersion": str(version), "annotations": annotations}})


def error(code: int, message: str) -> bytes:
    return line("ERROR", {"kind": "Status", "status": "Failure", "code": code, "message": message})


def stream(*parts: bytes, then: str = "end") -> Step:
    """Send the parts; then end the answer, cut the connection, or hang until the client leaves."""

    async def step(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if then == "hang":
            await anyio.sleep_forever()
        if then == "cut" and request.transport is not None:
            request.transport.abort()
        return response

    return step


def refuse(code: int, text: str, **headers: str) -> Step:
    async def step(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, text=text, headers=headers)

    return step


def page(version: int, *found: dict[str, object], after: str = "") -> Step:
    async def step(_: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version), "continue": after}
        return web.json_response({"metadata": metadata, "items": list(found)})

    return step


hang = stream(then="hang")


def text(event: WatchEvent) -> str:
    match event:
        case Applied(_, found):
            return f"+{found.metadata.name}@{found.metadata.resource_version}"
        case Deleted(_, found):
            return f"-{found.metadata.name}@{found.metadata.resource_version}"
        case Synced():
            return "synced"
        case Lost():
            return "lost"


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[str]:
    found: list[str] = []
    with anyio.move_on_after(20):
        while len(found) < count:
            found.append(text(await anext(events)))
    return found


@pytest.fixture
def pace() -> Pace:
    return QUICK


@pytest.fixture
async def cluster(script_config: str, pace: Pace) -> AsyncIterator[KubernetesCluster]:
    async with in_one_task(connect(script_config, clock=clock, pace=pace)) as cluster:
        yield cluster


async def test_a_streaming_list_comes_first_then_changes(script: Script, cluster: KubernetesCluster) -> None:
    script.then(
        stream(
            added("a", 5),
            added("b", 3),
            bookmark(7, ends=True),
            added("c", 8),
            line("MODIFIED", pod("a", 9, status={"phase": "Running"})),
            line("DELETED", pod("b", 10)),
            then="hang",
        )
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 6) == ["+a@5", "+b@3", "synced", "+c@8", "+a@9", "-b@10"]

    query = script.seen[0].query
    assert script.seen[0].path == "/api/v1/namespaces/shop/pods"
    assert query["labelSelector"] == "hash=new"
    assert query["sendInitialEvents"] == "true"
    assert query["resourceVersionMatch"] == "NotOlderThan"
    assert query["allowWatchBookmarks"] == "true"
    assert 300 <= int(query["timeoutSeconds"]) <= 600
    assert "resourceVersion" not in query


async def test_a_stream_that_is_cut_goes_on_where_it_was(script: Script, cluster: KubernetesCluster) -> None:
    half = added("late", 99)[:40]
    script.then(
        stream(added("a", 5), bookmark(7, ends=True), added("b", 8), half, then="cut"),
        stream(line("DELETED", pod("a", 9)), bookmark(12)),
        stream(added("c", 13), then="hang"),
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 5) == ["+a@5", "synced", "+b@8", "-a@9", "+c@13"]

    assert [seen.query.get("resourceVersion") for seen in script.seen] == [None, "8", "12"]


@pytest.mark.parametrize(
    "expired",
    [stream(error(410, "too old resource version")), refuse(410, "too old resource version")],
    ids=["in the stream", "as the answer"],
)
async def test_what_was_missed_is_worked_out_when_the_version_is_too_old(
    script: Script, cluster: KubernetesCluster, expired: Step
) -> None:
    script.then(
        stream(added("a", 5), added("b", 6), added("c", 7), bookmark(7, ends=True)),
        expired,
        stream(added("a", 5), line("ADDED", pod("c", 20, "another")), bookmark(30, ends=True), then="hang"),
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 4) == ["+a@5", "+b@6", "+c@7", "synced"]
        assert await take(events, 5) == ["lost", "-c@7", "+c@20", "-b@6", "synced"]


@pytest.mark.parametrize(
    "trouble",
    [
        refuse(503, "no healthy upstream"),
        refuse(429, "slow down", **{"Retry-After": "0"}),
        refuse(403, "forbidden"),
        refuse(404, "404 page not found\n"),
        stream(b"<html>please sign in</html>\n"),
        stream(error(500, "storage is reinitializing")),
        stream(line("PARTY", {})),
    ],
    ids=["503", "429", "403", "404", "a proxy's text", "an error in the stream", "an unknown event"],
)
async def test_a_watch_that_cannot_be_had_is_told_and_then_all_anew(
    script: Script, cluster: KubernetesCluster, trouble: Step
) -> None:
    script.then(trouble, stream(added("a", 5), bookmark(7, ends=True), then="hang"))

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 3) == ["lost", "+a@5", "synced"]


async def test_a_stream_that_cannot_be_taken_up_at_once_is_read_anew(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(
        stream(added("a", 5), bookmark(7, ends=True)),
        refuse(503, "no healthy upstream"),
        stream(bookmark(9, ends=True), then="hang"),
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 5) == ["+a@5", "synced", "lost", "-a@5", "synced"]


async def test_a_frozen_connection_is_found_by_its_silence(script: Script, script_config: str) -> None:
    script.then(
        stream(added("a", 5), bookmark(7, ends=True), then="hang"), stream(added("b", 8), then="hang")
    )

    async with (
        connect(script_config, clock=clock, pace=replace(QUICK, idle_s=0.2)) as cluster,
        cluster.watch(TOPIC) as events,
    ):
        assert await take(events, 3) == ["+a@5", "synced", "+b@8"]

    assert script.seen[1].query["resourceVersion"] == "7"


@pytest.mark.parametrize("code", [400, 422])
async def test_a_server_without_streaming_lists_is_read_by_pages(
    script: Script, cluster: KubernetesCluster, code: int
) -> None:
    script.then(
        refuse(code, "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch"),
        page(7, pod("a", 5), after="more"),
        refuse(410, "the provided continue parameter is too old"),
        page(8, pod("a", 5), after="more"),
        page(8, pod("b", 6)),
        stream(added("c", 9), error(410, "too old")),
        page(20, pod("c", 9)),
        hang,
    )

    async with cluster.watch(TOPIC) as events:
        told = await take(events, 9)

    told.remove("lost")  # while paging
    assert told == ["+a@5", "+b@6", "synced", "+c@9", "lost", "-a@5", "-b@6", "synced"]
    assert script.seen[1].query["limit"] == "500"
    assert script.seen[4].query["continue"] == "more"
    assert script.seen[5].query["resourceVersion"] == "8"


async def test_a_server_that_never_ends_its_initial_events_is_read_by_pages(
    script: Script, script_config: str
) -> None:
    script.then(stream(added("a", 5), then="hang"), page(7, pod("a", 5)), hang)

    async with (
        connect(script_config, clock=clock, pace=replace(QUICK, initial_s=0.1)) as cluster,
        cluster.watch(TOPIC) as events,
    ):
        assert await take(events, 2) == ["+a@5", "synced"]


async def test_streams_that_end_at_once_never_become_a_hot_loop(script: Script, script_config: str) -> None:
    script.always = stream()
    pace = replace(QUICK, first_delay_s=0.1, last_delay_s=10)

    async with connect(script_config, clock=clock, pace=pace) as cluster, cluster.watch(TOPIC) as events:
        with anyio.move_on_after(1):
            while True:
                await anext(events)

    assert len(script.seen) <= 5


async def test_lines_of_five_megabytes_arrive_whole(script: Script, cluster: KubernetesCluster) -> None:
    big = pod("big", 8, padding="x" * (5 << 20))
    script.then(stream(bookmark(7, ends=True), line("ADDED", big), added("b", 9), then="hang"))

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 3) == ["synced", "+big@8", "+b@9"]


async def test_a_line_beyond_the_limit_is_an_error_and_all_is_told_anew(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(
        stream(added("a", 5), bookmark(7, ends=True), b"x" * (17 << 20)),
        stream(added("a", 5), bookmark(8, ends=True), then="hang"),
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 4) == ["+a@5", "synced", "lost", "synced"]


NESTED = b'{"type":"ADDED","object":{"metadata":{},"spec":%b%b}}\n' % (b'{"a":' * 5000 + b"1", b"}" * 5000)
NO_UTF_8 = b'{"type":"ADDED","object":{"metadata":{"name":"\xff"}}}\n'


@pytest.mark.parametrize(
    "broken",
    [line("ADDED", {"metadata": {"name": "x", "namespace": "shop", "uid": 5}}), NESTED, NO_UTF_8],
    ids=["a field of another type", "too deep", "no UTF-8"],
)
async def test_an_object_that_cannot_be_read_does_not_stop_the_others(
    script: Script, cluster: KubernetesCluster, broken: bytes
) -> None:
    script.then(stream(broken, added("a", 5), bookmark(7, ends=True), then="hang"))

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 2) == ["+a@5", "synced"]


async def test_an_object_that_cannot_be_read_does_not_spoil_a_page(
    script: Script, cluster: KubernetesCluster
) -> None:
    broken: dict[str, object] = {"metadata": {"name": "x", "namespace": "shop", "uid": 5}}
    script.then(refuse(400, "sendInitialEvents is forbidden"), page(7, broken, pod("a", 5)), hang)

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 2) == ["+a@5", "synced"]


async def test_a_page_that_is_nested_without_end_is_told_and_asked_for_again(
    script: Script, cluster: KubernetesCluster
) -> None:
    async def nested(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"metadata":{},"x":' + b"[" * 5000, content_type="application/json")

    script.then(refuse(400, "sendInitialEvents is forbidden"), nested, page(7, pod("a", 5)), hang)

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 3) == ["lost", "+a@5", "synced"]


@pytest.mark.parametrize(
    "trouble",
    [
        line("BOOKMARK", {}),
        line("BOOKMARK", {"metadata": {"resourceVersion": ""}}),
        line("ERROR", {"reason": "Expired"}),
        error(500, "conversion webhook failed"),
    ],
    ids=["a bookmark of nothing", "a bookmark of no version", "expired without a code", "an error"],
)
async def test_after_a_line_that_makes_no_sense_all_is_told_anew(
    script: Script, cluster: KubernetesCluster, trouble: bytes
) -> None:
    script.then(
        stream(added("a", 5), bookmark(7, ends=True), added("b", 8), trouble, then="hang"),
        stream(added("b", 8), bookmark(9, ends=True), then="hang"),
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 6) == ["+a@5", "synced", "+b@8", "lost", "-a@5", "synced"]

    assert "resourceVersion" not in script.seen[1].query


async def test_a_version_at_which_nothing_is_told_is_not_waited_at_for_ever(
    script: Script, script_config: str
) -> None:
    """An API server restored from a backup takes a version from its future, and is silent."""
    script.then(
        stream(added("a", 50), bookmark(70, ends=True), then="cut"),
        hang,
        stream(added("a", 50), added("b", 51), bookmark(52, ends=True), then="hang"),
    )

    async with (
        connect(script_config, clock=clock, pace=replace(QUICK, idle_s=0.2)) as cluster,
        cluster.watch(TOPIC) as events,
    ):
        assert await take(events, 4) == ["+a@50", "synced", "+b@51", "synced"]

    assert [seen.query.get("resourceVersion") for seen in script.seen] == [None, "70", None]


async def test_a_stream_that_tells_nothing_before_its_end_is_not_taken_up_for_ever(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(
        stream(added("a", 5), bookmark(7, ends=True)),
        stream(),
        stream(added("a", 5), added("b", 6), bookmark(9, ends=True), then="hang"),
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 4) == ["+a@5", "synced", "+b@6", "synced"]


async def test_a_watch_that_is_accepted_and_not_answered_is_given_up_in_time(
    script: Script, script_config: str
) -> None:
    async def mute(_: web.Request) -> web.StreamResponse:
        await anyio.sleep_forever()
        raise AssertionError

    script.then(mute, stream(added("a", 5), bookmark(7, ends=True), then="hang"))

    async with (
        connect(script_config, clock=clock, pace=QUICK, limits=Limits(try_s=0.2)) as cluster,
        cluster.watch(TOPIC) as events,
    ):
        with anyio.fail_after(QUICK.idle_s / 2):
            assert await take(events, 3) == ["lost", "+a@5", "synced"]


async def test_bytes_that_trickle_are_no_news(script: Script, script_config: str) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(added("a", 5) + bookmark(7, ends=True))
        for byte in added("b", 8):
            await response.write(bytes([byte]))
            await anyio.sleep(0.05)
        raise AssertionError("the whole line was waited for")

    script.then(trickle, stream(added("b", 8), then="hang"))

    async with (
        connect(script_config, clock=clock, pace=replace(QUICK, idle_s=0.3)) as cluster,
        cluster.watch(TOPIC) as events,
    ):
        assert await take(events, 3) == ["+a@5", "synced", "+b@8"]

    assert len(script.seen) == 2


async def test_a_watch_that_the_server_never_ends_is_begun_anew_in_time(
    script: Script, script_config: str
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        version = 7
        await response.write(bookmark(version, ends=True))
        while True:
            version += 1
            await response.write(bookmark(version))
            await anyio.sleep(0.02)

    script.then(endless, stream(added("b", 8), then="hang"))
    pace = replace(QUICK, lasts_s=(0.2, 0.3), grace_s=0.2)

    async with connect(script_config, clock=clock, pace=pace) as cluster, cluster.watch(TOPIC) as events:
        assert await take(events, 2) == ["synced", "+b@8"]


async def test_what_differs_in_nothing_that_is_read_is_not_told(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(
        stream(
            added("a", 5),
            bookmark(7, ends=True),
            line("MODIFIED", pod("a", 8, metadata_of_others="x")),
            line("MODIFIED", pod("a", 9, status={"hostIP": "10.0.0.1"})),
            line("MODIFIED", pod("a", 10, status={"phase": "Running"})),
        ),
        hang,
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 3) == ["+a@5", "synced", "+a@10"]
        with anyio.fail_after(20):
            while len(script.seen) < 2:
                await anyio.sleep(0.01)

    assert script.seen[1].query["resourceVersion"] == "10"


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
