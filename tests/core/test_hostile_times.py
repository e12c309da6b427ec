"""Times that others have written may lie at the edge of time; none may end the process by a sum."""

import json
from datetime import datetime, timedelta

import pytest

from chaosplugin.core import ledger, record
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Done
from chaosplugin.core.cron import Every
from chaosplugin.core.objects import AnalysisRun, Metadata
from chaosplugin.core.run import Stage
from chaosplugin.core.window import Window
from tests.core.given import pod, recovered, with_patch
from tests.core.spawning import FAIL, Spawning
from tests.core.world import World

EDGES = [
    "9999-12-31T23:59:59+00:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+00:00",
    "0001-01-01T00:00:00+14:00",
    "2026-01-01T12:00:00",
    "",
]


def judged(finished_at: str) -> AnalysisRun:
    """An AnalysisRun on which this gate's mark and verdict stand."""
    identity = World().spec.identity
    mark = ledger.Mark(
        kind="PodChaos", namespace="default", name="x", version="7", canary="rs-1", until=finished_at
    )
    verdict = ledger.VerdictRecord(
        phase=Phase.FAILED, message="Timeout: late", value="{}", finished_at=finished_at
    )
    both = [ledger.mark_patch(identity, mark, "7"), ledger.verdict_patch(identity, verdict, "w", "8")]
    runs = [with_patch(patch) for patch in both]
    annotations = {key: text for run in runs for key, text in (run.metadata.annotations or {}).items()}
    return with_patch({"metadata": {"labels": runs[0].metadata.labels, "annotations": annotations}})


@pytest.mark.parametrize("edge", EDGES)
def test_another_gates_verdict_at_the_edge_of_time(edge: str) -> None:
    world = World()
    world.to_observing()
    world.others(judged(edge))
    world.wait(1)
    assert world.stage is Stage.OBSERVING


@pytest.mark.parametrize("edge", EDGES)
def test_a_verdict_that_is_taken_over(edge: str) -> None:
    world = World()
    world.to_observing()
    world.run_seen(judged(edge))
    world.experiment(gone=True)
    while world.todo:
        world.done(world.todo[0], Done())
        world.todo.pop(0)
    world.run_seen(phase="Failed")
    world.wait(7200)  # past the time when it is forgotten


@pytest.mark.parametrize("edge", EDGES[:4])
def test_the_record_of_a_fault_that_a_schedule_has_fired(edge: str) -> None:
    spec: dict[str, object] = {"schedule": "@every 10s", "type": "PodChaos", "podChaos": FAIL}
    world = Spawning("Schedule", spec, Window(Every(timedelta(seconds=10)), timedelta(seconds=30)))
    world.begin()
    world.wait(10)
    world.child("firing-1", recovered("web-a", datetime.fromisoformat(edge)), desired="Stop")
    world.pods(pod("web-a", ready=False))
    world.wait(1)
    assert world.stage is Stage.OBSERVING


@pytest.mark.parametrize("edge", EDGES)
def test_the_end_of_a_gate_without_an_analysis(edge: str) -> None:
    ended = {"phase": "Failed", "message": "x", "startedAt": edge, "finishedAt": edge}
    found = record.Record(metadata=Metadata(name="gate"), data={"ended": json.dumps(ended)})
    assert record.ended(found) is None
    assert record.as_gate(found).finished_at is None
