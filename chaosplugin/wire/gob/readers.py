"""Readers: (wire type, shape) compiled to a closure, once per stream.

A reader takes (buffer, position) and returns (value, new position).
Inner readers are made at the first value that needs them, so a definition that nobody reads costs nothing,
and types that refer to themselves need no special case.

Two kinds of fault: what breaks gob raises RemoteProtocolError; what is sound but not of the wanted type is
noted in `Progress.mismatch` and passed over, so that the stream stays in step and only this value is refused.
"""

from collections.abc import Callable

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob import schema
from chaosplugin.wire.gob.compatibility import mismatch
from chaosplugin.wire.gob.primitives import read_bytes, read_float, read_int, read_string, read_uint
from chaosplugin.wire.gob.progress import (
    Progress,
    after_wide_delta,
    after_zero,
    read_count,
    read_inner_content,
    read_name,
)
from chaosplugin.wire.gob.schema import ArrayType, MapType, OpaqueType, SliceType, StructType, TypeTable
from chaosplugin.wire.gob.shapes import (
    ANY,
    ANY_INTERFACE,
    SKIP,
    InterfaceShape,
    ListShape,
    MapShape,
    Named,
    Opaque,
    OpaqueShape,
    Shape,
    StructShape,
)
from chaosplugin.wire.gob.skippers import Skippers

Reader = Callable[[bytes, int], tuple[object, int]]
Step = Callable[[bytes, int, dict[str, object]], int]
Collector = Callable[[list[tuple[object, object]]], object]


