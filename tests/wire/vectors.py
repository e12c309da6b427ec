"""The golden vectors, and whether what we read is what Go read."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from chaosplugin.wire.gob.decoder import NEED_DATA, Decoder
from chaosplugin.wire.gob.shapes import ANY, Named, Opaque, Shape

_GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Vector:
    name: str
    stream: str
    data: bytes
    decoded: list[Any]
    error: str


@cache
def vectors(file: str) -> list[Vector]:
    return [
        Vector(
            name=raw["name"],
            stream=f"{raw['session']} {raw['direction']}" if "session" in raw else raw["name"],
            data=bytes.fromhex("".join(raw["hex"])),
            decoded=raw.get("decoded", []),
            error=raw.get("error", ""),
        )
        for raw in json.loads((_GOLDEN / f"{file}.json").read_text())["vectors"]
    ]


@cache
def streams(file: str) -> dict[str, list[Vector]]:
    """The vectors that one decoder reads one after another."""
    grouped: dict[str, list[Vector]] = {}
    for vector in vectors(file):
        grouped.setdefault(vector.stream, []).append(vector)
    return grouped


def read_all(decoder: Decoder, shape: Shape = ANY) -> Iterator[object]:
    while (value := decoder.next_value(shape)) is not NEED_DATA:
        yield value


def agrees(got: object, want: Any) -> bool:
    """Whether a value read as ANY is the one that Go's decoder read."""
    if isinstance(want, dict) and next(iter(want), "").startswith("$"):
        return _SPECIAL[next(iter(want))](got, want)
    if isinstance(want, dict):
        return (
            isinstance(got, dict)
            and got.keys() == want.keys()
            and all(agrees(got[key], want[key]) for key in want)
        )
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(agrees, got, want))
    if isinstance(got, Named):  # at top level a vector may show the content alone
        return agrees(got.value, want)
    return type(got) is type(want) and got == want


def _interface(got: object, want: Any) -> bool:
    name = want["$interface"]
    own = "*" in name or "." in name  # Go's name of the type, not the registered one
    return isinstance(got, Named) and (own or got.name == name) and agrees(got.value, want["value"])


def _map(got: object, want: Any) -> bool:
    """Go's JSON is sorted, the wire is not."""
    if not isinstance(got, dict | list):
        return False
    pairs = [list(pair) for pair in (got.items() if isinstance(got, dict) else got)]
    for entry in want["$map"]:
        found = next((index for index, pair in enumerate(pairs) if agrees(pair, entry)), None)
        if found is None:
            return False
        del pairs[found]
    return not pairs


_SPECIAL: dict[str, Callable[[Any, Any], bool]] = {
    "$bytes": lambda got, want: got == bytes.fromhex(want["$bytes"]),
    "$string": lambda got, want: got == bytes.fromhex(want["$string"]).decode("utf-8", "surrogateescape"),
    "$time": lambda got, want: got == Opaque(bytes.fromhex(want["bytes"])),
    "$opaque": lambda got, want: got == Opaque(bytes.fromhex(want["bytes"])),
    "$float": lambda got, want: struct.pack(">d", got).hex() == want["bits"],
    "$complex": lambda got, want: agrees([got.real, got.imag], want["$complex"]),
    "$interface": _interface,
    "$map": _map,
}
