"""The mark before the create: what it tells a successor, and another process."""

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Command,
    Create,
    Delete,
    Done,
    Failed,
    Find,
    Found,
    HistoryRead,
    LedgerRead,
    MarkFound,
    ReadHistory,
    ReadLedger,
    ReadScope,
    Refused,
    VerdictWritten,
    WriteMark,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.run import Stage
from chaosplugin.core.verdict import Finding, Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered, scope_inputs, with_patch
from tests.core.world import World, marked


def restored_with_a_mark(mark: ledger.Mark | None = None) -> World:
    """Return a gate whose process has died after the mark; no experiment is there."""
    world = World()
    world.start(resume=True)
    world.resume()
    found = marked(world, mark)
    world.found(run=found)
    return world


def fail(world: World, kind: type[Command], seconds: int) -> None:
    """Let all commands of a kind fail for so long."""
    for _ in range(seconds):
        for command in [each for each in world.todo if isinstance(each, kind)]:
            world.todo.remove(command)
            world.done(command, Failed("away"))
        world.wait(1)


def test_a_marked_experiment_that_was_created_and_is_gone_was_deleted() -> None:
    world = restored_with_a_mark()
    history = world.expect(ReadHistory)
    assert history.version == "7"
    world.done(history, HistoryRead(created=True))
    assert world.verdict is None, "it may have been created this very moment"

    world.done(world.expect(Find), Found(None))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)


def test_a_marked_experiment_that_appears_while_its_history_is_read_is_adopted() -> None:
    world = restored_with_a_mark()
    world.done(world.expect(ReadHistory), HistoryRead(created=True))

    world.done(world.expect(Find), Found(world.chaos()))

    assert world.stage is Stage.OBSERVING


def test_a_marked_experiment_that_was_never_created_is_created_now() -> None:
    world = restored_with_a_mark()

    world.done(world.expect(ReadHistory), HistoryRead(created=False))

    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    world.expect(Create)


def test_a_mark_beyond_the_api_servers_memory_never_starts_a_second_experiment() -> None:
    world = restored_with_a_mark()

    world.done(world.expect(ReadHistory), HistoryRead(created=None))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNKNOWN)
    assert "about to be created" in world.message
    world.done(world.expect(Find), Found(world.chaos()))
    assert world.expect(Delete).uid == "chaos-1", "what arrives late is removed"


def test_what_arrives_before_the_verdict_is_recorded_is_looked_for_again_and_removed() -> None:
    world = restored_with_a_mark()
    world.done(world.expect(ReadHistory), HistoryRead(created=None))
    world.done(world.expect(Find), Found(None))
    world.experiment()  # which another process would judge, had it recorded its verdict first
    verdict = world.expect(WriteVerdict)

    world.done(
        verdict,
        VerdictWritten(
            verdict.record, with_patch(ledger.verdict_patch(world.spec.identity, verdict.record, "1", "7"))
        ),
    )

    world.done(world.expect(Find), Found(world.chaos()))
    assert world.expect(Delete).uid == "chaos-1"


def test_a_mark_that_counts_by_another_clusters_versions_never_starts_a_second_experiment() -> None:
    world = restored_with_a_mark(ledger.Mark(kind="PodChaos", namespace="default", name="x", version=""))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNKNOWN)


def test_a_history_that_cannot_be_read_is_asked_for_a_minute() -> None:
    world = restored_with_a_mark()
    for _ in range(70):
        for command in [c for c in world.todo if isinstance(c, ReadHistory)]:
            world.todo.remove(command)
            world.done(command, Failed("away"))
        world.wait(1)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNKNOWN)
    assert "away" in world.message


def test_a_mark_of_another_process_sends_back_to_the_ledger() -> None:
    world = World()
    world.start()
    world.resume()
    world.found()
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()

    world.done(world.expect(WriteMark), MarkFound(marked(world)))

    ledger_read = LedgerRead(analysis_run=marked(world), experiment=world.chaos(), value=HASH)
    world.done(world.expect(ReadLedger), ledger_read)
    assert world.stage is Stage.OBSERVING
    assert not [command for command in world.todo if isinstance(command, Create)]


def test_a_verdict_of_another_process_ends_the_gate_before_it_creates() -> None:
    world = World()
    world.start()
    world.resume()
    world.found()
    world.pods(pod("web-a"), pod("web-b"))
    record = ledger.VerdictRecord(
        phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at=START.isoformat()
    )
    judged = with_patch(ledger.verdict_patch(world.spec.identity, record, "1", "7"))

    world.prove(scope_inputs(analysis_run=judged))

    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)
    assert not [command for command in world.todo if isinstance(command, Create | WriteMark)]


def test_an_analysis_run_that_cannot_be_marked_for_half_a_minute_is_an_error() -> None:
    world = World()
    world.start()
    world.resume()
    world.found()
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    fail(world, WriteMark, 35)

    assert world.verdict == (Phase.ERROR, Reason.UNAVAILABLE)
    assert "nothing was created" in world.message


def test_the_mark_of_a_refused_create_is_taken_back_with_the_wake() -> None:
    world = World()
    world.done(world.to_create(), Refused(Finding(reason=Reason.DENIED, text="forbidden")))

    run = world.registry.run(world.spec.id)
    assert run is not None
    assert run.mark is not None
    assert world.expect(WriteWake).unmark == run.mark


