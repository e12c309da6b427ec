"""Our mux at one end of a socket, hashicorp/yamux at the other, in both roles: the rules of streams.

The cases are those of Go's own session_test.go, as far as they are about what goes over the wire.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from chaosplugin.transport.mux import Mux
from chaosplugin.transport.stream import Stream
from chaosplugin.wire import yamux
from tests.interop.peers import GoEnd, GoError, Join, opened_by_go, opened_by_us, read, read_all, result
from tests.transport.pairs import open_stream

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the peer

WINDOW = 256 * 1024
HALF = WINDOW // 2

Opened = Callable[[GoEnd, Mux], Any]
by_either = pytest.mark.parametrize("opened", [opened_by_us, opened_by_go])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def credit(session: Mux, stream: Stream) -> int:
    """What Go may still send, as we see it; it sees nothing else once we have sent all updates."""
    known = session._session._streams.get(stream.id)
    assert known is not None
    return known.receiving._credit


# -- opening


async def test_both_ends_open_streams_under_ids_of_their_own(join: Join, role: str) -> None:
    async with join() as (go, session):
        ours = await opened_by_us(go, session)
        theirs = await opened_by_go(go, session)
        again = await opened_by_us(go, session)

        expected = (2, 1, 4) if role == "client" else (1, 2, 3)
        assert (ours.id, theirs.id, again.id) == expected


async def test_go_is_given_its_place_back_for_streams_closed_before_they_are_accepted(join: Join) -> None:
    async with join(backlog=8) as (go, session):
        for _ in range(8):
            await go.ask("close", stream=await go.ask("open"))
        for _ in range(8):
            async with await session.accept() as stream:
                assert await read_all(stream) == b""
        assert await go.ask("open") > 0


async def test_we_are_given_our_place_back_for_streams_closed_before_they_are_accepted(join: Join) -> None:
    async with join(yamux.Config(accept_backlog=8), backlog=8) as (go, session):
        for _ in range(8):
            await (await open_stream(session)).aclose()
        for _ in range(8):
            await go.ask("close", stream=await go.ask("accept"))
        await open_stream(session)


async def test_go_opens_no_more_than_its_backlog_until_we_accept(join: Join) -> None:
    async with join(backlog=4) as (go, session):
        asked = [go.begin("open") for _ in range(20)]
        accepted = [await session.accept() for _ in range(20)]

        assert {result(await opened) for opened in asked} == {stream.id for stream in accepted}


async def test_we_wait_with_an_open_until_go_accepts(join: Join) -> None:
    async with (
        join(yamux.Config(accept_backlog=2), backlog=2) as (go, session),
        anyio.create_task_group() as tasks,
    ):
        streams = [await open_stream(session) for _ in range(2)]

        async def open_third() -> None:
            streams.append(await open_stream(session))

        tasks.start_soon(open_third)
        await anyio.wait_all_tasks_blocked()
        assert len(streams) == 2
        for _ in range(3):
            await go.ask("accept")
    assert len(streams) == 3


async def test_what_go_has_no_room_for_is_reset_and_nothing_else(join: Join) -> None:
    async with join(backlog=2) as (go, session):
        streams = [await open_stream(session) for _ in range(3)]
        await go.logged("backlog exceeded, forcing connection reset")
        with pytest.raises(anyio.BrokenResourceError, match="reset"):
            await streams[2].receive()
        assert {await go.ask("accept"), await go.ask("accept")} == {stream.id for stream in streams[:2]}
        await streams[0].send(b"lives")
        assert (await go.ask("read", stream=streams[0].id, size=5))["hash"] == sha256(b"lives")


async def test_what_we_have_no_room_for_is_reset_and_nothing_else(join: Join) -> None:
    async with join(yamux.Config(accept_backlog=2)) as (go, session):
        first, second, third = [await go.ask("open") for _ in range(3)]
        with pytest.raises(GoError, match="connection reset"):
            await go.ask("read", stream=third)
        assert [(await session.accept()).id, (await session.accept()).id] == [first, second]


async def test_go_gives_up_on_an_end_that_accepts_nothing(join: Join) -> None:
    async with join(open_timeout_s=0.1) as (go, session):
        await go.ask("open")
        await session.wait_closed()
        await go.logged("aborted stream open")


async def test_we_give_up_on_an_end_that_accepts_nothing(join: Join) -> None:
    quick = yamux.Config(keep_alive_s=0.05, open_timeout_s=0.1)
    async with join(quick) as (go, session):
        stream = await open_stream(session)
        await go.ask("wait_closed")
        with pytest.raises(anyio.BrokenResourceError, match="was not accepted within"):
            await stream.receive()


async def test_our_ids_run_out_as_gos_do(join: Join, role: str) -> None:
    async with join() as (go, session):
        last = 2**32 - 3 if role == "server" else 2**32 - 2
        session._session._next_id = last
        stream = await opened_by_us(go, session)
        assert stream.id == last
        await stream.send(b"the last")
        assert (await go.ask("read", stream=last, size=8))["hash"] == sha256(b"the last")

        with pytest.raises(anyio.BrokenResourceError, match="used up"):
            await open_stream(session)


async def test_the_last_id_of_go_is_served(join: Join, role: str) -> None:
    last = 2**32 - 3 if role == "client" else 2**32 - 4
    async with join(first_stream_id=last) as (go, session):
        stream = await opened_by_go(go, session)
        await stream.send(b"the last")
        assert (await go.ask("read", stream=last, size=8))["hash"] == sha256(b"the last")

        with pytest.raises(GoError, match="streams exhausted"):
            await go.ask("open")


async def test_the_end_of_a_session_ends_all_that_wait_for_streams(join: Join) -> None:
    async with join() as (go, session):
        waiting = go.begin("accept")
        await session.aclose()
        with pytest.raises(GoError, match=r"session shutdown|EOF"):
            result(await waiting)
    async with join() as (go, session):
        await go.ask("close_session")
        with pytest.raises(anyio.EndOfStream):
            await session.accept()
        with pytest.raises(anyio.BrokenResourceError):
            await open_stream(session)
        assert session.error is None


async def test_a_cancelled_accept_loses_no_stream(join: Join) -> None:
    async with join() as (go, session):
        with anyio.move_on_after(0.01):
            await session.accept()
        number = await go.ask("open")
        assert (await session.accept()).id == number


# -- flow control


@by_either
async def test_go_may_send_on_when_we_have_read_half_a_window(join: Join, opened: Opened) -> None:
    async with join() as (go, session):
        stream = await opened(go, session)
        await go.ask("write", stream=stream.id, size=WINDOW)
        assert credit(session, stream) == 0
        await read(stream, HALF - 1)
        assert credit(session, stream) == 0
        await read(stream, 2)
        assert credit(session, stream) == HALF + 1

        await go.ask("write", stream=stream.id, size=HALF + 1)
        assert credit(session, stream) == 0


@by_either
async def test_we_may_send_on_when_go_has_read_half_a_window(join: Join, opened: Opened) -> None:
    async with join() as (go, session):
        stream = await opened(go, session)
        await stream.send(b"x" * WINDOW)
        await go.ask("read", stream=stream.id, size=HALF + 1)
        await stream.send(b"y" * (HALF + 1))

        known = session._session._streams.get(stream.id)
        assert known is not None
        assert known.sending.credit == 0
        rest = await go.ask("read", stream=stream.id, size=WINDOW)
        assert rest["hash"] == sha256(b"x" * (HALF - 1) + b"y" * (HALF + 1))


async def test_a_larger_window_of_gos_is_used_at_once(join: Join) -> None:
    async with join(window=2 * WINDOW) as (go, session):
        stream = await opened_by_us(go, session)
        await stream.send(b"x" * 2 * WINDOW)
        assert (await go.ask("read", stream=stream.id, size=2 * WINDOW))["hash"] == sha256(b"x" * 2 * WINDOW)


@by_either
async def test_a_larger_window_of_ours_is_used_at_once(join: Join, opened: Opened) -> None:
    async with join(yamux.Config(receive_window=2 * WINDOW)) as (go, session):
        stream = await opened(go, session)
        await go.ask("write", stream=stream.id, size=2 * WINDOW)
        assert len(await read(stream, 2 * WINDOW)) == 2 * WINDOW


async def test_a_stream_that_nobody_reads_holds_up_no_other(join: Join) -> None:
    async with join() as (go, session), anyio.create_task_group() as tasks:
        slow, quick = await opened_by_us(go, session), await opened_by_go(go, session)
        stuck = go.begin("write", stream=slow.id, size=WINDOW + 1)
        tasks.start_soon(slow.send, b"x" * (WINDOW + 1))
        for _ in range(20):
            await quick.send(b"question")
            await go.ask("read", stream=quick.id, size=8)
            await go.ask("write", stream=quick.id, size=8)
            await read(quick, 8)
        assert not stuck.done()
        await read(slow, HALF)
        await go.ask("read", stream=slow.id, size=HALF)
        result(await stuck)


async def test_what_a_cancelled_send_had_sent_is_all_that_arrives(join: Join) -> None:
    async with join() as (go, session):
        stream = await opened_by_us(go, session)
        with anyio.move_on_after(0.05):
            await stream.send(b"x" * (WINDOW + 1000))
        await stream.send_eof()
        assert (await go.ask("read", stream=stream.id))["hash"] == sha256(b"x" * WINDOW)


# -- closing


@by_either
async def test_an_end_that_has_closed_its_side_still_reads(join: Join, opened: Opened) -> None:
    async with join() as (go, session):
        stream = await opened(go, session)
        await stream.send(b"question")
        await stream.send_eof()
        got = await go.ask("read", stream=stream.id)
        assert (got["hash"], got["eof"]) == (sha256(b"question"), True)
        writing = go.begin("write", stream=stream.id, size=3 * WINDOW)
        got_back = await read(stream, 3 * WINDOW)
        await go.ask("close", stream=stream.id)
        assert sha256(got_back) == result(await writing)["hash"]
        assert await read_all(stream) == b""


@by_either
async def test_go_closes_its_side_first_and_still_reads(join: Join, opened: Opened) -> None:
    async with join() as (go, session):
        stream = await opened(go, session)
        sent = await go.ask("write", stream=stream.id, size=1000)
        await go.ask("close", stream=stream.id)
        assert sha256(await read_all(stream)) == sent["hash"]
        await stream.send(b"late answer")
        await stream.aclose()
        assert not session._streams
        while await go.ask("count"):  # v0.1.1 sees an end wherever its buffer is empty, once it has closed
            await asyncio.sleep(0)
        assert (await go.ask("read", stream=stream.id))["hash"] == sha256(b"late answer")


async def test_a_full_window_outlives_the_session_of_its_sender(join: Join) -> None:
    async with join() as (go, session):
        stream = await opened_by_us(go, session)
        sent = await go.ask("write", stream=stream.id, size=WINDOW)
        await go.ask("close_session")
        await session.wait_closed()
        assert sha256(await read_all(stream)) == sent["hash"]


async def test_go_reads_the_full_window_of_a_session_that_we_have_ended(join: Join) -> None:
    async with join() as (go, session):
        stream = await opened_by_us(go, session)
        await stream.send(b"x" * WINDOW)
        await session.aclose()
        await go.ask("wait_closed")
        assert (await go.ask("read", stream=stream.id))["hash"] == sha256(b"x" * WINDOW)


async def test_go_resets_a_stream_that_we_never_close(join: Join) -> None:
    async with join(close_timeout_s=0.1) as (go, session):
        stream = await opened_by_us(go, session)
        await go.ask("close", stream=stream.id)
        while stream.id in session._streams:
            await asyncio.sleep(0.005)
        with pytest.raises(anyio.BrokenResourceError, match="reset"):
            await stream.send(b"x")
        assert await go.ask("count") == 0


async def test_we_reset_a_stream_that_go_never_closes(join: Join) -> None:
    async with join(yamux.Config(keep_alive_s=0.05, close_timeout_s=0.1)) as (go, session):
        stream = await opened_by_us(go, session)
        await stream.send_eof()
        with pytest.raises(anyio.BrokenResourceError, match="reset"):
            await stream.receive()
        while await go.ask("count"):
            await asyncio.sleep(0.005)
        with pytest.raises(GoError, match="connection reset"):
            await go.ask("write", stream=stream.id, size=1)
