"""The oracle finds what is wrong: stories in which the verdict is the lie."""

from dataclasses import replace

import pytest

from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    POD_CHAOS,
    PODS,
    REPLICA_SETS,
    SCHEDULES,
    WORKFLOWS,
)
from chaosplugin.sandbox.chaosmesh.experiment import PAUSE
from tests.soak import oracle
from tests.soak.plan import Deed, Form
from tests.soak.world import METRIC, PLAN, START, World


def test_a_right_verdict_is_right() -> None:
    world = World()
    world.play(10.5)
    world.verdict("Successful", "Survived")
    assert world.judge() == []


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        ("Failed", "SteadyStateBroken"),
        ("Failed", "Timeout"),
        ("Failed", "ScopeViolation"),
        ("Inconclusive", "Terminated"),
        ("Inconclusive", "Deleted"),
        ("Inconclusive", "Paused"),
        ("Inconclusive", "NotInjected"),
        ("Inconclusive", "NotSteady"),
        ("Inconclusive", "Unobserved"),
        ("Inconclusive", "Unknown"),
        ("Inconclusive", "Survived"),
        ("Error", "Unavailable"),
        ("Error", "ScopeRefused"),
    ],
)
def test_a_verdict_without_a_cause_is_found(phase: str, reason: str) -> None:
    world = World()
    world.play(10.5)
    world.verdict(phase, reason)
    assert world.judge()


def test_a_canary_that_did_not_come_back_has_not_survived() -> None:
    world = World()
    world.play(10.5, comes_back=False)
    world.verdict("Successful", "Survived")
    assert "not back in time" in world.judge()[0]


def test_a_canary_that_fell_again_has_not_survived() -> None:
    world = World()
    world.play(6.5)
    world.pod(ready=False, restarts=2)
    world.now = START + 12
    world.verdict("Successful", "Survived")
    assert any("did not hold" in each for each in world.judge())


def test_a_restart_of_its_own_is_no_survival() -> None:
    world = World()
    world.play(6.0)
    world.pod(ready=True, restarts=3)
    world.now = START + 12
    world.verdict("Successful", "Survived")
    assert any("had restarted" in each for each in world.judge())


def test_a_verdict_before_the_end_of_the_fault_is_found() -> None:
    world = World()
    world.play(3.0)
    world.verdict("Successful", "Survived")
    assert any("before the fault was over" in each for each in world.judge())


def test_a_verdict_against_an_abort_is_found() -> None:
    world = World()
    world.play(5.5)
    world.place.deeds.append((world.now, Deed.ABORT))
    world.now = START + 12
    world.verdict("Successful", "Survived")
    assert any("although" in each for each in world.judge())


def test_a_second_experiment_of_one_intent_is_found() -> None:
    world = World()
    world.play(10.5)
    last = world.store.get(POD_CHAOS, "gate-1", "soak-a-1")
    assert last is not None
    world.store.remove(last)
    world.write(
        POD_CHAOS, "soak-a-1", {"metadata": {"uid": "another"}, "spec": {"action": "pod-failure"}}, "run"
    )
    world.verdict("Successful", "Survived")
    assert any("created twice" in each for each in world.judge())


def test_a_pod_of_somebody_else_that_was_hit_is_found() -> None:
    world = World()
    world.play(10.5)
    record = {"id": "gate-1/other", "selectorKey": ".", "phase": "Not Injected", "injectedCount": 1}
    world.write(PODS, "other", {"metadata": {"labels": {"rollouts-pod-template-hash": "old"}}})
    status = {"experiment": {"containerRecords": [record]}}
    world.write(POD_CHAOS, "soak-a-1", {"spec": {"action": "pod-failure"}, "status": status}, "run")
    world.verdict("Successful", "Survived")
    assert any("not of the canary" in each for each in world.judge())


def _fire(world: World, name: str, victim: str = "web-1") -> None:
    """Let the Workflow spawn a fault that is over at once."""
    record = {"id": f"gate-1/{victim}", "selectorKey": ".", "phase": "Not Injected", "injectedCount": 1}
    metadata = {"labels": {"chaos-mesh.org/workflow": "soak-a-1"}}
    status = {"experiment": {"containerRecords": [record]}}
    world.write(POD_CHAOS, name, {"metadata": metadata, "spec": {"action": "pod-failure"}, "status": status})


def _flow(world: World, faults: int = 2, victim: str = "web-1") -> list[str]:
    """Play a Workflow of two faults, of which so many come, and judge Survived."""
    world.write(REPLICA_SETS, "web", {"spec": {"replicas": 1}})
    world.pod(ready=True)
    world.now += 1
    world.write(ANALYSIS_RUNS, "run", {})
    world.now += 1
    world.write(WORKFLOWS, "soak-a-1", {}, "run")
    for number in range(faults):
        world.now += 1
        _fire(world, f"fault-{number}", victim)
    over = {"status": {"conditions": [{"type": "Accomplished", "status": "True"}]}}
    world.write(WORKFLOWS, "soak-a-1", over, "run")
    world.now = START + 11
    world.verdict("Successful", "Survived")
    plan = replace(PLAN, metrics=(replace(METRIC, kind="delay", form=Form.WORKFLOW),))
    return oracle.judge(plan, world.place, world.history)


def test_a_workflow_of_which_all_was_survived_is_judged_right() -> None:
    assert _flow(World()) == []


def test_a_workflow_of_which_a_fault_never_came_was_not_survived() -> None:
    assert any("not all targets were hit" in each for each in _flow(World(), faults=1))


