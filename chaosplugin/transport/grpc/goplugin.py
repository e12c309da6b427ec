"""The server of go-plugin's gRPC mode, for hosts other than today's Argo Rollouts.

Beside the services of this project it has those that every host expects: health under the name `plugin`,
which is a host's Ping, GRPCController, by which it ends us, GRPCStdio, which carries what the plugin prints,
and GRPCBroker, over which nobody is ever brokered here. The line is written when all of them answer.

The process ends by Shutdown, by SIGTERM or SIGHUP, or when the host that started it is gone.

Source: grpc_server.go, grpc_controller.go, grpc_stdio.go and grpc_broker.go of hashicorp/go-plugin v1.7.0.
"""

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

import anyio
import grpc
from google.protobuf import empty_pb2

from chaosplugin.core.analysis import MetricProvider
from chaosplugin.transport import signals
from chaosplugin.transport._pb import go_plugin_pb2 as pb
from chaosplugin.transport.grpc import metrics
from chaosplugin.transport.grpc.callers import Anybody
from chaosplugin.transport.grpc.dispatch import handlers
from chaosplugin.transport.grpc.mutual import Front, Identity
from chaosplugin.transport.grpc.server import Server, new_server
from chaosplugin.transport.grpc.sockets import bind_socket
from chaosplugin.transport.prints import Prints
from chaosplugin.transport.startup import CannotStartError, Waiting

_HEALTH_NAME = "plugin"
_CHUNK = 1024  # as in Go
_WAITING_PRINTS = 256  # chunks; more is dropped, as nobody may be made to wait who prints
_HOST_CHECK_S = 0.5
_GRACE_S = 0.5  # after Shutdown; a host kills us 2 s after it

log = logging.getLogger(__name__)


class Plugin:
    """One process as a plugin: what it serves, and until when."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._ending = anyio.Event()
        self._why = ""
        self._stdio = _Stdio()
        Prints(waiting.host.prints).add(self._stdio)

    async def serve(self, provider: MetricProvider, clock: Callable[[], datetime]) -> None:
        """Serve until the end; then nothing listens, and no folder is left."""
        made = new_server()
        methods = metrics.MetricMethods(provider, lambda: None).by_name
        made.add_generic_rpc_handlers((handlers(metrics.SERVICE, Anybody(), methods), *self._handlers()))
        services = [service.full_name for service in pb.DESCRIPTOR.services_by_name.values()]
        server = Server(made, (metrics.SERVICE.full_name, *services), also_healthy=(_HEALTH_NAME,))
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(partial(signals.obey, partial(self._end, "a signal came")))
                async with self._listening(made, clock) as certificate:
                    server.set_ready()
                    self._waiting.announce(certificate)
                    tasks.start_soon(self._watch_host)
                    await self._ending.wait()
                    log.info("ending: %s", self._why)
                    await server.stop(_GRACE_S)
                tasks.cancel_scope.cancel()
        finally:
            await server.stop(0)
            self._waiting.close()

    @asynccontextmanager
    async def _listening(self, made: grpc.aio.Server, clock: Callable[[], datetime]) -> AsyncIterator[str]:
        """Listen, by TLS if the host wants it; give what the line says of our certificate."""
        path, client = self._waiting.socket, self._waiting.client_certificate
        if not client:
            bind_socket(made, path, self._waiting.group)
            await made.start()
            yield ""
            return
        identity = Identity(clock())
        try:
            context = identity.context(client)
        except (ssl.SSLError, ValueError) as error:
            raise CannotStartError(f"PLUGIN_CLIENT_CERT is no certificate: {error}") from None
        front = Front(path, behind := self._waiting.inner, context, self._waiting.group)
        bind_socket(made, behind)
        await made.start()
        await front.open()
        try:
            yield identity.announced
        finally:
            front.close()

    def _end(self, why: str) -> None:
        self._why = self._why or why
        self._ending.set()

    async def _watch_host(self) -> None:
        while True:
            await anyio.sleep(_HOST_CHECK_S)
            if self._waiting.host.is_gone():
                self._end("the host is gone")

    # -- go-plugin's services

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        shutdown = grpc.unary_unary_rpc_method_handler(
            self._shutdown,
            request_deserializer=pb.Empty.FromString,
            response_serializer=pb.Empty.SerializeToString,
        )
        stdio = grpc.unary_stream_rpc_method_handler(
            self._stdio.stream,
            request_deserializer=empty_pb2.Empty.FromString,
            response_serializer=pb.StdioData.SerializeToString,
        )
        broker = grpc.stream_stream_rpc_method_handler(
            _broker,
            request_deserializer=pb.ConnInfo.FromString,
            response_serializer=pb.ConnInfo.SerializeToString,
        )
        return (
            grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": shutdown}),
            grpc.method_handlers_generic_handler("plugin.GRPCStdio", {"StreamStdio": stdio}),
            grpc.method_handlers_generic_handler("plugin.GRPCBroker", {"StartStream": broker}),
        )

    async def _shutdown(self, _: pb.Empty, __: object) -> pb.Empty:
        self._end("the host said shutdown")
        return pb.Empty()


class _Stdio:
    """What comes out of fd 1, for the one reader that there is; what nobody takes is dropped."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[bytes](_WAITING_PRINTS)

    def offer(self, data: bytes) -> None:
        for start in range(0, len(data), _CHUNK):
            try:
                self._send.send_nowait(data[start : start + _CHUNK])
            except anyio.WouldBlock:
                return

    async def stream(self, _: empty_pb2.Empty, __: object) -> AsyncIterator[pb.StdioData]:
        while True:
            yield pb.StdioData(channel=pb.StdioData.STDOUT, data=await self._receive.receive())


async def _broker(infos: AsyncIterator[pb.ConnInfo], _: object) -> AsyncIterator[pb.ConnInfo]:
    """Take what the host tells of connections; none is wanted here, and none is offered."""
    async for info in infos:
        log.debug("the host offers connection %d, which is not needed", info.service_id)
    return
    yield pb.ConnInfo()
