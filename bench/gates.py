"""Measures whole gates: requests of one, lateness of the verdict, crowds of them; adds to build/bench.json.

It takes minutes, so it is a program of its own beside bench/run.py: `make bench-gates`.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import anyio
from anyio.to_thread import run_sync

from bench import crowd, latency, realbed
from bench.crowd import METRIC, Crowd, Member
from bench.figures import Figure, bounded, percentile, report
from bench.loads import ANALYSIS_RUN
from bench.plugins import Plugin, Started
from tests.interop import hosts
from tests.interop.hosts import Host

RELEASE = "v1.10.1"
_PARTS = ["latency", "real-bed", "default-rate", "crowd"]
_CALLERS = 8
_RUN = ANALYSIS_RUN | {
    "metadata": ANALYSIS_RUN["metadata"]
    | {"ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "", "uid": ""}]},
}


def main() -> int:
    """Measure what is named, or all; print, write, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="bench/gates.py", description=__doc__)
    parser.add_argument("only", nargs="*", choices=_PARTS)
    parser.add_argument("--crowd", type=int, default=10_000)
    parser.add_argument("--over", type=float, default=60.0, help="seconds in which the crowd's faults end")
    found = parser.parse_args()
    ok = True
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        parts: dict[str, Callable[[], list[Figure]]] = {
            "latency": lambda: anyio.run(latency.figures, folder),
            "real-bed": lambda: realbed.figures(folder),
            "default-rate": lambda: anyio.run(_at_default_rate, folder, 500),
            "crowd": lambda: anyio.run(_crowd, folder, found.crowd, found.over),
        }
        for part in found.only or _PARTS:
            print(f"-- {part}", flush=True)
            figures = parts[part]()
            report(figures)
            ok = ok and all(each.ok for each in figures)
    return 0 if ok else 1


@dataclass
class _Side:
    """A plugin with the Go host that calls it."""

    host: Host
    started: Started

    def call(self, method: str, members: Iterable[Member]) -> None:
        """Call it for each member, as Argo does; blocks."""
        begun = {"phase": "Running", "metadata": {"chaosplugin.io/run": "x"}}
        answer = self.host.send(
            "crowd",
            address=self.started.address,
            method=method,
            run=_RUN,
            metric=METRIC,
            measurement=begun if method == "Resume" else {},
            callers=_CALLERS,
            members=[each.fields for each in members],
        ).result(timeout=600)
        if answer.error:
            sys.exit(f"{method}: {answer.error}")


