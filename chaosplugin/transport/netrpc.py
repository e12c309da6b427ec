"""The dispatcher: serves net/rpc on one byte stream.

A handler that knows its answer returns it, and it goes out at once: a task for each call would cost more
than most calls. One that has to wait returns a coroutine, which runs in a task of its own, so a quick call
never waits behind a slow one. Answers go out whole.
A handler raises `CallError` to answer its text; if it fails in any other way the caller is told so without
details, which go to the log, once.

When the peer sends no more, calls that are still running are answered before the stream is closed. When the
stream breaks, nobody waits for answers any more: the handlers are cancelled.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from logging import Logger

import anyio
from anyio.abc import ByteStream, TaskGroup

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


async def serve(stream: ByteStream, service: Service, *, log: Logger) -> None:
    """Answer calls until the peer ends the stream, then close it.

    Above MAX_CALLS nothing more is read until one is answered.
    """
    async with stream:
        try:
            await _Connection(stream, service, log).run()
        except* (anyio.BrokenResourceError, anyio.ClosedResourceError) as broken:
            log.debug("net/rpc stream broke: %r", broken)


class _Connection:
    def __init__(self, stream: ByteStream, service: Service, log: Logger) -> None:
        self._stream = stream
        self._service = service
        self._log = log
        self._server = Server({name: endpoint.method for name, endpoint in service.items()})
        self._writing = anyio.Lock(fast_acquire=True)
        self._free = anyio.Semaphore(MAX_CALLS, fast_acquire=True)
        self._unstarted: set[Coroutine[object, object, object]] = set()

    async def run(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                try:
                    await self._read(tasks)
                except RemoteProtocolError as error:
                    self._log.warning("net/rpc stream given up: %s", error)
        finally:
            for coroutine in self._unstarted:  # their tasks were cancelled before they began
                coroutine.close()

    async def _read(self, tasks: TaskGroup) -> None:
        async for data in self._stream:
            self._server.receive_data(data)
            while (event := self._server.next_event()) is not NEED_DATA:
                if self._free.value:  # the way that waits costs more, also where it need not
                    self._free.acquire_nowait()
                else:
                    await self._free.acquire()
                match event:
                    case Call():
                        await self._answer(event, tasks)
                    case Refused():
                        self._log.warning("refused %s: %s", event.service_method, event.error)
                        await self._send_error(event, event.error)
        self._server.receive_eof()

    async def _answer(
        self, call: Call, tasks: TaskGroup, waiting: Coroutine[object, object, object] | None = None
    ) -> None:
        """Answer at once, or else wait for the answer in a task."""
        try:
            if waiting is None:
                value = self._service[call.service_method].handle(call.argument)
            else:
                self._unstarted.discard(waiting)
                value = await waiting
        except CallError as error:
            await self._send_error(call, str(error))
        except Exception:  # noqa: BLE001  the boundary: a fault in one call must not end the others
            self._log.exception("%s failed", call.service_method)
            await self._send_error(call, _INTERNAL)
        else:
            if isinstance(value, Coroutine):
                self._unstarted.add(value)
                tasks.start_soon(self._answer, call, tasks, value)
            else:
                await self._send(call, value)

    async def _send(self, call: Call, value: object) -> None:
        async with self._writing:
            try:
                data = self._server.reply(call, value)
            except LocalProtocolError:
                self._log.exception("%s answered what cannot be sent", call.service_method)
                data = self._server.error(call, _INTERNAL)
            await self._stream.send(data)
        self._free.release()

    async def _send_error(self, call: Call | Refused, text: str) -> None:
        async with self._writing:
            await self._stream.send(self._server.error(call, text or "error without a text"))
        self._free.release()
