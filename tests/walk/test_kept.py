"""Experiments that are kept (`cleanupOnFinish: false`) although their fault is on when their gate ends."""

from pathlib import Path
from typing import Any

import pytest

from chaosplugin.core import ledger
from chaosplugin.sandbox.api.resources import EVENTS, Object
from tests.walk.bed import Bed, bed
from tests.walk.gate import CHAOS, Gate, forms, metric

LASTING = forms("45s")
"""Faults that are on for long."""


def kept(asked: Object) -> Object:
    """Let the experiment of a metric be kept."""
    (config,) = asked["provider"]["plugin"].values()
    config["cleanupOnFinish"] = "false"
    return asked


def notices(gate: Gate, reason: str) -> list[str]:
    """Return what Events of a reason say, each about one object."""
    found = [each.object for each in gate.bed.cluster.api.list(EVENTS, gate.namespace)]
    return [each["message"] for each in found if each["reason"] == reason]


def pauses(gate: Gate) -> int:
    """Return how often the plugin has labelled the experiment, and paused it."""
    return sum(seen.verb == "patch" and seen.resource in CHAOS.split() for seen in gate.asked())


async def _on(bed_: Bed, gates: list[Gate]) -> None:
    await bed_.until("first versions are healthy", lambda: all(gate.healthy for gate in gates))
    for gate in gates:
        gate.begin()
    await bed_.until("the faults are on", lambda: all(gate.injected and gate.marked for gate in gates))


def _is_kept(gate: Gate) -> bool:
    labels: dict[str, Any] = (gate.experiment or {"metadata": {}})["metadata"].get("labels") or {}
    return labels.get(ledger.KEEP) == "true"


async def test_a_fault_that_is_on_is_undone_and_its_experiment_stays(tmp_path: Path) -> None:
    async with bed(tmp_path) as bed_:
        control = await bed_.begin()
        gates = [Gate(bed_, form) for form in LASTING]
        for gate in gates:
            gate.deploy(kept(LASTING[gate.namespace]))
        await _on(bed_, gates)

        for gate in gates:
            gate.abort()
        await bed_.until("the gates have ended", lambda: all(gate.ended for gate in gates))
        await bed_.until("the faults are undone", lambda: all(gate.undone for gate in gates), 30)
        await bed_.until("they are kept", lambda: all(map(_is_kept, gates)))
        await bed_.until(
            "it is told", lambda: all(len(notices(gate, "ExperimentKept")) == 2 for gate in gates)
        )

        assert [gate.verdict[0] for gate in gates] == ["Inconclusive"] * 3
        assert [len(gate.created) for gate in gates] == [1] * 3
        for gate in gates:
            gate.delete_run()
        await bed_.until(
            "they go with their AnalysisRuns", lambda: not any(gate.left_behind for gate in gates)
        )
        await control.stop()


@pytest.mark.timeout(240)
async def test_a_pause_that_does_not_take_is_repeated_and_told_and_holds_nobody_up(tmp_path: Path) -> None:
    """Of two metrics one waits for the canary, in vain; no failure ends the analysis here."""
    limits = {"failureLimit": 1, "inconclusiveLimit": 1, "config": {"timeout": "16s"}}
    async with bed(tmp_path) as bed_:
        control = await bed_.begin()
        gate = Gate(bed_, "stuck")
        gate.deploy(*(kept(metric(name, "3s", **limits)) for name in ("one", "other")))
        trouble = bed_.cluster.chaos.fail("Recover", "no daemon")
        await _on(bed_, [gate])

        await bed_.until("it is told", lambda: notices(gate, "ExperimentStuck"), 150)
        await bed_.until("the other waits no longer", lambda: gate.ended)

        told = notices(gate, "ExperimentStuck")[0]
        assert "which is kept, and whose fault is not over 60s after it was paused" in told
        assert "no daemon" in told
        await bed_.until("it is logged", lambda: any("whose fault is not over" in line for line in bed_.logs))
        assert pauses(gate) >= 2
        found = {each["phase"]: each["message"] for each in gate.measurements}
        assert found.keys() == {"Failed", "Inconclusive"}, gate.state
        assert found["Failed"].startswith("NotRecovered: ")
        assert found["Inconclusive"].startswith("NotSteady: the canary bears another gate's ")
        assert len(gate.created) == 1

        trouble.mend()
        gate.touch_faults()
        await bed_.until("the fault is undone", lambda: gate.undone)
        assert _is_kept(gate)
        gate.delete_run()
        await bed_.until("it goes with its AnalysisRun", lambda: not gate.left_behind)
        await control.stop()
