"""How a gate ends by its fault, its records and its conditions, at the pure level."""

from datetime import timedelta

import pytest

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Metric, Phase
from chaosplugin.core.commands import (
    Create,
    Delete,
    Find,
    FindPods,
    Found,
    LedgerRead,
    PodsFound,
    ReadLedger,
    Refused,
)
from chaosplugin.core.ledger import REPLICA_SET
from chaosplugin.core.objects import MetricResult, Record, RecordEvent
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.verdict import Finding, Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered
from tests.core.world import World, marked


def test_a_fault_that_is_on_at_the_timeout_fails() -> None:
    world = World()
    world.to_observing()

    world.to_timeout(hit("web-a"), desired="Run")

    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)


def test_a_kill_that_has_hit_only_some_until_the_timeout_tested_too_little() -> None:
    world = World(one_shot=True, rules=Rules(unready_by_intent=True, replaces_pods=True))
    world.to_observing()

    world.to_timeout(hit("web-a"), Record(id="default/web-b", phase="Not Injected"), desired="Run")

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "1 of 2 targets" in world.message


def test_a_record_of_another_namespace_is_a_violation_whatever_the_pod_is_called() -> None:
    world = World()
    world.to_observing()

    world.experiment(Record(id="other/web-a", phase="Injected", injected_count=1), desired="Run")

    assert world.verdict == (Phase.FAILED, Reason.SCOPE_VIOLATION)
    assert "other/web-a" in world.message


def test_a_fault_that_was_over_in_time_is_not_late_because_its_watch_is() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    ended_at = world.now + timedelta(seconds=20)

    world.wait(61)
    assert world.verdict is None
    found = world.chaos(recovered("web-a", ended_at), desired="Stop")
    world.done(world.expect(Find), Found(found))
    world.wait(6)
    world.confirm()

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_fault_that_does_not_recover_fails() -> None:
    world = World()
    world.to_observing()

    world.to_timeout(hit("web-a"), desired="Stop")

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)


def test_nothing_injected_is_inconclusive_with_chaos_meshs_own_words() -> None:
    world = World()
    world.to_observing()
    failed = RecordEvent(type="Failed", operation="Apply", message="no daemon", timestamp=START)

    world.to_timeout(Record(id="default/web-a", phase="Not Injected", events=[failed]), desired="Run")

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "no daemon" in world.message


def test_an_experiment_that_ended_with_a_target_not_hit_is_inconclusive() -> None:
    world = World()
    world.to_observing()
    missed = Record(id="default/web-b", phase="Not Injected")

    world.experiment(recovered("web-a", world.now), missed, desired="Stop")

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "1 of 2 targets were hit" in world.message


def test_a_chaos_mesh_that_is_not_running_is_told_after_half_a_minute() -> None:
    world = World()
    world.to_observing()

    world.wait(31)
    world.done(world.expect(Find), Found(world.chaos(desired="")))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "controller-manager running" in world.message


def test_a_fault_of_which_a_silent_watch_does_not_tell_is_read_before_it_counts_as_never_begun() -> None:
    world = World()
    world.to_observing()

    world.wait(31)
    assert world.verdict is None
    world.done(world.expect(Find), Found(world.chaos(hit("web-a"))))

    assert world.verdict is None


def test_a_record_of_another_replica_set_is_a_violation_at_once() -> None:
    world = World()
    world.to_observing()
    world.pods(pod("stable-x", owner="rs-stable"))

    world.experiment(hit("stable-x"), desired="Run")

    assert world.verdict == (Phase.FAILED, Reason.SCOPE_VIOLATION)
    world.expect(Delete)


def test_an_unknown_pod_is_waited_for_then_looked_up() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("other-x"), desired="Run")
    world.wait(4)
    assert world.verdict is None

    world.wait(2)
    look = world.expect(FindPods)
    world.done(look, PodsFound({"other-x": None}))

    assert look.names == {"other-x"}
    assert world.verdict == (Phase.FAILED, Reason.SCOPE_VIOLATION)


