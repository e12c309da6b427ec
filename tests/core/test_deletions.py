"""Deletions that do not come to their end: judged, told, followed on, forced where that is allowed."""

from datetime import timedelta

from chaosplugin.core import delivery, ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Delete,
    Done,
    Found,
    LedgerRead,
    Look,
    ObjectId,
    ReadLedger,
    Release,
    VerdictWritten,
    WriteVerdict,
)
from chaosplugin.core.objects import Record
from chaosplugin.core.policy import Policy
from chaosplugin.core.run import Stage
from chaosplugin.core.verdict import Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered
from tests.core.spawning import Spawning, schedule
from tests.core.world import World, marked


def clear(name: str) -> Record:
    return Record(id=f"default/{name}", phase="Not Injected", injected_count=1)


def deleted_by_somebody(world: World) -> None:
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.experiment(hit("web-a"), desired="Run", deleting=True)


def test_a_deletion_by_somebody_is_judged_once_the_fault_is_undone() -> None:
    world = World()
    deleted_by_somebody(world)
    assert world.verdict is None

    world.experiment(clear("web-a"), desired="Run", deleting=True)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)
    assert "run the gate again" in world.message


def test_a_deletion_by_somebody_whose_fault_stays_is_not_recovered() -> None:
    world = World()
    deleted_by_somebody(world)

    world.wait(61)

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)
    for words in (
        "is not gone 6",
        "chaos-mesh/records",
        "residual fault",
        "Chaos Mesh's logs",
        "--force-cleanup",
    ):
        assert words in world.message
    world.expect(WriteVerdict)
    world.expect(Delete)


def test_a_restart_in_a_deletion_by_somebody_waits_for_its_end_too() -> None:
    world = World()
    world.start(resume=True)
    world.resume()
    found = world.chaos(hit("web-a"), desired="Run", deleting=True)
    ledger_read = LedgerRead(analysis_run=marked(world), experiment=found, value=HASH)
    world.done(world.expect(ReadLedger), ledger_read)
    assert world.verdict is None

    world.experiment(clear("web-a"), desired="Run", deleting=True, gone=True)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)


def stuck(world: World) -> None:
    """Delete an experiment, 61 s ago, whose fault stays."""
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.experiment(hit("web-a"), desired="Run", annotations={ledger.PAUSE: "true"})
    world.done(world.expect(Delete), Done())
    world.experiment(hit("web-a"), desired="Run", deleting=True)
    run = world.registry.run(world.spec.id)
    assert run is not None
    assert delivery.stuck(run, world.now + timedelta(seconds=59)) == ""
    while world.now < START + timedelta(seconds=62):
        world.wait(5)
        for command in [each for each in world.todo if isinstance(each, Delete)]:
            world.todo.remove(command)
            world.done(command, Done())


def test_a_deletion_that_is_not_done_after_a_minute_is_told_and_tried_again() -> None:
    world = World()
    stuck(world)
    run = world.registry.run(world.spec.id)
    assert run is not None

    assert "a residual fault is possible" in delivery.stuck(run, world.now)
    world.wait(31)
    world.expect(Delete)
    assert not [command for command in world.todo if isinstance(command, Release)]
    world.experiment(hit("web-a"), desired="Run", deleting=True, gone=True)
    assert delivery.stuck(run, world.now) == ""


def test_finalizers_are_removed_only_where_the_operator_has_allowed_it() -> None:
    world = World(policy=Policy(force_cleanup=True))
    stuck(world)
    world.wait(31)

    release = world.expect(Release)

    assert release.objects == (ObjectId("PodChaos", world.spec.name, "chaos-1"),)
    world.done(release, Done())
    world.experiment(hit("web-a"), desired="Run", deleting=True, gone=True)
    run = world.registry.run(world.spec.id)
    assert run is not None
    assert run.experiment_gone
    assert world.stage is Stage.DECIDED, "Argo has not stored the verdict yet"


# -- of what was spawned: a Schedule or a Workflow has no finalizer, and is gone at once


def _fired(policy: Policy) -> Spawning:
    """Let a firing be on that Chaos Mesh does not undo, as its Schedule goes."""
    world = schedule(policy=policy)
    world.wait(10)
    world.child("firing-1", hit("web-a"), hit("web-b"))
    return world


def _gone(world: Spawning) -> None:
    world.see_parent(world.parent(deleting=True), gone=True)
    world.child(
        "firing-1",
        hit("web-a"),
        hit("web-b"),
        deletion_timestamp=world.now,
        finalizers=["chaos-mesh/records"],
    )


def test_a_schedule_that_somebody_deletes_is_judged_once_what_it_has_fired_is_undone() -> None:
    world = _fired(Policy())
    _gone(world)
    assert world.verdict is None

    world.child("firing-1", recovered("web-a", world.now), recovered("web-b", world.now), gone=True)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)


def test_a_schedule_that_somebody_deletes_and_whose_firing_stays_is_not_recovered() -> None:
    world = _fired(Policy())
    _gone(world)

    world.wait(61)

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)
    assert "what Schedule default/" in world.message
    assert "chaos-mesh/records" in world.message


def _left_over(policy: Policy) -> Spawning:
    """Delete a Schedule after its verdict, a minute ago; what it has fired is stuck."""
    world = _fired(policy)
    world.terminate()
    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    world.done(world.expect(Delete), Done())
    _gone(world)
    world.run_seen(phase="Inconclusive")
    assert world.stage is Stage.DECIDED
    world.wait(59)
    assert not world.todo
    world.wait(2)
    return world


def test_a_firing_that_is_stuck_is_told_and_not_forced() -> None:
    world = _left_over(Policy())
    run = world.registry.run(world.spec.id)
    assert run is not None

    assert "a residual fault is possible" in delivery.stuck(run, world.now)
    world.done(world.expect(Delete), Found(None))
    world.wait(31)
    world.expect(Delete)

    world.child("firing-1", hit("web-a"), gone=True)
    assert world.stage is Stage.DONE


def test_a_firing_that_is_stuck_loses_its_finalizers_where_the_operator_has_allowed_it() -> None:
    world = _left_over(Policy(force_cleanup=True))

    release = world.expect(Release)

    assert release.objects == (ObjectId("PodChaos", "firing-1", "uid-firing-1"),)
    world.done(release, Done())
    world.child("firing-1", hit("web-a"), gone=True)
    assert world.stage is Stage.DONE


def test_who_may_not_mark_looks_whether_the_controller_waits_still() -> None:
    """Its AnalysisRun has no label by which a watch would tell, and Terminate is not always called."""
    world = World(push=False)
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.wait(20)
    world.resume()
    world.wait(29)
    assert not [command for command in world.todo if isinstance(command, Look)], "it was asked lately"
    world.wait(1)

    world.done(world.expect(Look), AnalysisRunSeen(analysis_run(phase="Successful")))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)
    assert world.expect(Delete).uid == "chaos-1"


def test_a_verdict_that_nobody_asks_for_does_not_stay_for_ever() -> None:
    world = World(push=False)
    world.to_recovering()
    world.pods(pod("web-a", restarts=2))
    world.wait(6)
    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    world.todo.clear()
    world.wait(31)

    world.done(world.expect(Look), AnalysisRunSeen(None))
    world.done(world.expect(Delete), Done())
    world.experiment(recovered("web-a", world.now), desired="Stop", deleting=True, gone=True)

    assert world.stage is Stage.DONE
