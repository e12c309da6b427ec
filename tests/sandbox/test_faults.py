"""Faults on command: the server misbehaves exactly as told."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import aiohttp
import anyio
import pytest

from chaosplugin.sandbox.api.errors import internal, too_many_requests
from chaosplugin.sandbox.api.faults import where
from chaosplugin.sandbox.api.resources import POD_CHAOS
from chaosplugin.sandbox.cluster import Cluster
from tests.sandbox.bed import CHAOS, connect, pod_chaos

Running = Callable[..., AbstractAsyncContextManager[Cluster]]


async def test_the_next_requests_are_answered_as_commanded(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        fault = cluster.faults.answer(503, "upstream connect error", where("create"), times=2)
        first = await client.ask("POST", CHAOS, pod_chaos("x"))
        listed = await client.ask("GET", CHAOS)
        second = await client.ask("POST", CHAOS, pod_chaos("x"))
        third = await client.ask("POST", CHAOS, pod_chaos("x"))

        assert first == second == (503, "upstream connect error")
        assert (listed[0], third[0], fault.left) == (200, 201, 0)


async def test_a_lost_answer_was_performed(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.faults.lose_answer(where("create"))
        with pytest.raises(aiohttp.ClientError):
            await client.ask("POST", CHAOS, pod_chaos("x"))

        assert (await client.ask("GET", f"{CHAOS}/x"))[0] == 200


async def test_a_late_request_arrives_though_its_client_is_gone(running: Running) -> None:
    async with running() as cluster:
        fault = cluster.faults.deliver_late(0.5, where("create"))
        async with connect(cluster) as client:
            with anyio.move_on_after(0.2):
                await client.ask("POST", CHAOS, pod_chaos("x"))
        assert fault.left == 0
        assert cluster.api.find(POD_CHAOS, "default", "x") is None

        with anyio.fail_after(10):
            while cluster.api.find(POD_CHAOS, "default", "x") is None:
                await anyio.sleep(0.01)


async def test_a_late_request_is_answered_and_refused_as_any_other(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.faults.deliver_late(0.1, where("create"), times=2)
        assert (await client.ask("POST", CHAOS, pod_chaos("x")))[0] == 201
        assert (await client.ask("POST", CHAOS, pod_chaos("x")))[0] == 409


async def test_requests_are_remembered(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("GET", f"{CHAOS}/x?a=b")
        seen = cluster.server.seen[-1]

        assert (seen.verb, seen.resource, seen.name, seen.query) == ("get", "podchaos", "x", {"a": "b"})
        assert seen.user == "system:admin"


async def test_throttling_says_when_to_come_back(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.faults.refuse(too_many_requests(3))
        async with client.session.get(CHAOS) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "3")
            assert (await response.json())["reason"] == "TooManyRequests"


async def test_a_webhook_that_cannot_be_called_is_an_internal_error(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        why = 'failed calling webhook "vpodchaos.kb.io": context deadline exceeded'
        cluster.faults.refuse(internal(why), where("create"))
        status, refused = await client.ask("POST", CHAOS, pod_chaos("x"))

        assert (status, refused["reason"]) == (500, "InternalError")
        assert refused["message"] == f"Internal error occurred: {why}"


async def test_a_held_request_waits_to_be_let_go(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        fault = cluster.faults.hold(where("create"))
        answers: list[int] = []

        async def create() -> None:
            answers.append((await client.ask("POST", CHAOS, pod_chaos("x")))[0])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create)
            with anyio.fail_after(10):
                while fault.left:
                    await client.ask("GET", CHAOS)

            assert cluster.api.find(POD_CHAOS, "default", "x") is None
            assert fault.wait is not None

            fault.wait.set()

        assert answers == [201]


async def test_a_delayed_request_is_late(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.faults.delay(0.1, where("list"))
        began = anyio.current_time()
        await client.ask("GET", CHAOS)

        assert anyio.current_time() - began >= 0.1


async def test_a_stream_breaks_in_the_middle_of_a_line(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", CHAOS, pod_chaos("x"))
        cluster.faults.break_stream(100)
        async with client.session.get(f"{CHAOS}?watch=true") as response:
            with pytest.raises(aiohttp.ClientError):
                await response.content.readline()


async def test_a_stream_trickles(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", CHAOS, pod_chaos("x"))
        cluster.faults.trickle(0.01)
        async with client.session.get(f"{CHAOS}?watch=true") as response:
            began = anyio.current_time()
            await response.content.readexactly(20)

            assert anyio.current_time() - began >= 0.1
