"""Gob streams, read as their bytes come in.

A stream is a sequence of messages, each a length and that many bytes; a message holds the definition of a
type (a negative number, then the definition) or a value (the number of its type, then the value). Only whole
messages are looked at, so the bytes may be cut anywhere.

One thing does not fit into messages: a value with an interface in it goes on in further messages when the
content's type is new (the definition ends the message under way, more definitions may follow, and the last
message begins in the middle of the value). Such values are walked by a generator, which stops where a message
ends, down to the contents of the outermost interfaces; inside those, definitions are pieces of the same
message. So each byte is looked at once, in whatever pieces it comes. A value that can be seen to be in its
first message as a whole, as almost all are, is read without that.

Source: Go's encoding/gob, doc.go and decoder.go; decodeTypeSequence for the definitions.
"""

from collections.abc import Generator
from enum import Enum
from typing import Final, Literal

from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.gob import schema
from chaosplugin.wire.gob.primitives import read_int, read_uint
from chaosplugin.wire.gob.progress import Progress, Unfinished, after_zero, check_length, read_name
from chaosplugin.wire.gob.readers import Readers, collector, field_of
from chaosplugin.wire.gob.schema import ArrayType, MapType, OpaqueType, SliceType, StructType, TypeTable
from chaosplugin.wire.gob.shapes import (
    ANY_INTERFACE,
    NO_INTERFACE,
    SKIP,
    InterfaceShape,
    ListShape,
    MapShape,
    Named,
    Shape,
    StructShape,
)

MAX_SIZE = 32 << 20  # bytes of a value with all its messages; etcd keeps an AnalysisRun below 1.5 MB


