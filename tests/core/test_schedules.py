"""All that a Schedule fires is one fault: how it is gathered, judged and ended."""

from datetime import timedelta

import pytest

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Confirm,
    Confirmed,
    Delete,
    Done,
    Failed,
    Find,
    Found,
    LedgerRead,
    ReadLedger,
    ReadReplicas,
    ReplicasRead,
    Stop,
    VerdictWritten,
    WriteVerdict,
)
from chaosplugin.core.cron import Every
from chaosplugin.core.family import MANAGED_BY
from chaosplugin.core.objects import (
    Record,
)
from chaosplugin.core.run import Stage
from chaosplugin.core.topics import ChildrenTopic, Lost
from chaosplugin.core.verdict import Reason
from chaosplugin.core.window import Window
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered
from tests.core.spawning import KILL, SELF, Spawning, fire, killed, schedule


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


def test_a_firing_that_comes_with_the_pause_is_waited_for() -> None:
    world = schedule(KILL)
    world.wait(31)
    world.child("firing-1", killed("web-a", world.now))
    world.done(world.expect(Stop), Found(world.parent(over=True)))
    world.confirm()
    before = world.stage

    world.child("firing-2", Record(id="default/web-b", phase="Not Injected"))

    assert (before, world.stage) == (Stage.RECOVERING, Stage.OBSERVING)


def test_a_schedule_that_never_fires_tested_nothing() -> None:
    world = schedule()
    world.wait(31)
    assert world.verdict is None
    world.done(world.expect(Stop), Found(world.parent(over=True)))
    assert world.verdict is None
    world.confirm()

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "nothing was spawned" in world.message


def test_firings_of_which_a_silent_watch_tells_nothing_are_read_and_count() -> None:
    world = schedule()
    world.wait(31)
    at = world.now
    world.untold("firing-1", recovered("web-a", at), recovered("web-b", at), desired="Stop")
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    for _ in range(2):  # as after it was found missing, then as always before the last is known
        world.confirm()

    assert (world.stage, world.verdict) == (Stage.RECOVERING, None)


def test_the_silence_before_the_first_firing_is_not_held_against_chaos_mesh() -> None:
    spec: dict[str, object] = {"schedule": "@every 40s", "type": "PodChaos", "podChaos": KILL}
    world = Spawning("Schedule", spec, Window(Every(timedelta(seconds=40)), timedelta(seconds=50)))
    world.begin()

    world.wait(45)

    assert world.verdict is None


def test_what_our_own_pause_cuts_short_does_not_count() -> None:
    world = schedule()
    world.wait(10)
    fire(world, "firing-1")
    world.wait(18)
    missed = Record(id="default/web-a", phase="Not Injected")
    world.child("firing-2", missed)
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    world.child("firing-2", missed, desired="Stop", annotations={ledger.PAUSE: "true"})
    world.confirm()
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_firing_that_may_have_had_a_second_less_is_cut_short_by_our_own_pause() -> None:
    world = schedule()
    world.wait(10)
    fire(world, "firing-1")
    world.wait(15)  # 28 s after its Schedule, or almost 29: times are whole seconds
    begun = world.now
    world.child("firing-2")
    world.wait(3)
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    missed, paused = Record(id="default/web-a", phase="Not Injected"), {ledger.PAUSE: "true"}
    world.child("firing-2", missed, desired="Stop", creation_timestamp=begun, annotations=paused)
    world.confirm()
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_firing_that_had_its_time_and_hit_nothing_is_not_excused_by_our_own_pause() -> None:
    world = schedule()
    world.wait(10)
    fire(world, "firing-1")
    world.wait(7)
    begun = world.now
    world.child("firing-2")  # and its watch is cut
    world.wait(11)
    missed = Record(id="default/web-a", phase="Not Injected")
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    paused = {ledger.PAUSE: "true"}
    world.child("firing-2", missed, desired="Stop", creation_timestamp=begun, annotations=paused)
    world.confirm()

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "2 of 3 targets were hit" in world.message


@pytest.mark.parametrize(("pause", "reason"), [("true", Reason.PAUSED), (None, Reason.DELETED)])
def test_interference_with_a_schedule_is_inconclusive(pause: str | None, reason: Reason) -> None:
    world = schedule()
    world.wait(10)
    world.child("firing-1", hit("web-a"))

    if pause:
        world.see_parent(world.parent(annotations={ledger.PAUSE: pause}))
    else:
        world.child("firing-1", hit("web-a"), deletion_timestamp=world.now)

    assert world.verdict == (Phase.INCONCLUSIVE, reason)


def _child_is_paused() -> Spawning:
    """Let a firing be seen paused, and not its Schedule."""
    world = schedule()
    world.wait(31)
    world.child("firing-1", hit("web-a"))
    world.expect(Stop)
    world.child("firing-1", hit("web-a"), annotations={ledger.PAUSE: "true"})
    assert world.verdict is None
    return world


def test_our_own_pause_that_is_seen_first_at_what_was_fired_is_not_somebody_s() -> None:
    world = _child_is_paused()

    world.done(world.expect(Find), Found(world.parent(over=True)))

    assert world.verdict is None


