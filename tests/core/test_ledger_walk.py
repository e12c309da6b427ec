"""What is begun, adopted or left alone, whoever died before."""

import json
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Create,
    Delete,
    Failed,
    Find,
    Found,
    HistoryRead,
    LedgerRead,
    NameExists,
    Outcome,
    ReadHistory,
    ReadLedger,
    Refused,
    Unanswered,
    VerdictWritten,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.objects import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    ChaosObject,
    Metadata,
    MetricResult,
    StoredMeasurement,
    StoredMetadata,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.run import Stage
from chaosplugin.core.verdict import Finding, Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered, with_patch
from tests.core.world import World, marked


def test_a_second_call_for_the_same_measurement_starts_nothing() -> None:
    world = World()
    world.to_create()

    world.start()

    assert not [command for command in world.todo if isinstance(command, ReadLedger | Create)]


def test_a_retry_after_an_error_begins_anew_and_a_stale_copy_does_not() -> None:
    world = World()
    world.start()
    world.resume()
    refused = Refused(Finding(reason=Reason.DENIED, text="no"))
    world.done(world.expect(ReadLedger), refused)
    assert world.verdict == (Phase.ERROR, Reason.DENIED)
    world.done(world.expect(WriteWake), AnalysisRunSeen(analysis_run()))

    assert world.start(errors=0).phase is Phase.ERROR
    assert world.start(errors=1).phase is Phase.RUNNING

    world.expect(ReadLedger)


def test_an_error_is_told_and_never_recorded() -> None:
    world = World()
    world.start()
    world.resume()

    world.done(world.expect(ReadLedger), Refused(Finding(reason=Reason.DENIED, text="no")))

    world.expect(WriteWake)
    assert not [command for command in world.todo if isinstance(command, WriteVerdict)]


def test_a_recorded_verdict_is_the_verdict() -> None:
    world = World()
    world.start(resume=True)
    record = ledger.VerdictRecord(
        phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at=START.isoformat()
    )
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, record, "1", "7"))

    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=recorded, experiment=None, value=HASH))

    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)
    assert world.resume().message == "Timeout: x"


def _by_a_newer_version(patch: dict[str, object]) -> AnalysisRun:
    """Return an AnalysisRun with an annotation that we do not know, and more words in those that we know."""
    run = with_patch(patch)
    assert run.metadata.annotations
    for key, text in run.metadata.annotations.items():
        if text.startswith("{"):
            body = {**json.loads(text), "added": {"by": ["a newer version"]}}
            run.metadata.annotations[key] = json.dumps(body)
    run.metadata.annotations["chaosplugin.io/added"] = "yes"
    return run


def test_what_a_newer_version_adds_to_mark_and_verdict_is_passed_over() -> None:
    """After a rollback."""
    identity = World().spec.identity
    mark = ledger.Mark(kind="PodChaos", namespace="default", name="x", version="7")
    record = ledger.VerdictRecord(phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at="")
    marked = _by_a_newer_version(ledger.mark_patch(identity, mark, "7"))
    judged = _by_a_newer_version(ledger.verdict_patch(identity, record, "1", "7"))

    assert ledger.read_mark(marked, identity) == mark
    assert ledger.read_verdict(judged, identity) == record


def _judged(world: World, message: str = "Survived: x") -> AnalysisRun:
    """Return the AnalysisRun in which another process's measurement stands, and which has ended so."""
    stored = StoredMeasurement(
        phase="Successful",
        message=message,
        value="{}",
        finished_at=START.isoformat(),
        metadata=StoredMetadata(run=world.spec.id),
    )
    result = MetricResult(name="chaos", phase="Successful", count=1, measurements=[stored])
    return analysis_run(phase="Successful", metric_results=[result])


def test_an_analysis_that_ends_by_the_verdict_of_another_process_is_not_terminated() -> None:
    world = World()
    world.to_recovering()

    world.run_seen(_judged(world))

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert world.resume().message == "Survived: x"
    world.expect(Delete)


def test_a_verdict_that_is_told_together_with_the_end_is_not_terminated() -> None:
    world = World()
    world.to_recovering()
    record = ledger.VerdictRecord(
        phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at=START.isoformat()
    )
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, record, "1", "7"))

    world.run_seen(msgspec.structs.replace(recorded, status=AnalysisRunStatus(phase="Failed")))

    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)


