"""Objects as the cluster and Argo give them, for tests of the pure code."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from chaosplugin.core import scope
from chaosplugin.core.analysis import Metric, Phase
from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import (
    AnalysisRun,
    AnalysisRunStatus,
    Condition,
    Container,
    ContainerStatus,
    Metadata,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    Record,
    RecordEvent,
    ReplicaSet,
    ReplicaSetSpec,
    Rollout,
    RolloutStatus,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.run import Spec
from chaosplugin.core.steady_state import Rules

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HASH = "5d4f7c9b6d"
HASH_LABEL = "rollouts-pod-template-hash"


def analysis_run(**status: object) -> AnalysisRun:
    owner = OwnerReference(kind="Rollout", name="web", uid="rollout-1", controller=True)
    metadata = Metadata(
        name="web-1", namespace="default", uid="run-1", resource_version="7", owner_references=[owner]
    )
    return AnalysisRun(metadata=metadata, status=AnalysisRunStatus(**status))  # type: ignore[arg-type]


def pod(
    name: str,
    *,
    ready: bool = True,
    restarts: int = 0,
    owner: str = "rs-1",
    since: datetime = START,
    version: str = "",
    created: datetime | None = None,
) -> Pod:
    holder = OwnerReference(kind="ReplicaSet", name=f"web-{HASH}", uid=owner, controller=True)
    metadata = Metadata(
        name=name,
        namespace="default",
        uid=f"uid-{name}",
        creation_timestamp=created,
        resource_version=version,
        labels={HASH_LABEL: HASH},
        owner_references=[holder],
    )
    condition = Condition(type="Ready", status="True" if ready else "False", last_transition_time=since)
    return Pod(
        metadata=metadata,
        spec=PodSpec(containers=[Container(name="app")]),
        status=PodStatus(
            phase="Running",
            conditions=[condition],
            container_statuses=[ContainerStatus(name="app", restart_count=restarts, ready=ready)],
        ),
    )


def rollout(current: str = HASH, stable: str = "stable") -> Rollout:
    return Rollout(
        metadata=Metadata(name="web", namespace="default", uid="rollout-1"),
        status=RolloutStatus(current_pod_hash=current, stable_rs=stable),
    )


def replica_set(replicas: int = 2, generation: int = 1) -> ReplicaSet:
    owner = OwnerReference(kind="Rollout", name="web", uid="rollout-1", controller=True)
    metadata = Metadata(
        name=f"web-{HASH}",
        namespace="default",
        uid="rs-1",
        generation=generation,
        labels={HASH_LABEL: HASH},
        owner_references=[owner],
    )
    return ReplicaSet(metadata=metadata, spec=ReplicaSetSpec(replicas=replicas))


def make_spec(**changes: object) -> Spec:
    run = analysis_run()
    identity = Identity("run-1", "chaos", 1)

    def manifest(value: str, notes: Mapping[str, str]) -> dict[str, object]:
        return {"value": value, "annotations": dict(notes)}

    given: dict[str, object] = {
        "identity": identity,
        "metric": Metric(name="chaos"),
        "analysis_run": run,
        "endpoint": "",
        "credentials": "",
        "kind": "PodChaos",
        "namespace": "default",
        "name": f"kill-{identity.digest}",
        "label": HASH_LABEL,
        "value": HASH,
        "manifest": manifest,
        "one_shot": False,
        "rules": Rules(unready_by_intent=True, restarts_by_fault=2),
        "timeout": timedelta(seconds=60),
        "target_timeout": timedelta(seconds=30),
        "on_no_targets": Phase.INCONCLUSIVE,
        "keep": False,
        "dry_run": False,
        "secrets": (),
        "policy": Policy(),
    }
    return Spec(**{**given, **changes})  # type: ignore[arg-type]


def scope_inputs(**changes: object) -> scope.ScopeInputs:
    given: dict[str, object] = {
        "analysis_run": analysis_run(),
        "label": HASH_LABEL,
        "value": HASH,
        "policy": Policy(),
        "rollout": rollout(),
        "replica_sets": [replica_set()],
        "stable": replica_set(3),
    }
    return scope.ScopeInputs(**{**given, **changes})  # type: ignore[arg-type]


def with_patch(patch: dict[str, object]) -> AnalysisRun:
    metadata = patch["metadata"]
    assert isinstance(metadata, dict)
    run = analysis_run()
    return AnalysisRun(
        metadata=Metadata(
            name=run.metadata.name,
            namespace=run.metadata.namespace,
            uid=run.metadata.uid,
            labels=metadata["labels"],
            annotations=metadata["annotations"],
            owner_references=run.metadata.owner_references,
        )
    )


def hit(name: str) -> Record:
    return Record(id=f"default/{name}", phase="Injected", injected_count=1)


def recovered(name: str, at: datetime) -> Record:
    event = RecordEvent(type="Succeeded", operation="Recover", timestamp=at)
    return Record(id=f"default/{name}", phase="Not Injected", injected_count=1, events=[event])
