"""Counts the facts, for Prometheus.

No label holds what grows without bound: no AnalysisRun, experiment, pod, hash or free text. Namespace and
Rollout are as many as the cluster has; beyond MAX_SETS of their combinations all further ones are counted
as one, named `other`. All in all there are at most 20,000 series.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from chaosplugin.core import delivery
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Delete, Failed
from chaosplugin.core.progress import Concluded, Progress, Transition
from chaosplugin.core.run import Run, Stage
from chaosplugin.core.verdict import Reason, Verdict
from chaosplugin.provider.facts import (
    Called,
    Fact,
    Performed,
    Pulse,
    Refused,
    Requested,
    Swept,
    WatchBegan,
    WatchCut,
    WatchEnded,
)
from chaosplugin.telemetry.families import Families
from chaosplugin.telemetry.naming import request_name, rollout_of

_ENDS: Final = (Phase.SUCCESSFUL, Phase.FAILED, Phase.INCONCLUSIVE, Phase.ERROR)

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

MAX_SETS: Final = 15_000
MAX_PLACES: Final = 600  # that tell when their last gate ended; four verdicts each
_OTHER: Final = "other"
_UNKNOWN: Final = "unknown"
_LAYERS: Final = ("goplugin",)
_FROM_ZERO: Final = [reason for reason in Reason if reason.phase in {Phase.SUCCESSFUL, Phase.FAILED}]
"""Counters that exist, as 0, from the begin of a gate: the first failure of a Rollout must be an increase.
So must the first warning of a layer, and what else an alert asks for."""

Exemplar = dict[str, str] | None


class Metrics:
    """An observer; `collect` brings up to date what is not counted but looked at."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        runs: Callable[[], Mapping[str, Run]],
    ) -> None:
        self.families = Families()
        self.runs = runs
        """the gates that there are"""
        self._clock = clock
        self._monotonic = monotonic
        self._pulses: set[Pulse] = set()
        self._stuck = 0
        self._sets: set[tuple[str, ...]] = set()
        self._places: set[tuple[str, str]] = set()
        self._calls: dict[tuple[str, Phase | None], tuple[Counter, Histogram]] = {}
        self._longest_lag = 0.0
        for layer in _LAYERS:
            self.families.protocol_errors.labels(layer)
        for result in ("exported", "failed", "dropped"):
            self.families.spans.labels(result)
        self.families.cleanups.labels("failed", "finish")
        self.families.gate_seconds.labels(_UNKNOWN, Phase.ERROR.value.lower())

    def observe(self, fact: Fact) -> None:
        match fact:
            case Called():
                self._called(fact)
            case Requested():
                verb, resource = request_name(fact)
                self.families.requests.labels(verb, resource, str(fact.status or "none")).inc()
                self.families.request_seconds.labels(verb, resource).observe(fact.seconds)
            case Transition() | Concluded():
                self._went_on(fact)
            case Refused():
                self._refused(fact)
            case Performed(command=Delete(), outcome=Failed()):
                self.families.cleanups.labels("failed", "finish").inc()
            case WatchBegan(pulse):
                self._pulses.add(pulse)
                self.families.streams.labels(pulse.resource).inc()
            case WatchEnded(pulse):
                self._pulses.discard(pulse)
                self.families.streams.labels(pulse.resource).dec()
            case WatchCut(pulse, reason):
                self.families.cuts.labels(pulse.resource, reason).inc()
            case Swept():
                self._stuck = fact.stuck
                self.families.cleanups.labels("deleted", "sweep").inc(fact.deleted)
            case _:
                pass

    def warned(self, layer: str) -> None:
        """Count a warning of the transport."""
        self.families.protocol_errors.labels(layer).inc()

    def exported(self, result: str, count: int) -> None:
        """Count spans: exported, failed or dropped."""
        self.families.spans.labels(result).inc(count)

    def stalled(self, seconds: float) -> None:
        """Remember the longest stall."""
        self._longest_lag = max(self._longest_lag, seconds)

    def collect(self) -> None:
        """Look at what is there now."""
        now = self._clock()
        self.families.lag.set(self._longest_lag)
        self._longest_lag = 0.0
        self.families.active.clear()
        self.families.oldest.clear()
        oldest: dict[tuple[str, str, str], float] = {}
        stuck = 0
        for run in self.runs().values():
            if run.stage is Stage.DONE:
                continue
            labels = (run.spec.namespace, run.spec.kind, run.stage.value)
            self.families.active.labels(*labels).inc()
            began = (run.begun_at or run.started_at).timestamp()
            oldest[labels] = min(began, oldest.get(labels, began))
            stuck += bool(delivery.stuck(run, now))
        for labels, began in oldest.items():
            self.families.oldest.labels(*labels).set(began)
        self.families.leftover.set(self._stuck + stuck)
        self.families.heard.clear()
        ages: dict[str, float] = {}
        for pulse in self._pulses:
            age = self._monotonic() - pulse.heard_at
            ages[pulse.resource] = max(age, ages.get(pulse.resource, 0.0))
        for resource, age in ages.items():
            self.families.heard.labels(resource).set(now.timestamp() - age)

    # -- facts

    def _called(self, fact: Called) -> None:
        key = (fact.method, fact.phase)
        known = self._calls.get(key)
        if known is None:
            result = fact.phase.value.lower() if fact.phase else "done"
            known = (
                self.families.rpcs.labels(fact.method, result),
                self.families.rpc_seconds.labels(fact.method),
            )
            self._calls[key] = known
        known[0].inc()
        known[1].observe(fact.seconds)

    def _went_on(self, fact: Progress) -> None:
        run, verdict = fact.run, fact.run.verdict
        if isinstance(fact, Concluded):
            self._concluded(run)
            return
        if fact.before is Stage.RESTORING:
            self._begun(run)
            if run.restored:
                self.families.adoptions.labels(_adopted(run, fact.after)).inc()
        if verdict is not None and fact.after is Stage.DONE and run.create_sent and run.concluded:
            trigger = "terminate" if verdict.reason is Reason.TERMINATED else "finish"
            self.families.cleanups.labels("kept" if run.kept else "deleted", trigger).inc()

    def _concluded(self, run: Run) -> None:
        spec, verdict, at = run.spec, run.verdict, run.decided_at
        if verdict is None or at is None:
            return
        for stage, result in _checks(run, verdict.reason):
            self.families.checks.labels(stage, result).inc()
        exemplar = {"trace_id": run.trace.id} if run.sampled else None
        place = _place(run)
        seconds = (at - (run.begun_at if run.restored and run.begun_at else run.started_at)).total_seconds()
        self._ended(place, spec.kind, verdict.phase, verdict.reason, max(0.0, seconds), at, exemplar)
        if run.fault is not None:
            count = len(run.fault.targets)
            for result, number in (
                ("injected", run.fault.injected),
                ("not_injected", count - run.fault.injected),
                ("recovered", run.fault.recovered),
            ):
                self.families.targets.labels(spec.kind, result).inc(number)
        if run.injected_at is not None and run.server_created_at is not None and not run.restored:
            took = (run.injected_at + run.offset - run.server_created_at).total_seconds()
            self.families.injection_seconds.labels(spec.kind).observe(max(0.0, took), exemplar)
        if verdict.reason is Reason.SURVIVED and run.rules.enabled:
            self.families.recovery_seconds.labels(spec.kind).observe(_recovery(verdict), exemplar)

    def _refused(self, fact: Refused) -> None:
        run = fact.analysis_run
        place = (run.metadata.namespace, rollout_of(run)) if run else ("", "")
        self._ended(place, _UNKNOWN, fact.reason.phase, fact.reason, 0.0, fact.at, None)

    def _ended(
        self,
        place: tuple[str, str],
        kind: str,
        phase: Phase,
        reason: Reason,
        seconds: float,
        at: datetime,
        exemplar: Exemplar,
    ) -> None:
        verdict = phase.value.lower()
        self._gates(place, kind, phase, reason).inc(1, exemplar)
        self.families.gate_seconds.labels(kind, verdict).observe(seconds, exemplar)
        if place not in self._places and len(self._places) >= MAX_PLACES:
            place = (_OTHER, _OTHER)
        self._places.add(place)
        self.families.last_completion.labels(*place, verdict).set(at.timestamp())

    def _begun(self, run: Run) -> None:
        for reason in _FROM_ZERO:
            self._gates(_place(run), run.spec.kind, reason.phase, reason)
        for phase in _ENDS:
            self.families.gate_seconds.labels(run.spec.kind, phase.value.lower())
        self.families.injection_seconds.labels(run.spec.kind)
        self.families.recovery_seconds.labels(run.spec.kind)

    def _gates(self, place: tuple[str, str], kind: str, phase: Phase, reason: Reason) -> "Counter":
        """Return the counter of these gates, or, beyond the bound, the one of all other places."""
        labels = (*place, kind, phase.value.lower(), reason.value)
        if labels not in self._sets:
            if len(self._sets) >= MAX_SETS:
                return self.families.gates.labels(_OTHER, _OTHER, *labels[2:])
            self._sets.add(labels)
        return self.families.gates.labels(*labels)


