"""Streams that are made to cost much: each is refused early, and what is just below a limit is read."""

import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.decoder import MAX_SIZE, NEED_DATA, Decoder, TypeMismatch
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import GoType, Interface, Map, Slice, Struct
from chaosplugin.wire.gob.primitives import write_bytes, write_int, write_string, write_uint
from chaosplugin.wire.gob.progress import MAX_VALUES
from chaosplugin.wire.gob.schema import MAX_FIELDS
from chaosplugin.wire.gob.shapes import ANY, INT, SKIP, ListShape, Named, Shape, StructShape

_EMPTY = Struct("Empty", ())
_PAIR = Struct("Pair", (("A", gotypes.BOOL), ("B", gotypes.BOOL)))
_TEXT = Interface({"t": gotypes.STRING})
_BUSY_S = 5.0  # a hundred times what it takes; without the limits it is minutes, or no end
_MEMORY = 256 << 20


def message(*parts: bytes) -> bytes:
    out = bytearray()
    write_bytes(out, b"".join(parts))
    return bytes(out)


def number(value: int) -> bytes:
    out = bytearray()
    write_int(out, value)
    return bytes(out)


def text(value: str) -> bytes:
    out = bytearray()
    write_string(out, value)
    return bytes(out)


def count(value: int) -> bytes:
    out = bytearray()
    write_uint(out, value)
    return bytes(out)


def struct(type_id: int, fields: list[tuple[str, int]], name: str = "T") -> bytes:
    """The message that defines a struct type."""
    listed = b"".join(b"\1" + text(field) + b"\1" + number(inner) + b"\0" for field, inner in fields)
    body = b"\1" + count(len(fields)) + listed if fields else b""
    return message(number(-type_id), b"\3\1\1", text(name), b"\0", body, b"\0\0")


def read(shape: Shape, *data: bytes) -> object:
    decoder = Decoder()
    decoder.receive_data(b"".join(data))
    return decoder.next_value(shape)


def listed(element: GoType, piece: bytes, elements: int) -> bytes:
    """A list of equal elements, whose bytes are given."""
    definitions = Encoder().encode((Slice(element), []))
    head = definitions.rindex(message(b"\xff\x82\0\0"))
    return definitions[:head] + message(b"\xff\x82\0", count(elements), piece * elements)


def mapped(key: GoType, pieces: Iterator[bytes], entries: int) -> bytes:
    definitions = Encoder().encode((Map(key, gotypes.BOOL), {}))
    head = definitions.rindex(message(b"\xff\x82\0\0"))
    return definitions[:head] + message(b"\xff\x82\0", count(entries), b"".join(pieces))


_CHEAP: dict[str, Callable[[int], bytes]] = {
    "bools": lambda n: listed(gotypes.BOOL, b"\1", n),
    "empty texts": lambda n: listed(gotypes.STRING, b"\0", n),
    "empty structs": lambda n: listed(_EMPTY, b"\0", n),
    "empty lists": lambda n: listed(Slice(gotypes.BOOL), b"\0", n),
    "nil interfaces": lambda n: listed(_TEXT, b"\0", n),
}


@pytest.fixture
def frugal() -> Iterator[None]:
    """What the test does takes neither seconds nor a lot of memory."""
    tracemalloc.start()
    start = time.monotonic()
    yield
    spent = time.monotonic() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert spent < _BUSY_S * 4  # tracemalloc slows all down
    assert peak < _MEMORY


@pytest.mark.parametrize("shape", [ANY, SKIP], ids=["any", "skip"])
@pytest.mark.parametrize("stream", _CHEAP.values(), ids=_CHEAP.keys())
@pytest.mark.usefixtures("frugal")
def test_a_message_full_of_elements_of_one_byte_is_refused_early(
    stream: Callable[[int], bytes], shape: Shape
) -> None:
    hostile = stream(MAX_SIZE - 4096)

    with pytest.raises(RemoteProtocolError, match=f"more than {MAX_VALUES} values in one message"):
        read(shape, hostile)


@pytest.mark.parametrize("shape", [ANY, SKIP], ids=["any", "skip"])
@pytest.mark.parametrize("stream", _CHEAP.values(), ids=_CHEAP.keys())
def test_the_limit_of_values_is_exact(stream: Callable[[int], bytes], shape: Shape) -> None:
    assert read(shape, stream(MAX_VALUES)) is not NEED_DATA
    with pytest.raises(RemoteProtocolError, match="values in one message"):
        read(shape, stream(MAX_VALUES + 1))


