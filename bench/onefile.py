"""Measures the one file of a release: its size, its starts, its memory, what it takes on a disk."""

import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.figures import Figure, absolute, percentile
from bench.plugins import Plugin
from tests.interop.leftovers import until
from tests.observability.judges import free_ports
from tests.packaging import release

_STARTS = 9
_MB = 1_000_000


def measure(go: Path, environment: Mapping[str, str]) -> Iterable[Figure]:
    """Measure it beside a Go plugin, which needs no unpacking."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        file = Path(shutil.copy(release.file(), Path(scratch) / "chaosplugin"))
        ours, theirs = Plugin((str(file),), ready='"ready"'), Plugin((str(go),))
        # each into a folder of its own: where files were deleted just before, ext4 is slow to make new ones
        fresh = [{**environment, "CHAOSPLUGIN_CACHE": str(_made(file.parent / str(n)))} for n in range(5)]
        first = _handshakes(ours, fresh)
        with ours.start(environment) as started:
            started.wait_until_ready()
            until((_trees(file)[0] / ".durable").exists, 60)  # until then each start looks at every byte
            memory = started.resident()
        loaded = _memory_with_everything(file, environment)
        again, baseline = (_handshakes(plugin, [environment] * _STARTS) for plugin in (ours, theirs))
        with theirs.start(environment) as started:
            go_memory = started.resident()
        size, go_size = file.stat().st_size / _MB, go.stat().st_size / _MB
        disk = size + sum(-(-each.stat().st_size // 4096) * 4096 for each in _files(file)) / _MB
    yield absolute("one file", "MB", size, go_size, most=25)
    yield absolute("one file, first handshake", "ms", first, baseline, most=400)
    yield absolute("one file, handshake", "ms", again, baseline, most=100)
    yield absolute("one file, memory", "MB", memory, go_memory, most=60)
    yield absolute("one file, memory, all on", "MB", loaded, go_memory, most=85)
    yield absolute("one file, on the disk", "MB", disk, go_size, most=95)


def _memory_with_everything(file: Path, environment: Mapping[str, str]) -> float:
    """Return the resident MB with metrics, and traces over gRPC to a collector that is away."""
    (port,) = free_ports(1)
    address = ("127.0.0.1", port)
    plugin = Plugin((str(file), f"--metrics-address=127.0.0.1:{port}"), ready='"ready"')
    with plugin.start({**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}) as started:
        started.wait_until_ready()
        until(lambda: _answers(address), 60)  # it does not before all of it is imported
        return started.resident()


def _answers(address: tuple[str, int]) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(address) == 0


def _trees(file: Path) -> list[Path]:
    return sorted(file.parent.glob(".chaosplugin-*-*"))


def _files(file: Path) -> Iterable[Path]:
    return (path for tree in _trees(file) for path in tree.rglob("*") if path.is_file())


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def _handshakes(plugin: Plugin, environments: Sequence[Mapping[str, str]]) -> float:
    """Return the median of the milliseconds from exec to the handshake line."""
    took = []
    for environment in environments:
        began = time.perf_counter()
        with plugin.start(environment):
            took.append(1000 * (time.perf_counter() - began))
    return percentile(took, 50)
