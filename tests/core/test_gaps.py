"""What was not seen: evidence comes before the deadline, and what nothing tells is no success."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Confirm,
    Confirmed,
    Failed,
    Find,
    Found,
    ReadReplicas,
    ReplicasRead,
)
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import Pod, Record
from chaosplugin.core.run import Stage
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.topics import ChaosTopic, Deleted
from chaosplugin.core.verdict import Reason
from tests.core.given import START, hit, pod, recovered
from tests.core.world import World


def test_a_fault_that_recovered_too_late_fails_also_when_seen_afterwards() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    late = START + timedelta(seconds=64)
    world.now = START + timedelta(seconds=90)  # nobody looked, and no tick came

    world.experiment(recovered("web-a", late), desired="Stop")

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)
    assert "4.0s later" in world.message


def test_evidence_of_a_gap_comes_before_the_deadline() -> None:
    before = World()
    before.to_create()
    world = World()
    world.succeed(before)
    ended = START + timedelta(seconds=20)
    found = world.chaos(recovered("web-a", ended), desired="Stop")
    world.found(found)

    world.pods(pod("web-a", restarts=2, since=ended + timedelta(seconds=9)), pod("web-b"))

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert "9s after the fault" in world.message


def test_a_pause_that_is_over_again_is_told_by_the_second_injection() -> None:
    """Each one restarts the containers, so that a healthy canary had too many restarts."""
    before = World()
    before.to_create()
    world = World()
    world.succeed(before)
    ended = START + timedelta(seconds=20)
    twice = replace(recovered("web-a", ended), injected_count=2)
    world.found(world.chaos(twice, desired="Stop"))

    world.pods(pod("web-a", restarts=4, since=ended), pod("web-b"))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.PAUSED)


def test_pods_that_were_ready_too_late_fail_also_when_seen_afterwards() -> None:
    before = World()
    before.to_create()
    world = World()
    world.succeed(before)
    ended = START + timedelta(seconds=20)
    found = world.chaos(recovered("web-a", ended), desired="Stop")
    world.found(found)

    world.pods(pod("web-a", restarts=2, since=ended + timedelta(seconds=75)), pod("web-b"))
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "back only 75s after the fault" in world.message


def test_an_end_that_nobody_saw_and_nothing_tells_is_unobserved() -> None:
    before = World()
    before.to_create()
    world = World()
    world.succeed(before)
    silent = Record(id="default/web-a", phase="Not Injected", injected_count=1)

    world.found(world.chaos(silent, desired="Stop"))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


def test_what_the_watch_told_before_the_create_was_answered_counts() -> None:
    """Under load the answer may be read seconds after it came, and nothing is told twice."""
    world = World()
    create = world.to_create()
    answer = world.chaos()
    world.experiment(hit("web-a"), hit("web-b"), desired="Run")

    world.done(create, Found(answer))
    world.wait(45)

    assert world.stage is Stage.OBSERVING
    assert world.verdict is None


def test_a_deletion_told_before_the_create_was_answered_counts() -> None:
    world = World()
    create = world.to_create()
    answer = world.chaos()
    world.experiment(deleting=True, desired="Stop", gone=True)

    world.done(create, Found(answer))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)


def test_what_was_told_of_an_earlier_one_of_its_name_does_not_count() -> None:
    world = World()
    create = world.to_create()
    topic = ChaosTopic("PodChaos", "default")
    earlier = Deleted(topic, world.chaos(uid="chaos-0", deleting=True))
    world.take(world.registry.observe(world.now, Watch("", "", "", topic), earlier))

    world.done(create, Found(world.chaos()))

    assert world.stage is Stage.OBSERVING


def test_at_the_timeout_a_lost_watch_is_replaced_by_a_look() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.chaos_lost("connection refused")

    world.wait(61)
    assert world.verdict is None, "evidence comes before the deadline"
    world.done(world.expect(Find), Found(world.chaos(recovered("web-a", world.now), desired="Stop")))

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)


def test_what_cannot_be_seen_for_a_minute_after_the_timeout_is_unobserved() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.chaos_lost("connection refused")

    world.wait(125)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)
    assert "connection refused" in world.message


def test_pods_that_cannot_be_watched_after_the_fault_are_unobserved() -> None:
    world = World()
    world.to_recovering()
    world.pods_lost("forbidden")

    world.wait(125)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)
    assert "forbidden" in world.message


def test_a_state_before_that_somebody_removed_is_unobserved() -> None:
    world = World()
    world.start(resume=True)
    found = world.chaos(hit("web-a"), desired="Run")
    world.found(found)
    world.pods(pod("web-a"), pod("web-b"))

    world.experiment(recovered("web-a", world.now), desired="Stop")

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


def _read(world: World, *pods: Pod) -> None:
    world.done(world.expect(Confirm), Confirmed(pods))


def _back_unseen() -> tuple[World, Pod]:
    """Let the canary come back in time, and its watch tell nothing of it until too late."""
    world = World()
    world.to_recovering()
    back = pod("web-a", restarts=2, since=world.now + timedelta(seconds=5), version="9")
    world.wait(59)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.wait(2)
    return world, back


def test_a_watch_that_is_behind_fails_no_canary_that_is_back() -> None:
    world, back = _back_unseen()

    _read(world, back, pod("web-b"))
    assert world.verdict is None
    world.pods(back)
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_watch_that_stays_behind_makes_no_verdict_on_the_canary() -> None:
    world, back = _back_unseen()
    _read(world, back, pod("web-b"))

    world.wait(58)
    assert world.verdict is None
    world.wait(3)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


def test_pods_that_cannot_be_read_make_no_verdict_either() -> None:
    world, _ = _back_unseen()

    began = world.now
    while world.verdict is None and world.now < began + timedelta(seconds=70):
        world.done(world.expect(Confirm), Failed("the API server is away"))
        world.wait(1)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


def test_a_reading_that_crosses_a_change_is_made_again() -> None:
    world, back = _back_unseen()
    asked = world.expect(Confirm)
    world.pods(back)

    world.done(asked, Confirmed([pod("web-a", ready=False, restarts=1), pod("web-b")]))
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_watch_that_is_behind_ends_no_fault() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.pods(pod("web-b", ready=False))
    world.done(world.expect(ReadReplicas), ReplicasRead(2))

    _read(world, pod("web-a"), pod("web-b", version="9"))

    assert world.verdict is None
    assert not world.todo


def test_while_its_watch_is_cut_a_fault_past_its_deadline_is_asked_for_every_five_seconds() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"))
    world.chaos_lost("connection refused")
    world.wait(61)

    world.done(world.expect(Find), Found(world.chaos(hit("web-a"), desired="Run")))

    assert not [each for each in world.todo if isinstance(each, Find)]
    world.wait(6)
    world.expect(Find)


def _confirm(world: World, *pods: Pod) -> None:
    world.done(world.expect(Confirm), Confirmed(list(pods), experiment=world.chaos()))


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_watch_that_shows_nothing_of_a_fault_that_takes_pods_down_proves_no_survival(restarts: int) -> None:
    """Its connection is dead, and nothing has told it: the canary looks as it was before."""
    killed = restarts == 1  # a container, which is over at once
    world = World(one_shot=killed, rules=Rules(unready_by_intent=True, restarts_by_fault=restarts))
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    if not killed:
        world.wait(10)
        world.experiment(recovered("web-a", world.now), desired="Stop")
    world.wait(6)
    assert world.verdict is None

    _confirm(world, pod("web-a", ready=False, restarts=restarts, version="new"), pod("web-b"))
    world.wait(200)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


def test_a_watch_that_shows_the_same_as_a_reading_proves_survival() -> None:
    world = World(one_shot=True)
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.wait(6)

    _confirm(world, pod("web-a"), pod("web-b"))

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_after_an_end_that_no_watch_has_told_the_pods_are_read_too() -> None:
    """The watches have fallen silent together."""
    world = World(rules=Rules())
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.wait(61)
    ended = world.chaos(recovered("web-a", START + timedelta(seconds=59)), desired="Stop")
    world.done(world.expect(Find), Found(ended))
    world.wait(6)
    assert world.verdict is None

    _confirm(world, pod("web-a", ready=False, version="new"), pod("web-b"))

    assert world.verdict is None
