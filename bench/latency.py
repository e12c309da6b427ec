"""Requests of a gate, and how soon a verdict is on the AnalysisRun, on the sandbox with its host."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, bounded, percentile
from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, POD_CHAOS
from chaosplugin.sandbox.api.store import Change, Listener
from tests.walk.bed import Bed, bed
from tests.walk.gate import KINDS, Gate, metric, settle

_COUNTED, _TIMED, _TOGETHER = 10, 100, 10


async def figures(folder: Path) -> list[Figure]:
    """Measure both."""
    async with bed(folder / "latency") as there:
        control = await there.begin()
        requests = {kind: await _requests(there, kind) for kind in KINDS}
        late = await _lateness(there)
        await control.stop()
    return [
        bounded("requests of a gate", "", requests["PodChaos"], most=6),
        bounded("requests of a Schedule's gate", "", requests["Schedule"], most=8),
        bounded("requests of a Workflow's gate", "", requests["Workflow"], most=8),
        bounded("status write to ended AnalysisRun p50", "ms", 1000 * percentile(late, 50), most=50),
        bounded("status write to ended AnalysisRun p99", "ms", 1000 * percentile(late, 99), most=250),
    ]


async def _requests(there: Bed, kind: str) -> float:
    """Count what a gate asks besides shared watches and Events: the median, as a conflict costs two more."""
    await _play(there, f"first-{kind}".lower(), 1, config=KINDS[kind])
    gates = await _play(there, f"counted-{kind}".lower(), _COUNTED, config=KINDS[kind])
    await there.until("experiments are deleted", lambda: all(gate.asked("delete") for gate in gates))
    return median(len(gate.asked()) for gate in gates)


async def _lateness(there: Bed) -> list[float]:
    """Return the seconds from the write that ends a fault to the write that ends the AnalysisRun.

    Steady state is off, as the canary would have to hold for seconds in between.
    """
    over: dict[str, float] = {}
    late: list[float] = []

    def hear_experiment(change: Change) -> None:
        status = (change.stored.object.get("status") or {}).get("experiment") or {}
        records = status.get("containerRecords") or ()
        ended = bool(records) and all(r["phase"] == "Not Injected" and r["injectedCount"] for r in records)
        if change.type == "MODIFIED" and ended:
            over.setdefault(change.stored.namespace, datetime.now(UTC).timestamp())

    def hear_run(change: Change) -> None:
        if "completedAt" in (change.stored.object.get("status") or {}):
            began = over.pop(change.stored.namespace, None)
            if began is not None:
                late.append(datetime.now(UTC).timestamp() - began)

    async with _listening(there, hear_experiment, hear_run):
        for turn in range(_TIMED // _TOGETHER):
            await _play(there, f"timed-{turn}", _TOGETHER, config={"steadyState": {"enabled": False}})
    return late


@asynccontextmanager
async def _listening(there: Bed, hear_experiment: Listener, hear_run: Listener) -> AsyncIterator[None]:
    store = there.cluster.store
    ends = [store.listen(hear_experiment, POD_CHAOS), store.listen(hear_run, ANALYSIS_RUNS)]
    try:
        yield
    finally:
        for end in ends:
            end()


async def _play(there: Bed, name: str, count: int, **changes: Any) -> list[Gate]:
    """Play gates whose faults do not end all at the same moment, where `changes` say nothing else."""
    gates = [Gate(there, f"{name}-{number}") for number in range(count)]
    for number, gate in enumerate(gates):
        gate.deploy(metric(duration=f"{2000 + 90 * number}ms", **changes))
    await there.until("first versions are healthy", lambda: all(gate.healthy for gate in gates))
    for gate in gates:
        gate.begin()
    unsettled = await settle(gates, 60)
    assert not unsettled, unsettled  # noqa: S101 - what is measured has to work
    return gates
