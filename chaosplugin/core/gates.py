"""Gates as they are shown to others: a copy of what counts of a run, and the steps between."""

from dataclasses import dataclass
from datetime import datetime

from chaosplugin.core.analysis import Phase
from chaosplugin.core.progress import Transition
from chaosplugin.core.run import Run, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """How a gate stands."""

    id: str
    namespace: str
    name: str
    """of its AnalysisRun, or of its record"""
    metric: str
    owner: str
    """kind and name of what the canary belongs to; "": nobody"""
    experiment: str
    stage: Stage
    phase: Phase
    reason: str
    message: str
    value: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class GateEvent:
    """A step. `before` None: it tells how things are."""

    gate: Gate
    before: Stage | None
    at: datetime


def gate_of(run: Run) -> Gate:
    """Copy what is shown of a run."""
    spec, verdict = run.spec, run.verdict
    metadata = spec.analysis_run.metadata
    owner = metadata.controller
    answer = run.measurement(run.started_at)
    return Gate(
        id=spec.id,
        namespace=metadata.namespace,
        name=metadata.name,
        metric=spec.identity.metric,
        owner=f"{owner.kind} {owner.name}" if owner else "",
        experiment=spec.subject,
        stage=run.stage,
        phase=answer.phase,
        reason=verdict.reason.value if verdict else "",
        message=answer.message,
        value=answer.value,
        started_at=run.started_at,
        finished_at=answer.finished_at,
    )


def event_of(transition: Transition) -> GateEvent:
    """Copy a step, at the time of it."""
    return GateEvent(gate_of(transition.run), transition.before, transition.at)
