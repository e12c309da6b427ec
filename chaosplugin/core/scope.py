"""The proof: the pods that label and value match are the canary's, and nobody else's.

Label and value come from the author of a template, so they are a claim. It is proved by uid: the pods'
one ReplicaSet is controlled by the Rollout or Experiment that controls the AnalysisRun, or by the Rollout
that controls that Experiment. It is checked just before the create, and never afterwards, as a promotion
meanwhile is no violation; what Chaos Mesh has selected is checked by `check_targets`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from chaosplugin.core.config import HASH_LABEL
from chaosplugin.core.objects import (
    AnalysisRun,
    Experiment,
    Metadata,
    OwnerReference,
    Pod,
    ReplicaSet,
    Rollout,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, names
from chaosplugin.core.verdict import Reason

_TEMPLATE_NAME = "experiment.argoproj.io/template-name"


@dataclass(frozen=True, slots=True)
class Proven:
    """The pods are those of this ReplicaSet, which wants so many."""

    uid: str
    name: str
    wanted: int | None
    """None in another cluster, where the ReplicaSet was not read"""
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Not proved yet, and it may be by itself: look again when something has changed."""

    message: str
    wanted: int | None = None
    """how many pods the ReplicaSet wants, if there is one"""


@dataclass(frozen=True, slots=True)
class Refused:
    """Not to be hit.

    ScopeRefused: it is more than a canary, or another's. Terminated: it is the Rollout's canary no more.
    """

    reason: Reason
    message: str


Proof = Proven | Wait | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeInputs:
    """What a proof is about, and what was read for it besides the pods."""

    analysis_run: AnalysisRun
    label: str
    value: str
    policy: Policy
    rollout: Rollout | None = None
    """controls the AnalysisRun, or the Experiment that does; for an unowned AnalysisRun the Rollout that
    controls the ReplicaSet, if any does"""
    experiment: Experiment | None = None
    """controls the AnalysisRun"""
    replica_sets: Sequence[ReplicaSet] = ()
    """those that have the canary's label, and those that control one of the pods"""
    stable: ReplicaSet | None = None
    """of the Rollout, by its hash status.stableRS"""
    remote: bool = False
    """the pods live in another cluster, where an owner cannot be proved: the operator has agreed"""

    @property
    def claim(self) -> str:
        """The label as a user would write it."""
        return f"{self.label}={self.value}"


def prove(inputs: ScopeInputs, pods: Iterable[Pod]) -> Proof:
    """Judge whether the pods which the label matches may be hit.

    `pods` are all that match and live, terminating ones included, since Chaos Mesh selects them, too.
    """
    pods = [pod for pod in pods if not pod.completed]
    owners: frozenset[str] = frozenset()
    if not inputs.remote:
        owner = inputs.analysis_run.metadata.controller
        unfit = _owner(owner, inputs)
        if unfit:
            return unfit
        owners = _owners(owner, inputs)
    chosen = _only_replica_set(inputs, pods, owners)
    if not isinstance(chosen, ReplicaSet):
        return chosen
    holder = chosen.metadata.controller
    if holder and holder.kind == "Rollout" and not inputs.remote:
        unfit = _of_rollout(inputs, chosen, holder)
        if unfit:
            return unfit
    if not pods:
        return Wait(_no_pods(inputs, chosen), chosen.spec.replicas)
    read = any(rs.metadata.uid == chosen.metadata.uid for rs in inputs.replica_sets)
    if not read:
        return Proven(chosen.metadata.uid, chosen.metadata.name, None)
    metadata = chosen.metadata
    return Proven(metadata.uid, metadata.name, chosen.spec.replicas, metadata.generation)


def _owner(owner: OwnerReference | None, inputs: ScopeInputs) -> Proof | None:
    """Judge who controls the AnalysisRun."""
    match owner.kind if owner else "":
        case "Rollout":
            there: Rollout | Experiment | None = inputs.rollout
        case "Experiment":
            there = inputs.experiment
        case kind:
            if inputs.policy.allow_unowned:
                return None
            by = f"a {kind}" if kind else "nobody"
            return Refused(
                Reason.SCOPE_REFUSED,
                f"the AnalysisRun is controlled by {by}, so that no pods can be proved to be its canary's: "
                f"run it from a Rollout or Experiment (the operator may allow it by --allow-unowned)",
            )
    if owner and (there is None or there.metadata.uid != owner.uid):
        return Refused(Reason.TERMINATED, f"the {owner.kind} {owner.name} that started this analysis is gone")
    return None