def test_a_pod_of_somebody_else_that_a_workflow_has_hit_is_found() -> None:
    world = World()
    world.write(PODS, "other", {"metadata": {"labels": {"rollouts-pod-template-hash": "old"}}})
    assert any("not of the canary" in each for each in _flow(world, victim="other"))


def _schedule(world: World, phase: str, reason: str) -> list[str]:
    """Play a Schedule of which one firing came to its end before it had hit anything."""
    world.write(REPLICA_SETS, "web", {"spec": {"replicas": 1}})
    world.pod(ready=True)
    world.write(ANALYSIS_RUNS, "run", {})
    world.now += 2
    world.write(SCHEDULES, "soak-a-1", {}, "run")
    for number, hits in enumerate((0, 1)):
        world.now += 2
        record = {"id": "gate-1/web-1", "selectorKey": ".", "phase": "Not Injected", "injectedCount": hits}
        status = {"experiment": {"containerRecords": [record], "desiredPhase": "Stop"}}
        fault = {"metadata": {"labels": {"managed-by": "soak-a-1"}}, "spec": {}, "status": status}
        world.write(POD_CHAOS, f"fault-{number}", fault)
    world.now += 1
    world.write(SCHEDULES, "soak-a-1", {"metadata": {"annotations": {PAUSE: "true"}}}, "run")
    world.now += 6
    world.verdict(phase, reason)
    plan = replace(PLAN, metrics=(replace(METRIC, kind="delay", form=Form.SCHEDULE),))
    return oracle.judge(plan, world.place, world.history)


def test_a_firing_that_has_hit_nothing_in_its_time_was_not_injected() -> None:
    assert _schedule(World(), "Inconclusive", "NotInjected") == []
    assert _schedule(World(), "Successful", "Survived")


def test_what_nobody_could_see_is_not_held_against_the_plugin() -> None:
    world = World()
    world.play(5.5)
    world.pod(ready=False, restarts=2)
    world.history.trouble(START, START + 20, "watches frozen")
    world.now = START + 9
    world.pod(ready=True, restarts=2)
    world.now = START + 10.5
    world.verdict("Successful", "Survived")
    assert world.judge() == []


def _dip(world: World, *, wanted: int = 1) -> list[str]:
    """Let the canary fall for a second of a fault that takes nobody down, while nobody sees it."""
    world.history.trouble(START, START + 60, "plugin killed")
    world.write(REPLICA_SETS, "web", {"spec": {"replicas": 1}})
    world.pod(ready=True)
    world.now += 1
    world.write(ANALYSIS_RUNS, "run", {})
    world.now += 1
    world.experiment("Injected", 1)
    world.now += 3
    world.pod(ready=False)
    world.write(REPLICA_SETS, "web", {"spec": {"replicas": wanted}})
    world.now += 1
    world.pod(ready=True)
    world.now += 4
    world.experiment("Not Injected", 1)
    world.now += 6
    world.verdict("Successful", "Survived")
    world.now += 1
    world.write(REPLICA_SETS, "web", {"spec": {"replicas": 4}})  # as its Rollout goes on
    plan = replace(PLAN, metrics=(replace(METRIC, kind="delay"),))
    return oracle.judge(plan, world.place, world.history)


def test_what_the_pods_tell_of_is_held_against_a_plugin_that_was_blind() -> None:
    assert any("having been down" in each for each in _dip(World()))


def test_where_somebody_scales_the_pods_tell_of_nothing() -> None:
    assert _dip(World(), wanted=2) == []


@pytest.mark.parametrize(("wanted", "says"), [(0, []), (1, ["pods were wanted"])])
def test_a_canary_that_is_said_to_be_scaled_away_was(wanted: int, says: list[str]) -> None:
    world = World()
    world.write(REPLICA_SETS, "web", {"spec": {"replicas": 1}})
    world.play(10.5)
    world.write(REPLICA_SETS, "web", {"spec": {"replicas": wanted}})
    world.now += 1
    world.verdict("Inconclusive", "Unobserved: the canary was scaled to 0 pods")
    assert [each.rpartition(": ")[2] for each in world.judge()] == says


def test_a_restart_is_held_against_a_plugin_that_was_blind() -> None:
    world = World()
    world.history.trouble(START, START + 60, "plugin killed")
    world.play(6.0)
    world.pod(ready=True, restarts=3)
    world.now = START + 16
    world.verdict("Successful", "Survived")
    assert any("had restarted" in each for each in world.judge())


def test_a_stranger_with_the_canarys_label_was_not_to_be_hit() -> None:
    world = World()
    world.write(PODS, "other", {})
    world.play(10.5)
    world.experiment("Not Injected", 1, victim="other")
    world.verdict("Successful", "Survived")
    assert any("of somebody else had been selected" in each for each in world.judge())


def test_a_verdict_long_after_all_was_known_is_found() -> None:
    world = World()
    world.play(20)
    world.verdict("Successful", "Survived")
    assert any("after all was known" in each for each in world.judge())


def test_the_update_that_has_begun_an_analysis_is_not_what_ended_it() -> None:
    world = World()
    world.place.deeds.append((START, Deed.UPDATE))
    world.play(10.5)
    world.verdict("Inconclusive", "Terminated")
    assert any("nobody ended it" in each for each in world.judge())


@pytest.mark.parametrize(
    ("deed", "reason", "wrong"),
    [(Deed.DELETE_EXPERIMENT, "Deleted", "it was there"), (Deed.PAUSE, "Paused", "it never was")],
)
def test_what_was_tried_in_vain_is_no_cause(deed: Deed, reason: str, wrong: str) -> None:
    world = World()
    world.play(10.5)
    world.place.deeds.append((START + 3, deed))
    world.verdict("Inconclusive", reason)
    assert any(wrong in each for each in world.judge())