class _Phases:
    """Tells how much CPU the plugin, and this process, which is its cluster and Argo, take for each phase."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._edge = self._now()

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), self._started.cpu(), time.process_time()

    def end(self, what: str) -> float:
        """Say how a phase has ended; returns how long it was, in seconds."""
        now = self._now()
        wall, plugin, cluster = (after - before for after, before in zip(now, self._edge, strict=True))
        self._edge = now
        memory = self._started.resident()
        print(
            f"{what}: {wall:.1f} s, CPU {plugin:.1f} s (cluster {cluster:.1f} s), {memory:.0f} MB", flush=True
        )
        return wall


@contextmanager
def _side(host: Host, environment: dict[str, str], *arguments: str) -> Iterator[_Side]:
    plugin = Plugin((sys.executable, "-m", "chaosplugin", *arguments), ready='"ready"')
    with plugin.start(environment) as started:
        answer = host.ask("join", address=started.address, pid=started.pid)
        if answer.error:
            sys.exit(answer.error)
        yield _Side(host, started)
        host.ask("leave", address=started.address)


async def _until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait; returns the seconds it took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            print(f"not in {seconds:.0f} s: {what}")
            break
        await anyio.sleep(0.02)
    return time.monotonic() - began


async def _answer(side: _Side, there: Crowd) -> None:
    """Do as Argo does: the verdict wakes it, it calls Resume, and stores what it is told."""
    waiting = list(there.members.values())
    while waiting:
        ready = [member for member in waiting if member.judged]
        if ready:
            waiting = [member for member in waiting if not member.judged]
            await run_sync(side.call, "Resume", ready)
            for member in ready:
                there.store_result(member)
        await anyio.sleep(0.05)


async def _finish(side: _Side, there: Crowd, seconds: float) -> list[float]:
    """End all faults within so many seconds; return how late the verdicts were."""
    members = list(there.members.values())
    began, phases = time.monotonic(), _Phases(side.started)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_answer, side, there)
        for number, member in enumerate(members):
            ahead = number * seconds / len(members) - (time.monotonic() - began)
            if ahead > 0 or number % 20 == 0:
                await anyio.sleep(max(0.0, ahead))
            there.recover(member)
        phases.end("all faults are over")
        await _until(lambda: there.judged == len(members), 120, "all are judged")
        phases.end("all are judged")
        await _until(lambda: there.gone == len(members), 120, "all are clean")
        phases.end("all are clean")
        tasks.cancel_scope.cancel()
    return [member.judged - member.due for member in members if member.judged]


async def _at_default_rate(folder: Path, count: int) -> list[Figure]:
    """500 gates begin at once, at 50 requests a second; each lasts as long as its fault."""
    binary = await run_sync(hosts.build, RELEASE)
    async with crowd.cluster(folder) as (there, kubeconfig):
        there.populate(count)
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        with hosts.running(binary, folder, environment) as host, _side(host, environment) as side:
            await run_sync(side.started.wait_until_ready)
            members = list(there.members.values())
            await run_sync(lambda: side.call("Run", members))
            await run_sync(lambda: side.call("Resume", members))
            late, clean = await _as_they_come(side, there)
    return [
        bounded("500 gates at 50 requests/s, verdict p99", "s", percentile(late, 99), most=5),
        bounded("500 gates at 50 requests/s, verdict to clean p99", "s", percentile(clean, 99), most=5),
    ]


async def _as_they_come(side: _Side, there: Crowd) -> tuple[list[float], list[float]]:
    """End each fault five seconds after it began, while others still begin."""
    members = list(there.members.values())
    begun: dict[str, float] = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_answer, side, there)
        end = time.monotonic() + 300
        while there.gone < len(members) and time.monotonic() < end:
            now = time.monotonic()
            for member in members:
                if member.experiment and not member.due and begun.setdefault(member.uid, now) + 5 <= now:
                    there.recover(member)
            await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    return [m.judged - m.due for m in members], [m.gone - m.judged for m in members]


async def _crowd(folder: Path, count: int, over: float) -> list[Figure]:
    """A crowd at 1,000 requests a second: its memory, its restart, its end."""
    binary = await run_sync(hosts.build, RELEASE)
    name = f"{count:,} gates"
    async with crowd.cluster(folder) as (there, kubeconfig):
        there.populate(count)
        members = list(there.members.values())
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        with hosts.running(binary, folder, environment) as host:
            with _side(host, environment, "--kube-api-qps", "1000") as side:
                await run_sync(side.started.wait_until_ready)
                phases = _Phases(side.started)
                await run_sync(lambda: side.call("Run", members))
                await run_sync(lambda: side.call("Resume", members))
                phases.end(f"{name} are asked for")
                await _until(lambda: there.created == count, 300, "all are created")
                phases.end("all are created")
                await _until(lambda: there.marked == count, 120, "all are marked")
                await _until(lambda: there.injected == count, 60, "all are injected")
                phases.end("all run")
                memory = side.started.resident()
            with _side(host, environment, "--kube-api-qps", "1000", "--log-level", "info") as side:
                await run_sync(side.started.wait_until_ready)
                phases = _Phases(side.started)
                side.started.count('"stage":"observing"')
                thread = Thread(target=side.call, args=("Resume", members))
                thread.start()
                await _until(lambda: side.started.counted >= count, 120, "all are adopted")
                adopted = phases.end("all are adopted")
                await run_sync(thread.join)
                late = await _finish(side, there, over)
    return [
        bounded(f"{name}, memory", "MB", memory, most=300),
        bounded(f"{name}, adopted after a restart", "s", adopted, most=5),
        bounded(f"{name}, verdict p50", "s", percentile(late, 50), most=2),
        bounded(f"{name}, verdict p99", "s", percentile(late, 99), most=2),
    ]


if __name__ == "__main__":
    sys.exit(main())