def _owners(owner: OwnerReference | None, inputs: ScopeInputs) -> frozenset[str]:
    """Return the uids whose ReplicaSets may be hit; empty: anybody's (unowned, remote)."""
    if owner is None or owner.kind not in {"Rollout", "Experiment"}:
        return frozenset()
    uids = {owner.uid}
    parent = inputs.experiment.metadata.controller if inputs.experiment else None
    if owner.kind == "Experiment" and parent and parent.kind == "Rollout":
        uids.add(parent.uid)
    return frozenset(uids)


def _only_replica_set(inputs: ScopeInputs, pods: Sequence[Pod], owners: frozenset[str]) -> ReplicaSet | Proof:
    """Return the one ReplicaSet that the claim can mean, or why there is none."""
    seen = {rs.metadata.uid: rs for rs in inputs.replica_sets}
    holders = _holders(inputs, pods)
    if isinstance(holders, Refused):
        return holders
    if inputs.remote:
        seen = holders | seen
    elif holders.keys() - seen.keys():
        return Wait(f"the ReplicaSet of pods with {inputs.claim} cannot be read")
    live = [rs for uid, rs in seen.items() if uid in holders or rs.spec.replicas > 0]
    if foreign := [rs for rs in live if owners and _controller(rs.metadata) not in owners]:
        return _foreign(inputs, foreign)
    own = [rs for rs in seen.values() if not owners or _controller(rs.metadata) in owners]
    candidates = [rs for rs in own if rs in live] or own
    if len(candidates) == 1:
        return candidates[0]
    return _several(inputs, candidates) if live else Wait(_no_pods(inputs, None))


def _holders(inputs: ScopeInputs, pods: Sequence[Pod]) -> dict[str, ReplicaSet] | Refused:
    """Return the pods' ReplicaSets by uid, as far as the pods tell them."""
    holders = {}
    for pod in pods:
        holder = pod.metadata.controller
        if holder is None or holder.kind != "ReplicaSet":
            by = f"{holder.kind} {holder.name}" if holder else "nobody"
            return Refused(
                Reason.SCOPE_REFUSED,
                f"{inputs.claim} matches pod {pod.metadata.name}, which is controlled by {by}, not by the "
                f"canary's ReplicaSet: use a label that only the canary's pods have",
            )
        holders[holder.uid] = ReplicaSet(metadata=Metadata(name=holder.name, uid=holder.uid))
    return holders


def _foreign(inputs: ScopeInputs, found: Sequence[ReplicaSet]) -> Proof:
    for replica_set in found:
        holder = replica_set.metadata.controller
        if holder is None or holder.kind != "Experiment":
            by = f"{holder.kind} {holder.name}" if holder else "nobody"
            return Refused(
                Reason.SCOPE_REFUSED,
                f"{inputs.claim} matches pods of ReplicaSet {replica_set.metadata.name}, controlled by {by}, "
                f"which did not start this analysis: use a label that only the canary's pods have",
            )
    return Wait(
        f"{inputs.claim} also matches pods of ReplicaSet {names(rs.metadata.name for rs in found)} of "
        f"another Experiment (those of an ended one live on for scaleDownDelaySeconds)"
    )


def _several(inputs: ScopeInputs, found: Sequence[ReplicaSet]) -> Proof:
    templates = [rs.metadata.annotation(_TEMPLATE_NAME) for rs in found]
    if all(templates):
        return Refused(
            Reason.SCOPE_REFUSED,
            f"{inputs.claim} matches pods of the Experiment's templates {names(filter(None, templates))}, "
            f"whose pods are the same: give them a label that differs",
        )
    hashes = {rs.metadata.label(HASH_LABEL) for rs in found}
    rollout = inputs.rollout
    stable = " (the stable pods among them)" if rollout and rollout.status.stable_rs in hashes else ""
    return Refused(
        Reason.SCOPE_REFUSED,
        f"{inputs.claim} matches pods of {len(found)} ReplicaSets ({names(rs.metadata.name for rs in found)})"
        f"{stable}: use a label that only the canary's pods have, such as {HASH_LABEL}",
    )


def _no_pods(inputs: ScopeInputs, replica_set: ReplicaSet | None) -> str:
    if replica_set is None:
        return f"there are no pods with {inputs.claim}"
    if replica_set.spec.replicas == 0:
        return (
            f"ReplicaSet {replica_set.metadata.name} wants 0 pods (an analysis before the first setWeight, "
            f"or a Rollout scaled to 0)"
        )
    return f"ReplicaSet {replica_set.metadata.name} has no pods yet"


# -- the rules of a Rollout


