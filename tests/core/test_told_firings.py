"""What a Schedule has fired is known by watches, which may be late, and by readings."""

from datetime import timedelta

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Confirm,
    Confirmed,
    Found,
    LedgerRead,
    ReadLedger,
    ReadReplicas,
    ReplicasRead,
    Stop,
)
from chaosplugin.core.cron import Every
from chaosplugin.core.family import MANAGED_BY
from chaosplugin.core.run import Stage
from chaosplugin.core.topics import ChildrenTopic, Lost
from chaosplugin.core.verdict import Reason
from chaosplugin.core.window import Window
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered
from tests.core.spawning import KILL, Spawning, fire, schedule


def test_firings_of_which_a_silent_watch_tells_nothing_are_read_and_count() -> None:
    world = schedule()
    world.wait(31)
    at = world.now
    world.untold("firing-1", recovered("web-a", at), recovered("web-b", at), desired="Stop")
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    for _ in range(2):  # as after it was found missing, then as always before the last is known
        world.confirm()

    assert (world.stage, world.verdict) == (Stage.RECOVERING, None)


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
