"""The sender's types, as it defines them on the stream before their first use.

A definition is a wireType, a struct of which exactly one field is set; its number says the kind:

    1 ArrayT {CommonType, Elem, Len}   2 SliceT {CommonType, Elem}   3 StructT {CommonType, [{Name, Id}]}
    4 MapT {CommonType, Key, Elem}     5 GobEncoderT, 6 BinaryMarshalerT, 7 TextMarshalerT {CommonType}

CommonType is {Name, Id}. Its Id is not to be believed (a pointer to a self-encoding type carries another
number), nor is its Name unique; only the number that the definition was sent under counts.
A definition may name types that are defined later, or never if no value needs them.

Source: Go's encoding/gob, type.go. Parsed by hand, because the first call of an Argo controller brings 219.
"""

from dataclasses import dataclass

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.primitives import read_int, read_string, read_uint

BOOL, INT, UINT, FLOAT, BYTES, STRING, COMPLEX, INTERFACE = range(1, 9)
BASIC = {
    BOOL: "bool",
    INT: "int",
    UINT: "uint",
    FLOAT: "float",
    BYTES: "bytes",
    STRING: "string",
    COMPLEX: "complex",
    INTERFACE: "interface",
}
FIRST_DEFINABLE = 64  # below are Go's own; Go 1.19 begins at 65
MAX_TYPES = 2_000  # a step call of Argo brings 246
MAX_DEFINITIONS_SIZE = 256 << 10
"""Bytes of all definitions of a stream, which become 40 times as much memory; Argo's are 22 kB."""
MAX_FIELDS = 1_000  # of one struct, each compared with what is wanted; the widest of Kubernetes has 41
_SHOWN_NAME = 256  # characters of a type's name, which serves nothing but the text of a refusal


@dataclass(frozen=True, slots=True, eq=False)
class StructType:
    """`fields` are names and the numbers of their types."""

    name: str
    fields: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class SliceType:
    """`element` is the number of a type, as everywhere here."""

    name: str
    element: int


@dataclass(frozen=True, slots=True, eq=False)
class ArrayType:
    """A value has exactly `length` elements."""

    name: str
    element: int
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class MapType:
    """Keys may be of any type that Go can compare."""

    name: str
    key: int
    value: int


@dataclass(frozen=True, slots=True, eq=False)
class OpaqueType:
    """A type that encodes itself: GobEncoder, BinaryMarshaler or TextMarshaler."""

    name: str


WireType = StructType | SliceType | ArrayType | MapType | OpaqueType


