"""Writers: Go types compiled to closures, once per stream.

A writer takes (buffer, value) and appends the value. What a struct leaves out is decided here as Go does:
zero numbers, empty strings and slices, nil; but never structs and arrays by value, nor maps that are not nil.
A pointer is left out if nil, or if what it points at would be.

Source: Go's encoding/gob, encode.go (encOpTable, sendZero).
"""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from chaosplugin.wire.errors import LocalProtocolError
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
from chaosplugin.wire.gob.primitives import write_bytes, write_float, write_int, write_string, write_uint

Writer = Callable[[bytearray, object], None]


class Writers:
    """The writers of one stream; `write_interface` is its owner's, because contents may need definitions."""

    def __init__(self, write_interface: Callable[[bytearray, Interface, object], None]) -> None:
        self._write_interface = write_interface
        self._writers: dict[GoType, Writer] = dict(_BASIC_WRITERS)

    def of(self, type_: GoType) -> Writer:
        writer = self._writers.get(type_)
        if writer is None:
            writer = self._writers[type_] = self._compile(type_)
        return writer

    def _compile(self, type_: GoType) -> Writer:
        match type_:
            case Struct():
                writer = self._struct(type_)
            case Slice(element=element):
                writer = self._list(type_, element)
            case Array(element=element, length=length):
                writer = self._list(type_, element, length)
            case Map():
                writer = self._map(type_)
            case SelfEncoding():
                writer = _write_bytes
            case Pointer(to=to):
                writer = self.of(to)
            case Interface():
                writer = self._interface(type_)
            case _:
                raise AssertionError("basic writers are there from the start")
        return writer

    def _interface(self, type_: Interface) -> Writer:
        return lambda out, value: self._write_interface(out, type_, value)

    def _struct(self, type_: Struct) -> Writer:
        fields = [
            (index, name, _zero(field), _omission(field), self.of(field))
            for index, (name, field) in enumerate(type_.fields)
        ]
        names = {name for name, _ in type_.fields}

        def write(out: bytearray, value: object) -> None:
            if not isinstance(value, _MAPPING) or not value.keys() <= names:
                raise _wrong(type_, value)
            last = -1
            for index, name, zero, omission, put in fields:
                item = value.get(name)
                if item is None:
                    item = zero
                if not item and omission and (item is None or omission is Omission.ZERO):
                    continue
                delta = index - last
                if delta < 0x80:
                    out.append(delta)
                else:
                    write_uint(out, delta)
                last = index
                put(out, item)
            out.append(0)

        return write

    def _list(self, type_: GoType, element: GoType, length: int | None = None) -> Writer:
        put = self.of(element)

        def write(out: bytearray, value: object) -> None:
            if not isinstance(value, Sequence) or isinstance(value, str | bytes):
                raise _wrong(type_, value)
            if length not in {None, len(value)}:
                raise _wrong(type_, value)
            write_uint(out, len(value))
            for item in value:
                put(out, item)

        return write

    def _map(self, type_: Map) -> Writer:
        put_key, put_value = self.of(type_.key), self.of(type_.value)

        def write(out: bytearray, value: object) -> None:
            if value is None:
                value = {}  # a nil map at top level or in a list
            if not isinstance(value, _MAPPING):
                raise _wrong(type_, value)
            write_uint(out, len(value))
            for key, item in value.items():
                put_key(out, key)
                put_value(out, item)

        return write


_MAPPING = (dict, Mapping)
"""To look for a dict first costs a tenth: whether a class counts as a Mapping is asked of Python code."""


def _wrong(type_: GoType, value: object) -> LocalProtocolError:
    return LocalProtocolError(f"gob: {type(value).__name__} {value!r:.50} is no {type_string(type_)}")


def _zero(type_: GoType) -> object:
    """What an absent field holds."""
    match type_:
        case Basic():
            return _ZEROS[type_]
        case Struct():
            return {}
        case Slice():
            return ()
        case Array(element=element, length=length):
            return [_zero(element)] * length
        case Map() | SelfEncoding() | Pointer() | Interface():
            return None


class Omission(Enum):
    """Which values of a struct's field are left out."""

    NIL = "nil"
    ZERO = "zero"


def _omission(type_: GoType) -> Omission | None:
    match type_:
        case Struct() | Array():
            return None
        case Map() | Interface() | SelfEncoding():
            return Omission.NIL
        case Pointer(to=Struct() | Array()):
            return Omission.NIL
        case Pointer(to=to):
            return _omission(to)
        case Basic() | Slice():
            return Omission.ZERO


def _write_bool(out: bytearray, value: object) -> None:
    if not isinstance(value, bool):
        raise _wrong(Basic.BOOL, value)
    out.append(value)


def _write_int(out: bytearray, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(Basic.INT, value)
    write_int(out, value)


def _write_uint(out: bytearray, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(Basic.UINT, value)
    write_uint(out, value)


def _write_float(out: bytearray, value: object) -> None:
    if not isinstance(value, float):
        raise _wrong(Basic.FLOAT, value)
    write_float(out, value)


def _write_complex(out: bytearray, value: object) -> None:
    if not isinstance(value, complex):
        raise _wrong(Basic.COMPLEX, value)
    write_float(out, value.real)
    write_float(out, value.imag)


def _write_string(out: bytearray, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong(Basic.STRING, value)
    if value.isascii() and len(value) < 0x80:  # as `write_string` does: most of what is sent are short texts
        out.append(len(value))
        out += value.encode()
    else:
        write_string(out, value)


def _write_bytes(out: bytearray, value: object) -> None:
    if not isinstance(value, bytes):
        raise _wrong(Basic.BYTES, value)
    write_bytes(out, value)


_ZEROS: dict[Basic, object] = {
    Basic.BOOL: False,
    Basic.INT: 0,
    Basic.UINT: 0,
    Basic.FLOAT: 0.0,
    Basic.COMPLEX: 0j,
    Basic.STRING: "",
    Basic.BYTES: b"",
}
_BASIC_WRITERS: dict[GoType, Writer] = {
    Basic.BOOL: _write_bool,
    Basic.INT: _write_int,
    Basic.UINT: _write_uint,
    Basic.FLOAT: _write_float,
    Basic.COMPLEX: _write_complex,
    Basic.STRING: _write_string,
    Basic.BYTES: _write_bytes,
}
