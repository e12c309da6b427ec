"""Our bytes against Go's, with Go's numbers for the types: they count all types that its process ever met."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from chaosplugin.transport.rollouts import MEASUREMENT_TYPE, RPC_ERROR_TYPE, STRINGS_TYPE
from chaosplugin.wire.gob.decoder import Decoder
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import (
    BOOL,
    BYTES,
    COMPLEX,
    EMPTY,
    FLOAT,
    INT,
    METAV1_TIME,
    STRING,
    TIME,
    UINT,
    Array,
    GoType,
    Interface,
    Map,
    Pointer,
    SelfEncoding,
    Slice,
    Struct,
)
from chaosplugin.wire.gob.primitives import read_int, write_int
from chaosplugin.wire.gob.shapes import Named
from tests.wire.vectors import Vector, read_all, streams

RESPONSE = Struct("Response", (("ServiceMethod", STRING), ("Seq", UINT), ("Error", STRING)))

INNER = Struct("inner", (("V", INT),), "main")
INTS = Slice(INT)
STRING_SLICE = Slice(STRING)
STRING_TO_INT = Map(STRING, INT)
IMPL1 = Struct("impl1", (("N", INT),), "main")
REGISTERED: dict[str, GoType] = {
    "int": INT,
    "string": STRING,
    "bool": BOOL,
    "float64": FLOAT,
    "[]uint8": BYTES,
}
ANYTHING = Interface(REGISTERED)
IMPL2 = Struct("impl2", (("V", ANYTHING),), "main")
GOBBER = SelfEncoding("gobber", package="main")
BINARYER = SelfEncoding("binaryer", package="main", kind=6)
REGISTERED |= {
    "impl1": IMPL1,
    "impl2": IMPL2,
    "implList": Slice(STRING, name="implList"),
    "kindInt": INT,
    "gobber": GOBBER,
    "binaryer": BINARYER,
    "time.Time": TIME,
    "n" * 200: INNER,
    "[]interface {}": Slice(ANYTHING),
    "map[string]interface {}": Map(STRING, ANYTHING),
}
ANY_FIELD = Struct("anything", (("A", INT), ("V", ANYTHING), ("Z", INT)))
SCALARS = Struct(
    "scalars",
    (
        ("B", BOOL),
        *((name, INT) for name in ("I", "I8", "I16", "I32", "I64")),
        *((name, UINT) for name in ("U", "U8", "U16", "U32", "U64", "Ptr")),
        *((name, FLOAT) for name in ("F32", "F64")),
        *((name, COMPLEX) for name in ("C64", "C128")),
        ("S", STRING),
        ("Y", BYTES),
    ),
)
BY_VALUE = Struct(
    "byValue",
    (("A", INT), ("E", Struct("empty", ())), ("I", INNER), ("R", Array(INT, 2)), ("T", TIME), ("Z", INT)),
)
POINTERS = Struct(
    "pointers",
    (
        ("B", Pointer(BOOL)),
        ("I", Pointer(INT)),
        ("S", Pointer(STRING)),
        ("F", Pointer(FLOAT)),
        ("In", Pointer(INNER)),
        ("PP", Pointer(Pointer(INNER))),
        ("PPP", Pointer(Pointer(Pointer(INT)))),
        ("Y", Pointer(BYTES)),
        ("M", Pointer(STRING_TO_INT)),
        ("L", Pointer(INTS)),
        ("T", Pointer(TIME)),
    ),
)
LISTS = Struct(
    "lists",
    (
        ("I", INTS),
        ("S", STRING_SLICE),
        ("N", Slice(INNER)),
        ("L", Slice(INTS)),
        ("Y", Slice(BYTES)),
        ("M", Slice(STRING_TO_INT)),
        ("F", Slice(FLOAT)),
        ("B", Slice(BOOL)),
        ("U", BYTES),
        ("X", REGISTERED["[]interface {}"]),
        ("P", Slice(Pointer(INNER))),
    ),
)
ARRAYS = Struct(
    "arrays",
    (
        ("I", Array(INT, 3)),
        ("B", Array(UINT, 4, name="[4]uint8")),
        ("S", Array(STRING, 2)),
        ("N", Array(INNER, 1)),
        ("Z", Array(INT, 0)),
    ),
)
MAPS = Struct(
    "maps",
    (
        ("SI", STRING_TO_INT),
        ("IS", Map(INT, STRING)),
        ("BB", Map(BOOL, BOOL)),
        ("SL", Map(STRING, STRING_SLICE)),
        ("SM", Map(STRING, STRING_TO_INT)),
        ("SN", Map(STRING, INNER)),
        ("SA", Map(STRING, ANYTHING)),
        ("FU", Map(FLOAT, UINT)),
    ),
)
TIMES = Struct(
    "times",
    (
        ("T", TIME),
        ("P", Pointer(TIME)),
        ("M", METAV1_TIME),
        ("Q", Pointer(METAV1_TIME)),
        ("U", SelfEncoding("MicroTime", surplus=(TIME,), package="v1")),
        ("D", INT),
        ("L", Slice(METAV1_TIME)),
    ),
)
# Not lists-top and array-top: Go names such a type only if its process first met it as the type of a field.
CASES: dict[str, GoType | tuple[GoType, ...]] = {
    "int": INT,
    "uint": UINT,
    "float": FLOAT,
    "float32": FLOAT,
    "complex": COMPLEX,
    "bool": BOOL,
    "string": STRING,
    "bytes": BYTES,
    "struct-zero": SCALARS,
    "struct-scalars": SCALARS,
    "struct-first-last": SCALARS,
    "struct-minus-zero": SCALARS,
    "struct-by-value": BY_VALUE,
    "struct-pointer": INNER,
    "pointers-nil": POINTERS,
    "pointers-zero": POINTERS,
    "pointers-set": POINTERS,
    "lists-nil": LISTS,
    "lists-set": LISTS,
    "list-long": INTS,
    "arrays-zero": ARRAYS,
    "arrays-set": ARRAYS,
    "map-top": STRINGS_TYPE,
    "any-field": ANY_FIELD,
    "any-zero-inside": ANY_FIELD,
    "any-nested": ANY_FIELD,
    "any-own": ANY_FIELD,
    "any-long-name": ANY_FIELD,
    "any-json-like": ANY_FIELD,
    "any-top": ANYTHING,
    "any-top-mixed": (IMPL1, ANYTHING, INNER, ANYTHING, STRING),
    "any-slice": REGISTERED["[]interface {}"],
    "self-made-top": (GOBBER, BINARYER, GOBBER, TIME),
    "times-zero": TIMES,
    "times-zero-pointer": TIMES,
    "times-set": TIMES,
    "time-top": TIME,
}


def value_of(type_: GoType, decoded: Any) -> object:
    """What Go decoded, as a value for our encoder."""
    if isinstance(decoded, dict) and next(iter(decoded), "").startswith("$"):
        return special(decoded)
    match type_:
        case Pointer(to=to):
            return value_of(to, decoded)
        case Struct(fields=fields):
            types = dict(fields)
            return {name: value_of(types[name], value) for name, value in decoded.items()}
        case Map(value=inner):
            return {key: value_of(inner, value) for key, value in decoded.items()}
        case Slice(element=inner) | Array(element=inner):
            return [value_of(inner, value) for value in decoded]
        case _:
            return decoded


def special(decoded: Any) -> Any:
    match decoded:
        case {"$interface": name, "value": value}:
            return Named(name, value_of(REGISTERED[name], value))
        case {"$bytes": data} | {"bytes": data}:
            return bytes.fromhex(data)
        case {"$string": data}:
            return bytes.fromhex(data).decode("utf-8", "surrogateescape")
        case {"$float": _, "bits": bits}:
            return struct.unpack(">d", bytes.fromhex(bits))[0]
        case {"$complex": parts}:
            return complex(*(special(part) for part in parts))
        case _:
            return decoded


def numbers(data: bytes) -> Iterator[int]:
    """The numbers of the types in the order of their definitions; a nameless one has another one inside."""
    decoder = Decoder()
    decoder.receive_data(data)
    list(read_all(decoder))
    for number in decoder._types._types:
        yield number
        nameless = bytearray()
        write_int(nameless, -number)
        _, found, rest = data.partition(nameless + b"\x05\x01\x02")
        if found:
            yield read_int(rest, 0)[0]


@pytest.mark.parametrize("name", CASES)
def test_values_are_written_as_go_writes_them(name: str) -> None:
    [vector] = streams("gob")[name]
    encoder = Encoder(numbers(vector.data))
    case = CASES[name]
    types = case if isinstance(case, tuple) else (case,) * len(vector.decoded)

    ours = b"".join(
        encoder.encode((type_, value_of(type_, value)))
        for type_, value in zip(types, vector.decoded, strict=True)
    )

    assert ours.hex() == vector.data.hex()


REPLIES: dict[str, GoType] = {
    "Plugin.InitPlugin": RPC_ERROR_TYPE,
    "Plugin.Run": MEASUREMENT_TYPE,
    "Plugin.Resume": MEASUREMENT_TYPE,
    "Plugin.Terminate": MEASUREMENT_TYPE,
    "Plugin.GarbageCollect": RPC_ERROR_TYPE,
    "Plugin.Type": STRING,
    "Plugin.GetMetadata": STRINGS_TYPE,
}


@pytest.mark.parametrize("session", [name for name in streams("metric") if name.endswith("plugin->host")])
def test_replies_are_written_as_a_go_plugin_writes_them(session: str) -> None:
    vectors = streams("metric")[session]
    encoder = Encoder(numbers(b"".join(vector.data for vector in vectors)))

    for vector in vectors:
        assert b"".join(reply(encoder, vector)).hex() == vector.data.hex() or shuffled(vector)


def reply(encoder: Encoder, vector: Vector) -> Iterator[bytes]:
    for header, body in zip(vector.decoded[::2], vector.decoded[1::2], strict=True):
        type_ = EMPTY if "Error" in header else REPLIES[header["ServiceMethod"]]
        yield encoder.encode((RESPONSE, header), (type_, value_of(type_, body)))


def shuffled(vector: Vector) -> bool:
    """Whether a map of more than one entry is in it, which Go writes in random order."""
    return any(
        isinstance(value, dict) and len(value.get("Metadata", value if "Phase" not in value else ())) > 1
        for value in vector.decoded[1::2]
    )
