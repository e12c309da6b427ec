"""From a service of proto/ to the handlers of a server: who calls is found out, and errors become a status.

Methods are taken from the service's description, so that none is forgotten and none is spelled twice.

The number of calls at a time is bounded, so nobody may keep one open at no cost: who calls is known before
a request is taken in, which has to come within a time, as an answer has to be taken. To that end all
methods are streams to gRPC; on the wire it is the same.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chaosplugin.transport.grpc.callers import Caller, Callers, Context
from chaosplugin.transport.grpc.status import Rejected, abort

Unary = Callable[[Any, Caller], Awaitable[Message]]
Streaming = Callable[[Any, Caller], AsyncIterator[bytes]]
"""yields messages that are serialised already: many readers get the same"""

_REQUEST_S = 10.0  # for the request to come, once the call is there
_TAKEN_S = 20.0  # for an answer to be taken
_IDLE_S = 60.0  # for the next request of a stream; Argo asks every 15 s
_MOST_KEPT = 512  # streams of requests; whoever finds no place makes call by call
_INTERNAL = Rejected(grpc.StatusCode.INTERNAL, "internal error, see the log of the server")

_log = logging.getLogger(__name__)


class Places:
    """How many calls there may be at a time of what shares them."""

    def __init__(self, most: int) -> None:
        self._free = most

    def __enter__(self) -> None:
        """Raises: Rejected, if there are as many."""
        if self._free <= 0:
            raise Rejected(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls of this sort at a time")
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


class Kept:
    """Streams of requests, one after the other, which would wait for the next one when the server ends."""

    def __init__(self) -> None:
        self.places = Places(_MOST_KEPT)
        self._waits: set[asyncio.Timeout] = set()
        self._ending = False

    def end(self) -> None:
        """End each of them as soon as no request of it is under way."""
        self._ending = True
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(0)

    async def next(self, context: Context) -> bytes | None:
        """Return the next request, or None where none comes."""
        if self._ending:
            return None
        wait = asyncio.timeout(_IDLE_S)
        self._waits.add(wait)
        try:
            async with wait:
                request = await context.read()
        except TimeoutError:
            return None
        finally:
            self._waits.discard(wait)
        if not isinstance(request, bytes):  # whoever asked is done
            return None
        return request


def handlers(
    service: ServiceDescriptor,
    callers: Callers,
    methods: Mapping[str, Unary | Streaming],
    most: int = 1024,
    kept: Kept | None = None,
) -> grpc.GenericRpcHandler:
    """Bind a method to each name of the service, which bears so many calls at a time.

    One that takes a stream of requests is called for each of them.
    """
    places, kept = Places(most), kept or Kept()
    bound = {
        method.name: _handler(method, callers, methods[method.name], places, kept)
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, bound)


def _handler(
    method: MethodDescriptor, callers: Callers, handle: Unary | Streaming, places: Places, kept: Kept
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    read = _reader(method)

    async def attend(context: Context) -> None:
        with places:
            caller = await callers.identify(context)
            request = read(await _request(context))
            if method.server_streaming:
                async for message in handle(request, caller):  # type: ignore[union-attr]
                    await context.write(message)  # type: ignore[arg-type]
            else:
                await _write(context, await handle(request, caller))  # type: ignore[misc]

    async def attend_each(context: Context) -> None:
        with kept.places:
            await callers.identify(context)
            request: bytes | None = await _request(context)
            while request is not None:
                with places:
                    caller = await callers.identify(context)  # who is not let in any more is found out
                    await _write(context, await handle(read(request), caller))  # type: ignore[misc]
                request = await kept.next(context)

    attended = attend_each if method.client_streaming else attend

    async def answer(_: object, context: Context) -> None:
        try:
            await attended(context)
        except Rejected as rejected:
            await abort(context, rejected)
        except Exception:  # noqa: BLE001  the boundary: a fault in one call must not end the others
            _log.exception("%s failed", method.full_name)
            await abort(context, _INTERNAL)

    return grpc.stream_stream_rpc_method_handler(answer)


async def _write(context: Context, answered: Message) -> None:
    try:
        async with asyncio.timeout(_TAKEN_S):
            await context.write(answered.SerializeToString())  # type: ignore[arg-type]
    except TimeoutError:
        raise asyncio.CancelledError from None  # gRPC sends no status behind an answer that is not taken


async def _request(context: Context) -> bytes:
    try:
        async with asyncio.timeout(_REQUEST_S):
            request = await context.read()
    except TimeoutError:
        text = f"no request came within {_REQUEST_S:g} s"
        raise Rejected(grpc.StatusCode.DEADLINE_EXCEEDED, text) from None
    if not isinstance(request, bytes):
        raise Rejected(grpc.StatusCode.INVALID_ARGUMENT, "a request is wanted")
    return request


def _reader(method: MethodDescriptor) -> Callable[[bytes], Message]:
    """Read requests here: gRPC would read them before anybody knows who calls, and log each that is none."""
    message = GetMessageClass(method.input_type)

    def read(request: bytes) -> Message:
        try:
            return message.FromString(request)
        except DecodeError:
            text = f"the request is no {method.input_type.full_name}"
            raise Rejected(grpc.StatusCode.INVALID_ARGUMENT, text) from None

    return read
