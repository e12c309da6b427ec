"""Who counts as a witness of the canary's state: its own pods, as long as they are there."""

from datetime import timedelta

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Confirm,
    Confirmed,
    FindPods,
    LedgerRead,
    ReadLedger,
    ReadReplicas,
    ReplicasRead,
)
from chaosplugin.core.objects import Record
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.verdict import Reason
from tests.core.given import HASH, START, hit, pod, recovered
from tests.core.spawning import KILL, schedule
from tests.core.world import World, marked

BROKEN = (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
SURVIVED = (Phase.SUCCESSFUL, Reason.SURVIVED)
WITHIN = timedelta(seconds=20)


def _on(rules: Rules, *records: Record) -> World:
    world = World(rules=rules, one_shot=rules.replaces_pods)
    world.to_observing()
    if records:
        world.experiment(*records, desired="Run")
    return world


def _breaks_by_a_dip(world: World) -> None:
    _read(world)
    world.wait(3)
    _read(world)
    _read(world)

    assert world.verdict == BROKEN
    assert "1 pods were not Ready for a while" in world.message


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


OLD = START - timedelta(seconds=30)


def _killed() -> World:
    """Return a Schedule that has killed web-a, in whose place another one has come."""
    world = schedule(KILL)
    world.wait(3)
    world.child("one", hit("web-a"))
    world.pod_gone(pod("web-a"))
    later = START + timedelta(seconds=4)
    world.pods(pod("web-new", created=START + timedelta(seconds=3), since=later))
    world.wait(3)
    _read(world)
    assert world.verdict is None
    return world


def test_a_pod_that_was_there_before_the_kill_of_another_and_dipped_breaks_the_state() -> None:
    world = _killed()

    world.pods(pod("web-b", created=OLD, since=START + timedelta(seconds=5)))
    _breaks_by_a_dip(world)


def test_who_may_stand_in_for_a_pod_that_was_killed_tells_of_no_dip() -> None:
    world = _killed()

    world.pods(pod("web-b", created=START, since=START + timedelta(seconds=5)))
    for _ in range(4):
        world.wait(1)
        _read(world)

    assert world.verdict is None


def test_a_pod_that_no_firing_has_hit_and_that_dipped_breaks_the_state() -> None:
    """It is well again, and nobody has seen it; a pod that was hit before is excused for ever."""
    world = schedule()
    world.child("one", hit("web-a"))
    world.pods(pod("web-a", ready=False, restarts=1))
    world.wait(2)
    world.child("one", recovered("web-a", world.now), desired="Stop")
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    _read(world)
    assert world.verdict is None

    world.pods(pod("web-b", since=START + timedelta(seconds=4)))
    _breaks_by_a_dip(world)


def test_who_stands_in_for_a_pod_that_was_down_by_intent_and_replaced_tells_of_no_dip() -> None:
    world = _on(Rules(recover_within=WITHIN, unready_by_intent=True, restarts_by_fault=2), hit("web-a"))
    world.pods(pod("web-b", created=OLD))
    world.pod_gone(pod("web-a"))
    world.pods(pod("web-new", created=START + timedelta(seconds=2), since=START + timedelta(seconds=3)))
    for _ in range(3):
        world.wait(1)
        _read(world)
    assert world.verdict is None

    world.pod_gone(pod("web-b"))
    world.pods(pod("web-other", created=START + timedelta(seconds=4), since=START + timedelta(seconds=5)))
    _read(world)
    _read(world)

    assert world.verdict == BROKEN


def test_an_unknown_pod_is_looked_up_soon_once_the_watch_is_open() -> None:
    world = World()
    world.start(resume=True)
    world.resume()
    world.created = {"annotations": {"chaosplugin.io/replicaset": f"web-{HASH}/rs-1"}}
    found = world.chaos(hit("web-x"), desired="Run")
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=marked(world), experiment=found, value=HASH))
    world.wait(7)
    assert not [each for each in world.todo if isinstance(each, FindPods)]

    world.pods(pod("web-a"), pod("web-b"))
    world.wait(5)

    assert world.expect(FindPods).names == {"web-x"}


def test_a_watch_is_not_behind_for_what_nobody_reads() -> None:
    """A write of which nothing is read is not told, so that a reading shows another version."""
    world = _on(Rules(recover_within=WITHIN), hit("web-a"))
    world.pods(pod("web-b", ready=False, version="8"))
    world.canary["uid-web-b"] = pod("web-b", ready=False, version="9")

    _read(world)

    assert world.verdict == BROKEN
