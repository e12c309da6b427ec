import asyncio
import socket
import time
from dataclasses import dataclass

import anyio
import pytest

from chaosplugin.transport import mux
from chaosplugin.transport.stream import Stream
from chaosplugin.wire import yamux
from chaosplugin.wire.yamux import frames
from tests.transport.pairs import hand_made, joined, open_stream, pair

WINDOW = 256 * 1024


async def read_all(stream: Stream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def test_bytes_go_both_ways_and_end() -> None:
    async with pair() as (client, server):
        ours, theirs = await joined(client, server)
        await ours.send(b"question")
        assert await theirs.receive() == b"question"
        await ours.send_eof()
        await theirs.send(b"late answer")
        await theirs.aclose()

        assert await read_all(ours) == b"late answer"


async def test_a_receiver_gets_no_more_than_it_asks_for() -> None:
    async with pair() as (client, server):
        ours, theirs = await joined(client, server)
        await ours.send(b"abcdef")

        assert [await theirs.receive(4), await theirs.receive(4)] == [b"abcd", b"ef"]


async def test_a_large_transfer_arrives_whole_and_in_order() -> None:
    data = b"".join(i.to_bytes(4, "big") for i in range(2_000_000))
    async with pair() as (client, server), anyio.create_task_group() as tasks:
        ours, theirs = await joined(client, server)

        async def write() -> None:
            await ours.send(data)
            await ours.send_eof()

        tasks.start_soon(write)
        assert await read_all(theirs) == data


async def test_a_slow_consumer_holds_up_its_own_stream_only() -> None:
    async with pair() as (client, server), anyio.create_task_group() as tasks:
        slow, slow_there = await joined(client, server)
        quick, quick_there = await joined(client, server)
        tasks.start_soon(slow.send, b"x" * (WINDOW + 1))
        for _ in range(100):
            await quick.send(b"ping")
            assert await quick_there.receive() == b"ping"

        assert len(await slow_there.receive(WINDOW)) > 0
        await slow_there.aclose()
        tasks.cancel_scope.cancel()


async def test_a_sender_waits_for_the_window_and_goes_on_with_it() -> None:
    async with pair() as (client, server), anyio.create_task_group() as tasks:
        ours, theirs = await joined(client, server)
        sent = anyio.Event()

        async def write() -> None:
            await ours.send(b"x" * (2 * WINDOW))
            sent.set()

        tasks.start_soon(write)
        got = 0
        while got < WINDOW // 2 - 1:
            got += len(await theirs.receive(WINDOW // 2 - 1 - got))
        assert not sent.is_set()
        while got < 2 * WINDOW:
            got += len(await theirs.receive())
        await sent.wait()


async def test_a_cancelled_send_and_receive_leave_the_stream_usable() -> None:
    async with pair() as (client, server):
        ours, theirs = await joined(client, server)
        with anyio.move_on_after(0.01):
            await theirs.receive()
        with anyio.move_on_after(0.05):
            await ours.send(b"x" * (2 * WINDOW))
        got = 0
        while got < WINDOW:
            got += len(await theirs.receive())
        with anyio.move_on_after(0.05):
            got += len(await theirs.receive())
        await ours.send(b"end")

        assert await theirs.receive() == b"end"


async def test_two_receivers_of_one_stream_are_refused() -> None:
    async with pair() as (client, server), anyio.create_task_group() as tasks:
        _, theirs = await joined(client, server)
        tasks.start_soon(theirs.receive)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await theirs.receive()
        tasks.cancel_scope.cancel()


async def test_a_closed_stream_refuses_both_directions() -> None:
    async with pair() as (client, server):
        ours, _ = await joined(client, server)
        await ours.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await ours.send(b"x")
        with pytest.raises(anyio.ClosedResourceError):
            await ours.receive()


async def test_what_comes_for_a_closed_stream_is_read_past() -> None:
    async with pair() as (client, server):
        ours, theirs = await joined(client, server)
        await ours.aclose()
        await theirs.send(b"x" * (5 * WINDOW))  # would wait for ever if nobody gave the window back
        await theirs.aclose()


async def test_the_end_of_the_socket_leaves_readers_what_had_come() -> None:
    async with pair() as (client, server):
        ours, theirs = await joined(client, server)
        await ours.send(b"last words")
        await client.aclose()
        await server.wait_closed()

        assert await read_all(theirs) == b"last words"
        with pytest.raises(anyio.BrokenResourceError, match="the connection is over"):
            await theirs.send(b"x")
        with pytest.raises(anyio.EndOfStream):
            await server.accept()
        with pytest.raises(anyio.BrokenResourceError):
            await open_stream(server)


async def test_a_probe_that_says_nothing_is_just_the_end() -> None:
    async with hand_made() as (peer, server):
        peer.close()
        with pytest.raises(anyio.EndOfStream):
            await server.accept()
        assert server.error is None


async def test_a_peer_that_breaks_the_protocol_is_told_and_hung_up_on() -> None:
    async with hand_made() as (peer, server):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, frames.encode(frames.WINDOW_UPDATE, frames.SYN, 1, 0) * 2)
        await server.wait_closed()
        answer = await loop.sock_recv(peer, 100)

        assert answer == frames.encode(frames.GO_AWAY, 0, 0, 1)
        assert "RECEIVE_SYN" in str(server.error)


async def test_a_reset_breaks_both_directions() -> None:
    async with hand_made() as (peer, server):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, frames.encode(frames.WINDOW_UPDATE, frames.SYN, 1, 0))
        stream = await server.accept()
        await loop.sock_sendall(peer, frames.encode(frames.DATA, 0, 1, 1) + b"x")
        await loop.sock_sendall(peer, frames.encode(frames.WINDOW_UPDATE, frames.RST, 1, 0))
        await loop.sock_sendall(peer, frames.encode(frames.WINDOW_UPDATE, frames.SYN, 3, 0))
        await server.accept()

        with pytest.raises(anyio.BrokenResourceError, match="reset"):
            await stream.receive()
        with pytest.raises(anyio.BrokenResourceError, match="reset"):
            await stream.send(b"x")
        await stream.aclose()


async def test_a_stream_reset_before_it_was_accepted_is_never_accepted() -> None:
    async with hand_made() as (peer, server):
        loop = asyncio.get_running_loop()
        for stream_id, flags in ((1, frames.SYN), (1, frames.RST), (3, frames.SYN)):
            await loop.sock_sendall(peer, frames.encode(frames.WINDOW_UPDATE, flags, stream_id, 0))

        assert (await server.accept()).id == 3


async def test_a_stream_that_was_reset_does_not_end_the_next_one_of_its_id() -> None:
    """Go counts its ids upwards; a peer that does not must not get its streams mixed up by us."""
    async with hand_made() as (peer, server):
        loop = asyncio.get_running_loop()
        opening = frames.encode(frames.WINDOW_UPDATE, frames.SYN, 1, 0)
        await loop.sock_sendall(peer, opening)
        first = await server.accept()
        await loop.sock_sendall(peer, frames.encode(frames.WINDOW_UPDATE, frames.RST, 1, 0) + opening)
        second = await server.accept()

        await first.aclose()
        await second.send(b"alive")

        accepted = frames.encode(frames.WINDOW_UPDATE, frames.ACK, 1, 0)
        wanted = accepted * 2 + frames.encode(frames.DATA, 0, 1, 5) + b"alive"
        answer = b""
        while len(answer) < len(wanted):
            answer += await loop.sock_recv(peer, 1024)
        assert answer == wanted


async def test_a_flood_of_pings_whose_answers_nobody_reads_ends_the_connection() -> None:
    async with hand_made() as (peer, server):
        loop = asyncio.get_running_loop()
        flood = frames.encode(frames.PING, frames.SYN, 0, 1) * 10_000
        with pytest.raises(ConnectionError):
            await loop.sock_sendall(peer, flood * 20)
        await server.wait_closed()

        assert "reads nothing" in str(server.error)


async def test_pings_are_answered_while_a_sender_waits_for_a_full_socket() -> None:
    async with hand_made() as (peer, server), anyio.create_task_group() as tasks:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, frames.encode(frames.WINDOW_UPDATE, frames.SYN, 1, 64 * WINDOW))
        stream = await server.accept()
        tasks.start_soon(stream.send, b"x" * (32 * WINDOW))
        await anyio.wait_all_tasks_blocked()
        await loop.sock_sendall(peer, frames.encode(frames.PING, frames.SYN, 0, 77))
        got = bytearray()
        while frames.encode(frames.PING, frames.ACK, 0, 77) not in got:
            got = got[-100:] + await loop.sock_recv(peer, 65536)
        tasks.cancel_scope.cancel()


