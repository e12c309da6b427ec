"""Frames of yamux: 12 bytes of header, and a body if the frame is Data.

    byte 0      version, always 0
    byte 1      kind: 0 Data, 1 WindowUpdate, 2 Ping, 3 GoAway
    bytes 2-3   flags: 1 SYN, 2 ACK, 4 FIN, 8 RST, in any combination
    bytes 4-7   stream id; 0 for Ping and GoAway
    bytes 8-11  length: of the body (Data), window delta (WindowUpdate), opaque id (Ping), code (GoAway)

All numbers are big-endian. Source: spec.md and const.go of hashicorp/yamux v0.1.2.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple, NewType

from chaosplugin.wire.errors import RemoteProtocolError

StreamId = NewType("StreamId", int)

_LAYOUT: Final = Struct(">BBHII")
HEADER_SIZE: Final = _LAYOUT.size

# Plain numbers: these are compared for every frame.
DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8


class GoAwayCode(IntEnum):
    """Why an end opens or accepts nothing more; anything but NORMAL ends the session at once."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


class Header(NamedTuple):
    """A header without its version."""

    kind: int
    flags: int
    stream_id: StreamId
    length: int


def encode(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Return the 12 bytes of a header."""
    return _LAYOUT.pack(0, kind, flags, stream_id, length)


def decode(data: bytes | bytearray | memoryview, offset: int = 0) -> Header:
    """Read the header at `offset`.

    Raises:
        RemoteProtocolError: another version or kind. Nothing is owed to the peer: it does not speak yamux.
    """
    version, kind, flags, stream_id, length = _LAYOUT.unpack_from(data, offset)
    if version:
        raise RemoteProtocolError(f"yamux version {version}, only 0 is spoken")
    if kind > GO_AWAY:
        raise RemoteProtocolError(f"yamux frame of kind {kind}, only 0 to {GO_AWAY} exist")
    return Header(kind, flags, StreamId(stream_id), length)


class Reader:
    """Cuts what a socket gives into headers and pieces of bodies.

    A body is passed on as it comes, so nothing but a partial header is ever held back.
    """

    def __init__(self) -> None:
        self._partial = b""
        self._body = 0

    def feed(self, data: bytes) -> Iterator[Header | bytes]:
        """Yield headers, each Data header followed by the pieces of its body, none of them empty."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        offset, end = 0, len(data)
        while offset < end:
            if self._body:
                stop = min(offset + self._body, end)
                self._body -= stop - offset
                yield data[offset:stop]
                offset = stop
            elif end - offset < HEADER_SIZE:
                self._partial = data[offset:]
                return
            else:
                header = decode(data, offset)
                offset += HEADER_SIZE
                if header.kind == DATA:
                    self._body = header.length
                yield header
