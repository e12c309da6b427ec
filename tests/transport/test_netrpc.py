import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream, SocketStream, TaskGroup

from chaosplugin.transport.netrpc import MAX_CALLS, CallError, Endpoint, serve
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.shapes import ANY, STRING
from chaosplugin.wire.netrpc import NEED_DATA, Client, Method, Reply

LOG = logging.getLogger("test")
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
    ends = [await SocketStream.from_socket(end) for end in socket.socketpair()]
    async with ends[1], anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: serve(ends[0], service, log=LOG))
        yield Caller(ends[1]), tasks
        await ends[1].aclose()


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


class Breaking(ByteStream):
    """A stream on which one request comes in; then reading breaks, or writing the answer."""

    def __init__(self, request: bytes, *, reading: bool) -> None:
        self._requests = [request]
        self._reading = reading
        self.broken = anyio.Event()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._requests:
            return self._requests.pop()
        if self._reading:
            await self.broken.wait()
            raise anyio.BrokenResourceError
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, item: bytes) -> None:
        raise anyio.BrokenResourceError

    async def send_eof(self) -> None:
        raise anyio.BrokenResourceError

    async def aclose(self) -> None:
        pass


async def test_when_the_stream_breaks_nobody_waits_for_the_handlers() -> None:
    stream = Breaking(Client().call("Test.Slow", gotypes.STRING, "")[1], reading=True)

    async def slow(argument: object) -> object:
        stream.broken.set()
        await anyio.sleep_forever()
        return argument

    endpoint = Endpoint(Method(argument=STRING, reply=gotypes.STRING), slow)
    with anyio.fail_after(20):
        await serve(stream, {"Test.Slow": endpoint}, log=LOG)


async def test_an_answer_that_cannot_be_written_ends_the_connection() -> None:
    stream = Breaking(Client().call("Test.Echo", gotypes.STRING, "")[1], reading=False)

    endpoint = Endpoint(Method(argument=STRING, reply=gotypes.STRING), echo)
    with anyio.fail_after(20):
        await serve(stream, {"Test.Echo": endpoint}, log=LOG)


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