@dataclass
class Echo:
    """Answers what comes on a stream, after so many seconds."""

    stream: Stream
    takes_s: float

    def receive(self, data: bytes) -> None:
        time.sleep(self.takes_s)
        self.stream.write(data)

    def drained(self) -> None:
        """There is nothing more to write."""

    def ended(self, broken: str) -> None:
        """There is nobody left to answer."""


@pytest.mark.parametrize(("takes_s", "writes"), [(0.0, 1), (0.005, 3)])
async def test_answers_to_what_has_come_together_leave_together_unless_they_take_long(
    takes_s: float, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mux, "_TOGETHER_S", 60.0 if writes == 1 else 0.002)
    async with hand_made() as (peer, server):
        loop = asyncio.get_running_loop()
        streams = (1, 3, 5)
        await loop.sock_sendall(
            peer, b"".join(frames.encode(frames.WINDOW_UPDATE, frames.SYN, each, 0) for each in streams)
        )
        for _ in streams:
            stream = await server.accept()
            stream.attach(Echo(stream, takes_s))
        accepted = b"".join(frames.encode(frames.WINDOW_UPDATE, frames.ACK, each, 0) for each in streams)
        answers = b"".join(frames.encode(frames.DATA, 0, each, 2) + b"hi" for each in streams)
        written: list[bytes] = []
        assert server._transport is not None
        monkeypatch.setattr(server._transport, "write", written.append)
        await loop.sock_sendall(peer, answers)
        while b"".join(written) != answers:
            await anyio.sleep(0.001)

        assert len(written) == writes
        assert await loop.sock_recv(peer, len(accepted)) == accepted


