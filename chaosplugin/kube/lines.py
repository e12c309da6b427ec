"""Watch streams as lines, lines as events.

Source: Kubernetes API concepts, "Efficient detection of changes"; apimachinery pkg/watch.
"""

from typing import Generic, TypeVar

import msgspec

from chaosplugin.core.objects import Metadata

MAX_LINE = 16 << 20  # bytes

T = TypeVar("T")


class Garbled(Exception):
    """A stream that is not a watch: a line too long, or something else than events."""


class Event(msgspec.Struct, Generic[T]):
    """One line. Of an object that is not read yet, or is none, T is `msgspec.Raw`."""

    type: str
    object: T


class Bookmark(msgspec.Struct):
    """The object of a BOOKMARK: its resourceVersion is the one up to which all has been told."""

    metadata: Metadata


class Lines:
    """Cuts pieces of any size at the ends of lines; a last line that is cut off is dropped."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> bytes:
        """Return the lines that end in this piece, all in one and with their ends.

        Raises:
            Garbled: a line is longer than the limit.
        """
        end = piece.rfind(b"\n") + 1
        whole = b""
        if end:
            whole = piece if end == len(piece) else piece[:end]
            if self._begun:
                whole = b"".join((*self._begun, whole))
                self._begun, self._size = [], 0
        if end < len(piece):
            self._begun.append(piece[end:])
            self._size += len(piece) - end
            if self._size > self._limit:
                raise Garbled(f"a line of more than {self._limit} bytes")
        return whole
