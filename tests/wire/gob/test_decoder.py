import pytest

from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.decoder import MAX_SIZE, NEED_DATA, Decoder, TypeMismatch
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import GoType, Interface, Map, Slice, Struct
from chaosplugin.wire.gob.primitives import write_bytes, write_int, write_string, write_uint
from chaosplugin.wire.gob.schema import MAX_DEFINITIONS_SIZE, MAX_TYPES
from chaosplugin.wire.gob.shapes import (
    ANY,
    BOOL,
    BYTES,
    INT,
    NO_INTERFACE,
    SKIP,
    STRING,
    UINT,
    InterfaceShape,
    ListShape,
    MapShape,
    Named,
    OpaqueShape,
    Shape,
    StructShape,
)

INNER = Struct("Inner", (("N", gotypes.INT), ("S", gotypes.STRING)))
REGISTERED: dict[str, GoType] = {"Inner": INNER, "text": gotypes.STRING}
INTERFACE = Interface(REGISTERED)
OUTER = Struct(
    "Outer",
    (
        ("A", gotypes.STRING),
        ("L", Slice(INNER)),
        ("M", Map(gotypes.STRING, INNER)),
        ("V", INTERFACE),
        ("Z", gotypes.INT),
    ),
)
FULL = {
    "A": "a",
    "L": [{"N": 1, "S": "x"}, {}],
    "M": {"k": {"N": 2}},
    "V": Named("Inner", {"N": 3}),
    "Z": 4,
}
N_ONLY = StructShape("main.Inner", {"N": ("n", INT)})


def read(shape: Shape, *data: bytes) -> object:
    decoder = Decoder()
    decoder.receive_data(b"".join(data))
    return decoder.next_value(shape)


def encode(type_: GoType, value: object) -> bytes:
    return Encoder().encode((type_, value))


def message(*parts: bytes) -> bytes:
    out = bytearray()
    write_bytes(out, b"".join(parts))
    return bytes(out)


def definition(number: int, name: str, *fields: tuple[str, int]) -> bytes:
    out = bytearray()
    write_int(out, -number)
    out += b"\3\1\1"
    write_string(out, name)
    out += b"\0"
    if fields:
        out += b"\1"
        write_uint(out, len(fields))
    for field, type_id in fields:
        out += b"\1"
        write_string(out, field)
        out += b"\1"
        write_int(out, type_id)
        out += b"\0"
    return message(bytes(out), b"\0\0")


def test_only_the_wanted_fields_are_built() -> None:
    shape = StructShape(
        "main.Outer",
        {
            "L": ("list", ListShape(N_ONLY)),
            "M": ("map", MapShape(STRING, N_ONLY)),
            "V": ("content", InterfaceShape({"Inner": N_ONLY})),
        },
    )

    got = read(shape, encode(OUTER, FULL))

    assert got == {"list": [{"n": 1}, {"n": 0}], "map": {"k": {"n": 2}}, "content": Named("Inner", {"n": 3})}


def test_absent_scalars_are_zero_and_absent_pointers_left_out() -> None:
    fields: dict[str, tuple[str, Shape]] = {
        "A": ("a", STRING),
        "P": ("p", STRING),
        "Q": ("q", ListShape(INT)),
        "B": ("b", BOOL),
        "Z": ("z", INT),
    }
    shape = StructShape("main.Outer", fields, pointers=frozenset({"P"}))

    assert read(shape, encode(OUTER, {"Z": 1})) == {"a": "", "b": False, "z": 1}


def test_interface_contents_are_shaped_by_their_names() -> None:
    shape = InterfaceShape({"Inner": N_ONLY}, others=SKIP)

    assert read(shape, encode(INTERFACE, Named("Inner", {"N": 7}))) == Named("Inner", {"n": 7})
    assert read(shape, encode(INTERFACE, Named("text", "t"))) == Named("text", None)
    assert read(shape, encode(INTERFACE, None)) is None


