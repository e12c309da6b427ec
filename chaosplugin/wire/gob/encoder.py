"""Gob streams, written as Go writes them.

The definition of a type goes out before the first value that needs it, then those of its parts, depth first.
Definitions needed by the content of an interface cut the message under construction: its bytes so far and
the definition leave as one message, at top level onto the stream, inside another interface as a piece with
its own length within the outer message.

Source: Go's encoding/gob, encoder.go and encode.go (sendTypeDescriptor, encodeInterface).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from chaosplugin.wire.errors import LocalProtocolError
from chaosplugin.wire.gob import schema
from chaosplugin.wire.gob.gotypes import (
    Array,
    Basic,
    GoType,
    Interface,
    Map,
    Pointer,
    SelfEncoding,
    Slice,
    Struct,
    type_string,
)
from chaosplugin.wire.gob.primitives import write_bytes, write_int, write_string, write_uint
from chaosplugin.wire.gob.shapes import Named
from chaosplugin.wire.gob.writers import Writer, Writers

_BASIC_ID = {
    Basic.BOOL: schema.BOOL,
    Basic.INT: schema.INT,
    Basic.UINT: schema.UINT,
    Basic.FLOAT: schema.FLOAT,
    Basic.COMPLEX: schema.COMPLEX,
    Basic.STRING: schema.STRING,
    Basic.BYTES: schema.BYTES,
}
_FIRST_ID = 65  # 64 is Go's own in its releases up to 1.19


@dataclass(slots=True)
class _Known:
    """A type whose definitions the stream has: what its values begin with, and the last of them."""

    beginning: bytes
    write: Writer
    value: object = None
    message: bytes = b""


class Encoder:
    """The writing end of one gob stream.

    It knows the very object again that it has written last of a type, which must not have been changed.

    `ids` are the numbers for new types, in the order in which they are defined; a Go process has one
    sequence for all its streams, we have one for each.
    """

    def __init__(self, ids: Iterator[int] | None = None) -> None:
        self._fresh = ids if ids is not None else count(_FIRST_ID)
        self._ids: dict[GoType, int] = {}
        self._unnamed: dict[GoType, int] = {}
        self._sent: set[GoType] = set()
        self._writers = Writers(self._write_interface)
        self._known: dict[GoType, _Known] = {}
        self._out: list[bytearray] = []

    def encode(self, *values: tuple[GoType, object]) -> bytes:
        """Return the messages of (type, value) pairs, with the definitions that the stream has not seen.

        Raises LocalProtocolError if a value is not of its type; the stream is then as before.
        """
        sent = self._sent.copy()
        stream = bytearray()
        self._out = [stream]
        try:
            for type_, value in values:
                self._write_value(type_, value)
        except LocalProtocolError:
            self._sent = sent
            self._known.clear()
            raise
        return bytes(stream)

    def _write_value(self, type_: GoType, value: object) -> None:
        known = self._known.get(type_)
        if known is not None and known.message and known.value is value:
            self._out[-1] += known.message
            return
        message = bytearray()
        if known is None:
            known = self._known[type_] = self._begin(message, type_)
        types, start = len(self._sent), len(self._out[-1])
        message += known.beginning
        known.write(message, value)
        self._emit(message)
        if types == len(self._sent):
            known.value, known.message = value, bytes(memoryview(self._out[-1])[start:])

    def _begin(self, message: bytearray, type_: GoType) -> "_Known":
        """Define what the stream does not know yet of a type."""
        base = _base(type_)
        self._describe(message, base)
        beginning = bytearray()
        write_int(beginning, self._id(base))
        if not isinstance(base, Struct):
            beginning.append(0)
        return _Known(bytes(beginning), self._writers.of(base))

    def _write_interface(self, out: bytearray, type_: Interface, value: object) -> None:
        if value is None:
            out.append(0)
            return
        if not isinstance(value, Named) or value.name not in type_.concrete:
            raise LocalProtocolError(f"gob: {value!r:.50} for an interface, wanted a registered name or None")
        concrete = _base(type_.concrete[value.name])
        write_string(out, value.name)
        self._describe(out, concrete)
        write_int(out, self._id(concrete))
        self._out.append(out)
        content = bytearray() if isinstance(concrete, Struct) else bytearray(1)
        self._writers.of(concrete)(content, value.value)
        self._out.pop()
        write_bytes(out, content)

    def _emit(self, message: bytearray) -> None:
        """Let the message under construction go, to the stream or into the message around it."""
        write_bytes(self._out[-1], message)
        message.clear()

    def _describe(self, message: bytearray, type_: GoType, *, pointer: bool = False) -> None:
        """Define what the stream does not know yet of this type."""
        if isinstance(type_, Pointer):
            self._describe(message, type_.to, pointer=True)
            return
        if isinstance(type_, Basic | Interface) or type_ in self._sent:
            return
        self._assign(type_, pointer=pointer)
        write_int(message, -self._ids[type_])
        self._write_definition(message, type_)
        self._emit(message)
        self._sent.add(type_)
        for part in _parts(type_):
            self._describe(message, part)

    def _assign(self, type_: GoType, *, pointer: bool = False) -> None:
        """Number a type and all of its parts in the order in which they are defined."""
        if isinstance(type_, Pointer):
            self._assign(type_.to, pointer=True)
        elif not isinstance(type_, Basic | Interface) and type_ not in self._ids:
            self._ids[type_] = next(self._fresh)
            if pointer and isinstance(type_, SelfEncoding):
                self._unnamed[type_] = next(self._fresh)
            for part in _parts(type_):
                self._assign(part)

    def _id(self, type_: GoType) -> int:
        if isinstance(type_, Basic):
            return _BASIC_ID[type_]
        if isinstance(type_, Interface):
            return schema.INTERFACE
        return self._ids[_base(type_)]

    def _write_definition(self, out: bytearray, type_: GoType) -> None:
        match type_:
            case Array():
                self._common(out, 1, type_, type_string(type_))
                _number(out, 1, self._id(_base(type_.element)))
                _number(out, 1, type_.length)
            case Slice():
                self._common(out, 2, type_, type_string(type_))
                _number(out, 1, self._id(_base(type_.element)))
            case Struct():
                self._common(out, 3, type_, type_.name)
                self._fields(out, type_)
            case Map():
                self._common(out, 4, type_, type_string(type_))
                _number(out, 1, self._id(_base(type_.key)))
                _number(out, 1, self._id(_base(type_.value)))
            case SelfEncoding():
                self._common(out, type_.kind, type_, type_.name)
            case Basic() | Pointer() | Interface():
                raise AssertionError("has no definition")
        out += b"\0\0"

    def _common(self, out: bytearray, kind: int, type_: GoType, name: str) -> None:
        """Open the wireType and write its CommonType.

        A type that encodes itself and is met behind a pointer first has no name, and another number inside.
        """
        out += bytes((kind, 1))
        inner = self._unnamed.get(type_)
        if name and inner is None:
            out.append(1)
            write_string(out, name)
            out.append(1)
        else:
            out.append(2)
        write_int(out, self._ids[type_] if inner is None else inner)
        out.append(0)

    def _fields(self, out: bytearray, type_: Struct) -> None:
        if not type_.fields:
            return
        out.append(1)
        write_uint(out, len(type_.fields))
        for name, field in type_.fields:
            out.append(1)
            write_string(out, name)
            _number(out, 1, self._id(_base(field)))
            out.append(0)


def _number(out: bytearray, delta: int, value: int) -> None:
    """A struct field of type int, which is left out if zero."""
    if value:
        out.append(delta)
        write_int(out, value)


def _base(type_: GoType) -> GoType:
    while isinstance(type_, Pointer):
        type_ = type_.to
    return type_


def _parts(type_: GoType) -> tuple[GoType, ...]:
    match type_:
        case Struct(fields=fields):
            return tuple(field for _, field in fields)
        case Slice(element=element) | Array(element=element):
            return (element,)
        case Map(key=key, value=value):
            return (key, value)
        case SelfEncoding(surplus=surplus):
            return surplus
        case Basic() | Pointer() | Interface():
            return ()