def test_a_firing_that_somebody_pauses_is_inconclusive() -> None:
    world = _child_is_paused()

    world.done(world.expect(Find), Found(world.parent()))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.PAUSED)


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


def test_a_schedule_that_was_adopted_is_judged_once_its_firings_are_told() -> None:
    before = schedule()
    world = Spawning(
        "Schedule", before.parent_spec, Window(Every(timedelta(seconds=10)), timedelta(seconds=30))
    )
    world.created = before.created
    world.now = START + timedelta(seconds=40)
    world.start(resume=True)
    found = world.parent(over=True)
    world.done(
        world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=found, value=HASH)
    )
    world.pods(pod("web-a", restarts=2), pod("web-b", restarts=2))
    assert world.verdict is None
    ended = START + timedelta(seconds=12)
    world.child("firing-1", recovered("web-a", ended), recovered("web-b", ended), desired="Stop")
    assert world.verdict is None, "there may be more"

    world.synced()
    world.confirm()

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_firings_that_cannot_be_watched_are_unobserved_at_the_timeout() -> None:
    world = Spawning(
        "Schedule",
        {"schedule": "@every 10s", "type": "PodChaos", "podChaos": KILL},
        Window(Every(timedelta(seconds=10)), timedelta(seconds=30)),
    )
    world.to_observing()
    world.tell(Lost(ChildrenTopic("PodChaos", "default", MANAGED_BY), "403: no"))

    for _ in range(30):
        world.wait(5)
        world.todo.clear()

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


def _twice_and_paused() -> Spawning:
    """Let a Schedule fire twice, and its window end."""
    world = schedule()
    for number in (1, 2):
        world.wait(7)
        fire(world, f"firing-{number}")
    world.wait(11)
    return world


def test_a_firing_that_its_watch_has_not_told_of_fails_nobody() -> None:
    world = _twice_and_paused()
    ended = world.now
    world.untold("firing-3", recovered("web-a", ended), recovered("web-b", ended), desired="Stop")
    world.pods(pod("web-a", restarts=6, since=ended), pod("web-b", restarts=6, since=ended))
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    world.confirm()
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert "3 firings" in world.message


def test_a_schedule_is_not_survived_before_all_that_it_has_fired_is_known() -> None:
    world = _twice_and_paused()
    world.untold("firing-3", desired="Run")
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    world.confirm()
    world.wait(20)

    assert (world.stage, world.verdict) == (Stage.OBSERVING, None)


def test_a_fault_that_was_over_in_time_is_not_late_because_the_watch_of_firings_is() -> None:
    world = _twice_and_paused()
    world.child("firing-3", hit("web-a"))
    world.done(world.expect(Stop), Found(world.parent(over=True)))
    world.untold("firing-3", recovered("web-a", world.now), desired="Stop")
    since = world.now
    world.pods(pod("web-a", restarts=6, since=since), pod("web-b", restarts=4, since=since))

    world.wait(61)
    world.confirm()
    world.confirm()

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_firing_that_is_told_while_all_are_being_read_is_not_gone_because_the_reading_misses_it() -> None:
    """What is read was so before: the firing came between, as it does where its time is the window's end."""
    world = _twice_and_paused()
    world.done(world.expect(Stop), Found(world.parent(over=True)))
    before = world.children

    world.child("firing-3", hit("web-a"))
    world.done(world.expect(Confirm), Confirmed((), before))
    world.wait(5)

    assert (world.stage, world.verdict) == (Stage.OBSERVING, None)
    world.child("firing-3", recovered("web-a", world.now), desired="Stop")
    world.pods(pod("web-a", restarts=6, since=world.now))
    world.wait(6)
    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert "3 firings" in world.message


def test_an_end_that_is_told_while_all_are_being_read_is_not_taken_back_by_the_reading() -> None:
    world = _twice_and_paused()
    world.child("firing-3", hit("web-a"))
    world.done(world.expect(Stop), Found(world.parent(over=True)))
    world.pods(pod("web-b", ready=False, restarts=4, since=world.now))
    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    confirm, before = world.expect(Confirm), world.children

    world.child("firing-3", recovered("web-a", world.now), desired="Stop")
    world.pods(pod("web-a", restarts=6, since=world.now), pod("web-b", restarts=4, since=world.now))
    world.done(confirm, Confirmed((), before))
    world.confirm()
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_schedule_that_we_cannot_pause_is_not_held_against_the_canary() -> None:
    """As where the right to patch it is missing: it goes on firing until the timeout."""
    world = schedule()
    world.wait(7)
    fire(world, "firing-1")
    while world.now < START + timedelta(seconds=60):
        world.wait(1)
        for command in [each for each in world.todo if isinstance(each, Stop)]:
            world.todo.remove(command)
            world.done(command, Failed("patch Schedule: cannot patch resource (HTTP 403)"))
    world.child("firing-2", hit("web-a"))
    world.wait(1)
    world.done(world.expect(Find), Found(world.parent()))
    world.confirm()

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)
    assert "could not be paused as its window was over: patch Schedule: cannot patch" in world.message
