"""What a gate has spawned, and whose Schedule or Workflow is gone, when the plugin was killed."""

from pathlib import Path

import pytest

from chaosplugin.core import ledger
from chaosplugin.sandbox.api.resources import POD_CHAOS, Object
from tests.walk.bed import bed
from tests.walk.gate import Gate, forms, metric

SPAWNING = {form: asked for form, asked in forms("45s").items() if form != "podchaos"}


@pytest.mark.timeout(240)
async def test_what_is_stuck_when_all_that_knew_of_it_is_gone_is_found_by_its_selector(
    tmp_path: Path,
) -> None:
    """Nothing but what was spawned is left, which bears no label of ours, and cannot be undone."""
    async with bed(tmp_path) as bed_:
        control = await bed_.begin()
        gates = [Gate(bed_, form) for form in SPAWNING]
        for gate in gates:
            gate.deploy(SPAWNING[gate.namespace])
        await bed_.until("first versions are healthy", lambda: all(gate.healthy for gate in gates))
        for gate in gates:
            gate.begin()
        await bed_.until("the faults are on", lambda: all(gate.injected for gate in gates))
        bed_.cluster.chaos.fail("Recover", "no daemon")

        await control.kill_plugin()
        for gate in gates:
            gate.delete_rollout()
        await bed_.until(
            "only what was spawned is left",
            lambda: all(not gate.runs and not gate.experiments and _stuck(gate) for gate in gates),
        )
        await control.stop()

        control = await bed_.begin("--force-cleanup")
        other = Gate(bed_, "other")
        other.deploy(metric(config={"chaosExperimentCRD": "nonsense"}))
        await bed_.until("the other's first version is healthy", lambda: other.healthy)
        other.begin()  # a plugin is started when it is asked for something
        await bed_.until("nothing is left", lambda: not any(_stuck(gate) for gate in gates), 120)
        await control.stop()


def _stuck(gate: Gate) -> list[Object]:
    found = [each.object for each in gate.bed.cluster.api.list(POD_CHAOS, gate.namespace)]
    assert not [each for each in found if ledger.RUN in (each["metadata"].get("labels") or {})]
    return [each for each in found if "deletionTimestamp" in each["metadata"]]