def test_the_mark_that_another_process_has_made_meanwhile_is_not_taken_back() -> None:
    world = World()
    world.done(world.to_create(), Refused(Finding(reason=Reason.DENIED, text="forbidden")))
    theirs = ledger.Mark(kind="PodChaos", namespace="default", name=world.spec.name, version="9", by="there")
    wake = world.expect(WriteWake)

    world.run_seen(marked(world, theirs))
    world.done(wake, Failed("away"))
    world.wait(2)

    assert not [command for command in world.todo if isinstance(command, WriteWake)]


def to_an_error_before_the_proof() -> World:
    """Let a gate end of which the owners could not be read."""
    world = World()
    world.start()
    world.resume()
    world.found()
    world.pods(pod("web-a"), pod("web-b"))
    fail(world, ReadScope, 35)
    assert world.verdict == (Phase.ERROR, Reason.UNAVAILABLE)
    return world


def theirs(world: World) -> ledger.Mark:
    return ledger.Mark(kind="PodChaos", namespace="default", name=world.spec.name, version="9", by="there")


def test_an_error_that_nobody_was_told_gives_way_to_the_gate_that_another_process_has_begun() -> None:
    """Of two controllers one could not reach the API server while the other one's fault was on."""
    world = to_an_error_before_the_proof()
    judged = marked(world, theirs(world))

    world.done(world.expect(WriteWake), AnalysisRunSeen(judged))

    assert world.resume().phase is Phase.RUNNING
    world.found(world.chaos(hit("web-a"), desired="Run"), judged)
    assert world.stage is Stage.OBSERVING


def test_an_error_that_was_told_stays_whatever_another_process_begins() -> None:
    world = to_an_error_before_the_proof()
    world.done(world.expect(WriteWake), AnalysisRunSeen(analysis_run()))
    assert world.resume().phase is Phase.ERROR

    world.run_seen(marked(world, theirs(world)))

    assert world.resume().phase is Phase.ERROR


def test_who_cannot_read_what_another_process_has_begun_does_not_say_that_nothing_was() -> None:
    """An Error says so, and Argo would begin anew."""
    world = World()
    world.start()
    world.resume()
    world.found()
    world.run_seen(marked(world, theirs(world)))
    fail(world, ReadLedger, 60)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


def test_where_the_mark_that_was_found_is_taken_back_the_gate_marks_itself() -> None:
    theirs = ledger.Mark(kind="PodChaos", namespace="default", name="kill", version="7", by="there")
    world = restored_with_a_mark(theirs)
    world.done(world.expect(ReadHistory), HistoryRead(created=False))
    world.pods(pod("web-a"), pod("web-b"))

    world.prove(scope_inputs())  # there the create was refused

    assert not [command for command in world.todo if isinstance(command, Create)]
    assert world.expect(WriteMark).mark.by == "here"


def _ended_without_it() -> World:
    """Let a gate end of which an earlier process had marked, and not created, an experiment."""
    world = restored_with_a_mark()
    world.done(world.expect(ReadHistory), HistoryRead(created=False))
    world.run_seen(phase="Inconclusive")
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)
    return world


def test_a_create_of_a_dead_process_that_arrives_after_the_end_is_undone_at_once() -> None:
    world = _ended_without_it()
    world.wait(30)

    world.experiment(hit("web-a"), desired="Run")

    world.done(world.expect(Delete), Done())
    world.experiment(recovered("web-a", world.now), deleting=True, gone=True)
    assert world.stage is Stage.DONE


def test_a_create_that_can_arrive_no_more_is_not_waited_for() -> None:
    world = _ended_without_it()

    world.wait(61)

    assert world.stage is Stage.DONE
    assert not world.todo


def test_a_mark_that_another_process_has_made_meanwhile_sends_back_to_the_ledger() -> None:
    world = World()
    world.start()
    world.resume()
    world.found()
    world.pods(pod("web-a"), pod("web-b"))
    other = ledger.Mark(
        kind="PodChaos", namespace="default", name=world.spec.name, version="7", by="elsewhere"
    )
    world.prove(scope_inputs(analysis_run=marked(world, other)))

    world.expect(ReadLedger)
    assert not [command for command in world.todo if isinstance(command, WriteMark | Create)]


def test_a_mark_that_another_process_has_taken_back_is_none_to_rely_on() -> None:
    world = World()
    world.start()
    world.resume()
    world.found()
    world.run_seen(marked(world, theirs(world)))

    world.found()  # by then it is not there any more
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()

    assert not [command for command in world.todo if isinstance(command, Create)]
    world.expect(WriteMark)


def test_a_retry_does_not_rely_on_the_mark_of_the_try_before_of_which_a_late_watch_tells() -> None:
    """Created without a mark, its experiment was deleted by somebody, and created anew by a successor."""
    world = World()
    world.done(world.to_create(), Refused(Finding(reason=Reason.DENIED, text="forbidden")))
    wake = world.expect(WriteWake)
    assert wake.unmark is not None
    late = marked(world, wake.unmark)
    world.done(wake, AnalysisRunSeen(analysis_run()))
    assert world.resume().phase is Phase.ERROR
    world.start(errors=1)
    world.resume()
    world.found()

    world.run_seen(late)
    world.prove()

    assert not [command for command in world.todo if isinstance(command, Create)]
    world.expect(WriteMark)


def test_the_time_that_a_mark_has_taken_is_not_the_canary_s() -> None:
    world = World()
    world.start()
    world.resume()
    world.found()
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    mark = world.expect(WriteMark)
    world.wait(31)

    world.done(mark, AnalysisRunSeen(marked(world, mark.mark)))

    assert world.verdict is None
    world.prove()
    world.expect(Create)
