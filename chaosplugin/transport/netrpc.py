"""The dispatcher: serves net/rpc on one stream.

A handler that knows its answer returns it, and it goes out at once, within the callback that has read the
call from the socket: a task would cost more than most calls. One that has to wait returns a coroutine, which
runs in a task of its own, so a quick call never waits behind a slow one. Answers go out whole.
A handler raises `CallError` to answer its text; if it fails in any other way the caller is told so without
details, which go to the log, once.

When the peer sends no more, calls that are still running are answered before the stream is closed. When the
stream breaks, nobody waits for answers any more: the handlers are cancelled.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from logging import Logger
from types import CoroutineType

import anyio

from chaosplugin.transport.stream import Stream
from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.netrpc import NEED_DATA, Call, Method, Refused, Server

MAX_CALLS = 256  # at once; a controller has one for each of its workers, 30 by default

_INTERNAL = "internal error, see the log of the plugin"


class CallError(Exception):
    """What a handler raises to answer an error; the caller gets the text as it is."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and what answers it: `handle` gets an argument of the method's shape.

    It returns the answer or, which may take its time, a coroutine that returns it.
    """

    method: Method
    handle: Callable[[object], object]


Service = Mapping[str, Endpoint]


@dataclass(slots=True)
class Room:
    """For calls that have not come whole, over all streams of a session; in bytes."""

    size: int
    taken: int = 0


async def serve(stream: Stream, service: Service, room: Room, *, log: Logger) -> None:
    """Answer calls until the peer ends the stream, or uses up the `room`; then close it.

    Above MAX_CALLS, or while the peer does not read the answers, no more calls are taken up.
    """
    async with stream:
        try:
            await _Connection(stream, service, room, log).run()
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError) as broken:
            log.debug("net/rpc stream broke: %r", broken)


class _Connection:
    """The `Sink` of one stream."""

    def __init__(self, stream: Stream, service: Service, room: Room, log: Logger) -> None:
        self._stream = stream
        self._service = service
        self._room = room
        self._held = 0
        self._log = log
        self._server = Server({name: endpoint.method for name, endpoint in service.items()})
        self._tasks = asyncio.TaskGroup()
        """asyncio's own: a task of anyio's costs three times as much, a tenth of what a bridge adds"""
        self._running: dict[Coroutine[object, object, object], asyncio.Task[None]] = {}
        self._sent_all = False
        self._over = anyio.Event()

    async def run(self) -> None:
        try:
            async with self._tasks:
                self._stream.attach(self)
                await self._over.wait()
        finally:
            self._room.taken -= self._held
            for coroutine in self._running:  # their tasks were cancelled before they began
                coroutine.close()
        await self._stream.drain()

    # -- called by the stream

    def receive(self, data: bytes) -> None:
        self._server.receive_data(data)
        self._go_on()

    def drained(self) -> None:
        self._go_on()

    def ended(self, broken: str) -> None:
        if self._over.is_set():
            return
        if broken:
            self._log.debug("net/rpc stream broke: %s", broken)
            self._over.set()
            for task in self._running.values():
                task.cancel()
        else:
            self._sent_all = True
            self._go_on()

    # -- calls

    def _go_on(self) -> None:
        """Take up the calls that have come whole, as long as more may be running and answers are taken."""
        if self._over.is_set():
            return
        try:
            self._take_up_all()
        except RemoteProtocolError as error:
            self._give_up(error)
        held = self._server.held
        if held != self._held:
            self._room.taken += held - self._held
            self._held = held
            if self._room.taken > self._room.size:
                self._give_up(f"more than {self._room.size} bytes of calls that have not come whole")

    def _give_up(self, why: object) -> None:
        self._log.warning("net/rpc stream given up: %s", why)
        self._stream.hold()
        self._over.set()

    def _take_up_all(self) -> None:
        while len(self._running) < MAX_CALLS and not self._stream.full:
            event = self._server.next_event()
            if event is NEED_DATA:
                if self._sent_all:
                    self._server.receive_eof()
                    self._over.set()
                self._stream.resume()
                return
            self._take_up(event)
        self._stream.hold()

    def _take_up(self, event: Call | Refused) -> None:
        if isinstance(event, Refused):
            self._log.warning("refused %s: %s", event.service_method, event.error)
            self._send(self._server.error(event, event.error))
            return
        try:
            value = self._service[event.service_method].handle(event.argument)
        except Exception as error:  # noqa: BLE001  the boundary: a fault in one call must not end the others
            self._fail(event, error)
            return
        if isinstance(value, CoroutineType):
            self._running[value] = self._tasks.create_task(self._wait(event, value))
        else:
            self._reply(event, value)

    async def _wait(self, call: Call, coroutine: Coroutine[object, object, object]) -> None:
        try:
            value = await coroutine
        except Exception as error:  # noqa: BLE001  as above
            self._fail(call, error)
        else:
            self._reply(call, value)
        finally:
            del self._running[coroutine]
        self._go_on()

    def _reply(self, call: Call, value: object) -> None:
        try:
            data = self._server.reply(call, value)
        except LocalProtocolError:
            self._log.exception("%s answered what cannot be sent", call.service_method)
            data = self._server.error(call, _INTERNAL)
        self._send(data)

    def _fail(self, call: Call, error: Exception) -> None:
        if isinstance(error, CallError):
            text = str(error) or "error without a text"
        else:
            self._log.error("%s failed", call.service_method, exc_info=error)
            text = _INTERNAL
        self._send(self._server.error(call, text))

    def _send(self, data: bytes) -> None:
        try:  # noqa: SIM105  each answer would pay for what `suppress` costs
            self._stream.write(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # `ended` tells it, or has