MISMATCHES: list[tuple[GoType, object, Shape, str]] = [
    (
        gotypes.STRING,
        "s",
        NO_INTERFACE,
        (
            "gob: local interface type *interface {} can only be decoded from remote interface type; "
            "received concrete type string"
        ),
    ),
    (gotypes.INT, 1, UINT, "gob: decoding into local type *uint, received remote type int"),
    (
        Slice(gotypes.INT),
        [1],
        MapShape(STRING, BYTES),
        "gob: decoding into local type *map[string][]uint8, received remote type []int",
    ),
    (
        gotypes.BOOL,
        True,
        StructShape("struct {}", {}),
        "gob: type mismatch in decoder: want struct type struct {}; got non-struct",
    ),
    (
        INNER,
        {"N": 1},
        StructShape("main.T", {"N": ("n", STRING)}),
        "gob: wrong type (string) for received field Inner.N",
    ),
    (
        OUTER,
        FULL,
        StructShape("main.T", {"L": ("l", ListShape(StructShape("main.I", {"S": ("s", BYTES)})))}),
        "gob: wrong type ([]uint8) for received field Inner.S",
    ),
    (
        OUTER,
        FULL,
        StructShape("main.T", {"M": ("m", MapShape(STRING, StructShape("main.I", {"S": ("s", BOOL)})))}),
        "gob: wrong type (bool) for received field Inner.S",
    ),
    (
        INNER,
        {"N": 1},
        StructShape("main.T", {"Q": ("q", STRING)}),
        "gob: type mismatch: no fields matched compiling decoder for T",
    ),
    (
        INTERFACE,
        Named("Inner", {}),
        InterfaceShape({}),
        'gob: name not registered for interface: "Inner"',
    ),
    (
        INTERFACE,
        Named("Inner", {"N": 1}),
        InterfaceShape({"Inner": StructShape("main.T", {"N": ("n", BOOL)})}),
        "gob: wrong type (bool) for received field Inner.N",
    ),
    (
        gotypes.TIME,
        b"\3",
        OpaqueShape("time.Time", int),
        "invalid literal for int() with base 10: b'\\x03'",
    ),
]


@pytest.mark.parametrize(("type_", "value", "shape", "text"), MISMATCHES)
def test_another_type_is_refused_in_gos_words_and_the_stream_goes_on(
    type_: GoType, value: object, shape: Shape, text: str
) -> None:
    encoder = Encoder()
    decoder = Decoder()
    decoder.receive_data(encoder.encode((type_, value), (gotypes.STRING, "next")))

    with pytest.raises(TypeMismatch) as refused:
        decoder.next_value(shape)

    assert str(refused.value) == text
    assert decoder.next_value(STRING) == "next"


def test_a_struct_without_fields_fits_every_struct() -> None:
    assert read(N_ONLY, encode(gotypes.EMPTY, {})) == {"n": 0}
    assert read(StructShape("struct {}", {}), encode(INNER, {"N": 1})) == {}


def test_maps_with_keys_of_any_kind_become_pairs() -> None:
    pairs = Map(INNER, gotypes.INT)

    got = read(ANY, definition(70, "K", ("N", 2)), message(b"\xff\x8d\4\1\2\xff\x8e\0\1\xff\x8c\1\4\0\0"),
               message(b"\xff\x8e\0\1\1\6\0\x0a"))  # fmt: skip

    assert got == [({"N": 3}, 5)]
    assert gotypes.type_string(pairs) == "map[Inner]int"


def test_fields_may_refer_to_types_defined_later() -> None:
    got = read(
        ANY, definition(70, "A", ("B", 71)), definition(71, "B", ("N", 2)), message(b"\xff\x8c\1\1\x0a\0\0")
    )

    assert got == {"B": {"N": 5}}


BROKEN = {
    "more than 33554432 bytes": [b"\xfc\x02\x00\x00\x01"],
    "more than 2000 types": [definition(number, "T") for number in range(70, 71 + MAX_TYPES)],
    f"more than {MAX_DEFINITIONS_SIZE} bytes": [
        definition(number, "T" * (64 << 10)) for number in range(70, 75)
    ],
    "name of a type of 1025 bytes": [message(b"\x10\0\xfe\4\1" + b"n" * 1025)],
    "elements in 1 bytes": [message(b"\xff\x8b\2\1\2\xff\x8c\0\1\4\0\0"), message(b"\xff\x8c\0\x7f\0")],
    "2 elements in an array of 3": [
        message(b"\xff\x8b\1\1\2\xff\x8c\0\1\4\1\6\0\0"),
        message(b"\xff\x8c\0\2\0\0"),
    ],
    "unknown kind 8": [message(b"\xff\x8b\x08\1\2\xff\x8c\0\0\0")],
    "two kinds": [message(b"\xff\x8b\2\1\2\xff\x8c\0\1\4\0\1\0")],
    "field 2 in a type definition": [message(b"\xff\x8b\5\1\3\2\0\0\0")],
    "field 3 in a type definition": [message(b"\xff\x8b\4\4\2\0\0")],
    "without a name": [definition(70, "T", ("", 2))],
    "field 1 of a struct with 1 fields": [definition(70, "T", ("N", 2)), message(b"\xff\x8c\2\2\0")],
    "unknown type id 99": [definition(70, "T", ("N", 99)), message(b"\xff\x8c\1\2\0")],
    "is not alone": [message(b"\xff\x8b\2\1\2\xff\x8c\0\1\4\0\0\0")],
    "field 2 of a struct with 2 fields": [
        definition(70, "T", ("V", 8), ("N", 2)),
        message(b"\xff\x8c\3\2\0"),
    ],
    "field 301 of a struct": [definition(70, "T", ("N", 2)), message(b"\xff\x8c\1\2\xfe\1\x2d\0")],
    "a value goes beyond the end": [message(b"\x0c\0\x05text")],
    "goes beyond the end of its message": [message(b"\x0c\0\xff\x85text")],
    "beyond the end of its": [message(b"\4\0\xfe\1")],
    "a value goes beyond": [message(b"\xff\x8b\3\1\2\xff\x8c\0\1\x7f")],
    "beyond the end": [definition(70, "T", ("N", 2)), message(b"\xff\x8c\1")],
    "no struct does not begin with a zero": [message(b"\x10\0\1n\x04\2\7\2")],
    "number begins with 0x80": [message(b"\4\0\x80")],
}


