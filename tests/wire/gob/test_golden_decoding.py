import pytest

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.decoder import Decoder, TypeMismatch
from chaosplugin.wire.gob.shapes import ANY, INT, SKIP, STRING, Shape, StructShape
from tests.wire.vectors import Vector, agrees, read_all, streams, vectors

TOO_DEEP = "recursive-deep"  # 300 levels, which Go takes and we do not
STREAMS = [
    pytest.param(pieces, id=f"{file}-{name}")
    for file in ("gob", "metric", "step")
    for name, pieces in streams(file).items()
    if not pieces[0].error and name != TOO_DEEP
]
REFUSED = [pytest.param(vector, id=vector.name) for vector in vectors("gob") if vector.error]


def wants(pieces: list[Vector]) -> list[object]:
    return [value for piece in pieces for value in piece.decoded]


@pytest.mark.parametrize("pieces", STREAMS)
def test_whole_streams_read_as_go_reads_them(pieces: list[Vector]) -> None:
    decoder = Decoder()

    for piece in pieces:
        decoder.receive_data(piece.data)
        assert agrees(list(read_all(decoder)), piece.decoded)
        assert decoder.between_values


@pytest.mark.parametrize("pieces", STREAMS)
def test_streams_in_single_bytes_read_the_same(pieces: list[Vector]) -> None:
    decoder = Decoder()
    got: list[object] = []

    for piece in pieces:
        for byte in piece.data:
            decoder.receive_data(bytes([byte]))
            got += read_all(decoder)

    assert agrees(got, wants(pieces))


@pytest.mark.parametrize("pieces", STREAMS)
def test_values_with_others_behind_them_end_where_they_end(pieces: list[Vector]) -> None:
    decoder = Decoder()
    decoder.receive_data(b"".join(piece.data for piece in pieces))

    assert agrees(list(read_all(decoder)), wants(pieces))


@pytest.mark.parametrize("pieces", STREAMS)
def test_skipping_keeps_in_step(pieces: list[Vector]) -> None:
    decoder = Decoder()
    decoder.receive_data(b"".join(piece.data for piece in pieces))
    wanted = wants(pieces)

    for index, want in enumerate(wanted[:-1]):
        value = decoder.next_value(SKIP if index % 2 else ANY)
        assert index % 2 or agrees(value, want)
    assert agrees(decoder.next_value(ANY), wanted[-1])
    assert decoder.between_values


def target(name: str) -> Shape:
    """What Go's decoder was asked for."""
    kind = name.removeprefix("refused/").partition("-")[0]
    fields: dict[str, tuple[str, Shape]] = {"N": ("N", INT)}
    return {"string": STRING, "negative": STRING, "singleton": INT, "type": INT}.get(
        kind, StructShape("main.impl1", fields)
    )


@pytest.mark.parametrize("vector", REFUSED)
def test_what_go_refuses_is_refused(vector: Vector) -> None:
    decoder = Decoder()
    decoder.receive_data(vector.data)

    if vector.error in {"EOF", "unexpected EOF"} and vector.data != b"\0":
        assert list(read_all(decoder, target(vector.name))) == []  # more may come, and an end here is noticed
        assert decoder.between_values is (vector.data == b"")
    else:
        with pytest.raises(RemoteProtocolError):
            list(read_all(decoder, target(vector.name)))


@pytest.mark.parametrize("shape", [ANY, SKIP])
def test_a_value_nested_300_deep_is_refused_even_if_skipped(shape: Shape) -> None:
    decoder = Decoder()
    decoder.receive_data(streams("gob")[TOO_DEEP][0].data)

    with pytest.raises(RemoteProtocolError, match="nested more than 100 deep") as refused:
        decoder.next_value(shape)
    assert not isinstance(refused.value, TypeMismatch)
