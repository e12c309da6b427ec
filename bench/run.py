"""Measures the plugin under Argo's Go client, beside a Go plugin that does nothing; writes build/bench.json.

The cluster is the sandbox. A ratio is ours to Go's in the same run on the same machine; a target bounds it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from chaosplugin.sandbox import cluster
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from tests.interop import hosts
from tests.interop.hosts import Host

RELEASE = "v1.10.1"
NAME = "chaosplugin/chaos-mesh"
TEMPLATE = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata: {name: bench}
spec: {action: pod-failure, mode: all, duration: 10s}
"""
METRIC = {"name": "chaos", "provider": {"plugin": {NAME: {"chaosExperimentCRD": TEMPLATE}}}}
RUN: dict[str, Any] = {
    "metadata": {
        "name": "bench",
        "namespace": "default",
        "uid": "00000000-0000-4000-8000-000000000001",
        "labels": {"rollouts-pod-template-hash": "abc123"},
    },
    "status": {"phase": "Running"},
}
# ratios to Go that a user would not notice in a rollout, with room for a busy machine
TARGETS = {"handshake": 40.0, "ping": 6.0, "resume": 10.0}
STARTS, CALLS = 15, 400


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of build/bench.json; `value` and `baseline` are medians."""

    name: str
    value: float
    unit: str
    baseline: float
    ratio: float
    target: float
    ok: bool


def main() -> int:
    """Measure, print, write, and return 1 if a target is missed."""
    binary = hosts.build(RELEASE)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, sandbox(Path(scratch)) as kubeconfig:
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        ours = Path(scratch) / "chaosplugin"
        ours.write_text(f'#!/bin/sh\nexec {sys.executable} -m chaosplugin "$@"\n')
        ours.chmod(0o755)
        measured = [measure(plugin, binary, environment) for plugin in (ours, binary)]
    figures = [figure(name, *(each[name] for each in measured)) for name in TARGETS]
    for each in figures:
        met = "ok" if each.ok else "over its target"
        print(
            f"{each.name:10} {each.value:8.3f} {each.unit}, Go {each.baseline:.3f} {each.unit}, "
            f"ratio {each.ratio:.1f} (at most {each.target:.0f}: {met})"
        )
    target = Path("build") / "bench.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps([asdict(each) for each in figures], indent=1) + "\n")
    print(f"written to {target}")
    return 0 if all(each.ok for each in figures) else 1


def figure(name: str, value: float, baseline: float) -> Figure:
    """Make a line of milliseconds."""
    ratio, target = value / baseline, TARGETS[name]
    return Figure(name, round(value, 3), "ms", round(baseline, 3), round(ratio, 2), target, ratio <= target)


def measure(plugin: Path, binary: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Return medians in milliseconds."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        hosts.running(binary, Path(folder), environment) as host,
    ):
        location = json.dumps([{"name": NAME, "location": f"file://{plugin}"}])
        loaded = host.ask("load", plugins=location)
        if loaded.error:
            sys.exit(loaded.error)
        return {
            "handshake": statistics.median(handshake(plugin, environment) for _ in range(STARTS)),
            "resume": resume(host),
            "ping": ping(plugin, environment, host),
        }


def handshake(plugin: Path, environment: Mapping[str, str]) -> float:
    """Return the time from exec to the handshake line."""
    began = time.perf_counter()
    with serving(plugin, environment) as _:
        return 1000 * (time.perf_counter() - began)


def resume(host: Host) -> float:
    """Return the time of what the controller does for one event: Ping, then Resume of an ended gate."""
    measurement = host.call("Run", run=RUN, metric=METRIC).result
    until_steady(lambda: host.call("Resume", run=RUN, metric=METRIC, measurement=measurement).result)
    answers = [host.call("Resume", run=RUN, metric=METRIC, measurement=measurement) for _ in range(CALLS)]
    return 1000 * statistics.median(answer.seconds for answer in answers)


def until_steady(ask: Callable[[], object], seconds: float = 60) -> None:
    """Wait until two answers, half a second apart, are the same."""
    end, last = time.monotonic() + seconds, None
    while (answer := ask()) != last and time.monotonic() < end:
        last = answer
        time.sleep(0.5)


def ping(plugin: Path, environment: Mapping[str, str], host: Host) -> float:
    """Return the time of a Ping over a second connection."""
    with serving(plugin, environment) as (pid, address):
        host.ask("reattach", address=address, pid=pid)
        return 1000 * statistics.median(host.ask("ping").seconds for _ in range(CALLS))


@contextmanager
def serving(plugin: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Start a plugin without a controller; give its pid and where it listens."""
    cookie = {"ARGO_ROLLOUTS_RPC_PLUGIN": "metricprovider", "PLUGIN_PROTOCOL_VERSIONS": "1"}
    with subprocess.Popen(
        [str(plugin)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**environment, **cookie},
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield process.pid, line.split("|")[3]
        finally:
            process.terminate()


@contextmanager
def sandbox(folder: Path) -> Iterator[Path]:
    """Run a cluster in a thread; give the kubeconfig of Argo's ServiceAccount."""

    @asynccontextmanager
    async def running() -> AsyncIterator[Path]:
        async with cluster.start(lambda: datetime.now(UTC), folder) as bed:
            yield bed.kubeconfig(ARGO_ROLLOUTS)

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running()) as kubeconfig:
        yield kubeconfig


if __name__ == "__main__":
    sys.exit(main())