class TypeTable:
    """The types of one stream and direction, by number."""

    def __init__(self) -> None:
        self._types: dict[int, WireType] = {}
        self._definitions_size = 0
        self._open: dict[int, bool] = {}

    def __getitem__(self, type_id: int) -> WireType:
        """The definition of a type that is not basic; raises RemoteProtocolError if there is none."""
        try:
            return self._types[type_id]
        except KeyError:
            raise RemoteProtocolError(f"gob: unknown type id {type_id}") from None

    def name(self, type_id: int) -> str:
        if type_id in BASIC:
            return BASIC[type_id]
        known = self._types.get(type_id)
        return known.name if known else "unknown type"

    def is_struct(self, type_id: int) -> bool:
        return isinstance(self._types.get(type_id), StructType)

    def define(self, type_id: int, buf: bytes, pos: int) -> int:
        """Take the definition at `pos` as that of `type_id` and return the position behind it."""
        if type_id in self._types or type_id < FIRST_DEFINABLE:
            raise RemoteProtocolError(f"gob: type {type_id} is defined twice")
        if len(self._types) >= MAX_TYPES:
            raise RemoteProtocolError(f"gob: more than {MAX_TYPES} types on one stream")
        self._types[type_id], end = _definition(buf, pos)
        self._definitions_size += end - pos
        if self._definitions_size > MAX_DEFINITIONS_SIZE:
            raise RemoteProtocolError(f"gob: type definitions of more than {MAX_DEFINITIONS_SIZE} bytes")
        return end

    def holds_interface(self, type_id: int) -> bool:
        """Whether a value of this type can hold an interface, and so go on in further messages."""
        known = self._open.get(type_id)
        if known is None:
            self._find_holders(type_id)
            known = self._open[type_id]
        return known

    def _find_holders(self, type_id: int) -> None:
        """Answer `holds_interface` for all that a type leads to: each is looked at once in a stream."""
        users: dict[int, list[int]] = {}
        reached = {type_id}
        todo = [type_id]
        holders = []
        while todo:
            current = todo.pop()
            if current == INTERFACE or self._open.get(current):
                holders.append(current)
            elif current not in self._open:
                for inner in self._inner(current):
                    users.setdefault(inner, []).append(current)
                    if inner not in reached:
                        reached.add(inner)
                        todo.append(inner)
        for found in reached:
            self._open.setdefault(found, False)
        while holders:
            current = holders.pop()
            self._open[current] = True
            holders += [user for user in users.pop(current, ()) if not self._open[user]]

    def _inner(self, type_id: int) -> tuple[int, ...]:
        if type_id in BASIC:
            return ()
        match self[type_id]:
            case StructType(fields=fields):
                return tuple(field for _, field in fields)
            case SliceType(element=element) | ArrayType(element=element):
                return (element,)
            case MapType(key=key, value=value):
                return (key, value)
            case OpaqueType():
                return ()


def _definition(buf: bytes, pos: int) -> tuple[WireType, int]:
    kind = buf[pos]
    pos += 1
    name = ""
    numbers = [0, 0]
    fields: tuple[tuple[str, int], ...] = ()
    field = -1
    while delta := buf[pos]:
        field += delta
        pos += 1
        if field == 0:
            name, _, pos = _name_and_id(buf, pos)
        elif field == 1 and kind == 3:
            fields, pos = _fields(buf, pos)
        elif field <= 2:
            numbers[field - 1], pos = read_int(buf, pos)
        else:
            raise RemoteProtocolError(f"gob: field {field} in a type definition")
    if buf[pos + 1] != 0:
        raise RemoteProtocolError("gob: a type definition of two kinds")
    return _wire_type(kind, name, numbers, fields), pos + 2


def _wire_type(kind: int, name: str, numbers: list[int], fields: tuple[tuple[str, int], ...]) -> WireType:
    shown = name[:_SHOWN_NAME]
    match kind:
        case 1:
            return ArrayType(shown, *numbers)
        case 2:
            return SliceType(shown, numbers[0])
        case 3:
            return StructType(shown, fields)
        case 4:
            return MapType(shown, *numbers)
        case 5 | 6 | 7:
            return OpaqueType(shown)
        case _:
            raise RemoteProtocolError(f"gob: a type definition of unknown kind {kind}")


def _fields(buf: bytes, pos: int) -> tuple[tuple[tuple[str, int], ...], int]:
    count, pos = read_uint(buf, pos)
    if count > MAX_FIELDS:
        raise RemoteProtocolError(f"gob: a struct type with {count} fields, more than {MAX_FIELDS}")
    fields = []
    for _ in range(count):
        name, type_id, pos = _name_and_id(buf, pos)
        if not name:
            raise RemoteProtocolError("gob: a struct field without a name")
        fields.append((name, type_id))
    return tuple(fields), pos


def _name_and_id(buf: bytes, pos: int) -> tuple[str, int, int]:
    """CommonType and fieldType look alike: a struct of 0 Name string, 1 Id int."""
    name = ""
    type_id = 0
    field = -1
    while delta := buf[pos]:
        field += delta
        pos += 1
        if field == 0:
            name, pos = read_string(buf, pos)
        elif field == 1:
            type_id, pos = read_int(buf, pos)
        else:
            raise RemoteProtocolError(f"gob: field {field} in a type definition")
    return name, type_id, pos + 1
