"""gob as Argo's methods want it: any bytes are arguments, a refused value, or the end of the stream."""

from collections.abc import Callable, Iterator

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.decoder import NEED_DATA, Decoder, TypeMismatch
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.shapes import Shape
from tests.fuzz import gob_messages
from tests.fuzz.argo_calls import SERVICE, calls

METHODS = list(SERVICE)


def check(data: bytes) -> None:
    """The first byte chooses the method; what comes in pieces is read as what comes at once."""
    shape = SERVICE[METHODS[data[0] % len(METHODS) if data else 0]].method.argument
    assert repr(_read(data[1:], shape, 1 + len(data))) == repr(_read(data[1:], shape, 1 + len(data) // 3))


def _read(data: bytes, shape: Shape, piece: int) -> list[object]:
    decoder = Decoder()
    got: list[object] = []
    try:
        for start in range(0, len(data), piece):
            decoder.receive_data(data[start : start + piece])
            more = True
            while more:
                try:
                    got.append(decoder.next_value(shape))
                except TypeMismatch as error:
                    got.append(str(error))  # the stream goes on behind it
                more = got[-1] is not NEED_DATA
            got.pop()
    except RemoteProtocolError as error:
        got.append(str(error))
    return got


def mutate(data: bytes, size: int, seed: int, mutate_bytes: Callable[[bytes, int], bytes]) -> bytes:
    return data[:1] + gob_messages.mutate(data[1:], size - 1, seed, mutate_bytes)


def seeds() -> Iterator[bytes]:
    for name, type_, value in calls():
        yield bytes((METHODS.index(name),)) + Encoder().encode((type_, value), (type_, value))
