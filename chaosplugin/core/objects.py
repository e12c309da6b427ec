"""Kubernetes objects, with only the fields that a decision needs.

`kube` decodes them from JSON, `transport` builds AnalysisRuns from gob; the core reads them.
Unknown fields are skipped without being built, so an object costs what is read of it.
Names are those of the Kubernetes, Argo and Chaos Mesh APIs; Chaos Mesh's custom resources share one
shape (`ChaosObject`), because all of its experiment kinds share one status.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from msgspec import DecodeError, Raw, Struct, field, json
from msgspec.structs import force_setattr

_NONE: Mapping[str, str] = MappingProxyType({})


class _Object(Struct, frozen=True, rename="camel", kw_only=True, gc=False): ...


class OwnerReference(_Object, frozen=True):
    kind: str
    name: str
    uid: str
    controller: bool = False


class Metadata(_Object, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None
    finalizers: list[str] | None = None

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that controls this object; at most one has `controller: true`."""
        for owner in self.owner_references or ():
            if owner.controller:
                return owner
        return None

    def label(self, key: str) -> str | None:
        return (self.labels or _NONE).get(key)

    def annotation(self, key: str) -> str | None:
        return (self.annotations or _NONE).get(key)


class Condition(_Object, frozen=True):
    type: str
    status: str
    reason: str = ""
    last_transition_time: datetime | None = None


# -- pods and their owners


class ContainerStatus(_Object, frozen=True):
    name: str = ""
    restart_count: int = 0
    ready: bool = False


class Container(_Object, frozen=True):
    name: str = ""


class PodSpec(_Object, frozen=True):
    containers: list[Container] = []


class PodStatus(_Object, frozen=True):
    phase: str = ""
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None


class Pod(_Object, frozen=True):
    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready_condition(self) -> Condition | None:
        for condition in self.status.conditions or ():
            if condition.type == "Ready":
                return condition
        return None

    @property
    def ready(self) -> bool:
        """Ready and not on its way out: what a Service would still send traffic to."""
        condition = self.ready_condition
        return (
            condition is not None and condition.status == "True" and self.metadata.deletion_timestamp is None
        )

    @property
    def restarts(self) -> int:
        return sum(status.restart_count for status in self.status.container_statuses or ())

    @property
    def completed(self) -> bool:
        """Ran to its end: neither a target nor a replica."""
        return self.status.phase in {"Succeeded", "Failed"}


class ReplicaSetSpec(_Object, frozen=True):
    replicas: int = 1


class ReplicaSet(_Object, frozen=True):
    metadata: Metadata
    spec: ReplicaSetSpec = ReplicaSetSpec()


# -- Argo Rollouts


class Weight(_Object, frozen=True):
    weight: int = 0


class Weights(_Object, frozen=True):
    canary: Weight = Weight()


class CanaryStatus(_Object, frozen=True):
    weights: Weights | None = None


class BlueGreenStatus(_Object, frozen=True):
    active_selector: str = ""


class RolloutStatus(_Object, frozen=True):
    current_pod_hash: str = ""
    stable_rs: str = field(default="", name="stableRS")
    replicas: int = 0
    updated_replicas: int = 0
    canary: CanaryStatus = CanaryStatus()
    blue_green: BlueGreenStatus = BlueGreenStatus()


class CanaryStrategy(_Object, frozen=True):
    traffic_routing: dict[str, object] | None = None

    @property
    def max_weight(self) -> int:
        """The weight that means all traffic (utils/weightutil)."""
        given = (self.traffic_routing or {}).get("maxTrafficWeight")
        return given if isinstance(given, int) else 100


class Strategy(_Object, frozen=True):
    canary: CanaryStrategy | None = None
    blue_green: dict[str, object] | None = None


class RolloutSpec(_Object, frozen=True):
    replicas: int | None = None
    strategy: Strategy = Strategy()


class Rollout(_Object, frozen=True):
    metadata: Metadata
    spec: RolloutSpec = RolloutSpec()
    status: RolloutStatus = RolloutStatus()


class Experiment(_Object, frozen=True):
    """Argo's Experiment; Chaos Mesh's experiments are `ChaosObject`."""

    metadata: Metadata