@pytest.mark.parametrize("shape", [ANY, SKIP])
@pytest.mark.parametrize("text", BROKEN)
def test_broken_streams_say_what_is_wrong_and_stay_broken(text: str, shape: Shape) -> None:
    decoder = Decoder()
    decoder.receive_data(b"".join(BROKEN[text]))

    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match=text):
            decoder.next_value(shape)
    assert not decoder.between_values


def test_a_value_must_not_grow_without_end_over_messages() -> None:
    """Each message is small, but all belong to a slice of interfaces that never ends."""
    decoder = Decoder()
    decoder.receive_data(message(b"\xff\x8b\2\1\2\xff\x8c\0\1\x10\0\0"))
    decoder.receive_data(message(b"\xff\x8c\0\x7f\6string"))
    piece = message(b"\x0c\1\0" + b"\xfd\x10\x00\x00" + b"x" * (1 << 20) + b"\6string")
    for _ in range(MAX_SIZE // len(piece)):
        decoder.receive_data(piece)
        assert decoder.next_value(SKIP) is NEED_DATA

    decoder.receive_data(piece)
    with pytest.raises(RemoteProtocolError, match=f"more than {MAX_SIZE} bytes"):
        decoder.next_value(SKIP)


@pytest.mark.parametrize("shape", [ANY, NO_INTERFACE])
def test_a_definition_may_share_its_message_with_the_content(shape: Shape) -> None:
    """Go's encoder does so only within an outer interface, its decoder takes it everywhere."""
    inline = b"\x10\0\1n" + definition(70, "T", ("N", 2))[1:] + b"\6" + b"\xff\x8c\3\1\x0a\0"

    assert read(shape, message(inline)) == Named("n", {"N": 5} if shape is ANY else None)


def test_wide_field_numbers_are_read_and_skipped() -> None:
    fields = [(f"F{number}", 2) for number in range(300)]
    data = definition(70, "T", *fields) + message(b"\xff\x8c\xfe\1\x2b\4\1\6\0")
    shape = StructShape("main.T", {"F299": ("last", INT)})

    assert read(ANY, data) == {"F298": 2, "F299": 3}
    assert read(shape, data) == {"last": 3}
    assert read(SKIP, data) is None


@pytest.mark.parametrize("content", [b"\4\2\0\x0a", b"\x0c\3\0\1x", b"\x0e\3\0\1\1", b"\x10\2\0\0"])
def test_contents_that_are_no_structs_are_skipped_with_their_zero_byte(content: bytes) -> None:
    inner = b"\1\1n" + content + b"\0"
    data = definition(70, "T", ("V", 8)) + message(b"\x10\0\1t\xff\x8c" + bytes([len(inner)]) + inner)

    assert read(NO_INTERFACE, data) == Named("t", None)
    got = read(ANY, data)
    assert isinstance(got, Named)
    assert isinstance(got.value, dict)
    assert got.value["V"].name == "n"


def test_a_shape_cannot_change_in_the_middle_of_a_value() -> None:
    data = encode(INTERFACE, Named("Inner", {"N": 7}))
    decoder = Decoder()
    decoder.receive_data(data[:-1])

    assert decoder.next_value(ANY) is NEED_DATA
    with pytest.raises(LocalProtocolError):
        decoder.next_value(SKIP)
    assert not decoder.between_values
    decoder.receive_data(data[-1:])
    assert decoder.next_value(ANY) == Named("Inner", {"N": 7})


def test_a_value_cut_between_its_messages_is_not_complete() -> None:
    data = encode(INTERFACE, Named("Inner", {"N": 7}))
    first = 1 + data[0]
    decoder = Decoder()
    decoder.receive_data(data[:first])

    assert decoder.next_value(ANY) is NEED_DATA
    assert not decoder.between_values
