"""From a service of proto/ to the handlers of a server: who calls is found out, and errors become a status.

Methods are taken from the service's description, so that none is forgotten and none is spelled twice.
"""

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

_INTERNAL = Rejected(grpc.StatusCode.INTERNAL, "internal error, see the log of the server")

_log = logging.getLogger(__name__)


def handlers(
    service: ServiceDescriptor, callers: Callers, methods: Mapping[str, Unary | Streaming]
) -> grpc.GenericRpcHandler:
    """Bind a method to each name of the service."""
    bound = {
        method.name: _streaming(method, callers, methods[method.name])  # type: ignore[arg-type]
        if method.server_streaming
        else _unary(method, callers, methods[method.name])  # type: ignore[arg-type]
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, bound)


def _unary(
    method: MethodDescriptor, callers: Callers, handle: Unary
) -> "grpc.RpcMethodHandler[bytes, Message]":
    read = _reader(method)

    async def answer(request: bytes, context: Context) -> Message:
        try:
            caller = await callers.identify(context)
            return await handle(read(request), caller)
        except Rejected as rejected:
            await abort(context, rejected)
        except Exception:  # noqa: BLE001  the boundary: a fault in one call must not end the others
            _log.exception("%s failed", method.full_name)
            await abort(context, _INTERNAL)

    return grpc.unary_unary_rpc_method_handler(
        answer, response_serializer=GetMessageClass(method.output_type).SerializeToString
    )


def _streaming(
    method: MethodDescriptor, callers: Callers, handle: Streaming
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    read = _reader(method)

    async def answer(request: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            caller = await callers.identify(context)
            async for message in handle(read(request), caller):
                yield message
        except Rejected as rejected:
            await abort(context, rejected)
        except Exception:  # noqa: BLE001  likewise
            _log.exception("%s failed", method.full_name)
            await abort(context, _INTERNAL)

    return grpc.unary_stream_rpc_method_handler(answer)


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
