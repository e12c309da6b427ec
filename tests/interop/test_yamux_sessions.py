"""Our mux at one end of a socket, hashicorp/yamux at the other, in both roles: whole sessions.

What no yamux would send is put on the socket behind the back of Go's session, or of ours.
"""

import asyncio

import anyio
import pytest

from chaosplugin.transport.mux import Mux
from chaosplugin.wire import yamux
from chaosplugin.wire.yamux.frames import DATA, FIN, GO_AWAY, PING, RST, SYN, WINDOW_UPDATE, encode
from chaosplugin.wire.yamux.session import MAX_QUEUED_DATA, MAX_UNREAD
from tests.interop.peers import GoError, Join, opened_by_go, opened_by_us, read, result
from tests.transport.pairs import open_stream

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the peer

WINDOW = 256 * 1024
QUICK = yamux.Config(keep_alive_s=0.05, reply_timeout_s=0.1)
PATIENT = yamux.Config(keep_alive_s=0.05, reply_timeout_s=1)
NEVER = yamux.Config(keep_alive_s=1000)


def put_on_the_socket(session: Mux, data: bytes) -> None:
    assert session._transport is not None
    session._transport.write(data)


def stop_reading(session: Mux) -> None:
    assert session._transport is not None
    session._transport.pause_reading()


def waiting_output(session: Mux) -> int:
    """Bytes that we hold because the peer reads nothing."""
    assert session._transport is not None
    return session._session._queued + session._transport.get_write_buffer_size()


# -- ping and keep-alive


async def test_pings_of_gos_are_answered_while_data_flows_both_ways(join: Join) -> None:
    size = 8 * 2**20
    async with join() as (go, session), anyio.create_task_group() as tasks:
        down, up = await opened_by_us(go, session), await opened_by_go(go, session)
        go.start("write", stream=down.id, size=size)
        go.start("read", stream=up.id, size=size)
        tasks.start_soon(up.send, b"x" * size)
        tasks.start_soon(read, down, size)
        pings = [go.begin("ping") for _ in range(100)]

        assert max([result(await ping) for ping in pings]) < 60


async def test_both_ends_keep_a_session_alive(join: Join) -> None:
    async with join(PATIENT, keep_alive_s=0.05, write_timeout_s=1) as (go, session):
        while session._session._keep_alive._id < 5:
            await asyncio.sleep(0.01)
        await (await opened_by_us(go, session)).send(b"x")
        assert await go.ask("log") == ""
        assert session.error is None


async def test_go_gives_us_up_when_we_answer_no_ping(join: Join) -> None:
    async with join(NEVER, keep_alive_s=0.05, write_timeout_s=0.1) as (go, session):
        stop_reading(session)
        await go.ask("wait_closed")
        await go.logged("keepalive failed: i/o deadline reached")


async def test_we_give_go_up_when_it_answers_no_ping(join: Join) -> None:
    async with join(QUICK) as (go, session):
        stream = await opened_by_us(go, session)
        await go.ask("stop_reading")
        await session.wait_closed()

        assert "no answer to a ping within 0.1 s" in str(session.error)
        with pytest.raises(anyio.BrokenResourceError, match="no answer to a ping"):
            await stream.receive()


async def test_an_answer_to_a_ping_that_nobody_sent_means_nothing(join: Join) -> None:
    async with join() as (go, session):
        await go.ask("inject", hex=encode(PING, 2, 0, 4711).hex())
        put_on_the_socket(session, encode(PING, 2, 0, 4711))
        assert await go.ask("ping") < 60
        assert (await opened_by_us(go, session)).id > 0


# -- going away


async def test_a_go_that_goes_away_is_offered_no_new_streams(join: Join) -> None:
    async with join() as (go, session):
        stream = await opened_by_us(go, session)
        await go.ask("go_away")
        await go.ask("write", stream=stream.id, size=1000)
        assert len(await read(stream, 1000)) == 1000

        with pytest.raises(anyio.BrokenResourceError, match="accepts no more streams"):
            await open_stream(session)
        assert (await opened_by_go(go, session)).id > 0


async def test_go_offers_us_no_new_streams_when_we_go_away(join: Join) -> None:
    async with join() as (go, session):
        stream = await opened_by_go(go, session)
        session.refuse_new_streams()
        await stream.send(b"lives")
        await go.ask("read", stream=stream.id, size=5)

        with pytest.raises(GoError, match="remote end is not accepting connections"):
            await go.ask("open")
        assert (await opened_by_us(go, session)).id > 0


async def test_a_stream_that_crosses_our_going_away_is_reset(join: Join) -> None:
    async with join() as (go, session):
        stop_reading(session)
        number = await go.ask("open")
        session.refuse_new_streams()
        assert session._transport is not None
        session._transport.resume_reading()
        with pytest.raises(GoError, match="connection reset"):
            await go.ask("read", stream=number)


@pytest.mark.parametrize("code", [1, 2, 3, 2**32 - 1])
async def test_any_other_going_away_of_gos_ends_the_session(join: Join, code: int) -> None:
    async with join() as (go, session):
        stream = await opened_by_us(go, session)
        await go.ask("inject", hex=encode(GO_AWAY, 0, 0, code).hex())
        await session.wait_closed()

        assert f"go-away code {code}" in str(session.error)
        with pytest.raises(anyio.BrokenResourceError, match="go-away code"):
            await stream.receive()
        await go.ask("wait_closed")


