"""The oracle finds what is wrong: stories in which the verdict is the lie."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    POD_CHAOS,
    PODS,
    REPLICA_SETS,
    WORKFLOWS,
    Object,
    Resource,
)
from chaosplugin.sandbox.api.store import Store
from tests.soak import oracle
from tests.soak.history import History
from tests.soak.plan import Act, Deed, Form, Metric, Moment, Plan

METRIC = Metric(name="a", kind="pod-failure", mode="all", duration=3, count=1, recover_within=3, keep=False)
PLAN = Plan(number=1, replicas=2, metrics=(METRIC,), acts=(Act(Deed.ABORT, Moment.BEGUN, 0),))
START = 1_000_000.0


class World:
    """A history made by hand: one canary pod, hit from second 2 to 5."""

    def __init__(self) -> None:
        self.now = START
        self.store = Store()
        self.history = History(self.store, lambda: self.now)
        self.place = self.history.places["gate-1"]

    def write(self, resource: Resource, name: str, obj: Object, owner: str = "") -> None:
        metadata = {"name": name, "namespace": "gate-1", "uid": name, "labels": {}} | obj.pop("metadata", {})
        metadata["labels"] = {"rollouts-pod-template-hash": "new"} | metadata["labels"]
        metadata["creationTimestamp"] = _stamp(START + 2)
        if owner:
            metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
        self.store.write(resource, {"metadata": metadata, "kind": resource.kind, "spec": {}} | obj)

    def pod(self, *, ready: bool, image: str = "web:2", restarts: int = 0) -> None:
        container = {"name": "web", "image": image, "ready": ready, "restartCount": restarts}
        status = {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [container],
        }
        self.write(PODS, "web-1", {"spec": {"containers": [container]}, "status": status}, "web")

    def experiment(self, phase: str, count: int) -> None:
        record = {"id": "gate-1/web-1", "selectorKey": ".", "phase": phase, "injectedCount": count}
        status = {"experiment": {"containerRecords": [record]}}
        spec = {"action": "pod-failure"}
        self.write(POD_CHAOS, "soak-a-1", {"spec": spec, "status": status}, "run")

    def verdict(self, phase: str, reason: str) -> None:
        measurement = {
            "phase": phase,
            "message": f"{reason}: so it is",
            "startedAt": _stamp(START + 1),
            "finishedAt": _stamp(self.now),
        }
        result = {"name": "a", "measurements": [measurement]}
        self.write(ANALYSIS_RUNS, "run", {"status": {"metricResults": [result], "completedAt": "now"}})

    def play(self, until: float, *, comes_back: bool = True) -> None:
        """Play up to the verdict."""
        self.write(REPLICA_SETS, "web", {"spec": {"replicas": 1}})
        self.pod(ready=True)
        self.now += 1
        self.write(ANALYSIS_RUNS, "run", {})
        self.now += 1
        self.experiment("Not Injected", 0)
        self.now += 0.1
        self.pod(ready=False, image="gcr.io/google-containers/pause:latest", restarts=1)
        self.experiment("Injected", 1)
        self.now += 3
        self.experiment("Not Injected", 1)
        self.pod(ready=comes_back, restarts=2)
        self.now = START + until

    def judge(self) -> list[str]:
        return oracle.judge(PLAN, self.place, self.history)


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


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
