r"""How a host and a plugin find each other: cookie and versions in the environment, one line on stdout.

    CORE|APP|NETWORK|ADDRESS|PROTOCOL|SERVERCERT\n      1|1|unix|/tmp/x/socket|netrpc|\n

CORE is go-plugin's own version, always 1; APP the version that both sides know. The host reads the first
line only, cuts it at every `|`, connects once, and takes over. Text in, text out.

Source: server.go and client.go of hashicorp/go-plugin v1.6.3; the cookies are those of argo-rollouts v1.9.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError

COOKIE_KEY: Final = "ARGO_ROLLOUTS_RPC_PLUGIN"
CORE_VERSION: Final = 1
APP_VERSION: Final = 1
MAX_LINE: Final = 4096  # bytes; a path is at most 107, a certificate is sent only to a host that gave its own

_VERSIONS: Final = "PLUGIN_PROTOCOL_VERSIONS"
_CLIENT_CERT: Final = "PLUGIN_CLIENT_CERT"


class Kind(StrEnum):
    """What a host wants of the process; the values are the cookie's."""

    METRIC = "metricprovider"
    STEP = "step"


DISPENSED_AS: Final[Mapping[Kind, str]] = {
    Kind.METRIC: "RpcMetricProviderPlugin",
    Kind.STEP: "RpcStepPlugin",
}
"""The name under which a host of each kind asks for its plugin."""


def cookie(environ: Mapping[str, str]) -> Kind | None:
    """Return what a host wants, or None if no host that we know started this process."""
    try:
        return Kind(environ.get(COOKIE_KEY, ""))
    except ValueError:
        return None


class Protocol(StrEnum):
    """What is spoken after the line; the values are its fifth field."""

    NETRPC = "netrpc"
    GRPC = "grpc"


class Negotiated(NamedTuple):
    """The app version to announce, what of the offer could not be read, and the host's certificate (PEM)."""

    version: int
    complaints: Sequence[str]
    client_certificate: str = ""


def negotiate(environ: Mapping[str, str], protocol: Protocol = Protocol.NETRPC) -> Negotiated:
    """Choose the app version as Go's server does: ours if offered, else ours all the same.

    The host refuses a version that it did not offer, with a message that names both.

    Raises:
        LocalProtocolError: the host wants AutoMTLS in net/rpc; it would talk TLS to a plain socket.
    """
    certificate = environ.get(_CLIENT_CERT, "")
    if certificate and protocol is Protocol.NETRPC:
        raise LocalProtocolError(
            f"{_CLIENT_CERT} is set: this plugin speaks no TLS, turn AutoMTLS off in the host"
        )
    offered = environ.get(_VERSIONS)
    complaints = [
        f"{_VERSIONS} offers {item[:40]!r}, a whole number was expected"
        for item in (offered.split(",") if offered else ())
        if not (item.isascii() and item.isdigit())
    ]
    return Negotiated(APP_VERSION, complaints, certificate)


def client_environment(kind: Kind) -> dict[str, str]:
    """What a host puts into the environment of a plugin."""
    return {
        COOKIE_KEY: kind.value,
        "PLUGIN_MIN_PORT": "10000",
        "PLUGIN_MAX_PORT": "25000",
        _VERSIONS: str(APP_VERSION),
    }


def line(
    path: str, version: int = APP_VERSION, protocol: Protocol = Protocol.NETRPC, certificate: str = ""
) -> str:
    """Return the line, with its newline, that tells a host where we listen.

    A certificate goes only to a host that has given its own: any other would crash (client.go).

    Raises:
        LocalProtocolError: the path would not survive the host's parser.
    """
    if not usable(path):
        raise LocalProtocolError(f"socket path {path!r} cannot stand in a handshake line")
    return f"{CORE_VERSION}|{version}|unix|{path}|{protocol}|{certificate}\n"


def usable(path: str) -> bool:
    """Whether a host's parser gives this path back; `@` would name an abstract socket, open to everybody."""
    return path.isprintable() and path == path.strip() and "|" not in path and not path.startswith("@")


class Address(NamedTuple):
    """Where a plugin listens."""

    version: int
    network: str
    address: str


def parse(text: str) -> Address:
    """Read a plugin's line as Go's client does; only unix sockets and net/rpc without TLS are accepted.

    Raises:
        RemoteProtocolError: it is no such line.
    """
    fields = text[:MAX_LINE].strip().split("|")
    if len(fields) < 4:
        raise RemoteProtocolError(f"not a handshake line: {text[:200]!r}")
    core, version, network, address, *rest = fields
    if core != str(CORE_VERSION):
        raise RemoteProtocolError(f"go-plugin version {core[:40]!r}, only {CORE_VERSION} is spoken")
    if version != str(APP_VERSION):
        raise RemoteProtocolError(f"plugin version {version[:40]!r}, only {APP_VERSION} was offered")
    if network != "unix":
        raise RemoteProtocolError(f"network {network[:40]!r}, only unix is spoken")
    protocol = rest[0] if rest else "netrpc"
    if protocol != "netrpc":
        raise RemoteProtocolError(f"protocol {protocol[:40]!r}, only netrpc is spoken")
    if len(rest) > 1 and rest[1]:
        raise RemoteProtocolError("the plugin sent a certificate, none was asked for")
    return Address(APP_VERSION, network, address)


BY_HAND: Final = f"""\
chaosplugin is a plugin of Argo Rollouts: its controller starts this program and talks to it.
Nothing happens when it is started by hand ({COOKIE_KEY} is not set).

  chaosplugin demo      shows a canary being gated by an experiment, without a cluster
  chaosplugin --help    tells what else there is
"""
"""For somebody who starts the program in a terminal; to stderr, with exit code 1."""
