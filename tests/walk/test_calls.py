"""Calls as Argo makes them when things go wrong: twice, again after an Error, from stale copies."""

import os
import signal
from pathlib import Path

import anyio

from chaosplugin.core import ledger
from tests.walk.bed import Bed, Controller, bed
from tests.walk.gate import Gate, metric, settle
from tests.walk.points import BY_NAME, reach, stopping


async def _deploy(bed_: Bed, gates: list[Gate]) -> None:
    await bed_.until("first versions are healthy", lambda: all(gate.healthy for gate in gates))
    for gate in gates:
        gate.begin()


async def _freeze_and_kill(bed_: Bed, control: Controller, gate: Gate) -> None:
    """Let the plugin die in the middle of a call: Argo makes an Error of it."""
    before = gate.errors
    for _ in range(5):  # a busy host may ask only when the plugin is dead, and begin another one
        os.kill(control.pid, signal.SIGSTOP)
        gate.touch()
        await anyio.sleep(
            0.3
        )  # until the host asks, and hears nothing; if it does not yet, a ping fails as well
        os.kill(control.pid, signal.SIGKILL)
        gate.touch()
        with anyio.move_on_after(8):
            await bed_.until("Argo has an Error", lambda: gate.errors > before)
            return
    raise AssertionError("the plugin was killed five times between calls")


def _intents(gate: Gate) -> list[str]:
    return [each["metadata"]["labels"][ledger.RUN] for each in gate.created]


async def _a_run_after_an_error_adopts_the_experiment_that_lives(folder: Path) -> None:
    async with bed(folder) as bed_:
        control = await bed_.begin()
        stop = stopping(bed_, BY_NAME["injected"], "retried")
        await bed_.until("the first version is healthy", lambda: stop.gate.healthy)
        await reach(bed_, [stop])

        await _freeze_and_kill(bed_, control, stop.gate)
        stop.let_go()

        assert await settle([stop.gate]) == []
        assert len(stop.gate.created) == 1
        assert [each["phase"] for each in stop.gate.measurements][-1] == "Successful"
        assert stop.gate.errors >= 1
        await control.stop()


async def _stale_copies_second_measurements_and_second_metrics(folder: Path) -> None:
    async with bed(folder) as bed_:
        control = await bed_.begin()
        control.host.lag(0.2)  # each write of the status is followed by a call from an older copy
        stale, counted, paired = (Gate(bed_, name) for name in ("stale", "counted", "paired"))
        stale.deploy(metric())
        counted.deploy(metric(count=2, interval="1s"))
        paired.deploy(metric("first", "2s"), metric("second", "2s"))
        await _deploy(bed_, [stale, counted, paired])

        assert await settle([stale, counted, paired]) == []
        for gate, faults in ((stale, 1), (counted, 2), (paired, 2)):
            assert len(gate.created) == len(set(_intents(gate))) == faults, gate.state
            assert {each["phase"] for each in gate.measurements} == {"Successful"}, gate.state
        ends = [_when(each) for each in paired.created]
        assert ends[0] != ends[1], "one canary bears one fault at a time"
        await control.stop()


def _when(experiment: dict[str, dict[str, str]]) -> str:
    return experiment["metadata"]["creationTimestamp"]


async def _a_measurement_that_the_plugin_does_not_know_is_not_begun_anew(folder: Path) -> None:
    """Another process began it, and of that only the mark is left."""
    async with bed(folder) as bed_:
        control = await bed_.begin()
        stop = stopping(bed_, BY_NAME["create-answer-lost"], "unknown")
        await bed_.until("the first version is healthy", lambda: stop.gate.healthy)
        await reach(bed_, [stop])
        await control.kill_plugin()
        stop.gate.delete_experiment()
        stop.let_go()
        stop.gate.touch()

        assert await settle([stop.gate]) == []
        assert len(stop.gate.created) == 1
        last = stop.gate.measurements[-1]
        assert (last["phase"], last["message"].partition(":")[0]) == ("Inconclusive", "Deleted")
        await control.stop()


async def test_each_intent_is_one_experiment_however_it_is_called(tmp_path: Path) -> None:
    stories = (
        _a_run_after_an_error_adopts_the_experiment_that_lives,
        _stale_copies_second_measurements_and_second_metrics,
        _a_measurement_that_the_plugin_does_not_know_is_not_begun_anew,
    )
    async with anyio.create_task_group() as tasks:  # they mostly wait
        for story in stories:
            tasks.start_soon(story, tmp_path / story.__name__[:24])
