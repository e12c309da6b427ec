"""Whether a value of the sender's type can be read as the wanted shape; refusals carry Go's texts.

Source: Go's encoding/gob, decode.go (compileDec, compileSingle, compatibleType).
"""

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob import schema
from chaosplugin.wire.gob.schema import MapType, OpaqueType, SliceType, StructType, TypeTable
from chaosplugin.wire.gob.shapes import (
    InterfaceShape,
    ListShape,
    MapShape,
    OpaqueShape,
    Scalar,
    Shape,
    StructShape,
    Whole,
    go_name,
)

WIRE_ID = {
    Scalar.BOOL: schema.BOOL,
    Scalar.INT: schema.INT,
    Scalar.UINT: schema.UINT,
    Scalar.FLOAT: schema.FLOAT,
    Scalar.COMPLEX: schema.COMPLEX,
    Scalar.STRING: schema.STRING,
    Scalar.BYTES: schema.BYTES,
}


def mismatch(types: TypeTable, type_id: int, shape: Shape) -> str:
    """Why a whole value (at top level, or in an interface) of this type does not fit; empty if it does."""
    if isinstance(shape, Whole):
        return ""
    if isinstance(shape, StructShape):
        return _struct_mismatch(types, type_id, shape) or _nothing_in_common(types, type_id, shape)
    if not _compatible(types, type_id, shape):
        remote, local = types.name(type_id), f"*{go_name(shape)}"
        if isinstance(shape, InterfaceShape):
            return (
                f"gob: local interface type {local} can only be decoded from remote interface type; "
                f"received concrete type {remote}"
            )
        return f"gob: decoding into local type {local}, received remote type {remote}"
    return _inner_mismatch(types, type_id, shape)


def _struct_mismatch(types: TypeTable, type_id: int, shape: StructShape) -> str:
    wire = None if type_id in schema.BASIC else types[type_id]
    if not isinstance(wire, StructType):
        return f"gob: type mismatch in decoder: want struct type {shape.go}; got non-struct"
    if len(dict(wire.fields)) < len(wire.fields):  # as many ways through the types below as the sender wishes
        raise RemoteProtocolError("gob: a struct type with two fields of one name")
    for name, field in wire.fields:
        if name in shape.fields:
            wanted = shape.fields[name][1]
            if not _compatible(types, field, wanted):
                return f"gob: wrong type ({go_name(wanted)}) for received field {wire.name}.{name}"
            if text := _inner_mismatch(types, field, wanted):
                return text
    return ""


def _nothing_in_common(types: TypeTable, type_id: int, shape: StructShape) -> str:
    wire = types[type_id]
    names = {name for name, _ in wire.fields} if isinstance(wire, StructType) else set()
    if not names or not shape.fields or not names.isdisjoint(shape.fields):
        return ""
    local = shape.go.rpartition(".")[2]
    return f"gob: type mismatch: no fields matched compiling decoder for {local}"


def _compatible(types: TypeTable, type_id: int, shape: Shape) -> bool:
    wire = None if type_id in schema.BASIC else types[type_id]
    match shape:
        case Whole() | StructShape():
            return True  # a struct is looked at field by field
        case Scalar():
            return type_id == WIRE_ID[shape]
        case OpaqueShape():
            return isinstance(wire, OpaqueType)
        case ListShape(element=element):
            return isinstance(wire, SliceType) and _compatible(types, wire.element, element)
        case MapShape(key=key, value=value):
            return (
                isinstance(wire, MapType)
                and _compatible(types, wire.key, key)
                and _compatible(types, wire.value, value)
            )
        case InterfaceShape():
            return type_id == schema.INTERFACE


def _inner_mismatch(types: TypeTable, type_id: int, shape: Shape) -> str:
    """The first mismatch of a struct somewhere in a value that is compatible itself."""
    match shape:
        case StructShape():
            return _struct_mismatch(types, type_id, shape)
        case ListShape(element=element):
            wire = types[type_id]
            return _inner_mismatch(types, wire.element, element) if isinstance(wire, SliceType) else ""
        case MapShape(value=value):
            wire = types[type_id]
            return _inner_mismatch(types, wire.value, value) if isinstance(wire, MapType) else ""
        case Whole() | Scalar() | OpaqueShape() | InterfaceShape():
            return ""
