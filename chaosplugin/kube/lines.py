"""Watch streams as lines, lines as events.

Source: Kubernetes API concepts, "Efficient detection of changes"; apimachinery pkg/watch.
"""

from typing import Generic, TypeVar

import msgspec

MAX_LINE = 16 << 20  # bytes

T = TypeVar("T")


class Garbled(Exception):
    """A stream that is not a watch: a line too long, or something else than events."""


class Event(msgspec.Struct, Generic[T]):
    """One line. Of an object that is not read yet, or is none, T is `msgspec.Raw`."""

    type: str
    object: T


class _BookmarkMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class Bookmark(msgspec.Struct):
    """The object of a BOOKMARK: a resourceVersion up to which all has been told."""

    metadata: _BookmarkMetadata

    @property
    def ends_initial_events(self) -> bool:
        return (self.metadata.annotations or {}).get("k8s.io/initial-events-end") == "true"


class Lines:
    """Cuts pieces of any size into whole lines, without their ends; a last one that is cut off is dropped."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._begun: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that end in this piece.

        Raises:
            Garbled: a line is longer than the limit.
        """
        lines = piece.split(b"\n")
        rest = lines.pop()
        if lines and self._begun:
            lines[0] = b"".join((*self._begun, lines[0]))
            self._begun, self._size = [], 0
        if rest:
            self._begun.append(rest)
            self._size += len(rest)
            if self._size > self._limit:
                raise Garbled(f"a line of more than {self._limit} bytes")
        return lines
