"""A history made by hand: stories of one gate, for the oracle to judge."""

import json
from datetime import UTC, datetime

from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, POD_CHAOS, PODS, REPLICA_SETS, Object, Resource
from chaosplugin.sandbox.api.store import Store
from tests.soak import oracle
from tests.soak.history import History
from tests.soak.objects import RUN
from tests.soak.plan import Act, Deed, Metric, Moment, Plan
from tests.soak.records import VERDICT

METRIC = Metric(name="a", kind="pod-failure", mode="all", duration=3, count=1, recover_within=3, keep=False)
PLAN = Plan(number=1, replicas=2, metrics=(METRIC,), acts=(Act(Deed.ABORT, Moment.BEGUN, 0),))
START = 1_000_000.0


class World:
    """One canary pod, hit from second 2 to 5."""

    def __init__(self) -> None:
        self.now = START
        self.store = Store()
        self.history = History(self.store, lambda: self.now)
        self.place = self.history.places["gate-1"]
        self.notes: Object = {}
        self.status: Object = {
            "metricResults": [
                {"name": "a", "measurements": [{"phase": "Running", "metadata": {RUN: "digest"}}]}
            ]
        }

    def write(self, resource: Resource, name: str, obj: Object, owner: str = "") -> None:
        metadata = {"name": name, "namespace": "gate-1", "uid": name, "labels": {}} | obj.pop("metadata", {})
        metadata["labels"] = {"rollouts-pod-template-hash": "new", RUN: "digest"} | metadata["labels"]
        metadata["creationTimestamp"] = stamp(START + 2)
        if owner:
            metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
        self.store.write(resource, {"metadata": metadata, "kind": resource.kind, "spec": {}} | obj)

    def pod(self, *, ready: bool, image: str = "web:2", restarts: int = 0) -> None:
        container = {"name": "web", "image": image, "ready": ready, "restartCount": restarts}
        status = {
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": stamp(self.now)}],
            "containerStatuses": [container],
        }
        self.write(PODS, "web-1", {"spec": {"containers": [container]}, "status": status}, "web")

    def experiment(
        self, phase: str, count: int, *, victim: str = "web-1", metadata: Object | None = None
    ) -> None:
        record = {"id": f"gate-1/{victim}", "selectorKey": ".", "phase": phase, "injectedCount": count}
        status = {"experiment": {"containerRecords": [record]}}
        spec = {"action": "pod-failure"}
        obj = {"metadata": metadata or {}, "spec": spec, "status": status}
        self.write(POD_CHAOS, "soak-a-1", obj, "run")

    def record(self, phase: str, reason: str) -> None:
        """Write the verdict where the plugin does."""
        self.notes = {VERDICT + "digest": json.dumps({"phase": phase, "message": f"{reason}: so it is"})}
        self.write(ANALYSIS_RUNS, "run", {"metadata": {"annotations": self.notes}, "status": self.status})

    def verdict(self, phase: str, reason: str) -> None:
        """Write the verdict where Argo does."""
        measurement = {
            "phase": phase,
            "message": f"{reason}: so it is",
            "metadata": {RUN: "digest"},
            "startedAt": stamp(START + 1),
            "finishedAt": stamp(self.now),
        }
        result = {"name": "a", "measurements": [measurement]}
        self.status = {"metricResults": [result], "completedAt": "now"}
        self.write(ANALYSIS_RUNS, "run", {"metadata": {"annotations": self.notes}, "status": self.status})

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


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()
