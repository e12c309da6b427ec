"""Readers: (wire type, shape) compiled to a closure, once per stream.

A reader takes (buffer, position) and returns (value, new position).
Inner readers are made at the first value that needs them, so a definition that nobody reads costs nothing,
and types that refer to themselves need no special case.

What is wanted as a struct, list, map or opaque may be the very object of an earlier message: whoever gets it
must not change it.

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
    read_content_type,
    read_count,
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
from chaosplugin.wire.gob.skippers import Skipper, Skippers

MAX_REMEMBERED = 256 << 10
"""Bytes of all values of a stream that are kept to know them again, with up to ten times as much memory for
what was made of them. An AnalysisRun of 20 kB takes 60 kB, as its parts are kept as well. Stops a peer that
sends a long value of each of 2,000 types."""

Reader = Callable[[bytes, int], tuple[object, int]]
Step = tuple[bool, Skipper | None, str, Reader]
"""What to do with a field of a struct: is it a text, how to pass over it, or under which key to read it."""
_LASTING = StructShape, ListShape, MapShape, OpaqueShape
Collector = Callable[[list[tuple[object, object]]], object]


class Readers:
    """The readers of one stream."""

    def __init__(self, types: TypeTable, progress: Progress) -> None:
        self._types = types
        self._progress = progress
        self._skippers = Skippers(types, progress)
        self._readers: dict[tuple[int, Shape], Reader] = {}
        self._wholes: dict[tuple[int, Shape], Reader | None] = {}
        self._mismatches: dict[tuple[int, Shape], str] = {}
        self._remembered = 0

    def whole(self, type_id: int, shape: Shape) -> Reader | None:
        """The reader of a value at top level; None where an interface in it may define types on its way.

        That of an interface itself raises Unfinished where it does.
        """
        key = (type_id, shape)
        try:
            return self._wholes[key]
        except KeyError:
            pass
        reader = None
        fits = self.fitting(type_id, shape) is shape
        if fits and (type_id == schema.INTERFACE or not self._types.holds_interface(type_id)):
            reader = self._behind_zero(type_id, self.of(type_id, shape))
        self._wholes[key] = reader
        return reader

    def _behind_zero(self, type_id: int, reader: Reader) -> Reader:
        """What is no struct has a zero byte before it, at top level and in an interface."""
        if self._types.is_struct(type_id):
            return reader
        return lambda buf, pos: reader(buf, after_zero(buf, pos))

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
        return self._behind_zero(type_id, self.of(type_id, self.fitting(type_id, wanted)))

    def made(self, shape: Shape, fields: dict[str, object]) -> object:
        """What a struct's fields become."""
        if not isinstance(shape, StructShape) or shape.build is None:
            return fields
        try:
            return shape.build(fields)
        except ValueError as error:
            self._progress.refuse(str(error))
            return None

    def of(self, type_id: int, shape: Shape) -> Reader:
        """The reader of a value inside another; `shape` must fit."""
        key = (type_id, shape)
        reader = self._readers.get(key)
        if reader is None:
            reader = self._compile(type_id, shape)
            if isinstance(shape, _LASTING) and not self._types.holds_interface(type_id):
                reader = self._remembering(reader)
            self._readers[key] = reader
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
        zeros, plain = {}, True
        if isinstance(shape, StructShape):
            zeros, plain = shape.zeros(), shape.build is None

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
                text, skip, key, reader = steps[field] or make(field)
                if text and buf[pos] < 0x80:  # as `read_string` does: most of what is wanted are short texts
                    start = pos + 1
                    pos = start + buf[pos]
                    out[key] = buf[start:pos].decode("utf-8", "surrogateescape")
                elif skip is None:
                    out[key], pos = reader(buf, pos)
                else:
                    pos = skip(buf, pos)
            progress.values += sent  # held against the limit where something is entered next, and at the end
            progress.depth -= 1
            return out if plain else self.made(shape, out), pos + 1

        def make(field: int) -> Step:
            name, type_id = wire.fields[field]
            key, inner = field_of(shape, name)
            skip = self._skippers.of(type_id) if inner is SKIP else None
            reader = self.of(type_id, inner)
            step = steps[field] = reader is read_string, skip, key, reader
            return step

        return read

    def _remembering(self, read: Reader) -> Reader:
        """A reader that knows its last value again, by its bytes: what it would make of them is the same.

        A host repeats most of a call at the next one, and comparing costs a hundredth of reading.
        """
        progress = self._progress
        last = b""
        made: object = None

        def remember(buf: bytes, pos: int) -> tuple[object, int]:
            nonlocal last, made
            if last and buf.startswith(last, pos):
                return made, pos + len(last)
            value, end = read(buf, pos)
            remembered = self._remembered + end - pos - len(last)
            if remembered <= MAX_REMEMBERED and not progress.mismatch:
                self._remembered = remembered
                last, made = buf[pos:end], value
            return value, end

        return remember

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
        last: tuple[bytes, str, Reader] = b"", "", read_bytes

        def read(buf: bytes, pos: int) -> tuple[object, int]:
            nonlocal last
            head, name, content = last
            if head and buf.startswith(head, pos):  # name and type are those of the last one
                pos += len(head)
            else:
                name, named = read_name(buf, pos)
                if not name:
                    return None, named
                start = pos
                type_id, pos = read_content_type(self._types, progress, buf, named)
                content = self.content(name, type_id, shape)
                if not progress.mismatch and read_int(buf, named) == (type_id, pos):  # no definitions
                    last = buf[start:pos], name, content
            _, pos = read_uint(buf, pos)  # the length of the content up to its end or its first definition
            progress.enter(1)
            value, pos = content(buf, pos)
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
