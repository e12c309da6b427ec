"""Our mux at one end of a socket, hashicorp/yamux at the other, in both roles: many streams, much data."""

import asyncio
import hashlib

import anyio
import pytest

from chaosplugin.transport.mux import Mux
from chaosplugin.transport.stream import Stream
from tests.interop.peers import Join, opened_by_us, read_all, result
from tests.transport.pairs import open_stream

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the peer


async def echo(session: Mux) -> None:
    async def serve(stream: Stream) -> None:
        async with stream:
            async for chunk in stream:
                await stream.send(chunk)

    async with anyio.create_task_group() as tasks:
        while True:
            tasks.start_soon(serve, await session.accept())


async def test_a_thousand_streams_of_gos_at_once(join: Join) -> None:
    async with join() as (go, session), anyio.create_task_group() as tasks:
        tasks.start_soon(echo, session)
        asked = [go.begin("ask", size=100) for _ in range(1000)]

        assert len({result(await answer) for answer in asked}) == 1000
        tasks.cancel_scope.cancel()


async def test_a_thousand_streams_of_ours_at_once(join: Join) -> None:
    async with join() as (go, session):
        go.start("serve_echo")

        async def ask(number: int) -> None:
            async with await open_stream(session) as stream:
                await stream.send(b"question %d" % number)
                await stream.send_eof()
                assert await read_all(stream) == b"question %d" % number

        async with anyio.create_task_group() as tasks:
            for number in range(1000):
                tasks.start_soon(ask, number)
        assert not session._streams
        while await go.ask("count"):
            await asyncio.sleep(0.005)


async def test_fifty_streams_of_a_thousand_small_writes_each(join: Join) -> None:
    async with join() as (go, session):
        go.start("serve_echo")

        async def talk() -> None:
            expected = b"".join(b"%04d" % number for number in range(1000))
            async with await open_stream(session) as stream, anyio.create_task_group() as tasks:

                async def write() -> None:
                    for number in range(1000):
                        await stream.send(b"%04d" % number)
                    await stream.send_eof()

                tasks.start_soon(write)
                assert await read_all(stream) == expected

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(talk)


@pytest.mark.parametrize("megabytes", [250])
async def test_a_quarter_of_a_gigabyte_from_go(join: Join, megabytes: int) -> None:
    async with join(seconds=120) as (go, session):
        stream = await opened_by_us(go, session)
        writing = go.begin("write", stream=stream.id, size=megabytes * 2**20)
        got, size = hashlib.sha256(), 0
        while size < megabytes * 2**20:
            chunk = await stream.receive()
            got.update(chunk)
            size += len(chunk)

        assert got.hexdigest() == result(await writing)["hash"]


@pytest.mark.parametrize("megabytes", [250])
async def test_a_quarter_of_a_gigabyte_to_go(join: Join, megabytes: int) -> None:
    block = bytes(range(251)) * 4177  # about a megabyte, in no step with windows
    async with join(seconds=120) as (go, session):
        stream = await opened_by_us(go, session)
        reading = go.begin("read", stream=stream.id)
        sent = hashlib.sha256()
        for number in range(megabytes):
            piece = number.to_bytes(8, "big") + block
            sent.update(piece)
            await stream.send(piece)
        await stream.send_eof()

        assert result(await reading) == {
            "size": megabytes * (len(block) + 8),
            "hash": sent.hexdigest(),
            "eof": True,
        }
