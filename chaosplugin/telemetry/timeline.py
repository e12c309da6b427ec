"""The spans of a gate, made of its run when the verdict is there.

    chaos_gate PodChaos                      Run ............................. verdict
      ledger    read the ledger
      proof     targets Ready, scope proved    (child: steady_state before)
      create    the create request
      observe   the fault is on                (children: inject, steady_state during)
      recover   the canary has to hold         (child: steady_state after)
      cleanup   verdict written, experiment removed; ends after the gate

No span is held open: a process that dies would take it along. Of those that work on a gate the one whose
verdict stands tells all stages, those of its predecessors from what the cluster has recorded, under ids that
all of them derive alike. Calls and requests are told as they happen, as children of spans that will follow.
"""

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from chaosplugin.core.analysis import Phase
from chaosplugin.core.ledger import TRACE_TIMES
from chaosplugin.core.objects import Record
from chaosplugin.core.progress import Transition
from chaosplugin.core.redaction import Redactor
from chaosplugin.core.run import Run, Stage
from chaosplugin.core.trace import ROOT, Trace, trace_of
from chaosplugin.core.verdict import Verdict
from chaosplugin.provider.facts import SPANS
from chaosplugin.telemetry.naming import rollout_of
from chaosplugin.telemetry.spans import Event, Span, Value

_KEPT: Final = 4096  # gates whose way is remembered; those beyond are told without what came before
_ORDER: Final = ("ledger", "proof", "create", "observe", "recover")
_MAX_EVENTS: Final = 20
_MAX_TEXT: Final = 256  # bytes of a foreign text


class Timeline:
    """Remembers when each gate entered its stages."""

    def __init__(self) -> None:
        self._entered: OrderedDict[str, dict[str, datetime]] = OrderedDict()
        self._queued: dict[str, tuple[str, str]] = {}

    def conclude(self, run: Run) -> Iterator[Span]:
        """Yield the spans of a gate whose verdict is this process's."""
        verdict, at = run.verdict, run.decided_at
        if verdict is not None and at is not None:
            entered = self._entered.get(run.trace.id, {"ledger": run.started_at})
            yield from gate_spans(run, verdict, entered, at, self._queued.pop(run.trace.id, None))

    def follow(self, fact: Transition, runs: Mapping[str, Run]) -> Iterator[Span]:
        """Take in a transition and yield the span that it completes."""
        run, after = fact.run, fact.after
        if fact.before is Stage.RESTORING:
            self._entered[run.trace.id] = {"ledger": run.started_at}
            if len(self._entered) > _KEPT:
                self._entered.popitem(last=False)
        entered = self._entered.get(run.trace.id, {})
        entered.setdefault(_phase(after), fact.at)
        if after is Stage.QUEUED:
            self._queue(run, runs)
        if after is Stage.DONE:
            self._entered.pop(run.trace.id, None)
            self._queued.pop(run.trace.id, None)
            if _tells_end(run, entered):
                yield _span(run.trace, "cleanup", entered.get("cleanup", fact.at), fact.at)

    def close(self, now: datetime, runs: Mapping[str, Run]) -> Iterator[Span]:
        """Yield the spans of what this process will not bring to its end."""
        for run in runs.values():
            entered = self._entered.get(run.trace.id, {})
            if run.stage is Stage.DECIDED and "cleanup" in entered and _tells_end(run, entered):
                yield _span(run.trace, "cleanup", entered["cleanup"], now)

    def _queue(self, run: Run, runs: Mapping[str, Run]) -> None:
        """Remember which gate it waits for: the link is the only way from one trace to the other."""
        for other in runs.values():
            if other is not run and other.holds_canary and other.replica_set == run.replica_set:
                self._queued[run.trace.id] = other.trace.id, other.trace.span(ROOT)
                return


def _tells_end(run: Run, entered: Mapping[str, datetime]) -> bool:
    """Tell whether the end is this process's to tell: that of its verdict, or of one that it came to find."""
    return run.concluded or entered.keys() <= {"ledger", "cleanup"}


