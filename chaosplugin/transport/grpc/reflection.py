"""Reflection under both of its names: grpcio has v1alpha, newer clients ask for v1; the messages are one."""

from collections.abc import AsyncIterator, Iterable

import grpc
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection, reflection_pb2

from chaosplugin.transport.grpc.callers import Context
from chaosplugin.transport.grpc.dispatch import Places
from chaosplugin.transport.grpc.status import Rejected, abort

_MOST = 64  # calls at a time
V1, V1ALPHA = "grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME


def add(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Tell of these services, and of reflection itself."""
    names = (*services, V1, V1ALPHA)
    servicer = reflection.aio.ReflectionServicer(names)
    places = Places(_MOST)

    async def tell(requests: AsyncIterator[Message], context: Context) -> AsyncIterator[Message]:
        try:
            with places:
                async for response in servicer.ServerReflectionInfo(requests, context):
                    yield response
        except Rejected as rejected:
            await abort(context, rejected)

    method = grpc.stream_stream_rpc_method_handler(
        tell,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
            for name in (V1, V1ALPHA)
        )
    )
