"""A struct whose bytes are those of the last one of its kind is not read again."""

from collections import Counter
from itertools import permutations

import pytest

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.decoder import Decoder, TypeMismatch
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import Interface, Map, SelfEncoding, Slice, Struct
from chaosplugin.wire.gob.primitives import write_bytes
from chaosplugin.wire.gob.readers import MAX_REMEMBERED
from chaosplugin.wire.gob.shapes import (
    ANY,
    INT,
    STRING,
    ListShape,
    MapShape,
    Named,
    OpaqueShape,
    StructShape,
)

_TIME = SelfEncoding("Time", package="v1")
_INNER = Struct("Inner", (("Text", gotypes.STRING), ("At", _TIME)))
_OUTER = Struct(
    "Outer",
    (("N", gotypes.INT), ("Inner", _INNER), ("All", Slice(_INNER)), ("Map", Map(gotypes.STRING, _INNER))),
)


def _parsed(data: bytes) -> str:
    if not data.isascii():
        raise ValueError("not ASCII")
    return data.decode()


def _shape() -> StructShape:
    inner = StructShape("Inner", {"Text": ("text", STRING), "At": ("at", OpaqueShape("v1.Time", _parsed))})
    fields = {
        "N": ("n", INT),
        "Inner": ("inner", inner),
        "All": ("all", ListShape(inner)),
        "Map": ("map", MapShape(STRING, inner)),
    }
    return StructShape("Outer", fields)  # type: ignore[arg-type]


def _outer(number: int, text: str, at: str = "now") -> dict[str, object]:
    inner = {"Text": text, "At": at.encode()}
    return {"N": number, "Inner": inner, "All": [inner, {"Text": "other", "At": b"x"}], "Map": {"k": inner}}


def _read(number: int, text: str, at: str = "now") -> dict[str, object]:
    inner = {"text": text, "at": at}
    return {"n": number, "inner": inner, "all": [inner, {"text": "other", "at": "x"}], "map": {"k": inner}}


@pytest.mark.parametrize("order", list(permutations([(1, "a"), (1, "b"), (2, "b"), (1, "a")])))
def test_what_is_remembered_is_what_would_have_been_read(order: list[tuple[int, str]]) -> None:
    encoder, decoder, shape = Encoder(), Decoder(), _shape()
    for number, text in order:
        decoder.receive_data(encoder.encode((_OUTER, _outer(number, text))))

    assert [decoder.next_value(shape) for _ in order] == [_read(*each) for each in order]


def test_the_part_that_has_not_changed_is_the_same_object() -> None:
    encoder, decoder, shape = Encoder(), Decoder(), _shape()
    for number in (1, 2):
        decoder.receive_data(encoder.encode((_OUTER, {"N": number, "Inner": {"Text": "same"}})))
    first, second = decoder.next_value(shape), decoder.next_value(shape)

    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["n"], second["n"]) == (1, 2)
    assert second["inner"] is first["inner"]


def test_a_value_that_was_refused_is_refused_again() -> None:
    encoder, decoder, shape = Encoder(), Decoder(), _shape()
    for at in ("now", "\xe9", "\xe9", "now"):
        decoder.receive_data(encoder.encode((_OUTER, _outer(1, "a", at))))

    assert decoder.next_value(shape) == _read(1, "a")
    for _ in range(2):
        with pytest.raises(TypeMismatch, match="not ASCII"):
            decoder.next_value(shape)
    assert decoder.next_value(shape) == _read(1, "a")


@pytest.mark.parametrize(("beyond", "same"), [(0, True), (1, False)])
def test_no_more_is_remembered_than_the_limit(*, beyond: int, same: bool) -> None:
    """What is remembered is kept as long as its stream lives: the limit is for all of its types together."""
    encoder, decoder = Encoder(), Decoder()
    shapes = [StructShape("T", {"Text": ("text", STRING)}) for _ in range(2)]
    types = [Struct(f"T{number}", (("Text", gotypes.STRING),)) for number in range(2)]
    around = len(b"\1" + b"\xfd\0\0\0" + b"\0")  # delta, length of the text, end of the struct
    half = MAX_REMEMBERED // 2 - around
    for _ in range(2):
        decoder.receive_data(encoder.encode((types[0], {"Text": "x" * half})))
        decoder.receive_data(encoder.encode((types[1], {"Text": "x" * (half + beyond)})))
    first, second = ([decoder.next_value(shape) for shape in shapes] for _ in range(2))

    assert second[0] is first[0]
    assert (second[1] is first[1]) is same


def test_a_value_may_grow_to_the_limit() -> None:
    """What it took before is not counted against it."""
    encoder, decoder = Encoder(), Decoder()
    type_, shape = Struct("T", (("Text", gotypes.STRING),)), StructShape("T", {"Text": ("text", STRING)})
    for size in (MAX_REMEMBERED - 100, MAX_REMEMBERED - 50, MAX_REMEMBERED - 50):
        decoder.receive_data(encoder.encode((type_, {"Text": "x" * size})))
    _, second, third = (decoder.next_value(shape) for _ in range(3))

    assert third is second


def test_what_is_built_of_a_struct_is_remembered_and_a_refusal_is_not() -> None:
    def number(fields: dict[str, object]) -> Counter[object]:
        if not fields["text"]:
            raise ValueError("no text")
        return Counter(fields)

    encoder, decoder = Encoder(), Decoder()
    type_ = Struct("T", (("Text", gotypes.STRING),))
    shape = StructShape("T", {"Text": ("text", STRING)}, build=number)
    for text in ("a", "", "", "a"):
        decoder.receive_data(encoder.encode((type_, {"Text": text})))
    built = decoder.next_value(shape)

    assert isinstance(built, Counter)
    for _ in range(2):
        with pytest.raises(TypeMismatch, match="no text"):
            decoder.next_value(shape)
    assert decoder.next_value(shape) is built


def test_a_definition_that_comes_again_in_an_interface_is_refused_as_any_other() -> None:
    """Name, definition and type stand before the content, and only name and type may be known again."""
    inner = Struct("T", (("N", gotypes.INT),))
    either = Interface({"T": inner})
    outer = Struct("S", (("A", either), ("B", either)))
    encoder, decoder = Encoder(), Decoder()
    decoder.receive_data(encoder.encode((Interface({"S": outer}), Named("S", {}))))
    assert decoder.next_value(ANY) == Named("S", {})

    message = encoder.encode((Interface({"S": outer}), Named("S", {"A": Named("T", {"N": 1})})))
    length = message.index(b"S") + 1 + len(b"\xff\x82")
    once = message[length + 1 : -1]  # of the content: the field, without the zero that ends the struct
    again = bytearray()
    write_bytes(again, once * 2 + b"\0")
    stream = bytearray()
    write_bytes(stream, message[1:length] + again)
    decoder.receive_data(bytes(stream))

    with pytest.raises(RemoteProtocolError, match="defined twice"):
        decoder.next_value(ANY)
