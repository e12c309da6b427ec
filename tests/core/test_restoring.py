"""What is begun, adopted or left alone, whoever died before."""

from datetime import timedelta

import msgspec
import pytest

from chaosplugin.core.analysis import Measurement, Phase
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
    WriteWake,
)
from chaosplugin.core.config import HASH_LABEL
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import (
    AnalysisRun,
    AnalysisRunSpec,
    ChaosObject,
    Metadata,
)
from chaosplugin.core.run import Stage
from chaosplugin.core.topics import Applied, PodsTopic, Synced
from chaosplugin.core.verdict import Finding, Reason
from tests.core.given import HASH, analysis_run, hit, pod, recovered
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


def test_a_retry_that_another_replica_has_begun_is_not_answered_with_the_error_before_it() -> None:
    """Behind one address each call may reach another one."""
    world = World()
    world.start()
    world.resume()
    refused = Refused(Finding(reason=Reason.DENIED, text="no"))
    world.done(world.expect(ReadLedger), refused)
    world.done(world.expect(WriteWake), AnalysisRunSeen(analysis_run()))
    assert world.start(errors=0, resume=True).phase is Phase.ERROR

    assert world.start(errors=1, resume=True).phase is Phase.RUNNING

    world.found(world.chaos(hit("web-a"), desired="Run"))
    assert world.stage is Stage.OBSERVING


def test_a_live_experiment_is_adopted_with_its_baseline() -> None:
    before = World()
    before.to_create()
    world = World()
    world.created = before.created
    world.start(resume=True)
    world.resume()
    world.found(world.chaos(hit("web-a"), desired="Run"))
    assert world.stage is Stage.OBSERVING
    world.pods(pod("web-a", restarts=1, ready=False), pod("web-b"))
    world.now += timedelta(seconds=10)
    world.experiment(recovered("web-a", world.now), desired="Stop")
    world.pods(pod("web-a", restarts=2, since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert not [command for command in world.todo if isinstance(command, Create)]


def begun_as_told() -> World:
    """Let a Resume begin a gate whose ledger is told by watches: its experiment is on."""
    before = World()
    before.to_create()
    world = World()
    experiment = before.chaos(hit("web-a"), desired="Run")
    ledger = LedgerRead(analysis_run=analysis_run(), experiment=experiment, value=HASH)
    begun = world.registry.start(
        world.now,
        world.spec,
        analysis_run(),
        errors=0,
        given=Measurement(phase=Phase.RUNNING),
        push=True,
        told=(ledger, timedelta()),
    )
    assert begun == []
    assert world.registry.progress == [], "it is not looked at yet"
    return world


def test_a_gate_whose_ledger_is_told_is_looked_at_with_what_its_watches_tell() -> None:
    """After a restart thousands begin so: a look costs as much as all else that is done for one of them."""
    world = begun_as_told()
    topic = PodsTopic("default", HASH_LABEL, HASH)
    watch = Watch("", "", "", topic)
    assert world.registry.watch_changes()[watch]

    events = [Applied(topic, pod(name)) for name in ("web-a", "web-b")]
    world.take(world.registry.observe(world.now, watch, *events, Synced(topic)))

    assert len(world.registry.progress) == 1
    assert world.registry.runs[world.spec.id].min_ready == 2
    assert "is running against the canary" in world.resume().message


def test_a_gate_whose_ledger_is_told_is_looked_at_by_its_resume_if_nothing_else_is() -> None:
    world = begun_as_told()
    assert world.registry.next_deadline() is None

    world.resume()

    assert world.stage is Stage.OBSERVING
    assert len(world.registry.progress) == 1
    assert world.registry.next_deadline() is not None


def test_a_foreign_object_of_that_name_is_left_alone() -> None:
    world = World()
    world.start()
    mine = world.chaos(desired="Run")
    foreign = ChaosObject(
        kind=mine.kind, metadata=Metadata(name=mine.metadata.name, uid="x", labels={}), status=mine.status
    )

    world.found(foreign)
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

    world.found(found, run=marked(world))

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


def test_what_an_earlier_process_has_created_is_looked_for_where_the_ledger_could_not_be_read() -> None:
    world = World()
    world.start(resume=True)
    while world.verdict is None:
        world.done(world.expect(ReadLedger), Failed("away"))
        world.wait(2)
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)

    world.done(world.expect(Find), Found(world.chaos(hit("web-a"), desired="Run")))

    assert world.expect(Delete).uid == "chaos-1"


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
