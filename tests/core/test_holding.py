"""How a gate ends by whether its canary holds, during the fault and after it, at the pure level."""

from datetime import timedelta

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Confirm,
    Delete,
    ReadReplicas,
    ReplicasRead,
    WriteVerdict,
)
from chaosplugin.core.objects import Record, RecordEvent
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.verdict import Reason
from tests.core.given import hit, pod, recovered
from tests.core.world import World


def test_pods_that_stay_down_after_the_fault_fail_the_gate() -> None:
    world = World()
    world.to_recovering()

    world.wait(59)
    assert world.verdict is None
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.wait(2)
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 of 2 pods Ready 60s after the fault" in world.message


def test_a_canary_scaled_down_meanwhile_needs_no_more_pods_than_it_wants() -> None:
    world = World()
    world.to_recovering()
    world.pod_gone(pod("web-a", ready=False))
    assert not any(isinstance(command, ReadReplicas) for command in world.todo), "most come back before"
    world.wait(6)

    world.done(world.expect(ReadReplicas), ReplicasRead(1))
    world.wait(10)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_canary_on_a_node_whose_clock_is_behind_has_to_hold_as_any_other() -> None:
    world = World()
    world.to_recovering()
    world.wait(20)
    world.pods(pod("web-a", restarts=2, since=world.now - timedelta(seconds=15)))

    world.wait(4)
    assert world.verdict is None
    world.wait(2)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_canary_scaled_to_nothing_has_not_survived() -> None:
    world = World()
    world.to_recovering()
    world.pod_gone(pod("web-a"))
    world.pod_gone(pod("web-b"))
    world.wait(6)

    world.done(world.expect(ReadReplicas), ReplicasRead(0))
    world.wait(10)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)
    assert "scaled to 0" in world.message


def test_a_canary_scaled_down_and_up_again_needs_all_its_pods() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.pod_gone(pod("web-b"))
    world.done(world.expect(ReadReplicas), ReplicasRead(1, generation=2))
    world.experiment(recovered("web-a", world.now), desired="Stop")
    world.pods(pod("web-c", ready=False))

    while world.verdict is None:
        world.wait(2)
        for command in world.todo.copy():
            if isinstance(command, ReadReplicas):
                world.done(world.expect(ReadReplicas), ReplicasRead(2, generation=3))
            elif isinstance(command, Confirm):
                world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 of 2 pods Ready" in world.message


def test_a_pod_that_falls_over_once_the_canary_was_scaled_up_again_ends_the_experiment() -> None:
    world = World(rules=Rules(max_restarts=9))
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    world.pod_gone(pod("web-b"))
    world.done(world.expect(ReadReplicas), ReplicasRead(1, generation=2))
    world.pods(pod("web-c"))
    assert world.verdict is None

    world.pods(pod("web-c", ready=False))
    world.done(world.expect(ReadReplicas), ReplicasRead(2, generation=3))
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)


def test_a_pod_that_falls_over_just_after_the_recovery_does_not_survive() -> None:
    world = World()
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(3)
    world.pods(pod("web-a", restarts=2, ready=False, since=world.now))
    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))

    world.wait(70)
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)


def test_a_pod_not_hit_that_goes_down_ends_the_experiment_at_once() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.pods(pod("web-b", ready=False))
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert world.expect(Delete).uid == "chaos-1", "a fault that is on is undone at once"
    world.expect(WriteVerdict)


def test_a_pod_that_is_down_before_its_record_is_no_breach() -> None:
    world = World()
    world.to_observing()

    world.pods(pod("web-a", ready=False))
    assert not [command for command in world.todo if isinstance(command, ReadReplicas | Confirm)]
    world.experiment(hit("web-a"), desired="Run")

    assert world.verdict is None


def test_restarts_beyond_those_of_the_fault_fail_the_gate() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.pods(pod("web-b", restarts=1))
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 container restarts" in world.message


def test_killed_pods_that_are_replaced_survive() -> None:
    world = World(one_shot=True, rules=Rules(unready_by_intent=True, replaces_pods=True))
    world.to_observing()
    event = RecordEvent(type="Succeeded", operation="Apply", timestamp=world.now)
    record = Record(id="default/web-a", phase="Injected", injected_count=1, events=[event])
    world.experiment(record, desired="Run")
    assert world.verdict is None, "the killed pod still looks Ready, and does not count"
    world.pod_gone(pod("web-a"))
    world.pods(pod("web-c", ready=False))
    world.now += timedelta(seconds=4)
    world.pods(pod("web-c", since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_without_steady_state_the_canary_is_not_judged() -> None:
    world = World(rules=Rules(enabled=False, unready_by_intent=True))
    world.to_recovering()

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert "not judged" in world.message


def test_restarts_after_the_fault_count_too() -> None:
    world = World()
    world.to_recovering()

    world.pods(pod("web-a", restarts=4, since=world.now))
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "2 container restarts" in world.message
