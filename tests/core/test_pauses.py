"""A Schedule is paused as its window is over, by us, and not by anybody else."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Failed, Find, Found, LedgerRead, Outcome, ReadLedger, Stop
from chaosplugin.core.cron import Every
from chaosplugin.core.objects import Record
from chaosplugin.core.run import Stage
from chaosplugin.core.verdict import Reason
from chaosplugin.core.window import Window
from tests.core.given import HASH, START, analysis_run, hit, pod
from tests.core.spawning import KILL, Spawning, fire, killed, schedule


def test_a_firing_that_comes_with_the_pause_is_waited_for() -> None:
    world = schedule(KILL)
    world.wait(31)
    world.child("firing-1", killed("web-a", world.now))
    world.done(world.expect(Stop), Found(world.parent(over=True)))
    world.confirm()
    before = world.stage

    world.child("firing-2", Record(id="default/web-b", phase="Not Injected"))

    assert (before, world.stage) == (Stage.RECOVERING, Stage.OBSERVING)


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


def _still_on(world: Spawning) -> None:
    """Let a fault be on at the timeout, and all be read then."""
    world.child("firing-2", hit("web-a"))
    world.wait(1)
    world.done(world.expect(Find), Found(world.parent()))
    world.confirm()
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


def _to_timeout(answer: Callable[[Spawning], Outcome] | None) -> Spawning:
    world = schedule()
    world.wait(7)
    fire(world, "firing-1")
    while world.now < START + timedelta(seconds=60):
        world.wait(1)
        if answer and any(isinstance(each, Stop) for each in world.todo):
            world.done(world.expect(Stop), answer(world))
            world.see_parent(world.parent())
    return world


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            lambda _: Failed("patch Schedule: cannot patch resource (HTTP 403)"),
            "patch Schedule: cannot patch",
        ),
        (lambda world: Found(world.parent(over=True)), "somebody has let it go on; run the gate again"),
        (None, "the API server has not answered that; run the gate again"),
    ],
)
def test_a_schedule_that_we_cannot_pause_is_not_held_against_the_canary(
    answer: Callable[[Spawning], Outcome] | None, why: str
) -> None:
    """It goes on firing until the timeout. The reason was empty where nothing had failed."""
    world = _to_timeout(answer)

    _still_on(world)

    assert f"could not be paused as its window was over: {why}" in world.message


def test_a_window_that_ended_while_no_plugin_ran_is_told_as_such() -> None:
    before = schedule()
    window = Window(Every(timedelta(seconds=10)), timedelta(seconds=30))
    world = Spawning("Schedule", before.parent_spec, window)
    world.created = before.created
    world.now = START + timedelta(seconds=70)
    world.start(resume=True)
    read = LedgerRead(analysis_run=analysis_run(), experiment=world.parent(), value=HASH)
    world.done(world.expect(ReadLedger), read)
    world.pods(pod("web-a"), pod("web-b"))
    world.child("firing-2", hit("web-a"))
    world.synced()

    _still_on(world)

    assert "its window was over: no plugin ran then; run the gate again" in world.message