def _place(run: Run) -> tuple[str, str]:
    owner = run.spec.analysis_run
    return owner.metadata.namespace, run.rollout_name or rollout_of(owner)


def _adopted(run: Run, after: Stage) -> str:
    """Name what a process has found of a gate that another one had begun."""
    if after is not Stage.DECIDED:
        return "begun_anew" if after is Stage.PROVING else "resumed"
    return "verdict_found" if run.recorded else "lost"


def _checks(run: Run, reason: Reason) -> Iterable[tuple[str, str]]:
    """Say which steady states of a gate were settled, and how."""
    if not run.rules.enabled:
        return
    match run.decided_in, reason:
        case Stage.PROVING, Reason.NOT_STEADY:
            yield "before", "fail"
        case Stage.PROVING, Reason.NO_TARGETS:
            yield "before", "no_data"
        case ((Stage.CREATING | Stage.UNCERTAIN | Stage.OBSERVING | Stage.RECOVERING), _):
            yield "before", "pass"
        case _:
            pass
    if run.decided_in is Stage.OBSERVING and reason is Reason.STEADY_STATE_BROKEN:
        yield "during", "fail"
    if run.decided_in is Stage.RECOVERING:
        yield "during", "pass"
        if reason in _AFTER:
            yield "after", _AFTER[reason]


_AFTER: Final = {
    Reason.SURVIVED: "pass",
    Reason.CONDITION_NOT_MET: "pass",
    Reason.STEADY_STATE_BROKEN: "fail",
    Reason.UNOBSERVED: "no_data",
}
"""How the steady state after the fault was, by what a gate ended with that had got so far."""


def _recovery(verdict: Verdict) -> float:
    value: Any = json.loads(verdict.value)
    return float(value["recoverySeconds"])