class Readers:
    """The readers of one stream."""

    def __init__(self, types: TypeTable, progress: Progress) -> None:
        self._types = types
        self._progress = progress
        self._skippers = Skippers(types, progress)
        self._readers: dict[tuple[int, Shape], Reader] = {}
        self._mismatches: dict[tuple[int, Shape], str] = {}

    def fitting(self, type_id: int, shape: Shape) -> Shape:
        """`shape`, or SKIP and a noted mismatch if a whole value of this type cannot be read so."""
        text = self._mismatches.get((type_id, shape))
        if text is None:
            text = self._mismatches[type_id, shape] = mismatch(self._types, type_id, shape)
        if text:
            self._progress.refuse(text)
            return SKIP
        return shape

    def content(self, name: str, type_id: int, shape: InterfaceShape) -> Reader:
        """The reader of an interface's content, from the zero byte before what is no struct."""
        wanted = shape.concrete.get(name, shape.others)
        if wanted is None:
            self._progress.refuse(f'gob: name not registered for interface: "{name}"')
            wanted = SKIP
        reader = self.of(type_id, self.fitting(type_id, wanted))
        if self._types.is_struct(type_id):
            return reader
        return lambda buf, pos: reader(buf, after_zero(buf, pos))

    def of(self, type_id: int, shape: Shape) -> Reader:
        """The reader of a value inside another; `shape` must fit."""
        key = (type_id, shape)
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = self._compile(type_id, shape)
        return reader

    def _compile(self, type_id: int, shape: Shape) -> Reader:
        if shape is SKIP:
            skip = self._skippers.of(type_id)
            return lambda buf, pos: (None, skip(buf, pos))
        if type_id == schema.INTERFACE:
            return self._interface(shape if isinstance(shape, InterfaceShape) else ANY_INTERFACE)
        return _BASIC.get(type_id) or self._compile_defined(type_id, shape)

    def _compile_defined(self, type_id: int, shape: Shape) -> Reader:
        match self._types[type_id]:
            case StructType() as wire:
                return self._struct(wire, shape)
            case SliceType(element=element):
                return self._list(element, shape.element if isinstance(shape, ListShape) else ANY)
            case ArrayType(element=element, length=length):
                return self._list(element, ANY, length)
            case MapType() as wire:
                return self._map(wire, shape)
            case OpaqueType():
                return self._opaque(shape.build if isinstance(shape, OpaqueShape) else Opaque)

    def _struct(self, wire: StructType, shape: Shape) -> Reader:
        progress = self._progress
        count = len(wire.fields)
        steps: list[Step | None] = [None] * count
        zeros = shape.zeros() if isinstance(shape, StructShape) else {}

        def read(buf: bytes, pos: int) -> tuple[object, int]:
            progress.enter()
            out = zeros.copy()
            field, sent = -1, 0
            while first := buf[pos]:
                sent += 1
                if first < 0x80:
                    field += first
                    pos += 1
                else:
                    field, pos = after_wide_delta(field, buf, pos)
                if field >= count:
                    raise RemoteProtocolError(f"gob: field {field} of a struct with {count} fields")
                step = steps[field]
                if step is None:
                    step = steps[field] = self._step(*wire.fields[field], shape)
                pos = step(buf, pos, out)
            progress.values += sent  # held against the limit where something is entered next, and at the end
            progress.depth -= 1
            return out, pos + 1

        return read

    def _step(self, name: str, type_id: int, shape: Shape) -> Step:
        """What to do with one field: skip it, or read it into the struct's dict."""
        key, inner = field_of(shape, name)
        if inner is SKIP:
            skip = self._skippers.of(type_id)
            return lambda buf, pos, _: skip(buf, pos)
        reader = self.of(type_id, inner)

        def step(buf: bytes, pos: int, out: dict[str, object]) -> int:
            out[key], pos = reader(buf, pos)
            return pos

        return step

    def _list(self, element_id: int, shape: Shape, length: int | None = None) -> Reader:
        progress = self._progress
        element: Reader | None = None

        def read(buf: bytes, pos: int) -> tuple[object, int]:
            nonlocal element
            count, pos = read_count(buf, pos, length)
            progress.enter(count)
            if element is None:
                element = self.of(element_id, shape)
            out = []
            for _ in range(count):
                value, pos = element(buf, pos)
                out.append(value)
            progress.depth -= 1
            return out, pos

        return read

    def _map(self, wire: MapType, shape: Shape) -> Reader:
        progress = self._progress
        key_shape, value_shape = (shape.key, shape.value) if isinstance(shape, MapShape) else (ANY, ANY)
        collect = collector(self._types, wire)
        readers: tuple[Reader, Reader] | None = None

        def read(buf: bytes, pos: int) -> tuple[object, int]:
            nonlocal readers
            count, pos = read_count(buf, pos)
            progress.enter(2 * count)
            if readers is None:
                readers = self.of(wire.key, key_shape), self.of(wire.value, value_shape)
            read_key, read_value = readers
            out = []
            for _ in range(count):
                key, pos = read_key(buf, pos)
                value, pos = read_value(buf, pos)
                out.append((key, value))
            progress.depth -= 1
            return collect(out), pos

        return read

    def _opaque(self, build: Callable[[bytes], object]) -> Reader:
        def read(buf: bytes, pos: int) -> tuple[object, int]:
            data, pos = read_bytes(buf, pos)
            try:
                return build(data), pos
            except ValueError as error:
                self._progress.refuse(str(error))
                return None, pos

        return read

    def _interface(self, shape: InterfaceShape) -> Reader:
        progress = self._progress

        def read(buf: bytes, pos: int) -> tuple[object, int]:
            name, pos = read_name(buf, pos)
            if not name:
                return None, pos
            progress.enter(1)
            type_id, pos = read_inner_content(self._types, buf, pos)
            value, pos = self.content(name, type_id, shape)(buf, pos)
            progress.depth -= 1
            return Named(name, value), pos

        return read


def field_of(shape: Shape, name: str) -> tuple[str, Shape]:
    """The key and the shape under which a struct's shape wants a field."""
    if isinstance(shape, StructShape):
        return shape.fields.get(name, (name, SKIP))
    return name, shape


def collector(types: TypeTable, wire: MapType) -> Collector:
    """What makes a map of its pairs: a dict if keys are hashable, and no sender can make all hash alike.

    Strings and bytes are hashed with a secret; Python's hash of a complex number is a sum that can be chosen.
    """
    if wire.key in schema.BASIC:
        return dict if wire.key in _BASIC and wire.key != schema.COMPLEX else list
    return dict if isinstance(types[wire.key], OpaqueType) else list


def _read_bool(buf: bytes, pos: int) -> tuple[bool, int]:
    value, pos = read_uint(buf, pos)
    return value != 0, pos


def _read_complex(buf: bytes, pos: int) -> tuple[complex, int]:
    real, pos = read_float(buf, pos)
    imaginary, pos = read_float(buf, pos)
    return complex(real, imaginary), pos


_BASIC: dict[int, Reader] = {
    schema.BOOL: _read_bool,
    schema.INT: read_int,
    schema.UINT: read_uint,
    schema.FLOAT: read_float,
    schema.BYTES: read_bytes,
    schema.STRING: read_string,
    schema.COMPLEX: _read_complex,
}