def _phase(stage: Stage) -> str:
    """Return the top-level span of a stage; what waits for another gate is part of the proof."""
    return "proof" if stage is Stage.QUEUED else SPANS[stage]


def gate_spans(
    run: Run,
    verdict: Verdict,
    entered: Mapping[str, datetime],
    at: datetime,
    waited_for: tuple[str, str] | None,
) -> Iterator[Span]:
    """Yield the gate's span and those of its stages, which lie end to end from its begin to the verdict."""
    trace = run.trace
    start, created = _began(run, entered)
    marks = _marks(run, entered, min(start, at), created, at)
    links = ((waited_for,) if waited_for else ()) + _earlier(run)
    yield Span(
        trace_id=trace.id,
        span_id=trace.span(ROOT),
        parent="",
        name=f"chaos_gate {run.spec.kind}",
        start=min(start, at),
        end=at,
        attributes=_attributes(run, verdict),
        events=(Event("taken over by another process", run.started_at, {}),) if run.restored else (),
        links=links,
        error=verdict.message if verdict.phase is Phase.ERROR else "",
    )
    for (name, begin), (_, end) in zip(marks, [*marks[1:], ("", at)], strict=True):
        yield _span(trace, name, begin, end, events=_records(run) if name == "observe" else ())
        yield from _within(run, name, begin, end)


def _began(run: Run, entered: Mapping[str, datetime]) -> tuple[datetime, datetime | None]:
    """Return when the gate began, and its create: as seen, as noted by an earlier process, or as recorded."""
    if not run.restored:
        return run.started_at, entered.get("create")
    start, created = run.begun_at or run.started_at, entered.get("create")
    if created is None and run.experiment is not None:
        metadata = run.experiment.metadata
        noted = _moments(metadata.annotation(TRACE_TIMES) or "")
        if noted is not None:
            return noted
        if metadata.creation_timestamp is not None:
            created = metadata.creation_timestamp - run.offset
    return start, created


def _moments(text: str) -> tuple[datetime, datetime] | None:
    try:
        first, second = map(datetime.fromisoformat, text.split("/"))
    except ValueError:
        return None
    return (first, second) if first.tzinfo and second.tzinfo else None


def _marks(
    run: Run, entered: Mapping[str, datetime], start: datetime, created: datetime | None, at: datetime
) -> list[tuple[str, datetime]]:
    """Return when each stage began, in order.

    Where an earlier process has gone part of the way, every stage is told, by what the cluster has recorded:
    requests of that process may have named it as their parent.
    """
    if not run.restored:
        return [(name, entered[name]) for name in _ORDER if name in entered]
    ended = entered.get("recover")
    if ended is None and run.fault and run.fault.ended_at:
        ended = run.fault.ended_at - run.offset
    created = min(max(created or start, start), at)
    ended = min(max(ended or at, created), at)
    return list(zip(_ORDER, (start, start, created, created, ended), strict=True))


def _within(run: Run, name: str, begin: datetime, end: datetime) -> Iterator[Span]:
    """Yield the parts of a stage."""
    trace = run.trace

    def part(what: str, start: datetime, stop: datetime, **attributes: Value) -> Span:
        start = min(max(start, begin), end)
        stop = min(max(stop, start), end)
        return _span(trace, what, start, stop, parent=name, attributes=attributes)

    if name == "proof" and run.rules.enabled:
        yield part("steady_state before", begin, run.ready_at or end)
    if name == "observe" and run.fault is not None:
        injected = _injected_at(run)
        counts = {"chaos.targets.count": len(run.fault.targets), "chaos.targets.injected": run.fault.injected}
        yield part("inject", begin, injected or end, **counts)
        if run.rules.enabled:
            yield part("steady_state during", injected or begin, end)
    if name == "recover" and run.rules.enabled:
        yield part("steady_state after", begin, end)


