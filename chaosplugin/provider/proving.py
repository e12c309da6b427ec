"""Reads what a proof of scope needs: the AnalysisRun as it is now, its owners, the ReplicaSets."""

from collections.abc import Collection

from chaosplugin.core import scope
from chaosplugin.core.commands import Outcome, ReadScope, ScopeRead
from chaosplugin.core.config import HASH_LABEL, unknown_value
from chaosplugin.core.objects import Experiment, OwnerReference, ReplicaSet, Rollout
from chaosplugin.core.refusal import InvalidConfig
from chaosplugin.core.run import Run, Spec
from chaosplugin.core.topics import PodsTopic
from chaosplugin.core.verdict import Finding, Reason
from chaosplugin.provider.ports import Cluster, Denied, NotFound

_JUST_READ_S = 1.0


async def read_scope(command: ReadScope, run: Run, home: Cluster, there: Cluster) -> Outcome:
    """Read what may change for the worse afresh: what the Rollout calls current and stable, and all its pods.

    The AnalysisRun may be a second old: where all pods are Ready the ledger was read just before. If it was
    ended meanwhile, the answer to the mark tells so, right after the create. ReplicaSets come from a watch,
    as pods do: their owners never change, by uid, and how many pods they want is as old as the pods are.
    Where that of the pods has just been cut, they are read too: how they are now is what they are held
    against after the fault.
    """
    spec = run.spec
    metadata = spec.analysis_run.metadata
    try:
        found = await home.read_analysis_run(metadata.namespace, metadata.name, within_s=_JUST_READ_S)
    except NotFound:
        return ScopeRead(None)
    if found.metadata.uid != metadata.uid:
        return ScopeRead(None)
    owner = found.metadata.controller
    experiment = await _experiment(metadata.namespace, owner, home)
    parent = experiment.metadata.controller if experiment else owner
    rollout = await _rollout(metadata.namespace, parent, home)
    replica_sets = await _replica_sets(spec, run.value, command.holders, there)
    if owner is None or owner.kind not in {"Rollout", "Experiment"}:  # which the operator may allow
        live = (rs for rs in replica_sets if rs.metadata.name in command.holders or rs.spec.replicas)
        first = next(live, None)
        rollout = await _rollout(spec.namespace, first.metadata.controller if first else None, home)
    inputs = scope.ScopeInputs(
        analysis_run=found,
        label=spec.label,
        value=run.value,
        policy=spec.policy,
        rollout=rollout,
        experiment=experiment,
        replica_sets=replica_sets,
        stable=await _stable(rollout, home),
        remote=bool(spec.endpoint),
    )
    if there.follows(PodsTopic(spec.namespace, spec.label, run.value)):
        return ScopeRead(inputs)
    return ScopeRead(inputs, await there.list_pods(spec.namespace, f"{spec.label}={run.value}"))


async def _experiment(namespace: str, owner: OwnerReference | None, home: Cluster) -> Experiment | None:
    if owner is None or owner.kind != "Experiment":
        return None
    try:
        found = await home.read_experiment(namespace, owner.name)
    except NotFound:
        return None
    return found if found.metadata.uid == owner.uid else None


async def _rollout(namespace: str, owner: OwnerReference | None, home: Cluster) -> Rollout | None:
    if owner is None or owner.kind != "Rollout":
        return None
    try:
        found = await home.read_rollout(namespace, owner.name)
    except NotFound:
        return None
    return found if found.metadata.uid == owner.uid else None


async def _replica_sets(spec: Spec, value: str, holders: Collection[str], there: Cluster) -> list[ReplicaSet]:
    """Those with the canary's label, and those that control one of its pods, however labelled."""
    try:
        found = await there.list_replica_sets(spec.namespace, f"{spec.label}={value}")
        for name in sorted(set(holders) - {rs.metadata.name for rs in found}):
            try:
                found.append(await there.read_replica_set(spec.namespace, name))
            except NotFound:
                continue
    except Denied:
        if spec.endpoint:  # their pods must tell; the operator has agreed to that cluster
            return []
        raise
    return found


async def _stable(rollout: Rollout | None, home: Cluster) -> ReplicaSet | None:
    if rollout is None or not rollout.status.stable_rs:
        return None
    found = await home.list_replica_sets(
        rollout.metadata.namespace, f"{HASH_LABEL}={rollout.status.stable_rs}"
    )
    stable = next((each for each in found if _controls(rollout, each)), None)
    if stable is not None and stable.spec.replicas:
        return stable
    name = stable.metadata.name if stable else f"{rollout.metadata.name}-{rollout.status.stable_rs}"
    try:  # it may just have come, or been scaled up, and a refusal is final; it is named so by Argo
        found_now = await home.read_replica_set(rollout.metadata.namespace, name)
    except NotFound:
        return None
    return found_now if _controls(rollout, found_now) else None


def _controls(rollout: Rollout, replica_set: ReplicaSet) -> bool:
    owner = replica_set.metadata.controller
    return owner is not None and owner.uid == rollout.metadata.uid


async def canary_of_experiment(spec: Spec, home: Cluster) -> str | Finding:
    """Return the hash of the owning Experiment's only ReplicaSet, where the configuration has none.

    The ReplicaSet may not exist yet: then it is asked for again by the next try of the ledger.
    """
    namespace = spec.analysis_run.metadata.namespace
    owner = spec.analysis_run.metadata.controller
    try:
        experiment = await _experiment(namespace, owner, home)
        if experiment is not None:
            replica_sets = await home.list_replica_sets(namespace, spec.label)
            return scope.experiment_value(experiment.metadata, replica_sets, spec.label) or ""
    except InvalidConfig as invalid:
        return Finding(reason=Reason.INVALID_CONFIG, text=str(invalid))
    if owner is not None and experiment is None:
        text = f"the {owner.kind} {owner.name} that started this analysis is gone"
        return Finding(reason=Reason.TERMINATED, text=text)
    return Finding(reason=Reason.INVALID_CONFIG, text=str(unknown_value(spec.label)))
