"""All that a Schedule fires is one fault: how it is gathered, judged and ended."""

from datetime import timedelta

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Delete,
    Done,
    Found,
    ReadReplicas,
    ReplicasRead,
    Stop,
    VerdictWritten,
    WriteVerdict,
)
from chaosplugin.core.cron import Every
from chaosplugin.core.run import Stage
from chaosplugin.core.verdict import Reason
from chaosplugin.core.window import Window
from tests.core.given import analysis_run, hit, pod, recovered
from tests.core.spawning import KILL, SELF, Spawning, fire, schedule


def test_firings_that_the_canary_survives_are_one_success() -> None:
    world = schedule()
    for number in (1, 2):
        world.wait(7)
        fire(world, f"firing-{number}")
    world.wait(9)
    assert world.verdict is None
    world.wait(2)

    world.done(world.expect(Stop), Found(world.parent(over=True)))
    world.confirm()
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert "2 firings, 4 targets hit" in world.message


def test_a_schedule_that_never_fires_tested_nothing() -> None:
    world = schedule()
    world.wait(31)
    assert world.verdict is None
    world.done(world.expect(Stop), Found(world.parent(over=True)))
    assert world.verdict is None
    world.confirm()

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "nothing was spawned" in world.message


def test_the_silence_before_the_first_firing_is_not_held_against_chaos_mesh() -> None:
    spec: dict[str, object] = {"schedule": "@every 40s", "type": "PodChaos", "podChaos": KILL}
    world = Spawning("Schedule", spec, Window(Every(timedelta(seconds=40)), timedelta(seconds=50)))
    world.begin()

    world.wait(45)

    assert world.verdict is None


def test_a_canary_that_does_not_come_back_between_two_firings_fails() -> None:
    world = schedule()
    world.wait(10)
    fire(world, "firing-1")
    world.pods(pod("web-a", ready=False, restarts=2))
    world.wait(9)
    assert world.verdict is None, "it has 10 s to recover"

    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 pods Ready, 2 wanted" in world.message
    assert world.expect(Delete).uid == SELF


def test_a_pod_that_falls_over_after_it_has_recovered_fails() -> None:
    world = schedule()
    world.wait(10)
    fire(world, "firing-1")
    world.wait(6)
    world.pods(pod("web-a", restarts=2))  # the canary was seen whole for long enough
    world.pods(pod("web-a", ready=False, restarts=2))
    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)


def test_a_pod_that_is_down_just_before_its_firing_is_told_is_no_breach() -> None:
    world = schedule()
    world.wait(10)

    world.pods(pod("web-a", ready=False), pod("web-b", ready=False))
    world.wait(1)
    assert not [command for command in world.todo if isinstance(command, ReadReplicas)], "it may be told yet"
    world.child("firing-1", hit("web-a"), hit("web-b"))
    world.wait(3)

    assert world.verdict is None


def test_a_pod_that_flips_just_after_its_recovery_has_its_time_still() -> None:
    world = schedule()
    world.wait(10)
    fire(world, "firing-1")
    world.wait(1)
    world.pods(pod("web-a", restarts=2))  # whole, but not for long enough to be believed

    world.pods(pod("web-a", ready=False, restarts=2))
    world.wait(3)

    assert not [command for command in world.todo if isinstance(command, ReadReplicas)]
    assert world.verdict is None


def test_a_firing_of_the_last_moment_that_has_not_selected_yet_is_not_over() -> None:
    world = schedule()
    world.wait(10)
    fire(world, "firing-1")
    world.wait(18)
    world.child("firing-2", desired="")
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    world.pods(pod("web-a", ready=False, restarts=2))
    world.wait(15)

    assert world.stage is Stage.OBSERVING, "whom it hits is to be told yet"
    assert world.verdict is None


def test_restarts_add_up_with_the_firings_and_no_further() -> None:
    world = schedule()
    for number in (1, 2):
        world.wait(7)
        fire(world, f"firing-{number}")
    assert world.verdict is None
    world.wait(5)

    world.pods(pod("web-a", restarts=5))
    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 container restarts" in world.message


def test_a_firing_that_hits_another_s_pod_ends_all_at_once() -> None:
    world = schedule()
    world.pods(pod("stable-x", owner="rs-stable"))
    world.wait(10)

    world.child("firing-1", hit("stable-x"))

    assert world.verdict == (Phase.FAILED, Reason.SCOPE_VIOLATION)
    assert world.expect(Delete).uid == SELF


def test_what_others_have_spawned_is_nothing_to_this_gate() -> None:
    world = schedule()
    world.wait(10)

    world.child("other", hit("stable-x"), owner="another-schedule")

    assert world.verdict is None


def test_a_schedule_that_is_gone_is_not_done_before_what_it_has_fired_is() -> None:
    world = schedule()
    world.wait(10)
    world.child("firing-1", hit("web-a"), hit("web-b"))
    world.take(world.registry.allow(world.now, world.spec.id, push=True))
    world.terminate()
    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    world.done(world.expect(Delete), Done())
    world.see_parent(world.parent(), gone=True)
    world.run_seen(phase="Successful")
    before = world.stage
    run = world.registry.run(world.spec.id)
    assert run
    assert run.holds_canary, "others have to wait for the fault's end"

    world.child("firing-1", recovered("web-a", world.now), recovered("web-b", world.now), gone=True)

    assert (before, world.stage) == (Stage.DECIDED, Stage.DONE)
