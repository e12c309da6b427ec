"""Gates as they are shown to others: a copy of what counts of a run, and the steps between.

Of the gate of an analysis that another process works on, a copy of what stands on its AnalysisRun: mark,
verdict, and the measurement that Argo has stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

from chaosplugin.core import ledger, moments
from chaosplugin.core.analysis import Phase
from chaosplugin.core.answers import measurement, progress
from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import AnalysisRun, MetricResult, StoredMeasurement
from chaosplugin.core.progress import Transition
from chaosplugin.core.redaction import MESSAGE_LIMIT
from chaosplugin.core.run import Run, Stage
from chaosplugin.core.verdict import Reason, reason_of

EPOCH = datetime.fromtimestamp(0, UTC)
"""when something began of which that is not known"""
_SHORT = 512
"""characters; kind, namespace and name of an object have fewer"""


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
    answer = measurement(run, run.started_at)
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


def bounded(gate: Gate) -> Gate:
    """Return a gate that others have written down with no more of its texts than one of ours has.

    Whoever may write an AnalysisRun, or a record, in one namespace must not fill the lists of all.
    """
    texts = (gate.metric, gate.owner, gate.experiment, gate.message)
    if max(map(len, texts)) <= _SHORT and len(gate.value) <= MESSAGE_LIMIT:
        return gate
    return replace(
        gate,
        metric=gate.metric[:_SHORT],
        owner=gate.owner[:_SHORT],
        experiment=gate.experiment[:_SHORT],
        message=gate.message[:MESSAGE_LIMIT],
        value=gate.value if len(gate.value) <= MESSAGE_LIMIT else "",
    )


def gates_in(run: AnalysisRun, gone_at: datetime | None = None) -> Iterator[Gate]:
    """Yield the gates of an AnalysisRun, as it tells of them; `gone_at`: when it was seen to be deleted."""
    for result in run.status.metric_results or ():
        stored = {each.metadata.run: each for each in result.measurements or () if each.metadata.run}
        for identity in _intents(run, result) if stored else ():
            if identity.digest in stored:  # after an Error the last try
                yield _gate_in(run, identity, stored[identity.digest], gone_at)


def _intents(run: AnalysisRun, result: MetricResult) -> Iterator[Identity]:
    """Yield the intents of which measurements may be stored: Argo keeps the latest of them."""
    latest = result.count + 1
    for intent in range(max(1, latest - len(result.measurements or ())), latest + 1):
        yield _identity(run.metadata.uid, result.name, intent)


_identity = lru_cache(4096)(Identity)
"""The digest is the dearest part of a look at an AnalysisRun, which is looked at with each of its changes."""


def _gate_in(
    run: AnalysisRun, identity: Identity, stored: StoredMeasurement, gone_at: datetime | None
) -> Gate:
    metadata = run.metadata
    owner, experiment = metadata.controller, stored.metadata.experiment
    begun = moments.read(stored.started_at) or moments.usable(metadata.creation_timestamp) or EPOCH
    recorded = ledger.read_verdict(run, identity)
    finished_at, value = None, ""
    over = _over(run, gone_at)
    if stored.phase in _ENDED:
        stage, phase, message, value = Stage.DONE, Phase(stored.phase), stored.message, stored.value
        finished_at = moments.read(stored.finished_at) or begun
    elif recorded is not None:
        stage, phase, message, value = Stage.DECIDED, recorded.phase, recorded.message, recorded.value
        finished_at = moments.read(recorded.finished_at) or begun
    elif over:
        stage, phase, message = Stage.DONE, Phase.INCONCLUSIVE, f"{Reason.TERMINATED}: {over}"
        finished_at = gone_at or moments.usable(metadata.deletion_timestamp) or begun
    else:
        marked = ledger.read_mark(run, identity) is not None
        stage, phase = Stage.OBSERVING if marked else Stage.PROVING, Phase.RUNNING
        message = progress(stage, experiment)
    gate = Gate(
        id=identity.digest,
        namespace=metadata.namespace,
        name=metadata.name,
        metric=identity.metric,
        owner=f"{owner.kind} {owner.name}" if owner else "",
        experiment=experiment,
        stage=Stage.DONE if over else stage,
        phase=phase,
        reason=(reason_of(message) or "") if phase.completed else "",
        message=message,
        value=value,
        started_at=begun,
        finished_at=finished_at,
    )
    return bounded(gate)


_ENDED = frozenset(phase.value for phase in Phase if phase.completed)


def _over(run: AnalysisRun, gone_at: datetime | None) -> str:
    """Say why nobody asks for a measurement any more; "" as long as somebody does."""
    if gone_at or run.metadata.deletion_timestamp is not None:
        return "the gate ended early: its AnalysisRun was deleted"
    return "the gate ended early: its AnalysisRun has ended" if ledger.completed(run) else ""
