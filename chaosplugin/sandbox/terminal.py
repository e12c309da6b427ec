"""Lines for people: seconds, subject, text; in colour where there is a terminal that wants it."""

import textwrap
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TextIO

WIDTH = 100  # characters of a line, where long texts are wrapped

_INDENT = 22


class Ink(StrEnum):
    """ANSI's codes."""

    NONE = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


class Terminal:
    """Writes to `out`. `elapsed` says how many seconds have gone by."""

    def __init__(self, out: TextIO, environ: Mapping[str, str], elapsed: Callable[[], float]) -> None:
        self._out = out
        self._elapsed = elapsed
        dumb = environ.get("TERM") == "dumb" or bool(environ.get("NO_COLOR"))  # no-color.org: any value
        self._colour = out.isatty() and not dumb

    def say(self, subject: str, text: str, ink: Ink = Ink.NONE) -> None:
        """Write what has just happened to `subject`; a long text goes on in the next lines."""
        first, *more = self._wrap(text)
        head = self._ink(f"{self._elapsed():6.1f} s", Ink.DIM)
        self._write(f"{head}  {subject:<12}{self._ink(first, ink)}")
        for line in more:
            self._write(" " * _INDENT + self._ink(line, ink))

    def title(self, text: str) -> None:
        self._write(f"\n{self._ink(text, Ink.BOLD)}")

    def plain(self, text: str, ink: Ink = Ink.NONE) -> None:
        self._write(self._ink(text, ink))

    def _wrap(self, text: str) -> list[str]:
        room = WIDTH - _INDENT
        return textwrap.wrap(" ".join(text.split()), room, break_on_hyphens=False) or [""]

    def _ink(self, text: str, ink: Ink) -> str:
        return f"\x1b[{ink}m{text}\x1b[0m" if self._colour and ink and text else text

    def _write(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()