@pytest.mark.parametrize(
    ("code", "logged"), [(1, "protocol error"), (2, "internal error"), (3, "unexpected"), (99, "unexpected")]
)
async def test_any_other_going_away_of_ours_ends_the_session(join: Join, code: int, logged: str) -> None:
    async with join() as (go, session):
        stream = await opened_by_us(go, session)
        put_on_the_socket(session, encode(GO_AWAY, 0, 0, code))
        await go.logged(f"received {logged} go away")
        await session.wait_closed()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


# -- broken rules

DUPLICATE_SYN = (WINDOW_UPDATE, SYN, 0)
SECOND_FIN = (WINDOW_UPDATE, FIN, 0)
TOO_MUCH = (DATA, 0, WINDOW + 1)


@pytest.mark.parametrize("broken", [DUPLICATE_SYN, SECOND_FIN, TOO_MUCH])
async def test_a_go_that_breaks_a_rule_is_told_so(join: Join, broken: tuple[int, int, int]) -> None:
    kind, flags, length = broken
    async with join() as (go, session):
        stream = await opened_by_go(go, session)
        if broken is SECOND_FIN:
            await go.ask("close", stream=stream.id)
        await go.ask("inject", hex=encode(kind, flags, stream.id, length).hex())
        await go.logged("received protocol error go away")
        await session.wait_closed()

        assert session.error is not None
        assert session.error.go_away == 1


@pytest.mark.parametrize(
    ("broken", "logged"),
    [
        (DUPLICATE_SYN, "duplicate stream declared"),
        (SECOND_FIN, "unexpected FIN flag"),
        (TOO_MUCH, "receive window exceeded"),
    ],
)
async def test_we_are_hung_up_on_for_the_same_rules(
    join: Join, broken: tuple[int, int, int], logged: str
) -> None:
    kind, flags, length = broken
    async with join() as (go, session):
        stream = await opened_by_us(go, session)
        if broken is SECOND_FIN:
            await stream.send_eof()
        put_on_the_socket(session, encode(kind, flags, stream.id, length))
        await go.logged(logged)
        await session.wait_closed()
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


@pytest.mark.parametrize("header", ["010000000000000000000000", "000400000000000000000000"])
async def test_what_is_not_yamux_is_hung_up_on_without_a_word(join: Join, header: str) -> None:
    async with join() as (go, session):
        await go.ask("inject", hex=header)
        await session.wait_closed()
        await go.ask("wait_closed")

        assert "only 0" in str(session.error)
        assert "go away" not in await go.ask("log")


async def test_frames_of_streams_that_are_gone_are_read_past_by_both(join: Join) -> None:
    late = b"".join(
        (
            encode(WINDOW_UPDATE, 0, 99, 1000),
            encode(DATA, 0, 99, 5) + b"xxxxx",
            encode(WINDOW_UPDATE, FIN, 99, 0),
            encode(WINDOW_UPDATE, RST, 99, 0),
        )
    )
    async with join() as (go, session):
        await go.ask("inject", hex=late.hex())
        put_on_the_socket(session, late)
        stream = await opened_by_go(go, session)
        await go.ask("write", stream=stream.id, size=10)
        assert len(await read(stream, 10)) == 10
        await stream.send(b"x")
        await go.ask("read", stream=stream.id, size=1)


# -- an end that does not read


async def test_a_go_that_stops_reading_its_socket_costs_us_no_memory(join: Join) -> None:
    async with join(NEVER) as (go, session), anyio.create_task_group() as tasks:
        streams = [await opened_by_us(go, session) for _ in range(100)]
        await go.ask("stop_reading")
        for stream in streams:
            tasks.start_soon(stream.send, b"x" * WINDOW)
        await anyio.wait_all_tasks_blocked()

        assert session._paused
        assert waiting_output(session) < 3 * MAX_QUEUED_DATA
        for stream in streams:
            stream.offer(b"y" * WINDOW)
        assert waiting_output(session) < 3 * MAX_QUEUED_DATA
        await go.ask("go_on_reading")
        for stream in streams:
            assert (await go.ask("read", stream=stream.id, size=WINDOW))["size"] == WINDOW


async def test_pings_of_a_go_that_reads_no_answer_end_the_session(join: Join) -> None:
    async with join(NEVER) as (go, session):
        await go.ask("stop_reading")
        flood = (encode(PING, SYN, 0, 1) * 40_000).hex()
        floods = [go.begin("inject", hex=flood) for _ in range(8)]
        await session.wait_closed()

        assert "reads nothing" in str(session.error)
        await asyncio.wait(floods)


async def test_a_stream_that_we_do_not_read_holds_a_window_and_no_more(join: Join) -> None:
    async with join() as (go, session):
        stream = await opened_by_us(go, session)
        writing = go.begin("write", stream=stream.id, size=10 * WINDOW)
        while session._session._unread < WINDOW:
            await asyncio.sleep(0.005)
        await go.ask("ping")

        assert session._session._unread == WINDOW
        assert not writing.done()
        await read(stream, 10 * WINDOW)
        result(await writing)


async def test_a_go_that_fills_every_window_is_ended_at_the_limit(join: Join) -> None:
    async with join() as (go, session):
        streams = MAX_UNREAD // WINDOW + 1
        for _ in range(streams):
            stream = await opened_by_go(go, session)
            go.start("write", stream=stream.id, size=WINDOW)
        await session.wait_closed()

        assert f"more than {MAX_UNREAD} bytes wait unread" in str(session.error)
        # its own writes may fail first, and it reads no more then
        await go.logged("received internal error go away", "Failed to write body", "Failed to write header")
