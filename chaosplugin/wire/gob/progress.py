"""What readers, skippers and the walk over messages share: how far they are, and the small steps of each."""

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.primitives import read_int, read_string, read_uint
from chaosplugin.wire.gob.schema import TypeTable

MAX_DEPTH = 100  # an AnalysisRun is 15 deep; Python's own stack ends at 1,000 calls
MAX_VALUES = 500_000
"""Elements, keys and values of maps, fields sent, contents of interfaces: in one value with all its messages.

Stops 32 MiB of elements of one byte each, which would hold the event loop for 8 s and become 2 GB of
empty dicts. The largest AnalysisRun that etcd takes, 1.5 MB of measurements, has about 60,000.
"""
MAX_NAME = 1024  # bytes; Go's limit for the name of a registered type
_TOO_MANY = f"gob: more than {MAX_VALUES} values in one message"


class Unfinished(Exception):
    """The value goes on in further messages."""


class Progress:
    """The state of the value being read: how deep we are, how much of it came, what did not fit first."""

    __slots__ = ("depth", "mismatch", "values")

    def __init__(self) -> None:
        self.depth = 0
        self.values = 0
        self.mismatch = ""

    def begin(self) -> None:
        self.depth, self.values, self.mismatch = 0, 0, ""

    def charge(self, values: int) -> None:
        """Count values where nothing is entered."""
        self.values += values
        if self.values > MAX_VALUES:
            raise RemoteProtocolError(_TOO_MANY)

    def enter(self, values: int = 0) -> None:
        """Go one level deeper, to so many values; the way back is `depth -= 1`, unless there is a fault."""
        self.depth += 1
        self.values += values
        if self.depth > MAX_DEPTH:
            raise RemoteProtocolError(f"gob: a value nested more than {MAX_DEPTH} deep")
        if self.values > MAX_VALUES:
            raise RemoteProtocolError(_TOO_MANY)

    def refuse(self, text: str) -> None:
        self.mismatch = self.mismatch or text


def read_count(buf: bytes, pos: int, length: int | None = None) -> tuple[int, int]:
    """The number of elements; each takes a byte at least, and an array has as many as its type says."""
    count = buf[pos]
    if count < 0x80:
        pos += 1
    else:
        count, pos = read_uint(buf, pos)
    if count > len(buf) - pos:
        raise RemoteProtocolError(f"gob: {count} elements in {len(buf) - pos} bytes")
    if length is not None:
        check_length(count, length)
    return count, pos


def check_length(count: int, length: int | None) -> None:
    """Hold the number of elements against the length of an array's type; None is no array."""
    if length is not None and count != length:
        raise RemoteProtocolError(f"gob: {count} elements in an array of {length}")


def after_wide_delta(field: int, buf: bytes, pos: int) -> tuple[int, int]:
    """The number of the next field after `field`, if the step to it takes more than one byte."""
    delta, pos = read_uint(buf, pos)
    return field + delta, pos


def read_name(buf: bytes, pos: int) -> tuple[str, int]:
    """The registered name of an interface's content, empty for nil."""
    size, _ = read_uint(buf, pos)
    if size > MAX_NAME:
        raise RemoteProtocolError(f"gob: the name of a type of {size} bytes, more than {MAX_NAME}")
    return read_string(buf, pos)


def after_zero(buf: bytes, pos: int) -> int:
    """What is no struct has a zero byte before it, at top level and in an interface."""
    if buf[pos] != 0:
        raise RemoteProtocolError("gob: a value that is no struct does not begin with a zero byte")
    return pos + 1


def read_content_type(types: TypeTable, progress: Progress, buf: bytes, pos: int) -> tuple[int, int]:
    """The type of what an interface holds; the length of its content follows.

    Definitions are pieces of the same message in an inner interface.
    Raises Unfinished where they end the message, which is so in an interface at top level.
    """
    if not progress.depth and pos == len(buf):
        raise Unfinished
    type_id, pos = read_int(buf, pos)
    while type_id < 0:
        if not progress.depth:
            raise Unfinished
        pos = types.define(-type_id, buf, pos)
        _, pos = read_uint(buf, pos)  # the length of the next piece
        type_id, pos = read_int(buf, pos)
    return type_id, pos
