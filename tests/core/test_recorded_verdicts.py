"""The verdict on the AnalysisRun: one for each intent, whoever wrote it, and answered once it is there."""

import json
from datetime import timedelta

import msgspec

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Delete,
    Failed,
    Find,
    Found,
    HistoryRead,
    ReadHistory,
    ReadLedger,
    Refused,
    VerdictWritten,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.objects import (
    AnalysisRun,
    AnalysisRunStatus,
    MetricResult,
    StoredMeasurement,
    StoredMetadata,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.verdict import Finding, Reason
from tests.core.given import START, analysis_run, hit, recovered, with_patch
from tests.core.world import World, marked

TIMEOUT = ledger.VerdictRecord(
    phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at=START.isoformat()
)
"""the verdict of another process"""


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
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, TIMEOUT, "1", "7"))

    world.found(run=recorded)

    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)
    assert world.resume().message == "Timeout: x"


def test_a_verdict_that_was_slept_through_is_answered_only_if_it_cannot_be_recorded_since() -> None:
    """Another process may have recorded its own meanwhile."""
    world = World()
    world.start(resume=True)
    world.resume()
    world.found(run=marked(world))
    world.done(world.expect(ReadHistory), HistoryRead(created=None))
    writing = world.expect(WriteVerdict)

    world.now += timedelta(minutes=1)  # nothing runs
    assert world.resume().phase is Phase.RUNNING
    world.wait(1)
    assert world.resume().phase is Phase.RUNNING

    world.done(writing, Failed("HTTP 503"))
    for _ in range(30):
        world.wait(1)
        for each in [each for each in world.todo if isinstance(each, WriteVerdict)]:
            world.todo.remove(each)
            world.done(each, Failed("HTTP 503"))
    assert world.resume().phase is Phase.INCONCLUSIVE


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
    marked = _by_a_newer_version(ledger.mark_patch(identity, mark, "7"))
    judged = _by_a_newer_version(ledger.verdict_patch(identity, TIMEOUT, "1", "7"))

    assert ledger.read_mark(marked, identity) == mark
    assert ledger.read_verdict(judged, identity) == TIMEOUT


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
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, TIMEOUT, "1", "7"))

    world.run_seen(msgspec.structs.replace(recorded, status=AnalysisRunStatus(phase="Failed")))

    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)


def test_what_argo_says_of_a_measurement_that_it_has_ended_is_no_verdict() -> None:
    world = World()
    world.to_recovering()

    world.run_seen(_judged(world, "Metric Terminated"))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)


def test_a_termination_right_after_a_restart_gets_the_verdict_that_stands() -> None:
    world = World()
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, TIMEOUT, "1", "7"))
    world.spec = msgspec.structs.replace(world.spec, analysis_run=recorded)
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
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, TIMEOUT, "1", "7"))
    world.spec = msgspec.structs.replace(world.spec, analysis_run=recorded)

    world.start(resume=True)

    assert world.resume().message == "Timeout: x"


def test_a_verdict_that_cannot_be_recorded_is_answered_after_a_while() -> None:
    world = _decided()
    world.done(world.expect(WriteVerdict), Failed("the API server is away"))

    world.wait(31)

    assert world.resume().phase is Phase.INCONCLUSIVE


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