@pytest.mark.parametrize("shape", [ANY, SKIP], ids=["any", "skip"])
def test_fields_and_entries_count_as_values_too(shape: Shape) -> None:
    most = MAX_VALUES // 3  # an element and its two fields
    pairs = [listed(_PAIR, b"\1\1\1\1\0", n) for n in (most, most + 1)]
    keys = [
        mapped(gotypes.UINT, (count(i) + b"\1" for i in range(n)), n)
        for n in (MAX_VALUES // 2, MAX_VALUES // 2 + 1)
    ]

    for last, first_too_many in (pairs, keys):
        assert read(shape, last) is not NEED_DATA
        with pytest.raises(RemoteProtocolError, match="values in one message"):
            read(shape, first_too_many)


def test_each_message_has_values_of_its_own() -> None:
    encoder, decoder = Encoder(), Decoder()
    half = [True] * (MAX_VALUES // 2 + 1)
    type_ = Slice(gotypes.BOOL)

    for _ in range(3):
        decoder.receive_data(encoder.encode((type_, half)))
        assert decoder.next_value(ANY) == half


def test_an_interface_in_a_list_costs_more_than_its_element() -> None:
    named = [Named("t", "")] * (MAX_VALUES // 2 + 1)
    encoded = Encoder().encode((Slice(_TEXT), named))

    with pytest.raises(RemoteProtocolError, match="values in one message"):
        read(ANY, encoded)
    with pytest.raises(RemoteProtocolError, match="values in one message"):
        read(SKIP, encoded)


@pytest.mark.usefixtures("frugal")
def test_keys_that_hash_alike_do_not_make_a_map_slow() -> None:
    entries = 20_000
    multiplier = 1_000_003  # hash(complex) is hash(real) + 1000003 * hash(imag)
    keys = [complex(multiplier * (entries - i), i) for i in range(entries)]
    assert len({hash(key) for key in keys}) == 1
    encoded = Encoder().encode((Map(gotypes.COMPLEX, gotypes.BOOL), {}))
    pieces = []
    for key in keys:
        piece = Encoder().encode((gotypes.COMPLEX, key))
        pieces.append(piece[3:] + b"\1")
    head = encoded.rindex(message(b"\xff\x82\0\0"))

    value = read(ANY, encoded[:head], message(b"\xff\x82\0", count(entries), *pieces))

    assert value == [(key, True) for key in keys]


def test_a_struct_type_has_a_limit_of_fields() -> None:
    most = [(f"F{i}", 2) for i in range(MAX_FIELDS)]

    assert read(ANY, struct(66, most), message(number(66), b"\0")) == {}
    with pytest.raises(RemoteProtocolError, match=f"a struct type with {MAX_FIELDS + 1} fields"):
        read(ANY, struct(66, [*most, ("More", 2)]), message(number(66), b"\0"))


def test_a_struct_type_names_each_field_once() -> None:
    """Go cannot make such a type; each repetition would multiply the work of comparing it with a shape."""
    twice = struct(66, [("A", 2), ("A", 2)]), message(number(66), b"\0")

    with pytest.raises(RemoteProtocolError, match="a struct type with two fields of one name"):
        read(StructShape("main.T", {"A": ("a", INT)}), *twice)


@pytest.mark.usefixtures("frugal")
def test_types_that_all_lead_to_one_another_are_looked_at_once() -> None:
    """Each of 500 types holds the next, and 40 more; only the last holds an interface."""
    first, many = 70, 500
    definitions = [
        struct(
            first + i, [*((f"F{k}", first + (i + k * 7) % many) for k in range(40)), ("Next", first + i + 1)]
        )
        for i in range(many)
    ]
    last = struct(first + many, [("I", 8)])
    opened = b"\x29" * many + b"\0" * many  # field 41 of each, and back

    with pytest.raises(RemoteProtocolError, match="nested more than"):
        read(ANY, *definitions, last, message(number(first), opened))
    for start in range(0, many, 90):
        depth = min(90, many - start)
        value = message(number(first + start), b"\x29" * depth + b"\0" * (depth + 1))
        assert read(ANY, *definitions, last, value) is not NEED_DATA


def test_a_refused_type_is_compared_once() -> None:
    shape: Shape = ListShape(INT)
    for _ in range(6):
        shape = ListShape(StructShape("T", {f"F{i}": (f"F{i}", shape) for i in range(2)}))
    wanted = StructShape("T", {f"F{i}": (f"F{i}", shape) for i in range(10)})
    decoder = Decoder()
    decoder.receive_data(struct(66, [(f"F{i}", 67) for i in range(10)]))
    decoder.receive_data(message(number(-67), b"\2\1\1", text("L"), b"\0\1", number(66), b"\0\0"))
    start = time.monotonic()

    for _ in range(20):
        decoder.receive_data(message(number(66), b"\0"))
        with pytest.raises(TypeMismatch, match=r"for received field"):
            decoder.next_value(wanted)
    assert time.monotonic() - start < _BUSY_S


def test_a_long_name_of_a_type_does_not_fill_the_log() -> None:
    decoder = Decoder()
    decoder.receive_data(struct(66, [("N", 6)], name="T" * 100_000) + message(number(66), b"\0"))

    with pytest.raises(TypeMismatch) as refused:
        decoder.next_value(StructShape("main.T", {"N": ("N", INT)}))
    assert len(str(refused.value)) < 2_000
