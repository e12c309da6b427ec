"""A private folder for a socket, and the removal of those that dead processes left behind.

A process holds an exclusive lock (flock) on its folder while it lives; the kernel releases it with the
process, however that ends. So a folder whose lock can be had belongs to nobody, whatever pids say. Only
folders that bear our name and belong to our user are looked at, and no symbolic link is ever followed.
"""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "chaosplugin-"
_SOCKET: Final = "socket"
_INNER: Final = "inner"
_TRIES: Final = 8
_MODES: Final = (0o700, 0o710)
_MAX_ENTRIES: Final = 10_000  # of a crowded /tmp; what is left behind goes another time


class PrivateFolder:
    """A new folder in `base`; the lock lives as long as this process or until `remove`.

    It is 0700, or, where a group is let in, 0710.
    Raises OSError where none can be made.
    """

    def __init__(self, base: Path) -> None:
        for _ in range(_TRIES):
            self.path = base / f"{_PREFIX}{os.urandom(6).hex()}"
            self.path.mkdir(0o700)
            if self._lock():
                return
        raise OSError(f"{base}: folders made there vanish")

    @property
    def socket(self) -> Path:
        return self.path / _SOCKET

    @property
    def inner(self) -> Path:
        """Of a socket behind the one that is announced."""
        return self.path / _INNER

    def let_in(self, group: int) -> None:
        """Let a group reach what it may use here; it can neither list nor change. Raises: OSError."""
        os.chown(self.path, -1, group)
        self.path.chmod(0o710)

    def remove(self) -> None:
        for name in (self.socket, self.inner):
            with suppress(FileNotFoundError):
                name.unlink()
        with suppress(OSError):  # somebody put something else there
            self.path.rmdir()
        os.close(self._fd)

    def _lock(self) -> bool:
        """Lock the folder; a sweeper may have seen it first, while it was nobody's."""
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.path.stat().st_ino == os.fstat(self._fd).st_ino:
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(self._fd)
        return False


def share(socket: str, group: int) -> None:
    """Let a group connect to a socket, too. Raises: OSError."""
    os.chown(socket, -1, group)
    Path(socket).chmod(0o660)


def remove_stale(base: Path) -> int:
    """Remove the folders of dead processes in `base`; return how many."""
    removed = 0
    with suppress(OSError), os.scandir(base) as entries:
        for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False):
            if entry.name.startswith(_PREFIX):
                with suppress(OSError):  # locked: alive; or another sweeper was quicker
                    _remove_unless_locked(Path(entry.path))
                    removed += 1
    return removed


def _remove_unless_locked(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) not in _MODES:
            raise PermissionError(f"{folder} is not ours")
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in (_SOCKET, _INNER):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
        folder.rmdir()
    finally:
        os.close(fd)
