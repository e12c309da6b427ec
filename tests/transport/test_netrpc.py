import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import ByteStream, TaskGroup

from chaosplugin.transport.netrpc import MAX_CALLS, CallError, Endpoint, Room, serve
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.shapes import ANY, STRING
from chaosplugin.wire.netrpc import NEED_DATA, Client, Method, Reply
from chaosplugin.wire.yamux import frames
from tests.transport.pairs import hand_made, joined, pair

LOG = logging.getLogger("test")
ROOM = 1 << 20
Handler = Callable[[object], Awaitable[object]]


class Caller:
    """A client on a socket; `errors` of the dispatcher rise from the task group."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.client = Client()

    async def send(self, method: str, value: object = "") -> int:
        seq, data = self.client.call(method, gotypes.STRING, value, reply=ANY)
        await self.stream.send(data)
        return seq

    async def reply(self) -> Reply:
        with anyio.fail_after(20):
            while (event := self.client.next_event()) is NEED_DATA:
                self.client.receive_data(await self.stream.receive())
        return event

    async def end(self) -> None:
        """Wait for the other side to close."""
        with anyio.fail_after(20), pytest.raises(anyio.EndOfStream):
            await self.stream.receive()


@asynccontextmanager
async def served(**handlers: Handler) -> AsyncIterator[tuple[Caller, TaskGroup]]:
    method = Method(argument=STRING, reply=gotypes.STRING)
    service = {f"Test.{name}": Endpoint(method, handle) for name, handle in handlers.items()}
    async with pair() as ends, anyio.create_task_group() as tasks:
        ours, theirs = await joined(*ends)
        tasks.start_soon(lambda: serve(theirs, service, Room(ROOM), log=LOG))
        yield Caller(ours), tasks
        await ours.aclose()


async def echo(argument: object) -> object:
    return argument


async def test_calls_are_answered() -> None:
    async with served(Echo=echo) as (caller, _):
        for text in ("a", "b" * 100_000):
            seq = await caller.send("Test.Echo", text)
            assert await caller.reply() == Reply(seq, text, "")


async def test_a_quick_call_does_not_wait_behind_slow_ones() -> None:
    release = anyio.Event()

    async def slow(argument: object) -> object:
        await release.wait()
        return argument

    async with served(Slow=slow, Echo=echo) as (caller, _):
        slow_calls = [await caller.send("Test.Slow", str(number)) for number in range(20)]
        quick = await caller.send("Test.Echo")
        assert (await caller.reply()).seq == quick

        release.set()
        assert {(await caller.reply()).seq for _ in slow_calls} == set(slow_calls)


async def test_above_the_limit_nothing_more_is_read_until_one_is_answered() -> None:
    release = anyio.Semaphore(0)
    running = 0
    full = anyio.Event()

    async def slow(argument: object) -> object:
        nonlocal running
        running += 1
        if running == MAX_CALLS:
            full.set()
        await release.acquire()
        return argument

    async with served(Slow=slow) as (caller, _):
        for _ in range(MAX_CALLS + 1):
            await caller.send("Test.Slow")
        with anyio.fail_after(20):
            await full.wait()
        await anyio.wait_all_tasks_blocked()
        assert running == MAX_CALLS

        release.release()
        await caller.reply()
        await anyio.wait_all_tasks_blocked()
        assert running == MAX_CALLS + 1
        for _ in range(MAX_CALLS):
            release.release()
            await caller.reply()


async def test_a_handler_may_refuse_in_its_own_words() -> None:
    async def refuse(_: object) -> object:
        raise CallError("unknown plugin type: x")

    async with served(Refuse=refuse) as (caller, _):
        seq = await caller.send("Test.Refuse")
        assert await caller.reply() == Reply(seq, None, "unknown plugin type: x")


async def test_a_fault_is_logged_once_and_its_details_stay_here(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: object) -> object:
        raise anyio.BrokenResourceError  # of some other stream, which is the handler's affair

    async def forget(_: object) -> object:
        return None

    async with served(Fail=fail, Forget=forget, Echo=echo) as (caller, _):
        for name in ("Fail", "Forget"):
            seq = await caller.send(f"Test.{name}")
            assert await caller.reply() == Reply(seq, None, "internal error, see the log of the plugin")
        await caller.send("Test.Echo", "still there")
        assert (await caller.reply()).value == "still there"

    failed, forgot = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert failed.exc_info is not None
    assert (failed.getMessage(), forgot.getMessage()) == (
        "Test.Fail failed",
        "Test.Forget answered what cannot be sent",
    )


async def test_calls_are_answered_after_the_caller_has_said_its_last() -> None:
    release = anyio.Event()

    async def slow(argument: object) -> object:
        await release.wait()
        return argument

    async with served(Slow=slow) as (caller, _):
        seq = await caller.send("Test.Slow", "late")
        await caller.stream.send_eof()
        await anyio.wait_all_tasks_blocked()
        release.set()

        assert await caller.reply() == Reply(seq, "late", "")
        await caller.end()


def opening(request: bytes) -> bytes:
    return frames.encode(frames.DATA, frames.SYN, 1, len(request)) + request


RESET = frames.encode(frames.WINDOW_UPDATE, frames.RST, 1, 0)


async def test_when_the_stream_breaks_nobody_waits_for_the_handlers() -> None:
    begun = anyio.Event()

    async def slow(argument: object) -> object:
        begun.set()
        await anyio.sleep_forever()
        return argument

    service = {"Test.Slow": Endpoint(Method(argument=STRING, reply=gotypes.STRING), slow)}
    async with hand_made() as (peer, mux), anyio.create_task_group() as tasks:
        peer.send(opening(Client().call("Test.Slow", gotypes.STRING, "")[1]))
        stream = await mux.accept()
        tasks.start_soon(lambda: serve(stream, service, Room(ROOM), log=LOG))
        await begun.wait()
        peer.send(RESET)


async def test_an_answer_to_a_stream_that_has_broken_is_dropped() -> None:
    async def late(argument: object) -> object:
        peer.send(RESET)
        with anyio.CancelScope(shield=True), suppress(anyio.BrokenResourceError):
            while True:
                await stream.send(b"x")
        return argument

    service = {"Test.Late": Endpoint(Method(argument=STRING, reply=gotypes.STRING), late)}
    async with hand_made() as (peer, mux):
        peer.send(opening(Client().call("Test.Late", gotypes.STRING, "")[1]))
        stream = await mux.accept()
        await serve(stream, service, Room(ROOM), log=LOG)


async def test_a_caller_that_reads_no_answers_is_asked_nothing_more_until_it_does() -> None:
    """Answers would pile up: 100,000 bytes each, and the window has room for two."""
    asked = 0
    full = anyio.Event()

    def repeat(argument: object) -> object:
        nonlocal asked
        asked += 1
        if asked == 3:
            full.set()
        return str(argument) * 100_000

    method = Method(argument=STRING, reply=gotypes.STRING)
    async with pair() as ends, anyio.create_task_group() as tasks:
        ours, theirs = await joined(*ends)
        tasks.start_soon(
            lambda: serve(theirs, {"Test.Repeat": Endpoint(method, repeat)}, Room(ROOM), log=LOG)
        )
        caller = Caller(ours)
        for _ in range(20):
            await caller.send("Test.Repeat", "x")
        await full.wait()
        assert asked == 3

        for _ in range(20):
            assert (await caller.reply()).value == "x" * 100_000
        await ours.aclose()
    assert asked == 20


async def test_calls_that_have_come_at_once_are_answered_in_one_write() -> None:
    """A write to the socket costs more than the rest of a small call."""
    method = Method(argument=STRING, reply=gotypes.STRING)
    async with hand_made() as (peer, mux), anyio.create_task_group() as tasks:
        client = Client()
        calls = [client.call("Test.Echo", gotypes.STRING, text)[1] for text in ("a", "b", "c")]
        peer.send(frames.encode(frames.WINDOW_UPDATE, frames.SYN, 1, 0))
        stream = await mux.accept()
        tasks.start_soon(
            lambda: serve(stream, {"Test.Echo": Endpoint(method, lambda x: x)}, Room(ROOM), log=LOG)
        )
        await anyio.wait_all_tasks_blocked()
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(peer, 100) == frames.encode(frames.WINDOW_UPDATE, frames.ACK, 1, 0)
        peer.send(b"".join(frames.encode(frames.DATA, 0, 1, len(call)) + call for call in calls))

        received = await loop.sock_recv(peer, 4096)

        for piece in frames.Reader().feed(received):
            if isinstance(piece, bytes):
                client.receive_data(piece)
        answers = [client.next_event() for _ in calls]
        assert [answer.value for answer in answers if answer is not NEED_DATA] == ["a", "b", "c"]
        tasks.cancel_scope.cancel()


async def test_what_is_no_call_ends_the_stream_after_running_calls(caplog: pytest.LogCaptureFixture) -> None:
    release = anyio.Event()

    async def slow(argument: object) -> object:
        await release.wait()
        return argument

    async with served(Slow=slow) as (caller, _):
        seq = await caller.send("Test.Slow", "late")
        await caller.stream.send(Encoder().encode((gotypes.STRING, "no header")))
        await anyio.wait_all_tasks_blocked()
        release.set()

        assert await caller.reply() == Reply(seq, "late", "")
        await caller.end()
    assert "net/rpc stream given up: rpc: cannot read a header" in caplog.text


async def test_refused_calls_are_told_why() -> None:
    async with served(Echo=echo) as (caller, _):
        seq = await caller.send("Test.Nope")
        assert await caller.reply() == Reply(seq, None, "rpc: can't find method Test.Nope")


async def test_calls_begun_on_many_streams_and_ended_on_none_have_one_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each call may have 32 MiB; a session must not hold as many of them as it has streams."""
    service = {"Test.Echo": Endpoint(Method(argument=STRING, reply=gotypes.STRING), lambda text: text)}
    room = Room(ROOM)
    async with pair() as (client, server), anyio.create_task_group() as tasks:

        async def begin(size: int) -> tuple[Caller, bytes]:
            """Leave the last byte of a call for later."""
            ours, theirs = await joined(client, server)
            tasks.start_soon(lambda: serve(theirs, service, room, log=LOG))
            caller = Caller(ours)
            request = caller.client.call("Test.Echo", gotypes.STRING, "x" * size)[1]
            await ours.send(request[:-1])
            return caller, request[-1:]

        async def taken(size: int) -> None:
            while room.taken < size:
                await anyio.sleep(0.001)

        first, last_of_first = await begin(ROOM // 2)
        await taken(ROOM // 2)
        second, last_of_second = await begin(ROOM - room.taken - 200)
        await taken(ROOM - 200)
        assert room.taken <= ROOM
        third, _ = await begin(200)
        await third.end()
        assert "net/rpc stream given up: more than 1048576 bytes" in caplog.text

        await first.stream.send(last_of_first)
        assert (await first.reply()).value == "x" * (ROOM // 2)
        fourth, last_of_fourth = await begin(200)
        for caller, last in ((second, last_of_second), (fourth, last_of_fourth)):
            await caller.stream.send(last)
            assert (await caller.reply()).value is not None
        assert room.taken == 0
        for caller in (first, second, fourth):
            await caller.stream.aclose()
