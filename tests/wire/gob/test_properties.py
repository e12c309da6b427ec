"""Random types and values, cuts and damage."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.decoder import NEED_DATA, Decoder, TypeMismatch
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import (
    BOOL,
    BYTES,
    COMPLEX,
    FLOAT,
    INT,
    STRING,
    UINT,
    Array,
    Basic,
    GoType,
    Interface,
    Map,
    Pointer,
    SelfEncoding,
    Slice,
    Struct,
)
from chaosplugin.wire.gob.shapes import ANY, SKIP, Named, Opaque
from tests.wire.vectors import read_all, vectors

BASIC = st.sampled_from(list(Basic))
NAMES = st.text(min_size=1, max_size=8)
VALUES: dict[GoType, st.SearchStrategy[object]] = {
    BOOL: st.booleans(),
    INT: st.integers(-(1 << 63), (1 << 63) - 1),
    UINT: st.integers(0, (1 << 64) - 1),
    FLOAT: st.floats(allow_nan=False),
    COMPLEX: st.complex_numbers(allow_nan=False),
    STRING: st.text(max_size=200),
    BYTES: st.binary(max_size=200),
}


def extended(types: st.SearchStrategy[GoType]) -> st.SearchStrategy[GoType]:
    return st.one_of(
        st.builds(Slice, types),
        st.builds(Array, types, st.integers(0, 3)),
        st.builds(Map, BASIC, types),
        st.builds(
            Struct,
            NAMES,
            st.lists(st.tuples(NAMES, types), max_size=5, unique_by=lambda field: field[0]).map(tuple),
        ),
        st.builds(SelfEncoding, NAMES),
        st.builds(Interface, st.dictionaries(NAMES, types, min_size=1, max_size=3)),
    )


TYPES = st.recursive(BASIC, extended, max_leaves=12)


def values(type_: GoType) -> st.SearchStrategy[object]:
    strategy: st.SearchStrategy[object]
    match type_:
        case Basic():
            strategy = VALUES[type_]
        case Slice(element=element):
            strategy = st.lists(values(element), max_size=4)
        case Array(element=element, length=length):
            strategy = st.lists(values(element), min_size=length, max_size=length)
        case Map(key=key, value=value):
            strategy = st.dictionaries(VALUES[key], values(value), max_size=4)
        case Struct(fields=fields):
            strategy = st.fixed_dictionaries({}, optional={name: values(field) for name, field in fields})
        case SelfEncoding():
            strategy = st.binary(max_size=40)
        case Interface(concrete=concrete):
            contents = [st.builds(Named, st.just(name), values(inner)) for name, inner in concrete.items()]
            strategy = st.one_of(st.none(), *contents)
        case Pointer():
            raise AssertionError("not among TYPES")
    return strategy


TYPED = TYPES.flatmap(lambda type_: st.tuples(st.just(type_), values(type_)))


def received(type_: GoType, value: object) -> object:
    """What a reader without a schema gets: zero fields are gone."""
    match type_:
        case Slice(element=element) | Array(element=element):
            assert isinstance(value, list)
            return [received(element, item) for item in value]
        case Map(key=key_type, value=inner):
            assert isinstance(value, dict)
            pairs = [(key, received(inner, item)) for key, item in value.items()]
            return pairs if key_type is COMPLEX else dict(pairs)
        case Struct(fields=fields):
            assert isinstance(value, dict)
            return {
                name: received(field, value[name]) for name, field in fields if sent(field, value, name)
            } | {name: zero(field) for name, field in fields if name not in value and always(field)}
        case SelfEncoding():
            assert isinstance(value, bytes)
            return Opaque(value)
        case Interface(concrete=concrete):
            return (
                Named(value.name, received(concrete[value.name], value.value))
                if isinstance(value, Named)
                else None
            )
        case _:
            return value


def always(type_: GoType) -> bool:
    return isinstance(type_, Struct | Array)


def sent(type_: GoType, value: dict[str, object], name: str) -> bool:
    if name not in value or value[name] is None:
        return False
    return always(type_) or isinstance(type_, Map | SelfEncoding) or bool(value[name])


def zero(type_: GoType) -> object:
    match type_:
        case Struct(fields=fields):
            return {name: zero(field) for name, field in fields if always(field)}
        case Array(element=element, length=length):
            return [zero(element)] * length
        case Slice():
            return []
        case Map(key=key):
            return [] if key is COMPLEX else {}
        case Basic():
            return {BOOL: False, INT: 0, UINT: 0, FLOAT: 0.0, COMPLEX: 0j, STRING: "", BYTES: b""}[type_]
        case _:
            return None


def zeroed_opaque(type_: GoType) -> bool:
    """Whether a zero of the type has a type that encodes itself, which we cannot make up in an array."""
    match type_:
        case Array(element=element):
            return isinstance(element, SelfEncoding) or zeroed_opaque(element)
        case Slice(element=element):
            return zeroed_opaque(element)
        case Map(value=value):
            return zeroed_opaque(value)
        case Struct(fields=fields):
            return any(zeroed_opaque(field) for _, field in fields)
        case Interface(concrete=concrete):
            return any(zeroed_opaque(inner) for inner in concrete.values())
        case _:
            return False


SENDABLE = TYPED.filter(lambda typed: not zeroed_opaque(typed[0]))


@given(st.lists(SENDABLE, min_size=1, max_size=3), st.data())
def test_what_is_written_is_read_back_at_any_cut(
    typed: list[tuple[GoType, object]], data: st.DataObject
) -> None:
    encoder = Encoder()
    stream = b"".join(encoder.encode(pair) for pair in typed * 2)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = Decoder()
    got: list[object] = []

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        decoder.receive_data(stream[start:end])
        got += read_all(decoder)

    assert got == [received(*pair) for pair in typed * 2]
    assert decoder.between_values


@given(st.lists(SENDABLE, min_size=1, max_size=3))
def test_skipped_values_leave_the_stream_in_step(typed: list[tuple[GoType, object]]) -> None:
    encoder = Encoder()
    decoder = Decoder()
    for pair in typed:
        decoder.receive_data(encoder.encode(pair, (STRING, "end")))

    for _ in typed:
        decoder.next_value(SKIP)
        assert decoder.next_value(ANY) == "end"


def drain(stream: bytes) -> None:
    decoder = Decoder()
    decoder.receive_data(stream)
    while True:
        try:
            if decoder.next_value(ANY) is NEED_DATA:
                return
        except TypeMismatch:
            continue
        except RemoteProtocolError:
            return


@given(st.binary(max_size=300))
def test_noise_gives_values_or_a_protocol_error(noise: bytes) -> None:
    drain(noise)


STREAMS = [vector.data for vector in vectors("gob") if len(vector.data) < 1000]


@settings(max_examples=300)
@given(
    st.sampled_from(STREAMS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=3)), min_size=1, max_size=4),
)
def test_damaged_streams_give_values_or_a_protocol_error(
    stream: bytes, damage: list[tuple[float, bytes]]
) -> None:
    for place, patch in damage:
        at = math.floor(place * len(stream))
        stream = stream[:at] + patch + stream[at + len(patch) :]

    drain(stream)
