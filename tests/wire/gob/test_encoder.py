import pytest

from chaosplugin.wire.errors import LocalProtocolError
from chaosplugin.wire.gob.decoder import Decoder
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import (
    BOOL,
    BYTES,
    COMPLEX,
    FLOAT,
    INT,
    STRING,
    TIME,
    UINT,
    Array,
    GoType,
    Interface,
    Map,
    Pointer,
    Slice,
    Struct,
)
from chaosplugin.wire.gob.shapes import ANY, Named
from tests.wire.vectors import read_all

INNER = Struct("Inner", (("N", INT),))
OUTER = Struct("Outer", (("I", INNER), ("S", STRING)))
WRONG: list[tuple[GoType, object]] = [
    (BOOL, 1),
    (INT, True),
    (INT, 1 << 63),
    (INT, -(1 << 63) - 1),
    (UINT, -1),
    (UINT, 1 << 64),
    (UINT, "1"),
    (FLOAT, 1),
    (COMPLEX, 1.0),
    (STRING, b"s"),
    (STRING, "\ud800"),
    (BYTES, "s"),
    (TIME, None),
    (INNER, {"M": 1}),
    (INNER, []),
    (OUTER, {"I": {"N": "1"}}),
    (Slice(INT), "12"),
    (Slice(Pointer(INNER)), [None]),
    (Array(INT, 2), [1]),
    (Map(STRING, INT), [("a", 1)]),
    (Map(STRING, INT), {1: 1}),
    (Interface({"int": INT}), 1),
    (Interface({"int": INT}), Named("uint", 1)),
]


@pytest.mark.parametrize(("type_", "value"), WRONG)
def test_what_is_not_of_the_type_is_refused_and_leaves_no_trace(type_: GoType, value: object) -> None:
    encoder = Encoder()
    with pytest.raises(LocalProtocolError):
        encoder.encode((OUTER, {"S": "lost"}), (type_, value))

    decoder = Decoder()
    decoder.receive_data(encoder.encode((OUTER, {"S": "kept"})))

    assert decoder.next_value(ANY) == {"I": {}, "S": "kept"}


def test_a_type_is_defined_once_for_a_stream() -> None:
    encoder = Encoder()

    first, second = (encoder.encode((OUTER, {"I": {"N": 1}})) for _ in range(2))

    assert first.endswith(second)
    assert b"Outer" in first
    assert b"Outer" not in second


def test_a_nil_map_at_top_level_is_an_empty_one() -> None:
    decoder = Decoder()
    decoder.receive_data(Encoder().encode((Map(STRING, INT), None)))

    assert decoder.next_value(ANY) == {}


def test_absent_arrays_travel_as_zeros() -> None:
    types: dict[GoType, object] = {
        BOOL: [False, False],
        STRING: ["", ""],
        INNER: [{}, {}],
        Slice(INT): [[], []],
        Array(UINT, 1): [[0], [0]],
    }

    for element, zeros in types.items():
        decoder = Decoder()
        decoder.receive_data(Encoder().encode((Struct("T", (("A", Array(element, 2)),)), {})))
        assert list(read_all(decoder)) == [{"A": zeros}]


def test_a_value_that_is_given_again_is_written_again() -> None:
    nil = Map(STRING, STRING)
    struct = Struct("T", (("S", STRING), ("V", Interface({"t": STRING, "n": INT}))))
    encoder, decoder = Encoder(), Decoder()
    values = [{"S": "a", "V": Named("t", "x")}, {"S": "b", "V": Named("n", 1)}]
    for number in (0, 0, 1, 1, 0, 0):
        decoder.receive_data(encoder.encode((struct, values[number]), (nil, None)))

    got = [(decoder.next_value(ANY), decoder.next_value(ANY)) for _ in range(6)]
    assert got == [(values[number], {}) for number in (0, 0, 1, 1, 0, 0)]