class Argument(_Object, frozen=True):
    """`spec.args[]`: `value` is resolved in a call; the stored object keeps only the reference."""

    name: str
    value: str | None = None
    value_from: dict[str, object] | None = None

    @property
    def secret(self) -> str | None:
        """The plain text of a secretKeyRef argument, which must never leave the plugin."""
        return self.value if self.value_from and "secretKeyRef" in self.value_from else None


class DryRun(_Object, frozen=True):
    metric_name: str = ""


class AnalysisRunSpec(_Object, frozen=True):
    args: list[Argument] | None = None
    terminate: bool = False
    dry_run: list[DryRun] | None = None


class StoredMetadata(_Object, frozen=True):
    """`measurements[].metadata`, of which only what this plugin has answered is of use."""

    run: str = field(default="", name="chaosplugin.io/run")
    experiment: str = ""


class StoredMeasurement(_Object, frozen=True):
    """`status.metricResults[].measurements[]`; times are RFC 3339 text."""

    phase: str = ""
    message: str = ""
    value: str = ""
    started_at: str = ""
    finished_at: str = ""
    metadata: StoredMetadata = StoredMetadata()


class MetricResult(_Object, frozen=True):
    """`status.metricResults[]`: `count` counts completed measurements without errors."""

    name: str
    phase: str = ""
    count: int = 0
    error: int = 0
    dry_run: bool = False
    measurements: list[StoredMeasurement] | None = None


class AnalysisRunStatus(_Object, frozen=True):
    phase: str = ""
    metric_results: list[MetricResult] | None = None


class AnalysisRun(_Object, frozen=True):
    metadata: Metadata
    spec: AnalysisRunSpec = AnalysisRunSpec()
    status: AnalysisRunStatus = AnalysisRunStatus()

    def result(self, metric: str) -> MetricResult | None:
        for result in self.status.metric_results or ():
            if result.name == metric:
                return result
        return None


def secrets_of(run: AnalysisRun) -> tuple[str, ...]:
    """Return the secrets among a call's arguments."""
    args = run.spec.args
    return tuple(arg.secret for arg in args if arg.secret) if args else ()


# -- Chaos Mesh


class RecordEvent(_Object, frozen=True):
    """`status.experiment.containerRecords[].events[]`."""

    type: str = ""  # Succeeded | Failed
    operation: str = ""  # Apply | Recover
    message: str = ""
    timestamp: datetime | None = None


class Record(_Object, frozen=True):
    """One target of an experiment: `id` is ns/pod or ns/pod/container by kind."""

    id: str
    selector_key: str = "."
    phase: str = ""  # "Injected", "Not Injected", each with an optional "/Wait"
    injected_count: int = 0
    events: list[RecordEvent] | None = None


class ExperimentStatus(_Object, frozen=True):
    desired_phase: Literal["Run", "Stop", ""] = ""
    container_records: list[Record] | None = None


class ChaosStatus(_Object, frozen=True):
    conditions: list[Condition] | None = None
    experiment: ExperimentStatus = ExperimentStatus()
    time: datetime | None = None  # of a Schedule: when it has last fired


class ChaosObject(_Object, frozen=True):
    """Any experiment of chaos-mesh.org/v1alpha1, and what spawns some: Schedule, Workflow, WorkflowNode."""

    kind: str
    metadata: Metadata
    raw_spec: Raw = field(default=Raw(b"{}"), name="spec")
    status: ChaosStatus = ChaosStatus()

    def __post_init__(self) -> None:
        force_setattr(self, "raw_spec", self.raw_spec.copy())  # else it would hold all that was read with it

    @property
    def spec(self) -> dict[str, object]:
        """What was asked for; it is wanted once in an experiment's life, and large when decoded."""
        try:
            return json.decode(self.raw_spec, type=dict[str, object])
        except (DecodeError, RecursionError):
            return {}

    def condition(self, type_: str) -> bool:
        return any(c.type == type_ and c.status == "True" for c in self.status.conditions or ())


class InvolvedObject(_Object, frozen=True):
    uid: str = ""
    name: str = ""
    kind: str = ""


class Event(_Object, frozen=True):
    """core/v1 Event, as Chaos Mesh writes them."""

    metadata: Metadata
    involved_object: InvolvedObject = InvolvedObject()
    reason: str = ""
    message: str = ""
    type: str = ""
    last_timestamp: datetime | None = None
