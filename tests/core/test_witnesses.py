"""Who counts as a witness of the canary's state: its own pods, as long as they are there."""

from datetime import timedelta

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Confirm, Confirmed, ReadReplicas, ReplicasRead
from chaosplugin.core.objects import Record
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.verdict import Reason
from tests.core.given import START, hit, pod, recovered
from tests.core.spawning import KILL, schedule
from tests.core.world import World

BROKEN = (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
SURVIVED = (Phase.SUCCESSFUL, Reason.SURVIVED)
WITHIN = timedelta(seconds=20)


def _on(rules: Rules, *records: Record) -> World:
    world = World(rules=rules, one_shot=rules.replaces_pods)
    world.to_observing()
    if records:
        world.experiment(*records, desired="Run")
    return world


def _read(world: World) -> None:
    """Let all that is asked be read as it was told."""
    if any(isinstance(each, ReadReplicas) for each in world.todo):
        world.done(world.expect(ReadReplicas), ReplicasRead(2, 1))
    if any(isinstance(each, Confirm) for each in world.todo):
        world.done(world.expect(Confirm), Confirmed(list(world.canary.values()), world.children))


def test_a_pod_of_somebody_else_that_becomes_ready_tells_of_no_dip() -> None:
    world = _on(Rules(recover_within=WITHIN), hit("web-a"))

    world.pods(pod("stranger", owner="somebody", since=START + timedelta(seconds=3)))
    _read(world)
    assert world.verdict is None

    world.wait(4)
    world.experiment(recovered("web-a", world.now), desired="Stop")
    world.wait(6)
    assert world.verdict == SURVIVED


def test_a_pod_of_somebody_else_stands_in_for_none_of_the_canary() -> None:
    world = _on(Rules(recover_within=WITHIN), hit("web-a"))
    world.pods(pod("stranger", owner="somebody"))

    world.pods(pod("web-b", ready=False, since=START + timedelta(seconds=3)))
    _read(world)
    _read(world)

    assert world.verdict == BROKEN
    assert "1 pods Ready, 2 wanted" in world.message


KILLS = Rules(recover_within=WITHIN, unready_by_intent=True, replaces_pods=True)


def test_a_restart_counts_before_the_kill_that_takes_its_witness() -> None:
    world = _on(KILLS)
    assert world.verdict is None

    world.pods(pod("web-a", restarts=1))
    _read(world)
    _read(world)

    assert world.verdict == BROKEN
    assert "1 container restarts of the canary beyond those of the fault itself" in world.message


def test_a_restart_before_the_records_of_a_fault_that_restarts_may_be_its_own() -> None:
    world = _on(Rules(recover_within=WITHIN, unready_by_intent=True, restarts_by_fault=2))

    world.pods(pod("web-a", restarts=1, ready=False))
    _read(world)

    assert world.verdict is None


def test_a_restart_counts_while_a_schedules_next_kill_selects() -> None:
    world = schedule(KILL)
    world.child("one", hit("web-b"))
    world.child("two")

    world.pods(pod("web-a", restarts=1))
    _read(world)
    _read(world)

    assert world.verdict == BROKEN


def test_a_restart_counts_only_where_a_reading_shows_it() -> None:
    world = _on(KILLS)
    world.pods(pod("web-a", restarts=1))
    world.done(world.expect(ReadReplicas), ReplicasRead(2, 1))
    confirm = world.expect(Confirm)
    world.pod_gone(pod("web-a", restarts=1))
    world.pods(pod("web-c", since=START + timedelta(seconds=2)))

    world.done(confirm, Confirmed(list(world.canary.values()), experiment=world.chaos()))

    assert world.verdict is None
