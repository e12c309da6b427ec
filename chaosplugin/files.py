"""Files that somebody else replaces while we run: certificates, tokens, kubeconfigs."""

from collections.abc import Iterable
from pathlib import Path

Version = tuple[tuple[int, int, int] | None, ...]
"""Of each file its inode, time and size; None where it is not there, or cannot be looked at."""


def version(paths: Iterable[str | Path]) -> Version:
    """Return what is another one once one of these files is.

    A Secret's and a ConfigMap's are links that are swapped, so that the inode tells, where tools that keep
    time and size would not.
    """
    return tuple(map(_state, paths))


def _state(path: str | Path) -> tuple[int, int, int] | None:
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size