def _injected_at(run: Run) -> datetime | None:
    """When all targets were hit: as seen, or, where an earlier process may have seen it, as recorded."""
    if not run.restored or run.experiment is None:
        return run.injected_at
    times = [
        event.timestamp
        for record in run.experiment.status.experiment.container_records or ()
        for event in record.events or ()
        if event.timestamp and event.operation == "Apply" and event.type == "Succeeded"
    ]
    return max(times) - run.offset if times else run.injected_at


def _records(run: Run) -> tuple[Event, ...]:
    """What Chaos Mesh has done to each target, in its own words."""
    if run.experiment is None:
        return ()
    redactor = Redactor.of(run.spec.secrets)
    found = [
        Event(
            f"{event.operation} {event.type}",
            event.timestamp - run.offset,
            {
                "k8s.pod.name": _pod(record),
                "chaos.target": record.id[:_MAX_TEXT],
                "message": redactor.text(event.message, _MAX_TEXT),
            },
        )
        for record in run.experiment.status.experiment.container_records or ()
        for event in record.events or ()
        if event.timestamp is not None
    ]
    return tuple(sorted(found, key=lambda event: event.at)[:_MAX_EVENTS])


def _pod(record: Record) -> str:
    parts = record.id.split("/")
    return parts[1] if len(parts) > 1 else record.id


def _attributes(run: Run, verdict: Verdict) -> dict[str, Value]:
    spec = run.spec
    metadata = spec.analysis_run.metadata
    figures: dict[str, Any] = json.loads(verdict.value) if verdict.value else {}
    attributes: dict[str, Value] = {
        "k8s.namespace.name": metadata.namespace,
        "k8s.replicaset.name": run.replica_set_name,
        "rollouts.rollout.name": run.rollout_name or rollout_of(spec.analysis_run),
        "rollouts.analysis_run.name": metadata.name,
        "rollouts.analysis_run.uid": metadata.uid,
        "rollouts.metric.name": spec.identity.metric,
        "chaos.engine": "chaos-mesh",
        "chaos.kind": spec.kind,
        "chaos.experiment.name": f"{spec.namespace}/{spec.name}",
        "chaos.run": spec.id,
        "chaos.verdict": verdict.phase.value.lower(),
        "chaos.reason": verdict.reason.value,
        "chaos.message": verdict.message,
        "chaos.restored": run.restored,
        "cicd.pipeline.task.name": spec.identity.metric,
        "cicd.pipeline.task.type": "test",
        "cicd.pipeline.task.run.id": spec.id,
        "cicd.pipeline.task.run.result": _RESULTS[verdict.phase],
    }
    for key, name in _FIGURES.items():
        number = figures.get(key)
        if isinstance(number, int | float):
            attributes[name] = number
    action = run.experiment.spec.get("action") if run.experiment else None
    if isinstance(action, str):
        attributes["chaos.action"] = action
    if verdict.phase is Phase.ERROR:
        attributes["error.type"] = verdict.reason.value
    return attributes


_RESULTS = {
    Phase.SUCCESSFUL: "success",
    Phase.FAILED: "failure",
    Phase.INCONCLUSIVE: "cancellation",
    Phase.ERROR: "error",
}
_FIGURES = {
    "targets": "chaos.targets.count",
    "injected": "chaos.targets.injected",
    "recovered": "chaos.targets.recovered",
    "minReady": "chaos.ready.min",
    "restarts": "chaos.restarts",
    "recoverySeconds": "chaos.recovery.seconds",
}


def _earlier(run: Run) -> tuple[tuple[str, str], ...]:
    """Link a try after an Error to the try before it."""
    if run.errors == 0:
        return ()
    before = trace_of(run.spec.identity, run.errors - 1)
    return ((before.id, before.span(ROOT)),)


def _span(
    trace: Trace,
    name: str,
    start: datetime,
    end: datetime,
    *,
    parent: str = ROOT,
    events: tuple[Event, ...] = (),
    attributes: Mapping[str, Value] | None = None,
) -> Span:
    return Span(
        trace_id=trace.id,
        span_id=trace.span(name),
        parent=trace.span(parent),
        name=name,
        start=start,
        end=max(start, end),
        events=events,
        attributes=attributes or {},
    )
