"""The port of a server, tried before gRPC gets it: gRPC says that it cannot be had, and not why.

Of the addresses of one name gRPC would also be content with those that are left, so that some callers of
`localhost` reached whoever has the other one.
"""

import errno
import os
import socket
from collections.abc import Sequence

import grpc

from chaosplugin.transport.grpc.addresses import Address

_Where = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]  # as getaddrinfo has it
_Place = tuple[int, _Where]
"""Family and address of a socket"""
_SEVERAL = {"localhost": ("127.0.0.1", "::1"), "::": ("::", "0.0.0.0")}  # noqa: S104 - as gRPC has it
_NOT_OF_THIS_HOST = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_PRIVILEGED = 1024
_ALL = "0.0.0.0 for all"


def bind_port(server: grpc.aio.Server, address: Address, credentials: grpc.ServerCredentials | None) -> str:
    """Listen there, with TLS or without it; return the address, a free port in the place of 0.

    Raises: OSError, in words for the operator; RuntimeError, if the port was taken in this very moment.
    """
    check(address)
    if credentials is None:
        port = server.add_insecure_port(address.target)
    else:
        port = server.add_secure_port(address.target, credentials)
    return address._replace(port=port).target


def check(address: Address) -> None:
    """Raises: OSError, in words, if one address of this name is taken, or none of them is this host's."""
    places = _places(address)
    absent = [place for place in places if not _try(*place)]
    if len(absent) == len(places):
        raise OSError(f"{address.host} is no address of this host; choose one that is, or {_ALL}")


def _places(address: Address) -> Sequence[_Place]:
    hosts = _SEVERAL.get(address.host, (address.host,))
    try:
        found = [
            each for host in hosts for each in socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
        ]
    except OSError as error:
        raise OSError(
            f"{address.host}: {error.strerror}; choose an address of this host, or {_ALL}"
        ) from None
    return [(family, where) for family, _, _, _, where in found]


def _try(family: int, where: _Where) -> bool:
    """Return whether this is an address of ours. Raises: OSError, in words, if it cannot be listened at."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
            probe.bind(where)
    except OSError as error:
        if error.errno in _NOT_OF_THIS_HOST:
            return False
        raise OSError(_words(error, Address(host=str(where[0]), port=int(where[1])))) from None
    return True


def _words(error: OSError, at: Address) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"something listens at {at.target} already; end it, or choose another port"
    if error.errno == errno.EACCES and at.port < _PRIVILEGED:
        return f"{error.strerror}; choose a port from {_PRIVILEGED} up, or grant CAP_NET_BIND_SERVICE"
    return error.strerror or os.strerror(error.errno or 0)
