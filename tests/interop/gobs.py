"""Builds and runs the program that records the golden vectors, for random values instead."""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.realbed import toolchain

_SOURCE = Path(__file__).parents[1] / "wire" / "golden" / "gen"
_OPTIONS = ("-mod=readonly", "-buildvcs=false", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w")


def build() -> Path:
    """Return the program.

    Raises: subprocess.CalledProcessError, when there is no Go, or no module proxy.
    """
    sources = sorted(path for path in _SOURCE.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    folder = toolchain.cache_folder() / "interop"
    binary = folder / f"gob-{digest}"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("gob-*"):
            old.unlink()
        toolchain.run(toolchain.find_go(), "build", *_OPTIONS, "-o", str(binary), ".", cwd=_SOURCE)
    return binary


def random_batches(program: Path, *, seed: int, count: int) -> Iterator[Mapping[str, Any]]:
    """Yield what Go makes: kind, hex and decoded of each stream, `decoded` as the golden vectors have it."""
    command = [str(program), "-random", str(count), "-seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as made:
        assert made.stdout is not None
        for line in made.stdout:
            yield json.loads(line)
    assert made.returncode == 0


def read_back(program: Path, streams: Iterable[tuple[list[str], bytes]]) -> list[Mapping[str, Any]]:
    """Let Go decode our streams, each into these types; return `decoded` and `error` of each."""
    asked = "".join(json.dumps({"types": types, "hex": data.hex()}) + "\n" for types, data in streams)
    done = subprocess.run(
        [str(program), "-read-back"], input=asked, capture_output=True, text=True, check=True, timeout=600
    )
    return [json.loads(line) for line in done.stdout.split("\n") if line]  # not at U+0085 within a text