def test_an_unknown_pod_that_is_gone_and_named_after_the_replica_set_is_fine() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit(f"web-{HASH}-abcde"), desired="Run")
    world.wait(6)

    world.done(world.expect(FindPods), PodsFound({f"web-{HASH}-abcde": None}))

    assert world.verdict is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gone": True, "deleting": True}, Reason.DELETED),
        ({"annotations": {ledger.PAUSE: "true"}}, Reason.PAUSED),
    ],
)
def test_interference_is_inconclusive(change: dict[str, object], reason: Reason) -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.experiment(hit("web-a"), desired="Run", **change)  # type: ignore[arg-type]

    assert world.verdict == (Phase.INCONCLUSIVE, reason)


def test_conditions_can_only_worsen_a_success() -> None:
    world = World(metric=Metric(name="chaos", success_condition="result.recoverySeconds < 1"))
    world.to_recovering()
    world.now += timedelta(seconds=3)
    world.pods(pod("web-a", restarts=2, since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.FAILED, Reason.CONDITION_NOT_MET)


def test_a_secret_argument_is_in_nothing_that_is_answered() -> None:
    world = World(secrets=("hunter2hunter2",))
    world.to_create()
    finding = Finding(reason=Reason.DENIED, text='webhook said "hunter2hunter2"')
    world.registry.outcome(world.now, Create(world.spec.id, {}), Refused(finding))

    assert "hunter2" not in world.message


@pytest.mark.parametrize("dry", [True, False])
def test_what_is_a_dry_run_is_for_argo_to_tell(dry: bool) -> None:
    """Its rules are regular expressions of Go: `.*` is every metric."""
    world = World(dry_run=not dry)
    world.to_recovering()
    results = [MetricResult(name="chaos", phase="Running", dry_run=dry)]
    world.run_seen(analysis_run(phase="Running", metric_results=results))
    world.pods(pod("web-a", restarts=2))

    world.wait(6)

    assert world.message.startswith("dry run: Survived: ") is dry


def test_a_dry_run_says_so() -> None:
    world = World(dry_run=True)
    world.done(world.to_create(), Refused(Finding(reason=Reason.DENIED, text="no")))

    assert world.message.startswith("dry run: Denied: ")


def test_a_selection_of_nothing_is_told_in_chaos_meshs_own_words() -> None:
    world = World()
    world.to_observing()
    world.experiment(desired="Run")
    world.selection_fails("Failed to select targets: no pod is selected")

    world.wait(16)
    world.done(world.expect(Find), Found(world.chaos(desired="Run")))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "no pod is selected" in world.message


def test_a_failure_condition_that_holds_fails_and_one_beside_it_that_does_not_is_inconclusive() -> None:
    for failure, phase in (("result.targets == 1", Phase.FAILED), ("result.targets > 1", Phase.INCONCLUSIVE)):
        metric = Metric(name="chaos", success_condition="result.targets == 2", failure_condition=failure)
        world = World(metric=metric)
        world.to_recovering()
        world.pods(pod("web-a", restarts=2, since=world.now))

        world.wait(6)

        assert world.verdict == (phase, Reason.CONDITION_NOT_MET)


def test_no_pod_is_looked_up_while_the_watch_of_all_is_still_being_opened() -> None:
    world = World()
    world.start(resume=True)
    holder = {REPLICA_SET: f"web-{HASH}/rs-1"}
    found = world.chaos(hit("web-1"), desired="Run", annotations=holder)
    read = LedgerRead(analysis_run=marked(world), experiment=found, value=HASH)
    world.done(world.expect(ReadLedger), read)
    world.wait(20)
    early = [command for command in world.todo if isinstance(command, FindPods)]
    world.wait(11)

    assert not early
    assert world.expect(FindPods).names == {"web-1"}
    assert world.verdict is None