async def test_an_unanswered_keep_alive_ends_the_connection() -> None:
    a, b = socket.socketpair()
    config = yamux.Config(keep_alive_s=0.02, reply_timeout_s=0.05)
    server = await mux.connect(b, yamux.Role.SERVER, config)
    with a, anyio.fail_after(10):
        await server.wait_closed()
        assert a.recv(12) == frames.encode(frames.PING, frames.SYN, 0, 0)
    assert "no answer to a ping" in str(server.error)


async def test_answered_keep_alives_go_on() -> None:
    quick = yamux.Config(keep_alive_s=0.01, reply_timeout_s=5)
    async with pair(client=quick, server=quick) as (client, server):
        await anyio.sleep(0.1)
        ours, theirs = await joined(client, server)
        await ours.send(b"x")
        assert await theirs.receive() == b"x"


async def test_a_full_backlog_makes_the_opener_wait() -> None:
    async with (
        pair(client=yamux.Config(accept_backlog=2)) as (client, server),
        anyio.create_task_group() as tasks,
    ):
        await open_stream(client)
        await open_stream(client)
        third = anyio.Event()

        async def open_third() -> None:
            await open_stream(client)
            third.set()

        tasks.start_soon(open_third)
        await anyio.wait_all_tasks_blocked()
        assert not third.is_set()
        await server.accept()
        await third.wait()


async def test_an_end_that_goes_away_is_offered_no_new_streams() -> None:
    async with pair() as (client, server):
        ours, theirs = await joined(client, server)
        server.refuse_new_streams()
        await theirs.send(b"still here")
        assert await ours.receive() == b"still here"

        with pytest.raises(anyio.BrokenResourceError, match="accepts no more streams"):
            await open_stream(client)


async def test_a_thousand_streams_at_once() -> None:
    async with pair() as (client, server), anyio.create_task_group() as tasks:

        async def echo() -> None:
            while True:
                stream = await server.accept()
                tasks.start_soon(echo_one, stream)

        async def echo_one(stream: Stream) -> None:
            async with stream:
                async for chunk in stream:
                    await stream.send(chunk)

        async def ask(number: int) -> None:
            async with await open_stream(client) as stream:
                await stream.send(b"%d" % number)
                await stream.send_eof()
                assert await read_all(stream) == b"%d" % number

        tasks.start_soon(echo)
        async with anyio.create_task_group() as asking:
            for number in range(1000):
                asking.start_soon(ask, number)
        tasks.cancel_scope.cancel()


async def test_small_frames_do_not_become_many_objects() -> None:
    async with pair() as (client, server):
        ours, theirs = await joined(client, server)
        for _ in range(1000):
            await ours.send(b"ab")
        got = 0
        chunks = 0
        await anyio.wait_all_tasks_blocked()
        while got < 2000:
            got += len(await theirs.receive())
            chunks += 1
        assert chunks < 100
