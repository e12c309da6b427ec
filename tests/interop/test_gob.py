"""gob against Go, with random types and values in both directions; `GOB_SEED` gives the same ones again."""

import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chaosplugin.transport.rollouts import MEASUREMENT_TYPE, RPC_ERROR_TYPE, STRINGS_TYPE
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.decoder import NEED_DATA, Decoder
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import GoType, Struct
from chaosplugin.wire.gob.shapes import ANY, SKIP, Named, Opaque
from chaosplugin.wire.gob.times import encode_time
from tests.interop import gobs
from tests.wire.vectors import agrees, read_all

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1800)]

OBJECTS = int(os.environ.get("GOB_OBJECTS", "300"))
RESPONSE = Struct(
    "Response", (("ServiceMethod", gotypes.STRING), ("Seq", gotypes.UINT), ("Error", gotypes.STRING))
)
TYPES: Mapping[str, GoType] = {
    "Measurement": MEASUREMENT_TYPE,
    "RpcError": RPC_ERROR_TYPE,
    "strings": STRINGS_TYPE,
    "string": gotypes.STRING,
    "uint32": gotypes.UINT,
    "empty": gotypes.EMPTY,
}
TIMES = ("StartedAt", "FinishedAt", "ResumeAt")


@pytest.fixture(scope="module")
def program() -> Path:
    return gobs.build()


@pytest.fixture
def seed() -> int:
    """A new one for each run; pytest shows what was printed where a test fails."""
    chosen = int(os.environ.get("GOB_SEED") or random.SystemRandom().getrandbits(31))
    print(f"GOB_SEED={chosen}")  # noqa: T201
    return chosen


def test_what_go_encodes_is_read_as_go_reads_it(program: Path, seed: int) -> None:
    read = 0
    for batch in gobs.random_batches(program, seed=seed, count=OBJECTS):
        stream = bytes.fromhex(batch["hex"])
        whole, skipping = Decoder(), Decoder()
        whole.receive_data(stream)
        skipping.receive_data(stream)
        for number, want in enumerate(batch["decoded"]):
            got = whole.next_value(ANY)
            assert isinstance(got, Named)
            assert agrees(got, want), f"value {number} of a batch of {batch['kind']}: {got!r:.2000}"
            assert skipping.next_value(SKIP) is not NEED_DATA
            read += 1
        assert whole.between_values
        assert skipping.between_values
    assert read >= OBJECTS


def test_go_reads_what_is_answered(program: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    streams, wanted = [], []
    for start in range(0, OBJECTS, 10):
        encoder = Encoder()
        data, types, values = b"", list[str](), list[object]()
        for number in range(10):
            name = chance.choice(list(TYPES))
            header = {"ServiceMethod": _text(chance), "Seq": chance.choice([0, start + number, 2**64 - 1])}
            value = _value(chance, name)
            data += encoder.encode((RESPONSE, header), (TYPES[name], value))
            types += ["Response", name]
            values += [_sent(header), _sent(value)]
        streams.append((types, data))
        wanted.append(values)

    answers = gobs.read_back(program, streams)

    for (_, data), values, answer in zip(streams, wanted, answers, strict=True):
        assert answer["error"] == "", data.hex()
        assert len(answer["decoded"]) == len(values)
        for value, read in zip(values, answer["decoded"], strict=True):
            assert agrees(value, read), (value, read)
        decoder = Decoder()
        decoder.receive_data(data)
        assert list(read_all(decoder)) == values


def _text(chance: random.Random) -> str:
    match chance.randrange(4):
        case 0:
            return ""
        case 1:
            return chance.randbytes(chance.randrange(200)).decode("utf-8", "surrogateescape")
        case _:
            return "".join(chr(chance.randrange(32, 0x2000)) for _ in range(chance.randrange(12)))


def _value(chance: random.Random, name: str) -> object:
    match name:
        case "Measurement":
            return {
                **{field: _text(chance) for field in ("Phase", "Message", "Value")},
                **{field: _moment(chance) for field in TIMES},
                "Metadata": _strings(chance) if chance.randrange(3) else None,
            }
        case "RpcError":
            return {"ErrorString": _text(chance)}
        case "strings":
            return _strings(chance)
        case "string":
            return _text(chance)
        case "uint32":
            return chance.choice([0, 127, 128, 2**32 - 1])
        case _:
            return {}


def _strings(chance: random.Random) -> dict[str, str]:
    return {_text(chance): _text(chance) for _ in range(chance.randrange(4))}


def _moment(chance: random.Random) -> bytes | None:
    if chance.randrange(3) == 0:
        return None
    return encode_time(datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(3 * 10**17)))


def _sent(value: object) -> object:
    """What a reader without a schema finds: zero fields are gone, but for maps that are not nil."""
    if isinstance(value, dict) and value.keys() & {"Seq", "Phase", "ErrorString"}:
        kept = {key: item for key, item in value.items() if item or item == {}}
        return {key: Opaque(item) if isinstance(item, bytes) else item for key, item in kept.items()}
    return value
