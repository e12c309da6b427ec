"""gob as Argo's methods want it: any bytes are arguments, a refused value, or the end of the stream."""

from collections.abc import Callable, Iterator

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.decoder import NEED_DATA, Decoder, TypeMismatch
from chaosplugin.wire.gob.encoder import Encoder
from tests.fuzz import gob_messages
from tests.fuzz.argo_calls import SERVICE, calls

METHODS = list(SERVICE)


def check(data: bytes) -> None:
    """The first byte chooses the method."""
    shape = SERVICE[METHODS[data[0] % len(METHODS) if data else 0]].method.argument
    decoder = Decoder()
    decoder.receive_data(data[1:])
    try:
        while True:
            try:
                if decoder.next_value(shape) is NEED_DATA:
                    return
            except TypeMismatch:
                pass  # the stream goes on behind it
    except RemoteProtocolError:
        return


def mutate(data: bytes, size: int, seed: int, mutate_bytes: Callable[[bytes, int], bytes]) -> bytes:
    return data[:1] + gob_messages.mutate(data[1:], size - 1, seed, mutate_bytes)


def seeds() -> Iterator[bytes]:
    for name, type_, value in calls():
        yield bytes((METHODS.index(name),)) + Encoder().encode((type_, value), (type_, value))
