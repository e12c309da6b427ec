"""All that happens in the cluster, as its store tells it: nothing is forgotten before it is judged."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    CHAOS_KINDS,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SCHEDULES,
    WORKFLOW_NODES,
    WORKFLOWS,
    Object,
    Resource,
)
from chaosplugin.sandbox.api.store import Change, Store

Span = tuple[float, float]

_SPAWN = (SCHEDULES, WORKFLOWS)
_FOLLOWED = (PODS, REPLICA_SETS, ROLLOUTS, ANALYSIS_RUNS, *CHAOS_KINDS, *_SPAWN, WORKFLOW_NODES)
_SPAWNED_BY = ("managed-by", "chaos-mesh.org/workflow")
"""Labels by which Chaos Mesh tells what has spawned an object: a Schedule, a Workflow."""


@dataclass(slots=True)
class Trace:
    """One object from its creation to its end, at every time between."""

    name: str
    born: float
    states: list[tuple[float, Object]] = field(default_factory=list)
    gone: float | None = None

    @property
    def last(self) -> Object:
        return self.states[-1][1]

    def at(self, time: float) -> Object | None:
        """Return the object as it was then; None where there was none."""
        if time < self.born or (self.gone is not None and time >= self.gone):
            return None
        found = self.states[0][1]
        for since, state in self.states:
            if since > time:
                break
            found = state
        return found

    def until(self, time: float) -> Object:
        """Return the last state up to then; the first where there was none."""
        return next((state for since, state in reversed(self.states) if since <= time), self.states[0][1])

    def first(self, holds: Callable[[Object], object], after: float = 0.0) -> float | None:
        """Return the first time when it was so."""
        return next((since for since, state in self.states if since >= after and holds(state)), None)


def _spawner(trace: Trace) -> str:
    labels = trace.last["metadata"].get("labels") or {}
    return next((str(labels[key]) for key in _SPAWNED_BY if key in labels), "")


class Place:
    """One namespace: traces by uid, and whatever was done there by hand."""

    def __init__(self) -> None:
        self.traces: dict[Resource, dict[str, Trace]] = {each: {} for each in _FOLLOWED}
        self.deeds: list[tuple[float, str]] = []

    def live(self, resource: Resource) -> list[Object]:
        return [trace.last for trace in self.traces[resource].values() if trace.gone is None]

    @property
    def pods(self) -> dict[str, Trace]:
        return self.traces[PODS]

    @property
    def runs(self) -> dict[str, Trace]:
        return self.traces[ANALYSIS_RUNS]

    @property
    def experiments(self) -> Iterator[Trace]:
        """Those of the gates, of all kinds, in the order of their creation."""
        found = [trace for kind in (*CHAOS_KINDS, *_SPAWN) for trace in self.traces[kind].values()]
        return iter(sorted((each for each in found if not _spawner(each)), key=lambda each: each.born))

    def faults(self, experiment: Trace) -> list[Trace]:
        """What it does itself, or what it has spawned."""
        if experiment.last["kind"] not in {each.kind for each in _SPAWN}:
            return [experiment]
        found = [trace for kind in CHAOS_KINDS for trace in self.traces[kind].values()]
        own = [each for each in found if _spawner(each) == experiment.name]
        return sorted(own, key=lambda trace: trace.born)

    @property
    def orphans(self) -> list[Object]:
        """What was spawned, and is there still although that which has spawned it is not."""
        there = {trace.name for kind in _SPAWN for trace in self.traces[kind].values() if trace.gone is None}
        spawned = [trace for kind in (*CHAOS_KINDS, WORKFLOW_NODES) for trace in self.traces[kind].values()]
        left = [each for each in spawned if each.gone is None and _spawner(each)]
        return [each.last for each in left if _spawner(each) not in there]

    def rollout(self) -> Object | None:
        return next(iter(self.live(ROLLOUTS)), None)


class History:
    """The places, and the spans in which the plugin may have been blind, deaf or dead."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self.now = now
        self.places: defaultdict[str, Place] = defaultdict(Place)
        self.troubled: list[tuple[float, float, str]] = []
        for resource in _FOLLOWED:
            store.listen(self._hear, resource)

    def _hear(self, change: Change) -> None:
        stored = change.stored
        traces = self.places[stored.namespace].traces[stored.resource]
        now = self.now()
        if change.type == "ADDED":
            traces[stored.uid] = Trace(stored.name, now)
        trace = traces.get(stored.uid)
        if trace is None:  # of a place that was judged
            return
        if change.type == "DELETED":
            trace.gone = now
        else:
            trace.states.append((now, stored.object))

    def trouble(self, begin: float, end: float, what: str) -> None:
        self.troubled.append((begin, end, what))

    @contextmanager
    def troubling(self, what: str, more: float) -> Iterator[None]:
        """Note trouble from now until so many seconds after the block; who judges meanwhile knows of it."""
        begin, number = self.now(), len(self.troubled)
        self.troubled.append((begin, inf, what))
        try:
            yield
        finally:
            self.troubled[number] = (begin, self.now() + more, what)

    def troubles(self, begin: float, end: float, *words: str) -> list[Span]:
        """Return the spans of trouble (of a sort whose name holds one of the words) that touch this one."""
        return [
            (since, until)
            for since, until, what in self.troubled
            if since < end and until > begin and (not words or any(word in what for word in words))
        ]