def test_what_argo_says_of_a_measurement_that_it_has_ended_is_no_verdict() -> None:
    world = World()
    world.to_recovering()

    world.run_seen(_judged(world, "Metric Terminated"))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)


def test_a_termination_right_after_a_restart_gets_the_verdict_that_stands() -> None:
    world = World()
    record = ledger.VerdictRecord(
        phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at=START.isoformat()
    )
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, record, "1", "7"))
    world.spec = replace(world.spec, analysis_run=recorded)
    world.start(resume=True)

    answer = world.terminate()

    assert (answer.phase, answer.message) == (Phase.FAILED, "Timeout: x")
    world.done(world.expect(Find), Found(world.chaos(recovered("web-a", START), desired="Stop")))
    world.expect(Delete)


def _decided() -> World:
    """Let another process delete the experiment after its verdict, of which this one has not heard."""
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.experiment(recovered("web-a", world.now), desired="Stop", deleting=True, gone=True)
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)
    return world


def test_a_verdict_that_is_not_recorded_yet_is_answered_to_nobody() -> None:
    world = _decided()
    assert world.resume().phase is Phase.RUNNING
    write = world.expect(WriteVerdict)

    world.done(write, VerdictWritten(write.record, analysis_run()))

    assert world.resume().phase is Phase.INCONCLUSIVE


def test_a_call_that_bears_the_verdict_of_another_process_is_answered_with_it() -> None:
    world = _decided()
    record = ledger.VerdictRecord(
        phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at=START.isoformat()
    )
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, record, "1", "7"))
    world.spec = replace(world.spec, analysis_run=recorded)

    world.start(resume=True)

    assert world.resume().message == "Timeout: x"


def test_a_verdict_that_cannot_be_recorded_is_answered_after_a_while() -> None:
    world = _decided()
    world.done(world.expect(WriteVerdict), Failed("the API server is away"))

    world.wait(31)

    assert world.resume().phase is Phase.INCONCLUSIVE


def test_a_live_experiment_is_adopted_with_its_baseline() -> None:
    before = World()
    before.to_create()
    world = World()
    world.created = before.created
    world.start(resume=True)
    world.resume()
    world.done(
        world.expect(ReadLedger),
        LedgerRead(
            analysis_run=analysis_run(), experiment=world.chaos(hit("web-a"), desired="Run"), value=HASH
        ),
    )
    assert world.stage is Stage.OBSERVING
    world.pods(pod("web-a", restarts=1, ready=False), pod("web-b"))
    world.now += timedelta(seconds=10)
    world.experiment(recovered("web-a", world.now), desired="Stop")
    world.pods(pod("web-a", restarts=2, since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert not [command for command in world.todo if isinstance(command, Create)]


def test_a_foreign_object_of_that_name_is_left_alone() -> None:
    world = World()
    world.start()
    mine = world.chaos(desired="Run")
    foreign = ChaosObject(
        kind=mine.kind, metadata=Metadata(name=mine.metadata.name, uid="x", labels={}), status=mine.status
    )

    world.done(
        world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=foreign, value=HASH)
    )
    world.wait(60)

    assert world.verdict == (Phase.ERROR, Reason.NAME_TAKEN)
    assert not [command for command in world.todo if isinstance(command, Delete)]


def test_a_create_that_was_not_answered_is_found_again() -> None:
    world = World()
    world.done(world.to_create(), Unanswered("reset"))
    world.wait(1.5)

    world.done(world.expect(Find), Found(world.chaos()))

    assert world.stage is Stage.OBSERVING


def test_a_create_that_never_arrived_is_sent_again() -> None:
    world = World()
    world.done(world.to_create(), Unanswered("reset"))
    world.wait(1.5)
    world.done(world.expect(Find), Found(None))

    world.done(world.expect(ReadHistory), HistoryRead(created=False))

    world.prove()
    world.expect(Create)


def test_a_create_that_arrived_unanswered_and_was_deleted_is_not_sent_again() -> None:
    world = World()
    world.done(world.to_create(), Unanswered("reset"))
    world.wait(1.5)
    world.done(world.expect(Find), Found(None))
    world.done(world.expect(ReadHistory), HistoryRead(created=True))

    world.done(world.expect(Find), Found(None))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)