class NeedData(Enum):
    """The type of NEED_DATA, which no value can be."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA

Walk = Generator[None, bytes, object]


class TypeMismatch(RemoteProtocolError):
    """A sound value, but not of the wanted type; it has been passed over and the stream goes on behind it."""


class Decoder:
    """The reading end of one gob stream."""

    def __init__(self) -> None:
        self._buffer: bytes | bytearray = b""
        self._start = 0
        self._types = TypeTable()
        self._progress = Progress()
        self._readers = Readers(self._types, self._progress)
        self._message = b""
        self._pos = 0
        self._walk: Walk | None = None
        self._shape: Shape | None = None
        """of the value that is being read"""
        self._size = 0
        self._broken: RemoteProtocolError | None = None

    def receive_data(self, data: bytes) -> None:
        if self._start == len(self._buffer):
            self._buffer, self._start = data, 0
            return
        if isinstance(self._buffer, bytes):
            self._buffer = bytearray(self._buffer)
        del self._buffer[: self._start]
        self._start = 0
        self._buffer += data

    @property
    def held(self) -> int:
        """Bytes that have come and are not part of a value yet that `next_value` has returned."""
        return len(self._buffer) - self._start + self._size

    @property
    def between_values(self) -> bool:
        """Whether the stream may end here: no byte of a further value has come."""
        return not self.held and self._broken is None

    def next_value(self, shape: Shape) -> object | Literal[NeedData.NEED_DATA]:
        """Return the next value as `shape` wants it, or NEED_DATA until all of it is there.

        Raises:
            TypeMismatch: this value is of another type; the next call goes on behind it.
            RemoteProtocolError: the stream is broken for good, and every further call says so again.
            LocalProtocolError: another shape was asked for in the middle of a value.
        """
        if self._broken is not None:
            raise self._broken
        if self._shape is None:
            if self._start == len(self._buffer):
                return NEED_DATA
            self._shape = shape
            self._progress.begin()
        elif shape is not self._shape:
            raise LocalProtocolError("gob: the shape of a value changed while it was being read")
        try:
            return self._advance(shape)
        except TypeMismatch:
            raise
        except RemoteProtocolError as error:
            self._broken = error
            raise
        except IndexError:
            self._broken = RemoteProtocolError("gob: a value goes beyond the end of its message")
            raise self._broken from None

    def _advance(self, shape: Shape) -> object | Literal[NeedData.NEED_DATA]:
        while message := self._next_message():
            value = NEED_DATA if self._walk is not None else self._read(message, shape)
            if value is NEED_DATA:
                value = self._go_on(message, shape)
            if value is not NEED_DATA:
                self._walk, self._shape, self._size = None, None, 0
                if self._progress.mismatch:
                    raise TypeMismatch(self._progress.mismatch)
                return value
        return NEED_DATA

    def _next_message(self) -> bytes:
        """The next whole message; empty if it is not there yet."""
        buffer, start = self._buffer, self._start
        there = len(buffer) - start
        if not there or (buffer[start] >= 0xF8 and there < 257 - buffer[start]):
            return b""
        size, start = read_uint(buffer, start)
        if size == 0:
            raise RemoteProtocolError("gob: an empty message")
        if self._size + size > MAX_SIZE:
            raise RemoteProtocolError(f"gob: a value of more than {MAX_SIZE} bytes")
        end = start + size
        if len(buffer) < end:
            return b""
        message = bytes(buffer[start:end])
        if end == len(buffer):
            self._buffer, self._start = b"", 0
        else:
            self._start = end
        self._size += size
        return message

    def _read(self, message: bytes, shape: Shape) -> object | Literal[NeedData.NEED_DATA]:
        """Read a value that is all in this message; NEED_DATA where more than this message has to be seen."""
        type_id, pos = read_int(message, 0)
        read = None if type_id < 0 else self._readers.whole(type_id, shape)
        if read is None:
            return NEED_DATA
        try:
            value, pos = read(message, pos)
        except Unfinished:
            return NEED_DATA
        self._check_end(message, pos)
        return value

    def _go_on(self, message: bytes, shape: Shape) -> object | Literal[NeedData.NEED_DATA]:
        """Walk further through a value that is spread over several messages."""
        if self._walk is None:
            self._message, self._pos = b"", 0
            self._walk = self._value(shape)
            next(self._walk)  # to its first wish for a message
        try:
            self._walk.send(message)
        except StopIteration as done:
            value: object = done.value
            return value
        return NEED_DATA

    def _check_end(self, message: bytes, pos: int) -> None:
        if pos > len(message):
            raise IndexError
        self._progress.charge(0)  # what the last structs of it have counted

    def _value(self, shape: Shape) -> Walk:
        type_id = yield from self._type_sequence(inside=False)
        shape = self._readers.fitting(type_id, shape)
        if not self._types.is_struct(type_id):
            self._pos = after_zero(self._message, self._pos)
        value = yield from self._open(type_id, shape)
        self._check_end(self._message, self._pos)
        return value

    def _type_sequence(self, *, inside: bool) -> Generator[None, bytes, int]:
        """Take definitions up to the number of a value's type; `inside` an interface they have company."""
        while True:
            if self._pos == len(self._message):
                self._message = yield
                self._pos = 0
            type_id, self._pos = read_int(self._message, self._pos)
            if type_id >= 0:
                return type_id
            self._pos = self._types.define(-type_id, self._message, self._pos)
            if self._pos < len(self._message):
                if not inside:
                    raise RemoteProtocolError("gob: a type definition is not alone in its message")
                _, self._pos = read_uint(self._message, self._pos)

    def _open(self, type_id: int, shape: Shape) -> Walk:
        """Walk a value at top level or in one, but not in an interface; `shape` fits."""
        if type_id != schema.INTERFACE and not self._types.holds_interface(type_id):
            value, self._pos = self._readers.of(type_id, shape)(self._message, self._pos)
            return value
        self._progress.enter()
        value = yield from self._open_kind(type_id, shape)
        self._progress.depth -= 1
        return value

    def _open_kind(self, type_id: int, shape: Shape) -> Walk:
        if type_id == schema.INTERFACE:
            return (yield from self._open_interface(shape))
        match self._types[type_id]:
            case StructType() as wire:
                return (yield from self._open_struct(wire, shape))
            case SliceType(element=element):
                inner = shape.element if isinstance(shape, ListShape) else shape
                return (yield from self._open_list(element, inner))
            case ArrayType(element=element, length=length):
                return (yield from self._open_list(element, shape, length))
            case MapType() as wire:
                return (yield from self._open_map(wire, shape))
            case OpaqueType():
                raise AssertionError("holds no interface")

    def _open_interface(self, shape: Shape) -> Walk:
        name, self._pos = read_name(self._message, self._pos)
        if not name:
            return None
        self._progress.charge(1)
        type_id = yield from self._type_sequence(inside=True)
        _, self._pos = read_uint(self._message, self._pos)  # a length that means nothing if pieces follow
        if not isinstance(shape, InterfaceShape):
            shape = NO_INTERFACE if shape is SKIP else ANY_INTERFACE
        value, self._pos = self._readers.content(name, type_id, shape)(self._message, self._pos)
        return Named(name, value)

    def _open_struct(self, wire: StructType, shape: Shape) -> Walk:
        out: dict[str, object] = shape.zeros() if isinstance(shape, StructShape) else {}
        field = -1
        while True:
            delta, self._pos = read_uint(self._message, self._pos)
            if not delta:
                break
            field += delta
            if field >= len(wire.fields):
                raise RemoteProtocolError(f"gob: field {field} of a struct with {len(wire.fields)} fields")
            name, type_id = wire.fields[field]
            key, inner = field_of(shape, name)
            value = yield from self._open(type_id, inner)
            if inner is not SKIP:
                out[key] = value
            self._progress.charge(1)
        return self._readers.made(shape, out)

    def _open_list(self, element: int, shape: Shape, length: int | None = None) -> Walk:
        count, self._pos = read_uint(self._message, self._pos)
        check_length(count, length)
        self._progress.charge(count)
        out = []
        for _ in range(count):  # not held against the bytes at hand: further messages may bring more
            value = yield from self._open(element, shape)
            out.append(value)
        return out

    def _open_map(self, wire: MapType, shape: Shape) -> Walk:
        key_shape, value_shape = (shape.key, shape.value) if isinstance(shape, MapShape) else (shape, shape)
        count, self._pos = read_uint(self._message, self._pos)
        self._progress.charge(2 * count)
        out = []
        for _ in range(count):
            key = yield from self._open(wire.key, key_shape)
            out.append((key, (yield from self._open(wire.value, value_shape))))
        return collector(self._types, wire)(out)
