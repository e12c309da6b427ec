"""Skippers: wire types compiled to closures that pass over a value without building it.

A skipper takes (buffer, position) and returns the new position, possibly beyond the end of the buffer: the
next read, or the check behind the whole value, notices.
"""

from collections.abc import Callable

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob import schema
from chaosplugin.wire.gob.primitives import read_uint
from chaosplugin.wire.gob.progress import (
    Progress,
    after_wide_delta,
    after_zero,
    read_content_type,
    read_count,
    read_name,
)
from chaosplugin.wire.gob.schema import ArrayType, MapType, OpaqueType, SliceType, StructType, TypeTable

Skipper = Callable[[bytes, int], int]


class Skippers:
    """The skippers of one stream, each made when it is first needed."""

    def __init__(self, types: TypeTable, progress: Progress) -> None:
        self._types = types
        self._progress = progress
        self._skippers: dict[int, Skipper] = dict(_BASIC)
        self._skippers[schema.INTERFACE] = self._skip_interface

    def of(self, type_id: int) -> Skipper:
        skipper = self._skippers.get(type_id)
        if skipper is None:
            skipper = self._skippers[type_id] = self._compile(type_id)
        return skipper

    def _compile(self, type_id: int) -> Skipper:
        match self._types[type_id]:
            case StructType() as wire:
                return self._struct(wire)
            case SliceType(element=element):
                return self._elements((element,))
            case ArrayType(element=element, length=length):
                return self._elements((element,), length)
            case MapType(key=key, value=value):
                return self._elements((key, value))
            case OpaqueType():
                return _skip_bytes

    def _skip_interface(self, buf: bytes, pos: int) -> int:
        name, pos = read_name(buf, pos)
        if not name:
            return pos
        type_id, pos = read_content_type(self._types, self._progress, buf, pos)
        _, pos = read_uint(buf, pos)  # the length of the content up to its end or its first definition
        self._progress.enter(1)
        if not self._types.is_struct(type_id):
            pos = after_zero(buf, pos)
        pos = self.of(type_id)(buf, pos)
        self._progress.depth -= 1
        return pos

    def _struct(self, wire: StructType) -> Skipper:
        progress = self._progress
        count = len(wire.fields)
        skippers: list[Skipper | None] = [None] * count

        def skip(buf: bytes, pos: int) -> int:
            progress.enter()
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
                skipper = skippers[field]
                if skipper is None:
                    skipper = skippers[field] = self.of(wire.fields[field][1])
                pos = skipper(buf, pos)
            progress.values += sent
            progress.depth -= 1
            return pos + 1

        return skip

    def _elements(self, parts: tuple[int, ...], length: int | None = None) -> Skipper:
        progress = self._progress
        skippers: list[Skipper] = []

        def skip(buf: bytes, pos: int) -> int:
            count, pos = read_count(buf, pos, length)
            progress.enter(len(parts) * count)
            if not skippers:
                skippers.extend(self.of(part) for part in parts)
            for _ in range(count):
                for skipper in skippers:
                    pos = skipper(buf, pos)
            progress.depth -= 1
            return pos

        return skip


def _skip_number(buf: bytes, pos: int) -> int:
    return pos + 1 if buf[pos] < 0x80 else read_uint(buf, pos)[1]


def _skip_complex(buf: bytes, pos: int) -> int:
    return _skip_number(buf, _skip_number(buf, pos))


def _skip_bytes(buf: bytes, pos: int) -> int:
    size = buf[pos]
    if size < 0x80:
        return pos + 1 + size
    size, pos = read_uint(buf, pos)
    return pos + size


_BASIC: dict[int, Skipper] = {
    schema.BOOL: _skip_number,
    schema.INT: _skip_number,
    schema.UINT: _skip_number,
    schema.FLOAT: _skip_number,
    schema.BYTES: _skip_bytes,
    schema.STRING: _skip_bytes,
    schema.COMPLEX: _skip_complex,
}
