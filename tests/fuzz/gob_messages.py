"""A mutator that knows gob's messages: it changes one of them and keeps the lengths true."""

import random
from collections.abc import Callable

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.primitives import read_uint, write_bytes


def mutate(data: bytes, size: int, seed: int, mutate_bytes: Callable[[bytes, int], bytes]) -> bytes:
    """Return at most `size` bytes; one time in four it changes the stream blindly."""
    chance = random.Random(seed)  # noqa: S311  libFuzzer's seed, to get the same again
    messages = _split(data)
    if not messages or chance.randrange(4) == 0:
        return mutate_bytes(data, size)
    index = chance.randrange(len(messages))
    match chance.randrange(8):
        case 0:
            messages.insert(chance.randrange(len(messages)), messages[index])
        case 1:
            del messages[index]
        case _:
            messages[index] = mutate_bytes(messages[index], len(messages[index]) + 64)
    out = bytearray()
    for message in messages:
        write_bytes(out, message)
    return bytes(out[:size])


def _split(data: bytes) -> list[bytes]:
    messages = []
    pos = 0
    try:
        while pos < len(data):
            length, pos = read_uint(data, pos)
            messages.append(data[pos : pos + length])
            pos += length
    except (RemoteProtocolError, IndexError):
        messages.append(data[pos:])
    return messages
