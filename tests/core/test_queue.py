"""Gates of one process on one canary: one after another, and none for ever."""

from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.core.commands import (
    Delete,
    Done,
    Find,
    Found,
    Keep,
    WriteMark,
)
from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import MetricResult
from chaosplugin.core.run import Notice, Run, Stage
from chaosplugin.core.verdict import Reason
from tests.core.given import START, analysis_run, hit, make_spec, pod, recovered
from tests.core.world import World


def _queue_behind(world: World) -> Run:
    """Let another gate of the same canary wait for this one's."""
    second = make_spec(identity=Identity("run-1", "other", 1), name="other")
    world.take(world.registry.start(world.now, second, analysis_run(), errors=0))
    world.take(world.registry.allow(world.now, second.id, push=True))
    given = Measurement(phase=Phase.RUNNING, started_at=START)
    world.take(world.registry.answer(world.now, second.id, given)[1])
    world.found()
    world.pods(pod("web-a"))
    world.prove()
    other = world.registry.run(second.id)
    assert other is not None
    assert other.stage is Stage.QUEUED
    return other


def test_gates_of_one_replica_set_run_one_after_another() -> None:
    world = World()
    world.to_observing()
    other = _queue_behind(world)
    world.wait(40)
    assert other.verdict is None, "waiting does not count"

    world.done(world.expect(Find), Found(world.chaos(desired="")))  # Chaos Mesh has not touched it
    world.experiment(hit("web-a"), desired="Run", gone=True)

    world.prove()
    assert world.expect(WriteMark).run == other.spec.id


def test_a_fault_that_is_over_and_judged_holds_up_nobody_though_its_experiment_is_stuck() -> None:
    world = World(one_shot=True)
    world.to_observing()
    other = _queue_behind(world)
    world.experiment(hit("web-a"), desired="Run")

    world.wait(6)
    world.confirm()
    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)

    world.prove()
    assert world.expect(WriteMark).run == other.spec.id


def test_nobody_waits_for_ever_for_a_fault_that_cannot_be_undone() -> None:
    world = World()
    world.to_observing()
    other = _queue_behind(world)
    world.to_timeout(hit("web-a"), desired="Run")
    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)
    world.done(world.expect(Delete), Done())
    world.experiment(hit("web-a"), desired="Stop", deleting=True)
    world.wait(50)
    assert other.verdict is None

    world.wait(41)

    assert other.verdict is not None
    assert other.verdict.reason is Reason.NOT_STEADY
    assert "another gate's PodChaos default/kill-" in other.verdict.message
    assert not other.create_sent


def test_a_kept_experiment_holds_the_canary_until_its_fault_is_over() -> None:
    world = World(keep=True)
    world.to_observing()
    other = _queue_behind(world)
    world.to_timeout(hit("web-a"), desired="Run")
    world.done(world.expect(Keep), Done())
    world.run_seen(phase="Running", metric_results=[MetricResult(name="chaos", count=1)])
    assert (world.stage, other.stage) == (Stage.DECIDED, Stage.QUEUED), "the pause takes its time"

    world.experiment(recovered("web-a", world.now), desired="Stop")

    assert world.stage is Stage.DONE
    world.prove()
    assert world.expect(WriteMark).run == other.spec.id


def test_a_pause_that_ends_no_fault_holds_the_canary_for_a_minute_and_is_tried_on() -> None:
    world = World(keep=True)
    world.to_observing()
    other = _queue_behind(world)
    world.to_timeout(hit("web-a"), desired="Run")
    world.done(world.expect(Keep), Done())
    world.run_seen(phase="Running", metric_results=[MetricResult(name="chaos", count=1)])

    world.wait(59)
    assert other.stage is Stage.QUEUED
    world.wait(2)

    assert other.verdict is not None
    assert other.verdict.reason is Reason.NOT_STEADY
    assert "is kept, and whose fault is not over 60s after it was paused" in other.verdict.message
    (told,) = [each for each in world.registry.announcements if each.notice is Notice.STUCK]
    assert "or delete it" in told.message
    world.done(world.expect(Keep), Done())
    world.experiment(recovered("web-a", world.now), desired="Stop")
    assert world.stage is Stage.DONE


def test_a_pause_that_was_answered_after_a_moment_is_told_a_minute_after_its_answer() -> None:
    """It is tried again every 30 s, which is a moment too early."""
    world = World(keep=True)
    world.to_observing()
    world.to_timeout(hit("web-a"), desired="Run")
    pause = world.expect(Keep)
    world.wait(0.2)
    world.done(pause, Done())
    world.run_seen(phase="Running", metric_results=[MetricResult(name="chaos", count=1)])
    world.wait(30)
    world.done(world.expect(Keep), Done())

    world.wait(30.1)

    (told,) = [each for each in world.registry.announcements if each.notice is Notice.STUCK]
    assert "is not over 60s after it was paused" in told.message
