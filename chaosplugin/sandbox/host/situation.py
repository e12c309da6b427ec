"""A Rollout at the begin of a reconcile: which of its ReplicaSets is which, and where in its steps it is."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.host import canary
from chaosplugin.sandbox.host.canary import Pods
from chaosplugin.sandbox.host.objects import HASH_LABEL, REVISION, available, copy, replicas, template_hash

_CARRIED = (
    "stableRS",
    "conditions",
    "abort",
    "abortedAt",
    "promoteFull",
    "pauseConditions",
    "controllerPause",
    "canary",
    "currentStepIndex",
)
"""Fields of the status that stay until something changes them; the others are counted anew."""


@dataclass(frozen=True, slots=True)
class Situation:
    """`new` is the ReplicaSet of the current template, `stable` another one or None."""

    rollout: Object
    hash: str
    steps: list[Object]
    new: Object | None
    stable: Object | None
    others: list[Object]
    last_revision: int

    @property
    def name(self) -> str:
        return str(self.rollout["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.rollout["metadata"]["namespace"])

    @property
    def revision(self) -> int:
        return _revision(self.new)

    @property
    def initial(self) -> bool:
        """Nothing was ever stable."""
        return not self.rollout["status"].get("stableRS")

    @property
    def promoted(self) -> bool:
        return bool(self.rollout["status"].get("stableRS") == self.hash)

    @property
    def index(self) -> int:
        known = self.rollout["status"].get("currentStepIndex")
        return len(self.steps) if known is None else min(int(known), len(self.steps))

    @property
    def step(self) -> Object | None:
        return self.steps[self.index] if self.index < len(self.steps) else None

    @property
    def changed(self) -> bool:
        """Template or steps are others than those of the status."""
        status = self.rollout["status"]
        return bool(
            status.get("currentPodHash") != self.hash or status.get("currentStepHash") != self.step_hash
        )

    @property
    def step_hash(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self.steps, order="sorted")).hexdigest()[:10]

    @property
    def aborted(self) -> bool:
        return bool(self.rollout["status"].get("abort"))

    @property
    def percent(self) -> int:
        return canary.weight(self.steps, self.index, aborted=self.aborted)

    @property
    def others_pods(self) -> Pods:
        return Pods(sum(map(replicas, self.others)), sum(map(available, self.others)))

    @property
    def others_left(self) -> int:
        return self.others_pods.available

    @property
    def stable_hash(self) -> str:
        return str(self.rollout["status"].get("stableRS") or self.hash)

    def next_status(self) -> Object:
        """Return a status to go on from, with the pods counted."""
        known = self.rollout["status"]
        status: dict[str, Any] = {key: known[key] for key in _CARRIED if key in known}
        sets = [each for each in (self.new, self.stable, *self.others) if each is not None]
        status["currentStepIndex"] = self.index
        count = [each.get("status") or {} for each in sets]
        return copy(status) | {
            "currentPodHash": self.hash,
            "currentStepHash": self.step_hash,
            "observedGeneration": str(self.rollout["metadata"].get("generation", 1)),
            "replicas": sum(int(each.get("replicas") or 0) for each in count),
            "readyReplicas": sum(int(each.get("readyReplicas") or 0) for each in count),
            "availableReplicas": sum(map(available, sets)),
            "updatedReplicas": int(((self.new or {}).get("status") or {}).get("replicas") or 0),
        }


def see(rollout: Object, replica_sets: list[Object]) -> Situation:
    """Sort out the ReplicaSets that a Rollout controls."""
    hash_ = template_hash(rollout["spec"]["template"])
    stable_hash = rollout["status"].get("stableRS")
    by_hash = {each["metadata"]["labels"].get(HASH_LABEL): each for each in replica_sets}
    new = by_hash.get(hash_)
    stable = by_hash.get(stable_hash) if stable_hash != hash_ else None
    others = [each for each in replica_sets if each is not new and each is not stable]
    strategy = (rollout["spec"].get("strategy") or {}).get("canary") or {}
    return Situation(
        rollout=rollout,
        hash=hash_,
        steps=list(strategy.get("steps") or ()),
        new=new,
        stable=stable,
        others=others,
        last_revision=max(map(_revision, replica_sets), default=0),
    )


def _revision(replica_set: Object | None) -> int:
    annotations = ((replica_set or {}).get("metadata") or {}).get("annotations") or {}
    return int(annotations.get(REVISION) or 0)
