"""A gRPC server: where it listens, how much it bears, and how it ends.

The order of the end: health says NOT_SERVING and nothing new begins, streams are closed, calls that are
under way get their time, then connections are cut.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio
import grpc

from chaosplugin.transport.grpc import health, reflection
from chaosplugin.transport.grpc.addresses import Listening
from chaosplugin.transport.grpc.callers import Anybody, Callers, Certified, LocalOr, parse_allowed
from chaosplugin.transport.grpc.credentials import CannotServeError, ServerCertificate
from chaosplugin.transport.grpc.dispatch import handlers
from chaosplugin.transport.grpc.ports import bind_port
from chaosplugin.transport.grpc.sockets import OwnSocket, bind_socket

MAX_MESSAGE = 32 << 20  # as in net/rpc
_MAX_CALLS = 4096  # at a time, streams among them; more than all services bear
_MAX_HEALTH_CALLS = 256
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_concurrent_streams", 1024),  # of one connection
    # Beyond 1,000 calls that we have not seen yet gRPC would cancel some at random, without a word of ours.
    ("grpc.server.max_pending_requests", _MAX_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", 2 * _MAX_CALLS),
    ("grpc.max_allowed_incoming_connections", 4096),
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.server_handshake_timeout_ms", 10_000),  # for whoever opens a connection and says nothing
    ("grpc.keepalive_time_ms", 30_000),  # a peer that is gone is found out
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients may look after us likewise
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),  # a second server at the same port is a mistake
)


def callers(listening: Listening, tokens: Callers | None) -> Callers:
    """Choose who is believed; `tokens` reviews those of Kubernetes."""
    if tokens is not None:
        return LocalOr(tokens)
    if listening.client_ca is not None:
        return LocalOr(Certified(parse_allowed(listening.allowed)))
    return Anybody()


class Server:
    """What is being served. `health` knows the names of services; "" is the whole."""

    def __init__(
        self, server: grpc.aio.Server, services: Iterable[str], also_healthy: Iterable[str] = ()
    ) -> None:
        self._server = server
        self.targets: list[str] = []
        """where it listens, as gRPC writes it"""
        self._health = health.HealthMethods(("", *services, *also_healthy))
        methods = self._health.by_name
        server.add_generic_rpc_handlers((handlers(health.SERVICE, Anybody(), methods, _MAX_HEALTH_CALLS),))
        reflection.add(server, (*services, health.SERVICE.full_name))

    def set_ready(self) -> None:
        """Say SERVING."""
        self._health.set(serving=True)

    def set_ending(self) -> None:
        """Say NOT_SERVING, for good."""
        self._health.set(serving=False)

    async def stop(self, grace: float) -> None:
        """Take no more calls, and wait so many seconds for those that are under way."""
        with anyio.CancelScope(shield=True):
            await self._server.stop(grace)


def new_server() -> grpc.aio.Server:
    """Make a server that bears what a server has to."""
    return grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_MAX_CALLS)


@asynccontextmanager
async def serving(
    listening: Listening,
    bound: Iterable[grpc.GenericRpcHandler],
    services: Iterable[str],
) -> AsyncIterator[Server]:
    """Serve at all addresses; afterwards nothing listens and no socket is left.

    Raises: CannotServeError.
    """
    made = new_server()
    made.add_generic_rpc_handlers(tuple(bound))
    server = Server(made, tuple(services))
    own: list[OwnSocket] = []
    try:
        for address in listening.addresses:
            try:
                if address.path:
                    own.append(bind_socket(made, address.path, listening.socket_group))
                    server.targets.append(address.target)
                else:
                    server.targets.append(bind_port(made, address, _credentials(listening)))
            except (RuntimeError, OSError) as error:
                raise CannotServeError(f"cannot listen at {address.target}: {error}") from None
        await made.start()
        yield server
    finally:
        await server.stop(0)
        for each in own:
            each.remove()


def _credentials(listening: Listening) -> grpc.ServerCredentials | None:
    if listening.certificate is None or listening.key is None:
        return None
    return ServerCertificate(listening.certificate, listening.key, listening.client_ca).credentials()
