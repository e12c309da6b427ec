"""gob: any bytes are values or a RemoteProtocolError, the same however they are cut, built or passed over."""

from collections.abc import Iterator

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.decoder import NEED_DATA, Decoder
from chaosplugin.wire.gob.shapes import ANY, SKIP, Shape
from tests.fuzz.gob_messages import mutate
from tests.wire.vectors import streams

__all__ = ["check", "mutate", "seeds"]

_LONG = 1000  # bytes; one vector is a string of 70 kB


def check(data: bytes) -> None:
    values, error, ended = _read(data, ANY, len(data))
    in_pieces = _read(data, ANY, 1 + len(data) // 3)
    passed_over = _read(data, SKIP, len(data))

    assert repr(in_pieces) == repr((values, error, ended))
    assert (len(passed_over[0]), bool(passed_over[1]), passed_over[2]) == (len(values), bool(error), ended)


def _read(data: bytes, shape: Shape, piece: int) -> tuple[list[object], str, bool]:
    decoder = Decoder()
    values: list[object] = []
    try:
        for start in range(0, len(data), piece or 1):
            decoder.receive_data(data[start : start + piece])
            while (value := decoder.next_value(shape)) is not NEED_DATA:
                values.append(value)
    except RemoteProtocolError as error:
        return values, str(error), decoder.between_values
    return values, "", decoder.between_values


def seeds() -> Iterator[bytes]:
    for vectors in streams("gob").values():
        stream = b"".join(vector.data for vector in vectors)
        if len(stream) < _LONG:
            yield stream
