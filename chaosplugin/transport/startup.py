"""From exec to the handshake line: what a plugin process does before it imports anything heavy."""

from collections.abc import Mapping
from typing import NamedTuple

from chaosplugin.transport.listener import CannotListenError, Host, Listener, announce, keep_silent, listen
from chaosplugin.wire import handshake
from chaosplugin.wire.errors import ProtocolError

BY_HAND = handshake.BY_HAND
"""What somebody reads who starts the program by hand."""


class CannotStartError(Exception):
    """The host cannot be served; the text is one line for its log."""


class Begun(NamedTuple):
    """A host knows where we listen, and may be connecting by now."""

    listener: Listener
    host: Host
    complaints: tuple[str, ...]
    """what of the host's offer could not be read; for the log"""


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Tell whether a host of Argo Rollouts has started this process as its plugin."""
    return handshake.cookie(environ) is not None


def begin(environ: Mapping[str, str]) -> Begun:
    """Listen, and say where.

    Raises:
        CannotStartError: the host wants what we are not, or there is nowhere to listen.
    """
    offer, listener = _listen(environ, handshake.Protocol.NETRPC)
    return Begun(listener, announce(listener, offer.version), tuple(offer.complaints))


class Waiting(NamedTuple):
    """A host waits for the line of a gRPC server, which is to listen at `socket`."""

    listener: Listener
    host: Host
    version: int
    client_certificate: str
    """PEM of the only one that may connect; "": no TLS"""

    @property
    def socket(self) -> str:
        return self.listener.path

    @property
    def inner(self) -> str:
        """For a socket behind that one."""
        return self.listener.inner

    @property
    def group(self) -> int | None:
        """Of those that may connect beside our own user."""
        return self.listener.group

    def announce(self, certificate: str) -> None:
        """Write the line; `certificate` as it stands there."""
        self.host.tell(handshake.line(self.socket, self.version, handshake.Protocol.GRPC, certificate))

    def close(self) -> None:
        """Leave no folder behind."""
        self.listener.close()


def begin_grpc(environ: Mapping[str, str]) -> Waiting:
    """Find a place for a gRPC server, and say nothing yet.

    Raises:
        CannotStartError: as `begin`.
    """
    offer, listener = _listen(environ, handshake.Protocol.GRPC)
    return Waiting(listener, keep_silent(listener), offer.version, offer.client_certificate)


def _listen(
    environ: Mapping[str, str], protocol: handshake.Protocol
) -> tuple[handshake.Negotiated, Listener]:
    kind = handshake.cookie(environ)
    if kind is not handshake.Kind.METRIC:
        raise CannotStartError(
            f"registered as a {kind} plugin, this is a metric plugin: "
            "name it under metricProviderPlugins in the ConfigMap argo-rollouts-config"
        )
    try:
        return handshake.negotiate(environ, protocol), listen(environ)
    except (ProtocolError, CannotListenError) as error:
        raise CannotStartError(str(error)) from error
