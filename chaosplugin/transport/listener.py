"""Where the host finds this process: a unix socket in a private folder, and the line that says so.

Nothing but the cheapest of the standard library is imported here, because this is all that stands between
exec and the handshake line: the host waits, and connects as soon as it has read it. It may: the socket
listens before the line is out, and its queue holds the host until the loop runs.

After the line fd 1 belongs to nobody: the host throws away what comes there, and hangs a writer for ever
after a line of 64 KiB. So it becomes a pipe of our own, and the host's end is kept out of reach of
child processes: one that kept it open would make the host wait for it after our end.
"""

import atexit
import os
import select
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chaosplugin.transport.folder import PrivateFolder, remove_stale, share
from chaosplugin.wire import handshake

_SUN_PATH: Final = 108  # bytes on Linux, with a NUL at the end
_QUEUE: Final = 16
_GROUP: Final = "PLUGIN_UNIX_SOCKET_GROUP"
_GROUPS: Final = "/etc/group"
_MAX_GROUP: Final = (1 << 32) - 2

END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class CannotListenError(Exception):
    """No folder was good for a socket; the text names each and says why."""


class Listener:
    """A listening socket. `announce` tells the host; `close` leaves nothing behind.

    It is its owner's, and the group's, if the host has named one.
    """

    def __init__(self, folder: PrivateFolder, group: int | None = None) -> None:
        self._folder = folder
        self.group = group
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.bind(os.fspath(folder.socket))
            folder.socket.chmod(0o600)
            if group is not None:
                folder.let_in(group)
                share(self.path, group)
            self.socket.listen(_QUEUE)
            self.socket.settimeout(0)
        except OSError:
            self.close()
            raise

    @property
    def path(self) -> str:
        return os.fspath(self._folder.socket)

    @property
    def inner(self) -> str:
        """Another name in the folder, for a socket behind the one that is announced."""
        return os.fspath(self._folder.inner)

    def leave(self) -> None:
        """Let another server have the socket's name."""
        self._folder.socket.unlink()

    def remove_stale_neighbours(self) -> int:
        """Remove what dead processes left where we are; return how many."""
        return remove_stale(self._folder.path.parent)

    def close(self) -> None:
        """Stop listening and remove the folder; again: nothing."""
        if self.socket.fileno() >= 0:
            self.socket.close()
            self._folder.remove()


def listen(environ: Mapping[str, str]) -> Listener:
    """Listen in PLUGIN_UNIX_SOCKET_DIR, else TMPDIR, else /tmp: the first where a socket can be.

    PLUGIN_UNIX_SOCKET_GROUP, a number or a name, may connect, too: a host that runs as another user is in it.

    Raises:
        CannotListenError: none of them will do, or there is no such group.
    """
    group = _group(environ.get(_GROUP, ""))
    refused = []
    for base in (environ.get("PLUGIN_UNIX_SOCKET_DIR"), environ.get("TMPDIR"), "/tmp"):  # noqa: S108  the folder in it is private
        if not base:
            continue
        length = len(os.fsencode(base)) + len("/chaosplugin-000000000000/socket") + 1
        if length > _SUN_PATH:
            refused.append(f"{base}: {length} bytes with the socket's name, a socket's path has {_SUN_PATH}")
        elif not handshake.usable(base):
            refused.append(f"{base!r}: the host could not read this path in the handshake line")
        else:
            try:
                return Listener(PrivateFolder(Path(base)), group)
            except OSError as error:
                refused.append(f"{base}: {error.strerror or error}")
    raise CannotListenError("no folder for a socket; " + "; ".join(refused))


def _group(text: str) -> int | None:
    """Return the number of a group; a name is looked up as Go does without a C library: in /etc/group.

    Raises: CannotListenError.
    """
    if not text:
        return None
    found = text
    if not (text.isascii() and text.isdigit()):
        try:
            lines = Path(_GROUPS).read_text(errors="replace").splitlines()
        except OSError as error:
            raise CannotListenError(
                f"{_GROUP}={text[:64]}: {_GROUPS}: {error.strerror}; give its number"
            ) from None
        entries = (line.split(":") for line in lines)
        found = next((entry[2] for entry in entries if entry[0] == text and len(entry) > 2), "")
    if not (found.isascii() and found.isdigit()) or int(found[:20]) > _MAX_GROUP:
        raise CannotListenError(f"{_GROUP}={text[:64]}: no such group in {_GROUPS}, and no number of one")
    return int(found)


class Host:
    """The process that started this one, as far as the kernel tells of it.

    `prints` is the end to read of the pipe that is fd 1 from now on.
    """

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._stdout = os.dup(1)
        self._stderr = os.dup(2)
        self.prints, writing = os.pipe()
        os.dup2(writing, 1)
        os.close(writing)

    def tell(self, line: str) -> None:
        """Write to the host's end of what was fd 1."""
        os.write(self._stdout, line.encode())

    def is_gone(self) -> bool:
        """Whether it has ended: we have another parent, or had from the start, and nobody reads our pipes."""
        if os.getppid() != self._parent:
            return True
        poll = select.poll()
        poll.register(self._stdout, 0)
        poll.register(self._stderr, 0)
        return sum(bool(event & select.POLLERR) for _, event in poll.poll(0)) == 2


def announce(listener: Listener, version: int) -> Host:
    """Write the handshake line to fd 1, and take fd 1 away from the host.

    From here on END_SIGNALS wait until `goplugin.serve` takes them: the host may end us while we import.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    atexit.register(listener.close)  # whatever else fails before there is a server
    os.write(1, handshake.line(listener.path, version).encode())
    return Host()


def keep_silent(listener: Listener) -> Host:
    """Take fd 1 away from the host before the line is written, and leave the socket's name to another server.

    END_SIGNALS wait here, too: `Host.tell` is to follow, when that server answers.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
    atexit.register(listener.close)
    listener.leave()
    return Host()
