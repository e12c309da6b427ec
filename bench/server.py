"""The server beside the same service in Go, what a bridge adds to a call, and a crowd of watchers."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import loads
from bench.figures import Figure, absolute, percentile, relative
from bench.plugins import Plugin
from tests.interop import hosts
from tests.interop.hosts import Host
from tests.interop.leftovers import until
from tests.realbed import pki
from tests.realbed.processes import free_port

_TURNS, _CALLS = 10, 100
_WATCHERS, _SECONDS, _RATE = 1000, 10, 100

Environment = Mapping[str, str]


def figures(
    binary: Path, host: Host, environment: Environment, load: loads.Loads, folder: Path
) -> Iterable[Figure]:
    """Measure all of it."""
    socket, port = f"{folder}/ours", free_port()
    served, shown = _by_mtls(folder / "pki", port)
    options = ("--listen", f"unix://{socket}", *served)
    with serving(environment, folder, options), hosts.running(binary, folder, environment) as go:
        _asked(go, "grpc_serve", address=f"{folder}/go")
        ours: list[float] = []
        theirs: list[float] = []
        for turn in range(_TURNS + 1):  # the first one warms up
            for address, took in ((socket, ours), (f"{folder}/go", theirs)):
                seconds = _asked(host, "grpc_paced", address=address, count=_CALLS, **load.small())
                took.extend(seconds if turn else [])
        value, baseline = 1000 * percentile(ours, 50), 1000 * percentile(theirs, 50)
        yield relative("server: Resume, p50", "ms", value, baseline, most=4)
        direct, bridged = bridge(host, environment, load, (f"unix://{socket}",))
        yield absolute("bridge adds, p50", "ms", 1000 * (bridged - direct), 1000 * direct, most=1)
        direct, bridged = bridge(host, environment, load, (f"127.0.0.1:{port}", *shown))
        yield absolute("bridge by mTLS adds, p50", "ms", 1000 * (bridged - direct), 1000 * direct, most=5)
    grown, late = watchers(host, folder)
    yield absolute("1,000 watchers: memory", "MB", grown, 0, most=100)
    yield absolute("1,000 watchers: late", "s", late, 0, most=2)


def _by_mtls(folder: Path, port: int) -> tuple[Sequence[str], Sequence[str]]:
    """Return the options of a server at a port, and of a bridge to it, that know each other."""
    pki.make(folder)
    pki.make_client(folder, "bridge")
    authority = str(folder / "ca.crt")
    server = ("--tls-cert", f"{folder}/tls.crt", "--tls-key", f"{folder}/tls.key", "--client-ca", authority)
    bridge = ("--ca", authority, "--cert", f"{folder}/bridge.crt", "--key", f"{folder}/bridge.key")
    return ("--listen", f"127.0.0.1:{port}", "--allow-client", "bridge", *server), bridge


@contextmanager
def serving(environment: Environment, folder: Path, options: Sequence[str]) -> Iterator[None]:
    """Run `chaosplugin serve`."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "chaosplugin", "serve", *options]
    with log.open("w") as written:
        process = subprocess.Popen(command, stderr=written, env=environment)
    try:
        until(lambda: "serving at" in log.read_text(), 60)
        yield
    finally:
        process.terminate()
        process.wait(30)


def bridge(
    host: Host, environment: Environment, load: loads.Loads, target: Sequence[str]
) -> tuple[float, float]:
    """Return the seconds of a Resume by the plugin itself, and by a bridge to a server."""
    command = (sys.executable, "-m", "chaosplugin")
    plugins = (
        Plugin(command, ready='"ready"'),
        Plugin((*command, "bridge", "--target", *target), ready="bridging to"),
    )
    seconds: tuple[list[float], list[float]] = ([], [])
    with plugins[0].start(environment) as direct, plugins[1].start(environment) as bridged:
        for started in (direct, bridged):
            started.wait_until_ready()
            _asked(host, "join", address=started.address, pid=started.pid)
        for turn in range(_TURNS + 1):
            for started, took in zip((direct, bridged), seconds, strict=True):
                paced = _asked(
                    host, "paced", address=started.address, method="Resume", count=_CALLS, **load.small()
                )
                took.extend(paced[0] if turn else [])
        for started in (direct, bridged):
            _asked(host, "leave", address=started.address)
    return percentile(seconds[0], 50), percentile(seconds[1], 50)


def watchers(host: Host, folder: Path) -> tuple[float, float]:
    """Return by how many MB the server has grown, and how long after its last event all had been told."""
    socket = folder / "watched"
    command = [sys.executable, "-m", "bench.watched", str(socket), str(_SECONDS), str(_WATCHERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        figures = map(float, process.stdout or ())
        before = next(figures)
        asked = host.send("grpc_watch", address=str(socket), callers=_WATCHERS, count=_SECONDS * _RATE)
        after = next(figures)
        if answer := asked.result(300).error:
            sys.exit(answer)
        seconds = next(figures)
    return after - before, seconds - _SECONDS


def _asked(host: Host, op: str, **fields: object) -> Any:
    answer = host.ask(op, **fields)
    if answer.error:
        sys.exit(f"{op}: {answer.error}")
    return answer.result
