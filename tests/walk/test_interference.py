"""Somebody takes a part away from under the gate, at several points of its way, alive or dead."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from chaosplugin.core import ledger
from tests.walk.bed import bed
from tests.walk.gate import Gate, settle
from tests.walk.points import BY_NAME, Stop, reach, stopping

GONE = ""
SURVIVED, INCONCLUSIVE = "Successful", "Inconclusive"


def _terminate(gate: Gate) -> None:
    gate.change_run({"spec": {"terminate": True}})


def _roll_back(gate: Gate) -> None:
    gate.update("web:1")


def _pause(gate: Gate) -> None:
    gate.change_experiment({"metadata": {"annotations": {ledger.PAUSE: "true"}}})


def _unlabel(gate: Gate) -> None:
    """Edit the experiment so that it cannot be told from somebody else's."""
    labels = {ledger.MANAGED_BY: None, ledger.RUN: None, ledger.ANALYSIS_RUN_UID: None}
    gate.change_experiment({"metadata": {"labels": labels}})


@dataclass(frozen=True)
class Case:
    """What becomes of the gate while the plugin lives, and where it died before; GONE: nobody knows."""

    name: str
    do: Callable[[Gate], None]
    point: str
    alive: str
    dead: str

    @property
    def namespace(self) -> str:
        return f"{self.name}-{self.point}"


CASES = [
    *(Case("run-deleted", Gate.delete_run, p, GONE, GONE) for p in ("before-create", "create-sent")),
    *(Case("run-deleted", Gate.delete_run, p, GONE, GONE) for p in ("before-mark", "injected", "decided")),
    Case("run-deleted", Gate.delete_run, "create-answer-lost", GONE, GONE),
    *(
        Case(name, do, point, INCONCLUSIVE, INCONCLUSIVE)
        for name, do in (("terminated", _terminate), ("aborted", Gate.abort))
        for point in ("before-proof", "before-mark", "before-create", "create-sent", "injected", "recovered")
    ),
    *(
        Case(name, do, point, INCONCLUSIVE, INCONCLUSIVE)
        for name, do in (("promoted", Gate.promote_fully), ("rolled-back", _roll_back))
        for point in ("before-mark", "create-answer-lost", "injected")
    ),
    *(
        Case("rollout-deleted", Gate.delete_rollout, point, GONE, GONE)
        for point in ("before-mark", "create-answer-lost", "injected", "decided")
    ),
    Case("terminated", _terminate, "decided", SURVIVED, INCONCLUSIVE),
    Case("aborted", Gate.abort, "decided", SURVIVED, INCONCLUSIVE),
    Case("terminated", _terminate, "wake-answer-lost", SURVIVED, SURVIVED),
    Case("aborted", Gate.abort, "wake-answer-lost", SURVIVED, SURVIVED),
    Case("deleted", Gate.delete_experiment, "create-answer-lost", INCONCLUSIVE, INCONCLUSIVE),
    Case("deleted", Gate.delete_experiment, "injected", INCONCLUSIVE, INCONCLUSIVE),
    Case("deleted", Gate.delete_experiment, "recovered", SURVIVED, INCONCLUSIVE),
    Case("deleted", Gate.delete_experiment, "decided", SURVIVED, INCONCLUSIVE),
    Case("paused", _pause, "create-answer-lost", INCONCLUSIVE, INCONCLUSIVE),
    Case("paused", _pause, "injected", INCONCLUSIVE, INCONCLUSIVE),
    Case("paused", _pause, "recovered", SURVIVED, INCONCLUSIVE),
    Case("paused", _pause, "decided", SURVIVED, INCONCLUSIVE),
    Case("unlabelled", _unlabel, "injected", INCONCLUSIVE, INCONCLUSIVE),
    Case("unlabelled", _unlabel, "decided", SURVIVED, INCONCLUSIVE),
]


ENDS = {_terminate, Gate.abort, Gate.promote_fully, _roll_back}
"""These end the analysis."""


async def _interfere(folder: Path, problems: list[str], *, dead: bool) -> None:
    async with bed(folder) as bed_:
        control = await bed_.begin()
        stops = [stopping(bed_, BY_NAME[case.point], case.namespace) for case in CASES]
        await bed_.until("first versions are healthy", lambda: all(stop.gate.healthy for stop in stops))
        for late in (True, False):
            await reach(
                bed_, [s for s, case in zip(stops, CASES, strict=True) if BY_NAME[case.point].late is late]
            )
        if dead:
            await control.kill_plugin()
        for stop, case in zip(stops, CASES, strict=True):
            stop.first_run = stop.gate.run_uid
            case.do(stop.gate)
        for stop in stops:
            stop.let_go()
            stop.gate.touch()
        problems += [f"{folder.name} {what}" for what in await settle([stop.gate for stop in stops])]
        for stop, case in zip(stops, CASES, strict=True):
            problems += [f"{folder.name} {what}" for what in _wrong(stop, case, dead=dead)]
        await control.stop()


def _wrong(stop: Stop, case: Case, *, dead: bool) -> list[str]:
    gate, wanted = stop.gate, case.dead if dead else case.alive
    wrong = []
    intents = [each["metadata"]["labels"][ledger.RUN] for each in gate.created]
    if len(set(intents)) != len(intents):
        wrong.append(f"{case.namespace}: {len(intents)} experiments for {len(set(intents))} intents")
    found = [each["phase"] for each in gate.measurements if each["phase"] != "Error"]
    if dead and case.do in ENDS and not found:
        return wrong  # the host met a plugin that was dying, and an analysis that ends takes no other look
    if wanted != GONE and found != [wanted]:
        wrong.append(f"{case.namespace}: {wanted} is wanted, got {gate.measurements}")
    if wanted == GONE and found and gate.run_uid == stop.first_run:
        wrong.append(f"{case.namespace}: the AnalysisRun was to be gone")
    return wrong


async def test_whatever_is_taken_away_the_verdict_is_right_and_nothing_is_left(tmp_path: Path) -> None:
    problems: list[str] = []
    async with anyio.create_task_group() as tasks:
        for dead in (False, True):
            folder = tmp_path / ("dead" if dead else "alive")

            async def interfere(folder: Path = folder, *, dead: bool = dead) -> None:
                await _interfere(folder, problems, dead=dead)

            tasks.start_soon(interfere)
    assert not problems, "\n".join(problems)