def within(begin: float, end: float, traces: list[Trace]) -> list[float]:
    """Return the times from `begin` to `end` at which one of the objects changed, and `begin` itself."""
    times = {begin}
    for trace in traces:
        changes = [trace.born, *(since for since, _ in trace.states)]
        if trace.gone is not None:
            changes.append(trace.gone)
        times.update(time for time in changes if begin < time <= end)
    return sorted(times)


def spans(begin: float, end: float, traces: list[Trace], holds: Callable[[float], bool]) -> list[Span]:
    """Return the spans in which it was so."""
    found: list[Span] = []
    times = [*within(begin, end, traces), end]
    for since, until in pairwise(times):
        if holds(since):
            if found and found[-1][1] == since:
                found[-1] = (found[-1][0], until)
            else:
                found.append((since, until))
    return found


def without(span: Span, others: list[Span]) -> float:
    """Return the longest part of a span, in seconds, that none of the others covers."""
    parts = [span]
    for begin, end in others:
        parts = [
            piece
            for since, until in parts
            for piece in ((since, min(until, begin)), (max(since, end), until))
            if piece[0] < piece[1]
        ]
    return max((until - since for since, until in parts), default=0.0)


def story(place: Place, troubled: list[tuple[float, float, str]]) -> Iterator[str]:
    """Tell all that happened in a place, line by line, for whoever has to find out why."""
    told: list[tuple[float, str]] = [(time, f"DEED {deed}") for time, deed in place.deeds]
    for resource, traces in place.traces.items():
        for trace in traces.values():
            told += [
                (since, f"{resource.kind} {trace.name} {_brief(state)}") for since, state in trace.states
            ]
            if trace.gone is not None:
                told.append((trace.gone, f"{resource.kind} {trace.name} GONE"))
    first = min((time for time, _ in told), default=0.0)
    for begin, end, what in troubled:
        if end > first:
            told += [(begin, f"TROUBLE {what}"), (end, f"TROUBLE over: {what}")]
    for time, line in sorted(told):
        yield f"{time - first:8.3f} {line}"


def _brief(obj: Object) -> str:
    metadata, status = obj["metadata"], obj.get("status") or {}
    words = ["deleting"] if "deletionTimestamp" in metadata else []
    match obj["kind"]:
        case "Pod":
            words += [
                f"{each['image']} {each['ready']} {each['restartCount']}" for each in _containers(status)
            ]
        case "ReplicaSet":
            words.append(f"wants {obj['spec'].get('replicas')}, has {status.get('readyReplicas')}")
        case "Rollout":
            words.append(f"{status.get('phase')} {status.get('currentPodHash')} {status.get('message', '')}")
        case "AnalysisRun":
            results = status.get("metricResults") or ()
            told = [
                (m["phase"], m.get("message")) for each in results for m in each.get("measurements") or ()
            ]
            notes = sorted(each for each in metadata.get("annotations") or {} if "chaosplugin" in each)
            words.append(f"{status.get('phase')} {obj['spec'].get('terminate', '')} {told} {notes}")
        case "Schedule" | "Workflow" | "WorkflowNode":
            true = [each["type"] for each in status.get("conditions") or () if each["status"] == "True"]
            words.append(f"{sorted(metadata.get('annotations') or ())} {true}")
        case _:
            experiment = status.get("experiment") or {}
            records = [f"{r['id']} {r['phase']}" for r in experiment.get("containerRecords") or ()]
            words.append(f"{experiment.get('desiredPhase')} {records}")
    return " ".join(words)


def _containers(status: Object) -> list[Object]:
    return status.get("containerStatuses") or []
