"""What people are told of a gate: each notice once, by whoever saw it happen."""

from dataclasses import replace
from datetime import timedelta

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.announcements import Subject, refusal
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Delete,
    Done,
    LedgerRead,
    ReadLedger,
    Refused,
    VerdictWritten,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.run import Notice
from chaosplugin.core.verdict import Finding, Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered
from tests.core.world import World, marked

RUN = Subject("argoproj.io/v1alpha1", "AnalysisRun", "default", "web-1", "run-1")
ROLLOUT = Subject("argoproj.io/v1alpha1", "Rollout", "default", "web", "rollout-1")


def told(world: World) -> list[Notice]:
    """Return what was announced since the last look."""
    announced, world.registry.announcements = world.registry.announcements, []
    for each in announced:
        assert each.subjects == (RUN, ROLLOUT)
        assert each.message.startswith("metric chaos: ")
    return [each.notice for each in announced]


def survive(world: World) -> None:
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)


def test_a_gate_tells_its_way_from_the_create_to_the_clean_up() -> None:
    world = World()
    survive(world)
    assert told(world) == [Notice.STARTED, Notice.INJECTED, Notice.RECOVERED]

    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    assert told(world) == [Notice.PASSED], "once it stands"

    world.done(world.expect(Delete), Done())
    world.experiment(recovered("web-a", world.now), gone=True)
    world.wait(100)
    assert told(world) == [Notice.DELETED]


def test_a_verdict_that_another_process_has_told_is_not_told_again() -> None:
    world = World()
    survive(world)
    told(world)
    other = ledger.VerdictRecord(
        phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at=START.isoformat()
    )

    world.done(world.expect(WriteVerdict), VerdictWritten(other, analysis_run()))

    assert told(world) == []


def test_a_verdict_that_another_process_has_recorded_in_the_same_words_is_not_told_again() -> None:
    world = World()
    survive(world)
    told(world)
    write = world.expect(WriteVerdict)

    world.done(write, VerdictWritten(replace(write.record, by="elsewhere"), analysis_run()))

    assert told(world) == []


def test_a_successor_tells_only_what_it_saw_itself() -> None:
    world = World()
    world.start(resume=True)
    world.resume()
    found = world.chaos(hit("web-a"), desired="Run")
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=marked(world), experiment=found, value=HASH))
    assert told(world) == []

    world.experiment(recovered("web-a", world.now + timedelta(seconds=1)), desired="Stop")

    assert told(world) == [Notice.RECOVERED]


def test_a_refused_gate_tells_why_without_secrets() -> None:
    world = World(secrets=("hunter2hunter2",))
    create = world.to_create()
    finding = Finding(reason=Reason.DENIED, text='webhook said "hunter2hunter2"')
    world.done(create, Refused(finding))
    world.done(world.expect(WriteWake), AnalysisRunSeen(analysis_run()))

    (announced,) = world.registry.announcements
    assert announced.notice is Notice.REFUSED
    assert announced.warning
    assert "Denied: " in announced.message
    assert "hunter2" not in announced.message


def test_a_terminated_gate_and_a_stuck_deletion_are_told() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    told(world)
    world.run_seen(phase="Failed")
    assert told(world) == [Notice.INCONCLUSIVE]
    world.done(world.expect(Delete), Done())
    world.experiment(hit("web-a"), desired="Run", deleting=True)

    world.wait(61)

    assert told(world) == [Notice.STUCK]


def test_a_call_that_cannot_become_a_gate_is_told_of_run_and_rollout() -> None:
    announced = refusal(analysis_run(), "chaos", "InvalidConfig: x")

    assert (announced.subjects, announced.notice) == ((RUN, ROLLOUT), Notice.REFUSED)
