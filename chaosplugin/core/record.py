"""Gates without Argo's analysis: each has a ConfigMap, which is to it what an AnalysisRun is to the others.

The ConfigMap is controlled by the Rollout, so that scope is proved by uid as ever, and both go together. Its
annotations carry mark and verdict, as an AnalysisRun's do, and what else an AnalysisRun tells: that the gate
is to end, and how it has ended. What is to be measured stands in its data.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from chaosplugin.core import ledger, moments
from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.config import HASH_LABEL
from chaosplugin.core.gates import EPOCH, Gate, bounded
from chaosplugin.core.objects import AnalysisRun, AnalysisRunSpec, AnalysisRunStatus, Metadata, Rollout
from chaosplugin.core.run import Stage
from chaosplugin.core.verdict import reason_of

SELECTOR = f"{ledger.MANAGED_BY}={ledger.MANAGER},{ledger.GATE}"
METRIC = "gate"
"""What the one metric of a record is called."""
_TERMINATE = "chaosplugin.io/terminate"
_PHASE = "chaosplugin.io/phase"
_PLUGIN = "chaosplugin/gate"


class Record(msgspec.Struct, frozen=True):
    """The ConfigMap."""

    metadata: Metadata
    data: dict[str, str] | None = None


class Asked(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is to be measured; `config` is what would stand under the key of provider.plugin."""

    config: msgspec.Raw
    success_condition: str = ""
    failure_condition: str = ""

    @property
    def metric(self) -> Metric:
        return Metric(
            name=METRIC,
            plugin={_PLUGIN: bytes(self.config)},
            success_condition=self.success_condition,
            failure_condition=self.failure_condition,
        )


class _Ended(msgspec.Struct, frozen=True, rename="camel"):
    phase: Phase
    message: str
    started_at: datetime
    finished_at: datetime
    value: str = ""


def manifest(namespace: str, name: str, rollout: Rollout, asked: Asked) -> dict[str, object]:
    """Build a record that is to be created."""
    labels = {
        ledger.MANAGED_BY: ledger.MANAGER,
        ledger.GATE: "true",
        HASH_LABEL: rollout.status.current_pod_hash,
    }
    owner = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": rollout.metadata.name,
        "uid": rollout.metadata.uid,
        "controller": True,
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]}
    data = {"asked": msgspec.json.encode(asked).decode()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def metadata_of(record: Mapping[str, object]) -> Metadata:
    """Return the metadata that a record will have, as far as it is known before."""
    return msgspec.convert(record["metadata"], Metadata)


def asked_of(record: Record) -> Asked | None:
    """Read what is to be measured; None for a ConfigMap that is none of ours, or was mangled."""
    try:
        return msgspec.json.decode((record.data or {}).get("asked", ""), type=Asked)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def as_analysis_run(metadata: Metadata) -> AnalysisRun:
    """Tell of a record what an AnalysisRun would tell."""
    return AnalysisRun(
        metadata=metadata,
        spec=AnalysisRunSpec(terminate=metadata.annotation(_TERMINATE) is not None),
        status=AnalysisRunStatus(phase=metadata.annotation(_PHASE) or ""),
    )


def terminate_patch() -> dict[str, object]:
    """Return the patch that ends a gate."""
    return {"metadata": {"annotations": {_TERMINATE: "true"}}}


def end_patch(answer: Measurement, now: datetime, resource_version: str) -> dict[str, object]:
    """Return the patch that stores how a gate has ended, unless the record has changed since it was read."""
    found = _Ended(
        phase=answer.phase,
        message=answer.message,
        started_at=answer.started_at or now,
        finished_at=answer.finished_at or now,
        value=answer.value,
    )
    return {
        "metadata": {
            "annotations": {_PHASE: answer.phase.value},
            "resourceVersion": resource_version,
        },
        "data": {"ended": msgspec.json.encode(found).decode()},
    }


def identity(metadata: Metadata) -> ledger.Identity:
    """Return the intent of a record: it has one measurement."""
    return ledger.Identity(metadata.uid, METRIC, 1)


def ended(record: Record) -> datetime | None:
    """Return when a gate has ended; None as long as it has not."""
    found = _ended(record)
    return found.finished_at if found else None


def as_gate(record: Record) -> Gate:
    """Tell of a gate what stands in its record: how it has ended, or that it is open."""
    metadata, found = record.metadata, _ended(record)
    begun = moments.usable(metadata.creation_timestamp) or EPOCH
    marked = ledger.read_mark(as_analysis_run(metadata), identity(metadata))
    owner = metadata.controller
    gate = Gate(
        id=identity(metadata).digest,
        namespace=metadata.namespace,
        name=metadata.name,
        metric=METRIC,
        owner=f"{owner.kind} {owner.name}" if owner else "",
        experiment=f"{marked.kind} {marked.namespace}/{marked.name}" if marked else "",
        stage=Stage.DONE if found else Stage.OBSERVING if marked else Stage.RESTORING,
        phase=found.phase if found else Phase.RUNNING,
        reason=(reason_of(found.message) or "") if found else "",
        message=found.message if found else "open, and not worked on by this process",
        value=found.value if found else "",
        started_at=found.started_at if found else begun,
        finished_at=found.finished_at if found else None,
    )
    return bounded(gate)


def _ended(record: Record) -> _Ended | None:
    try:
        found = msgspec.json.decode((record.data or {}).get("ended", ""), type=_Ended)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return found if moments.usable(found.started_at) and moments.usable(found.finished_at) else None


def about(event: Mapping[str, object]) -> Mapping[str, object]:
    """Turn the manifest of an Event about an AnalysisRun to one about a record."""
    involved = event.get("involvedObject")
    if not isinstance(involved, Mapping) or involved.get("kind") != "AnalysisRun":
        return event
    return {**event, "involvedObject": {**involved, "apiVersion": "v1", "kind": "ConfigMap"}}


def owned(experiment: Mapping[str, object]) -> dict[str, object]:
    """Turn the manifest of an AnalysisRun's experiment to one of a record's: its owner is the ConfigMap."""
    metadata = experiment.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(owners, list):
        return dict(experiment)
    owners = [{**owner, "apiVersion": "v1", "kind": "ConfigMap"} for owner in owners]
    return {**experiment, "metadata": {**metadata, "ownerReferences": owners}}
