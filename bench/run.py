"""Measures the plugin under Argo's Go client, beside a Go plugin that does nothing; writes build/bench.json.

The cluster is the sandbox. Both plugins are timed by the same Go process, in turns, so that what else the
machine does hits both alike.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench import bed, loads, onefile, server, telemetry, watch
from bench.figures import Figure, absolute, percentile, relative, report
from bench.plugins import Plugin, Started
from tests.interop import hosts
from tests.interop.hosts import Host

RELEASE = "v1.10.1"
TURNS, STARTS, LARGE = 20, 9, 5
_WARM_UP = 50

Seconds = dict[str, list[float]]


def main() -> int:
    """Measure, print, write, and return 1 if a target is missed."""
    binary = hosts.build(RELEASE)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as scratch,
        bed.cluster_with_run(Path(scratch)) as given,
    ):
        environment = {**os.environ, "KUBECONFIG": str(given.kubeconfig)}
        ours = Plugin((sys.executable, "-m", "chaosplugin"), ready='"ready"')
        plugins = ours, Plugin((str(binary),))
        with hosts.running(binary, Path(scratch), environment) as host:
            load = loads.Loads(given.analysis_run)
            began = starts(plugins, host, environment, load)
            called, memory = calls(plugins, host, environment, load)
            served = list(server.figures(binary, host, environment, load, Path(scratch)))
        watched = watch.figures(Path(scratch))
        packed = list(onefile.measure(binary, environment))
    figures = [*judge_starts(*began), *judge_calls(*called), absolute("memory", "MB", *memory, most=100)]
    figures += [*watched, *packed, *served, *telemetry.measure()]
    report(figures, baseline=True)
    return 0 if all(each.ok for each in figures) else 1


# -- a process's beginning


def starts(
    plugins: tuple[Plugin, Plugin], host: Host, environment: Mapping[str, str], load: loads.Loads
) -> tuple[Seconds, Seconds]:
    """Time exec to the handshake line, and the first call of a process: at once, and when it is ready."""
    seconds: tuple[Seconds, Seconds] = ({}, {})
    for turn in range(2 * STARTS):
        early = turn % 2 == 0
        for plugin, took in zip(plugins, seconds, strict=True):
            began = time.perf_counter()
            with plugin.start(environment) as started:
                took.setdefault("handshake", []).append(time.perf_counter() - began)
                if not early:
                    started.wait_until_ready()
                joined(host, started)
                name = "first call, importing" if early else "first call"
                took.setdefault(name, []).extend(paced(host, started, "Resume", load.small()))
                host.ask("leave", address=started.address)
    return seconds


def judge_starts(ours: Seconds, theirs: Seconds) -> Iterable[Figure]:
    """Hold a process's beginning against its targets."""

    def median(name: str) -> tuple[float, float]:
        return 1000 * percentile(ours[name], 50), 1000 * percentile(theirs[name], 50)

    yield absolute("exec to handshake", "ms", *median("handshake"), most=120)
    yield absolute("first call, importing", "ms", *median("first call, importing"), most=150)
    yield relative("first call", "ms", *median("first call"), most=10)


# -- calls


def calls(
    plugins: tuple[Plugin, Plugin], host: Host, environment: Mapping[str, str], load: loads.Loads
) -> tuple[tuple[Seconds, Seconds], tuple[float, float]]:
    """Time calls of all sizes in turns, and weigh the idle processes after them, in MB."""
    seconds: tuple[Seconds, Seconds] = ({}, {})
    with ExitStack() as stack:
        running = [stack.enter_context(plugin.start(environment)) for plugin in plugins]
        for started in running:
            started.wait_until_ready()
            joined(host, started)
            paced(host, started, "Run", load.small())
            paced(host, started, "Resume", load.small(), count=_WARM_UP)
        idle = tuple(started.resident() for started in running)
        for turn in range(TURNS):
            for started, took in zip(running, seconds, strict=True):
                for name, measure in work(host, started, load, large=turn % (TURNS // LARGE) == 0):
                    took.setdefault(name, []).extend(measure())
        for started in running:
            host.ask("leave", address=started.address)
    return seconds, (idle[0], idle[1])


def work(
    host: Host, started: Started, load: loads.Loads, *, large: bool
) -> Iterable[tuple[str, Callable[[], list[float]]]]:
    """One turn; the first calls after a pause find a cold cache, in either plugin."""
    small, medium = load.small(), load.medium()
    yield "Ping", lambda: paced(host, started, "Ping", {}, count=100)
    yield "Resume", lambda: paced(host, started, "Resume", small, count=100)
    yield "Resume, 20 kB", lambda: paced(host, started, "Resume", medium, count=50)
    yield "Resume, 8 callers", lambda: paced(host, started, "Resume", small, count=25, callers=8)
    if large:
        yield "Resume, 3 MB", lambda: paced(host, started, "Resume", load.large(), count=3)


def judge_calls(ours: Seconds, theirs: Seconds) -> Iterable[Figure]:
    """Hold calls against their targets."""
    for name, most in (("Ping", 1.5), ("Resume", 1.5), ("Resume, 20 kB", 2.5), ("Resume, 8 callers", 3.0)):
        for rank, bound in ((50, most), (99, 2.0)):
            value, baseline = (1000 * percentile(each[name], rank) for each in (ours, theirs))
            yield relative(f"{name}, p{rank}", "ms", value, baseline, most=bound)
    value, baseline = (1000 * percentile(each["Resume, 3 MB"], 50) for each in (ours, theirs))
    yield relative("Resume, 3 MB", "ms", value, baseline, most=5)


def joined(host: Host, started: Started) -> None:
    """Let the host connect to a plugin as to one that it finds running."""
    answer = host.ask("join", address=started.address, pid=started.pid)
    if answer.error:
        sys.exit(answer.error)


def paced(
    host: Host, started: Started, method: str, fields: Mapping[str, object], count: int = 1, callers: int = 1
) -> list[float]:
    """Return the seconds of each call, as the Go client has measured them."""
    answer = host.ask("paced", address=started.address, method=method, count=count, callers=callers, **fields)
    if answer.error:
        sys.exit(f"{method}: {answer.error}")
    return [each for caller in answer.result for each in caller]


if __name__ == "__main__":
    sys.exit(main())
