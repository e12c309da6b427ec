"""From exec to the handshake line: what a plugin process does before it imports anything heavy."""

from collections.abc import Mapping
from typing import NamedTuple

from chaosplugin.transport.listener import CannotListenError, Host, Listener, announce, listen
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
    kind = handshake.cookie(environ)
    if kind is not handshake.Kind.METRIC:
        raise CannotStartError(
            f"registered as a {kind} plugin, this is a metric plugin: "
            "name it under metricProviderPlugins in the ConfigMap argo-rollouts-config"
        )
    try:
        offer = handshake.negotiate(environ)
        listener = listen(environ)
    except (ProtocolError, CannotListenError) as error:
        raise CannotStartError(str(error)) from error
    return Begun(listener, announce(listener, offer.version), tuple(offer.complaints))
