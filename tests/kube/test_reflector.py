"""Watches against a server that misbehaves on command."""

from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest
from aiohttp import web

from chaosplugin.core.objects import Pod
from chaosplugin.kube.client import KubernetesCluster, connect
from chaosplugin.kube.session import Limits
from chaosplugin.kube.store import Store
from tests.kube.answers import answer
from tests.kube.conftest import QUICK, Script, Step, clock, in_one_task
from tests.kube.watches import TOPIC, added, bookmark, error, hang, line, page, pod, stream, take


@pytest.fixture
async def cluster(script_config: str) -> AsyncIterator[KubernetesCluster]:
    async with in_one_task(connect(script_config, clock=clock, pace=QUICK)) as cluster:
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
    [stream(error(410, "too old resource version")), answer("too old resource version", 410)],
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
        answer("no healthy upstream", 503),
        answer("slow down", 429, **{"Retry-After": "0"}),
        answer("forbidden", 403),
        answer("404 page not found\n", 404),
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


async def test_an_error_of_the_program_in_one_watch_is_told_and_then_all_anew(
    script: Script, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Store.remove

    def wrong(store: Store, found: Pod) -> object:
        monkeypatch.setattr(Store, "remove", right)
        raise LookupError("no such thing")

    monkeypatch.setattr(Store, "remove", wrong)
    script.then(
        stream(added("a", 5), bookmark(7, ends=True), line("DELETED", pod("a", 8)), then="hang"),
        stream(bookmark(9, ends=True), then="hang"),
    )

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 5) == ["+a@5", "synced", "lost", "-a@5", "synced"]


async def test_a_stream_that_cannot_be_taken_up_at_once_is_read_anew(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(
        stream(added("a", 5), bookmark(7, ends=True)),
        answer("no healthy upstream", 503),
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
        answer("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch", code),
        page(7, pod("a", 5), after="more"),
        answer("the provided continue parameter is too old", 410),
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
    script.then(answer("sendInitialEvents is forbidden", 400), page(7, broken, pod("a", 5)), hang)

    async with cluster.watch(TOPIC) as events:
        assert await take(events, 2) == ["+a@5", "synced"]


async def test_a_page_that_is_nested_without_end_is_told_and_asked_for_again(
    script: Script, cluster: KubernetesCluster
) -> None:
    async def nested(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"metadata":{},"x":' + b"[" * 5000, content_type="application/json")

    script.then(answer("sendInitialEvents is forbidden", 400), nested, page(7, pod("a", 5)), hang)

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
