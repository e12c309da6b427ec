"""Watches: replay, selectors, bookmarks, expiry, and what goes wrong with them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from anyio import fail_after

from chaosplugin.sandbox.api.resources import CONFIG_MAPS, CRDS, POD_CHAOS
from chaosplugin.sandbox.api.store import RING
from chaosplugin.sandbox.cluster import Cluster
from tests.sandbox.bed import CHAOS, connect, pod_chaos

Running = Callable[..., AbstractAsyncContextManager[Cluster]]

MAPS = "/api/v1/namespaces/default/configmaps"


def make(cluster: Cluster, name: str, namespace: str = "default", **labels: str) -> str:
    made = cluster.api.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}}, namespace)
    return str(made.revision)


async def test_a_watch_begins_with_what_there_is_and_follows(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        make(cluster, "a")
        async with client.watch(MAPS) as stream:
            assert await stream.names(1) == ["ADDED a"]

            make(cluster, "b")
            make(cluster, "c", "kube-system")
            cluster.api.merge(CONFIG_MAPS, "default", "b", {"data": {"k": "v"}})
            cluster.api.delete(CONFIG_MAPS, "default", "b")

            assert await stream.names(3) == ["ADDED b", "MODIFIED b", "DELETED b"]


async def test_a_watch_replays_from_a_version(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        version = make(cluster, "a")
        make(cluster, "b")
        cluster.api.delete(CONFIG_MAPS, "default", "a")
        async with client.watch(MAPS, resourceVersion=version) as stream:
            assert await stream.names(2) == ["ADDED b", "DELETED a"]


async def test_selector_transitions_are_added_and_deleted(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        version = make(cluster, "a", app="other")
        async with client.watch(MAPS, labelSelector="app=web", resourceVersion=version) as stream:
            for app in ("web", "other"):
                cluster.api.merge(CONFIG_MAPS, "default", "a", {"metadata": {"labels": {"app": app}}})
            added, deleted = await stream.next(), await stream.next()

        assert (added[0], deleted[0]) == ("ADDED", "DELETED")
        assert deleted[1]["metadata"]["labels"] == {"app": "web"}
        assert int(deleted[1]["metadata"]["resourceVersion"]) > int(added[1]["metadata"]["resourceVersion"])


async def test_watch_list_ends_its_beginning_with_a_bookmark(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        version = make(cluster, "a")
        query = {"sendInitialEvents": "true", "allowWatchBookmarks": "true"}
        async with client.watch(MAPS, **query, resourceVersionMatch="NotOlderThan") as stream:
            assert await stream.names(1) == ["ADDED a"]
            kind, bookmark = await stream.next()

        assert kind == "BOOKMARK"
        assert bookmark["kind"] == "ConfigMap"
        assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert bookmark["metadata"]["resourceVersion"] == version


async def test_a_server_without_watch_list_says_so(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.server.watch_list = False
        path = f"{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        status, refused = await client.ask("GET", path)

        assert (status, refused["reason"]) == (422, "Invalid")
        assert "sendInitialEvents is forbidden for watch" in refused["message"]


async def test_bookmarks_come_in_silence_and_only_when_asked_for(running: Running) -> None:
    async with running(bookmark_every=0.02) as cluster, connect(cluster) as client:
        make(cluster, "a")
        async with client.watch(MAPS, allowWatchBookmarks="true") as asked, client.watch(MAPS) as silent:
            await asked.next()
            await silent.next()
            cluster.add_namespace("elsewhere")
            version = str(cluster.store.revision)
            while (event := await asked.next())[1]["metadata"]["resourceVersion"] != version:
                pass

            assert event[0] == "BOOKMARK"

            make(cluster, "b")

            assert await silent.names(1) == ["ADDED b"]


async def test_a_watch_ends_after_its_timeout(running: Running) -> None:
    async with (
        running() as cluster,
        connect(cluster) as client,
        client.watch(MAPS, timeoutSeconds="1") as stream,
    ):
        assert await stream.next() == ("EOF", {})


async def test_a_version_that_fell_out_of_the_ring_is_gone_in_the_stream(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        version = make(cluster, "a")
        for number in range(RING + 1):
            cluster.api.merge(CONFIG_MAPS, "default", "a", {"data": {"n": str(number)}})
        async with client.watch(MAPS, resourceVersion=version) as stream:
            kind, status = await stream.next()

            assert kind == "ERROR"
            assert (status["code"], status["reason"]) == (410, "Expired")
            assert status["message"].startswith(f"too old resource version: {version} (")
            assert await stream.next() == ("EOF", {})


async def test_expiry_on_command_ends_running_watches(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        version = make(cluster, "a")
        async with client.watch(MAPS, resourceVersion=version) as stream:
            cluster.faults.expire()

            assert [(await stream.next())[0], await stream.next()] == ["ERROR", ("EOF", {})]

        async with client.watch(MAPS, resourceVersion=version) as stream:
            assert (await stream.next())[0] == "ERROR"


async def test_a_cut_watch_ends_without_a_word_and_can_be_resumed(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        version = make(cluster, "a")
        async with client.watch(MAPS, resourceVersion=version) as stream:
            assert cluster.faults.cut_watches("configmaps") == 1
            assert await stream.next() == ("EOF", {})

        make(cluster, "b")
        async with client.watch(MAPS, resourceVersion=version) as stream:
            assert await stream.names(1) == ["ADDED b"]


async def test_a_frozen_watch_delivers_late(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        version = make(cluster, "a")
        async with client.watch(MAPS, resourceVersion=version) as stream:
            thaw = cluster.faults.freeze_watches()
            make(cluster, "b")
            with pytest.raises(TimeoutError), fail_after(0.1):
                await stream.next()
            thaw()

            assert await stream.names(1) == ["ADDED b"]


async def test_from_a_version_of_the_future_nothing_is_told(running: Running) -> None:
    async with running(bookmark_every=0.02) as cluster, connect(cluster) as client:
        query = {"resourceVersion": "999999", "allowWatchBookmarks": "true", "timeoutSeconds": "1"}
        async with client.watch(MAPS, **query) as stream:
            make(cluster, "a")
            assert await stream.next() == ("EOF", {})


async def test_a_streaming_list_from_a_version_of_the_future_is_an_error_in_the_stream(
    running: Running,
) -> None:
    async with running() as cluster, connect(cluster) as client:
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async with client.watch(MAPS, **query, resourceVersion="999999") as stream:
            kind, status = await stream.next()

            assert (kind, status["code"], status["reason"]) == ("ERROR", 504, "Timeout")
            assert status["message"].startswith("Timeout: Too large resource version: 999999, current: ")


async def test_a_restored_backup_has_the_same_objects_at_lower_versions(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        for _ in range(50):
            make(cluster, "a")
            cluster.api.delete(CONFIG_MAPS, "default", "a")
        version = make(cluster, "a")
        async with client.watch(MAPS, resourceVersion=version) as stream:
            cluster.faults.restore_backup()
            assert await stream.next() == ("EOF", {})

        found = cluster.api.get(CONFIG_MAPS, "default", "a")
        assert found.revision < int(version)
        async with client.watch(MAPS) as stream:
            assert await stream.names(1) == ["ADDED a"]


async def test_a_kind_goes_with_its_objects_and_its_watches(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        made = await client.ask("POST", CHAOS, pod_chaos("x"))
        version = made[1]["metadata"]["resourceVersion"]
        async with client.watch(CHAOS, resourceVersion=version) as stream:
            cluster.api.delete(CRDS, "", POD_CHAOS.qualified)
            while (event := await stream.next())[0] == "MODIFIED":
                pass

            assert (event[0], event[1]["metadata"]["name"]) == ("DELETED", "x")
            assert await stream.next() == ("EOF", {})

        assert await client.ask("GET", CHAOS) == (404, "404 page not found\n")
        cluster.api.install(POD_CHAOS)
        async with client.watch(CHAOS, resourceVersion=version) as stream:
            assert (await stream.next())[1]["reason"] == "Expired"


async def test_of_a_kind_that_is_going_nothing_is_created(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", CHAOS, pod_chaos("x"))
        cluster.chaos.stop()  # so that nobody undoes it, and it stays
        cluster.api.merge(POD_CHAOS, "default", "x", {"metadata": {"finalizers": ["example.com/held"]}})
        cluster.api.delete(CRDS, "", POD_CHAOS.qualified)

        status, refused = await client.ask("POST", CHAOS, pod_chaos("y"))

        assert (status, refused["reason"]) == (405, "MethodNotAllowed")
        assert (await client.ask("GET", f"{CHAOS}/x"))[0] == 200


async def test_a_client_that_leaves_is_forgotten(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        async with client.watch(MAPS):
            assert len(cluster.server.watches) == 1
        make(cluster, "a")
        with fail_after(10):
            while cluster.server.watches:
                await client.ask("GET", MAPS)