def test_a_create_whose_fate_stays_unknown_is_inconclusive_and_looked_for_further() -> None:
    world = World()
    world.done(world.to_create(), Unanswered("reset"))
    for _ in range(70):
        world.wait(1)
        for command in [c for c in world.todo if isinstance(c, Find)]:
            world.todo.remove(command)
            world.done(command, Failed("away"))
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNKNOWN)

    world.wait(31)
    world.done(world.expect(Find), Found(world.chaos()))

    world.wait(31)
    world.expect(Delete)


def test_a_name_that_exists_is_adopted_if_it_is_ours() -> None:
    world = World()
    world.done(world.to_create(), NameExists())

    world.done(world.expect(Find), Found(world.chaos()))

    assert world.stage is Stage.OBSERVING


def test_a_refused_create_is_an_error_and_leaves_nothing_to_clean() -> None:
    world = World()

    world.done(world.to_create(), Refused(Finding(reason=Reason.DENIED, text="forbidden")))

    assert world.verdict == (Phase.ERROR, Reason.DENIED)
    world.wait(60)
    assert not [command for command in world.todo if isinstance(command, Find | Delete)]


def test_an_error_is_recorded_where_nobody_retries_it() -> None:
    world = World(policy=Policy(claims=True))
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), Refused(Finding(reason=Reason.DENIED, text="forbidden")))

    assert world.expect(WriteVerdict).record.phase is Phase.ERROR
    assert world.resume().phase is Phase.RUNNING, "another process may be first"


def test_the_first_verdict_wins() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run", annotations={ledger.PAUSE: "true"})
    other = ledger.VerdictRecord(
        phase=Phase.SUCCESSFUL, message="Survived: x", value="{}", finished_at=START.isoformat()
    )

    world.done(world.expect(WriteVerdict), VerdictWritten(other, analysis_run()))

    assert world.resume().phase is Phase.SUCCESSFUL


def test_an_experiment_that_leaves_the_watch_without_being_deleted_is_looked_for_and_removed() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.experiment(hit("web-a"), desired="Run", gone=True)  # its labels were taken off

    assert world.verdict is None
    world.done(world.expect(Find), Found(without_labels(world.chaos(hit("web-a"), desired="Run"))))
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)
    assert "labels" in world.message
    assert world.expect(Delete).uid == "chaos-1"


def test_an_experiment_that_left_the_watch_and_is_not_found_was_deleted() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.experiment(hit("web-a"), desired="Run", gone=True)

    world.done(world.expect(Find), Found(None))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)


def test_the_mark_tells_an_experiment_whose_labels_were_taken_off() -> None:
    world = World()
    world.start(resume=True)
    found = without_labels(world.chaos(hit("web-a"), desired="Run"))

    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=marked(world), experiment=found, value=HASH))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)
    assert world.expect(Delete).uid == "chaos-1"


def without_labels(experiment: ChaosObject) -> ChaosObject:
    metadata = msgspec.structs.replace(experiment.metadata, labels={})
    return msgspec.structs.replace(experiment, metadata=metadata)


def test_a_terminate_after_a_restart_ends_the_fault_at_once() -> None:
    world = World()
    world.start(resume=True)
    world.terminate()

    world.done(world.expect(Find), Found(world.chaos(hit("web-a"), desired="Run")))

    world.expect(Delete)


def test_an_end_that_is_seen_before_the_ledger_is_read_does_not_leave_the_experiment() -> None:
    world = World()
    world.start(resume=True)
    ending = analysis_run()

    world.run_seen(AnalysisRun(metadata=ending.metadata, spec=AnalysisRunSpec(terminate=True)))

    world.done(world.expect(Find), Found(world.chaos(hit("web-a"), desired="Run")))
    world.expect(Delete)


@pytest.mark.parametrize("outcome", [Unanswered("reset"), NameExists()])
def test_a_create_whose_answer_comes_after_the_verdict_is_not_sent_again(outcome: Outcome) -> None:
    world = World()
    create = world.to_create()
    world.terminate()

    world.done(create, outcome)

    assert world.stage is Stage.DECIDED
    world.done(world.expect(Find), Found(world.chaos()))
    world.expect(Delete)
    assert not [command for command in world.todo if isinstance(command, Create)]


def test_a_create_under_way_at_the_end_is_waited_for_before_it_is_looked_for() -> None:
    """Looked for before it arrives it is not there, and would be forgotten."""
    world = World()
    create = world.to_create()

    world.run_seen(phase="Failed")

    assert not [command for command in world.todo if isinstance(command, Find)]
    world.done(create, Found(world.chaos()))
    assert world.expect(Delete).uid == "chaos-1"
