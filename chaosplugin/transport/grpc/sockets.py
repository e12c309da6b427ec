"""The unix socket of a server: made under another name, and put in its place once it is listened at.

gRPC itself removes, at its end and before it binds, whatever socket is at the path that it was given, be it
a successor's. So it is given a name that nobody else has; what bears the server's own name is ours to
replace and to remove, and only as long as it is the very socket that we have made.
"""

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

import grpc

from chaosplugin.transport.folder import share

_SUN_PATH = 108  # bytes on Linux, with a NUL at the end
_OTHER = "choose another path"


class OwnSocket:
    """The socket that is at this path now, and is ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is = _identity(path)

    def remove(self) -> None:
        """Remove it, unless another one has taken its place."""
        if _identity(self._path) != self._is:
            return
        aside = _aside(self._path)
        with suppress(FileNotFoundError):
            self._path.replace(aside)
            if _identity(aside) != self._is:  # it was taken in this moment
                with suppress(FileExistsError):
                    self._path.hardlink_to(aside)
            aside.unlink()


def bind_socket(server: grpc.aio.Server, path: str, group: int | None = None) -> OwnSocket:
    """Listen at a socket that only our user, and perhaps a group, can use. Raises: OSError, RuntimeError."""
    place = Path(path)
    _check_free(place)
    aside = _aside(place)
    if len(bytes(aside)) >= _SUN_PATH:
        raise OSError(f"{path}: the folder of a socket has a path of at most {_SUN_PATH - 10} bytes")
    _try(aside)
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{aside}")
    finally:
        os.umask(before)
    try:
        if group is not None:
            share(str(aside), group)
        aside.replace(place)
    except OSError:
        aside.unlink()
        raise
    return OwnSocket(place)


def _try(aside: Path) -> None:
    """Raises: OSError, in words, if no socket can be there; gRPC would only say so."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(str(aside))
        except OSError as error:
            raise OSError(f"{aside.parent}: {error.strerror}") from None
    aside.unlink()


def _aside(path: Path) -> Path:
    """Return a name beside it that nobody else has."""
    return path.with_name(f".{secrets.token_hex(4)}")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _check_free(path: Path) -> None:
    """Let a socket at which nobody listens be replaced. Raises: OSError, if somebody does, or it is none."""
    if not path.exists():
        return
    if not path.is_socket():
        raise OSError(f"what is there is no socket; remove it, or {_OTHER}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except PermissionError:
            raise OSError(f"another user's socket is there; {_OTHER}") from None
    raise OSError(f"another process listens there; end it, or {_OTHER}")