def _of_rollout(inputs: ScopeInputs, canary: ReplicaSet, owner: OwnerReference) -> Proof | None:
    rollout = inputs.rollout
    if rollout is None or rollout.metadata.uid != owner.uid:
        return Refused(
            Reason.TERMINATED, f"the Rollout {owner.name}, whose pods have {inputs.claim}, is gone"
        )
    return _rollout_rules(inputs, canary, rollout)


def _rollout_rules(inputs: ScopeInputs, canary: ReplicaSet, rollout: Rollout) -> Proof | None:
    found, status, policy = canary.metadata.label(HASH_LABEL) or "", rollout.status, inputs.policy
    name = f"Rollout {rollout.metadata.name}"
    if not status.current_pod_hash:
        return Wait(f"the status of {name} has no currentPodHash yet")
    if found == status.stable_rs:
        if policy.allow_stable:
            return None
        return Refused(
            Reason.SCOPE_REFUSED,
            f"{inputs.claim} is the stable version of {name}, not its canary: pass the canary's hash by "
            f"valueFrom: {{podTemplateHashValue: Latest}} (the operator may allow it by --allow-stable)",
        )
    if found != status.current_pod_hash:
        return Refused(
            Reason.TERMINATED,
            f"the canary {found} of {name} has been superseded by {status.current_pod_hash}",
        )
    full = _full_traffic(inputs, rollout, found)
    if full and not policy.allow_full_traffic:
        return Refused(
            Reason.SCOPE_REFUSED,
            f"the canary of {name} carries all production traffic ({full}), and the fault would hit all of "
            f"it: run the analysis before that (the operator may allow it by --allow-full-traffic)",
        )
    return None


def _full_traffic(inputs: ScopeInputs, rollout: Rollout, found: str) -> str:
    """Say why the canary carries all traffic, "" if it does not.

    Holding all replicas is no sign: with trafficRouting the stable ReplicaSet keeps its pods.
    """
    status, canary = rollout.status, rollout.spec.strategy.canary
    if inputs.analysis_run.metadata.label("rollout-type") == "PostPromotion":
        return "the analysis runs after the promotion"
    if status.blue_green.active_selector == found:
        return "the active Service selects it"
    whole = canary.max_weight if canary else 100
    if status.canary.weights and status.canary.weights.canary.weight >= whole:
        return f"its weight is {status.canary.weights.canary.weight} of {whole}"
    if canary and canary.traffic_routing is None and not rollout.spec.strategy.blue_green:
        stable = inputs.stable
        if stable is None or stable.spec.replicas == 0:
            return "the stable ReplicaSet wants 0 pods"
        if 0 < status.replicas == status.updated_replicas:
            return "all pods of the Rollout are the canary's"
    return ""


def _controller(metadata: Metadata) -> str:
    return metadata.controller.uid if metadata.controller else ""


# -- an Experiment's hash, where the configuration does not give it


def experiment_value(experiment: Metadata, replica_sets: Iterable[ReplicaSet], label: str) -> str | None:
    """Return the label's value of the Experiment's only ReplicaSet; None: it has none yet.

    Raises:
        InvalidConfig: it has several, so that the configuration must say which.
    """
    own = [rs for rs in replica_sets if _controller(rs.metadata) == experiment.uid]
    values = {rs.metadata.label(label) or "" for rs in own}
    if not own:
        return None
    if len(values) == 1:
        return values.pop() or None
    templates = sorted(rs.metadata.annotation(_TEMPLATE_NAME) or rs.metadata.name for rs in own)
    raise InvalidConfig(
        "targetReplicaSetValue",
        f"nothing, and Experiment {experiment.name} has {len(own)} templates",
        "the hash of the one to hit",
        "pass " + " or ".join(f"{{{{templates.{name}.podTemplateHash}}}}" for name in templates[:3]),
    )


# -- after the selection


class Checked(Struct, frozen=True, gc=False):
    """Names of selected pods: of another's, and of nobody known."""

    foreign: frozenset[str]
    unknown: frozenset[str]


def check_targets(targets: Collection[str], pods: Iterable[Pod], replica_set: str) -> Checked:
    """Compare the names of the pods that Chaos Mesh has selected with the proof.

    `pods` are all that were ever seen, departed ones first; `replica_set` is the uid of the proof.
    """
    owners = {pod.metadata.name: _controller(pod.metadata) for pod in pods}
    return Checked(
        frozenset(name for name in targets if owners.get(name, replica_set) != replica_set),
        frozenset(name for name in targets if name not in owners),
    )
