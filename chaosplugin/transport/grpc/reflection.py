"""Reflection under both of its names: grpcio has v1alpha, newer clients ask for v1; the messages are one."""

from collections.abc import Iterable

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1, V1ALPHA = "grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME


def add(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Tell of these services, and of reflection itself."""
    names = (*services, V1, V1ALPHA)
    servicer = reflection.aio.ReflectionServicer(names)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
            for name in (V1, V1ALPHA)
        )
    )
