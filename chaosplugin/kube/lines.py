"""Watch streams as lines, lines as events.

Source: Kubernetes API concepts, "Efficient detection of changes"; apimachinery pkg/watch.
"""

from collections.abc import AsyncIterator

import msgspec

MAX_LINE = 16 << 20  # bytes


class Garbled(Exception):
    """A stream that is not a watch: a line too long, or something else than events."""


class Line(msgspec.Struct):
    """One event; `object` is decoded once it is known what it is."""

    type: str
    object: msgspec.Raw


class _BookmarkMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class Bookmark(msgspec.Struct):
    """The object of a BOOKMARK: a resourceVersion up to which all has been told."""

    metadata: _BookmarkMetadata

    @property
    def ends_initial_events(self) -> bool:
        return (self.metadata.annotations or {}).get("k8s.io/initial-events-end") == "true"


async def split_lines(pieces: AsyncIterator[bytes], limit: int = MAX_LINE) -> AsyncIterator[bytes]:
    """Yield whole lines without their ends; a last line that was cut off is dropped.

    Raises:
        Garbled: a line is longer than `limit`.
    """
    begun: list[bytes] = []
    size = 0
    async for piece in pieces:
        first, *others = piece.split(b"\n")
        begun.append(first)
        size += len(first)
        for other in others:
            yield b"".join(begun)
            begun, size = [other], len(other)
        if size > limit:
            raise Garbled(f"a line of more than {limit} bytes")
