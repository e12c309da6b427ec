"""Imports that take their time, in a thread, while others are served.

Who is cancelled meanwhile does not wait for them: a host kills a plugin that has not ended two seconds after
it was told to, and on a busy machine the libraries of Kubernetes take as long.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import anyio


async def import_modules(*names: str) -> None:
    """Import modules, in their order. Cancelled, it ends at once, and its thread at the next module."""
    loading = _Loading()
    _watch_imports()
    try:
        await anyio.to_thread.run_sync(loading.load, names, abandon_on_cancel=True)
    finally:
        loading.abandoned = True


class _Abandoned(BaseException):
    """Nobody waits for this import any more; none of those who try an import, and do without, takes it."""


class _Loading:
    """One import with all that it imports."""

    def __init__(self) -> None:
        self.abandoned = False

    def load(self, names: Sequence[str]) -> None:
        _here.loading = self
        try:
            for name in names:
                importlib.import_module(name)
        except _Abandoned:
            pass
        finally:
            _here.loading = None


class _Here(threading.local):
    loading: _Loading | None = None


class _Finder:
    """Finds nothing, and ends what was abandoned."""

    def find_spec(
        self, _: str, __: Sequence[str] | None = None, ___: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if _here.loading is not None and _here.loading.abandoned:
            raise _Abandoned
        return None


_here = _Here()
_finder = _Finder()


def _watch_imports() -> None:
    """Be asked before every module; for good, as who is just being asked would miss one that follows."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
