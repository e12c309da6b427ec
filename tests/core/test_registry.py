"""The life of a gate at the pure level: every step by hand, no loop, no cluster."""

import json
from datetime import datetime, timedelta
from typing import Never

import pytest

from chaosplugin.core import delivery, ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Delete,
    Done,
    Keep,
    LedgerRead,
    ReadLedger,
    VerdictWritten,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import AnalysisRun, AnalysisRunSpec, Metadata, MetricResult
from chaosplugin.core.run import Run, Stage
from chaosplugin.core.topics import AnalysisRunsTopic, Deleted
from chaosplugin.core.verdict import Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered
from tests.core.world import World


def test_a_canary_that_survives_is_successful_and_nothing_is_left() -> None:
    world = World()
    world.to_recovering()
    world.now += timedelta(seconds=2)
    world.pods(pod("web-a", restarts=2, since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert Delete not in {type(command) for command in world.todo}, "the verdict is recorded first"
    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    delete = world.expect(Delete)
    assert delete.uid == "chaos-1"
    world.done(delete, Done())
    answer = world.resume()
    assert answer.phase is Phase.SUCCESSFUL
    assert json.loads(answer.value)["reason"] == "Survived"
    assert answer.finished_at is not None
    world.experiment(recovered("web-a", world.now), desired="Stop", gone=True)
    world.run_seen(metric_results=[MetricResult(name="chaos", count=1)])
    assert world.stage is Stage.DONE
    world.todo.clear()
    world.wait(120)
    assert world.todo == []


def test_a_gate_whose_end_meets_an_error_of_ours_is_left_to_the_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.to_observing()

    def broken(run: Run, now: datetime) -> Never:
        raise LookupError(run.spec.id)

    monkeypatch.setattr(delivery, "deliver", broken)
    world.terminate()

    assert world.stage is Stage.DONE
    assert not world.registry.attends(world.spec.id)
    assert [type(defect.error) for defect in world.registry.defects] == [LookupError]
    assert world.resume().phase is Phase.INCONCLUSIVE
    world.experiment(hit("web-a"))  # what comes after it is no news
    world.wait(3600)
    assert len(world.registry.defects) == 1


def test_what_cannot_be_taken_in_ends_those_whom_it_may_concern() -> None:
    world = World()
    world.to_observing()
    metadata = Metadata(uid="other", annotations={"chaosplugin.io/mark.x": 5})  # type: ignore[dict-item]

    world.run_seen(AnalysisRun(metadata=metadata))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.INTERNAL_ERROR)
    world.expect(Delete)


def test_resume_answers_the_very_same_while_nothing_changes() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    first = world.resume()

    world.now += timedelta(seconds=5)

    assert world.resume() == first
    assert first.phase is Phase.RUNNING
    assert first.resume_at is None


def test_until_the_right_to_patch_is_known_resume_comes_by_time() -> None:
    world = World()
    world.take(world.registry.start(world.now, world.spec, analysis_run(), errors=0))

    answer = world.call(None)

    assert answer.resume_at == START + timedelta(seconds=2)


def test_where_nothing_may_be_patched_the_controller_asks_by_itself() -> None:
    world = World(push=False)

    answer = world.start()

    assert answer.resume_at is not None
    assert START < answer.resume_at <= START + timedelta(seconds=15)


def test_terminate_answers_in_one_call_and_removes_the_fault() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    answer = world.terminate()

    assert answer.phase is Phase.INCONCLUSIVE
    assert world.resume() == answer
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)
    world.expect(Delete)


def test_terminate_keeps_a_verdict() -> None:
    world = World()
    world.to_observing()
    world.to_timeout(hit("web-a"), desired="Stop")

    answer = world.terminate()

    assert answer.phase is Phase.FAILED
    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)


def test_terminate_of_a_run_that_is_forgotten_by_it_is_answered() -> None:
    world = World()
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=None, experiment=None, value=HASH))
    world.start(resume=True)

    assert world.terminate().phase is Phase.INCONCLUSIVE


def test_an_analysis_run_that_wants_its_end_ends_the_gate() -> None:
    world = World()
    world.to_observing()
    ending = analysis_run()

    world.run_seen(AnalysisRun(metadata=ending.metadata, spec=AnalysisRunSpec(terminate=True)))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)
    world.expect(Delete)


def test_an_analysis_run_that_is_gone_ends_the_gate_and_is_forgotten() -> None:
    world = World()
    world.to_observing()
    assert all(world.registry.watch_changes().values())
    topic = AnalysisRunsTopic("default")
    world.take(world.registry.observe(world.now, Watch("", "", "", topic), Deleted(topic, analysis_run())))
    world.done(world.expect(Delete), Done())

    world.experiment(gone=True)
    assert not any(world.registry.watch_changes().values()), "nothing is watched for it any more"
    world.wait(61)

    assert world.registry.run(world.spec.id) is None


def test_a_stale_copy_after_the_end_of_the_analysis_gets_the_verdict_once_more() -> None:
    """Argo may write what it is answered over what is stored: it must not be Running again."""
    world = World()
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    world.done(world.expect(Delete), Done())
    world.experiment(recovered("web-a", world.now), gone=True)
    assert world.resume().phase is Phase.SUCCESSFUL
    world.run_seen(phase="Successful")

    world.start(resume=True)

    assert world.resume().phase is Phase.SUCCESSFUL


def test_the_wake_is_repeated_with_a_new_value_until_argo_has_it() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run", annotations={ledger.PAUSE: "true"})
    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    wakes = set()
    for pause in (1.1, 5.1, 15.1, 30.1, 30.1):
        world.wait(pause)
        wake = world.expect(WriteWake)
        wakes.add(wake.wake)
        world.done(wake, AnalysisRunSeen(analysis_run()))
    assert len(wakes) == 5

    world.run_seen(metric_results=[MetricResult(name="chaos", count=1)])
    world.wait(120)

    assert not [command for command in world.todo if isinstance(command, WriteWake)]


def test_an_experiment_to_be_kept_is_labelled_and_paused_where_its_fault_is_on() -> None:
    world = World(keep=True)
    world.to_observing()

    world.to_timeout(hit("web-a"), desired="Run")

    assert world.expect(Keep).pause
    assert not [command for command in world.todo if isinstance(command, Delete)]
