"""One measurement with all that bears on it, as the history tells it."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from chaosplugin.sandbox.api.resources import REPLICA_SETS, Object
from chaosplugin.sandbox.chaosmesh.experiment import PAUSE
from tests.soak.history import History, Place, Span, Trace, spans, within, without
from tests.soak.plan import KINDS, Deed, Form, Kind, Metric, Plan

LAG = 1.5
"""Seconds that a change may take to be acted upon, on a busy machine."""

HASH = "rollouts-pod-template-hash"
_PAUSED = "gcr.io/google-containers/pause"


@dataclass(slots=True)
class Case:
    """One measurement, with all that bears on it."""

    plan: Plan
    metric: Metric
    place: Place
    history: History
    run: Trace
    measurement: Object
    experiment: Trace | None
    seen_at: float
    """when the verdict first stood in the AnalysisRun's status"""

    @property
    def phase(self) -> str:
        return str(self.measurement["phase"])

    @property
    def reason(self) -> str:
        text = str(self.measurement.get("message", ""))
        return re.sub("^failed to [a-z]+ via plugin: ", "", text).partition(":")[0]

    @property
    def kind(self) -> Kind:
        return KINDS[self.metric.kind]

    @property
    def began(self) -> float:
        text = self.measurement.get("startedAt")  # of an Error in a call the controller says no beginning
        return _seconds(text) if text else self.run.born

    @property
    def decided(self) -> float:
        """The second that the verdict names: it was made within the one after it."""
        return _seconds(self.measurement["finishedAt"])

    @property
    def latest(self) -> float:
        return min(self.seen_at, self.decided + 1.0)

    # -- the canary

    @property
    def replica_set(self) -> Trace | None:
        value = self.run.last["metadata"]["labels"].get(HASH)
        sets = self.place.traces[REPLICA_SETS].values()
        return next((each for each in sets if each.last["metadata"]["labels"].get(HASH) == value), None)

    @property
    def pods(self) -> dict[str, Trace]:
        owner = self.replica_set
        if owner is None:
            return {}
        uid = owner.last["metadata"]["uid"]
        return {key: pod for key, pod in self.place.pods.items() if _controller(pod.last) == uid}

    def canary(self, time: float) -> list[Object]:
        return [found for pod in self.pods.values() if (found := pod.at(time)) is not None]

    def wanted(self, time: float) -> int:
        found = self.replica_set.at(time) if self.replica_set else None
        return int(found["spec"].get("replicas", 1)) if found else 0

    def ready(self, time: float, spared: frozenset[str] = frozenset()) -> int:
        return sum(_ready(pod) and pod["metadata"]["name"] not in spared for pod in self.canary(time))

    def full(self, time: float) -> bool:
        pods = [pod for pod in self.canary(time) if "deletionTimestamp" not in pod["metadata"]]
        return len(pods) >= max(1, self.wanted(time)) and all(map(_ready, pods))

    # -- the fault

    @property
    def created(self) -> float:
        return self.experiment.born if self.experiment else self.began

    @property
    def due(self) -> float:
        """Until when the fault has to be over."""
        assert self.experiment is not None
        return _seconds(self.experiment.last["metadata"]["creationTimestamp"]) + self.metric.timeout

    @property
    def faults(self) -> list[Trace]:
        """The experiment, or what it has spawned."""
        return self.place.faults(self.experiment) if self.experiment else []

    @property
    def hit(self) -> frozenset[str]:
        """Names of pods that a record names, at any time."""
        return frozenset(name for fault in self.faults for name in names_of(fault))

    @property
    def struck(self) -> Counter[str]:
        """Names of pods that records say to have been hit, and how many faults say so."""
        return Counter(name for fault in self.faults for name in names_of(fault, struck=True))

    @property
    def paused(self) -> frozenset[str]:
        """Names of pods that really were down, whatever the records say."""
        return frozenset(
            pod.name for pod in self.pods.values() if any(_has_pause_image(state) for _, state in pod.states)
        )

    @property
    def counted(self) -> list[Trace]:
        """The faults that count: not what a Schedule fires and its end cuts off, nor what selects nothing."""
        if self.metric.form is not Form.SCHEDULE:
            return self.faults
        end = self.stopped
        return [
            fault
            for fault in self.faults
            if fault.first(records_of)
            and (fault.first(injected) or end is None or (fault.gone is not None and fault.gone < end))
        ]

    @property
    def stopped(self) -> float | None:
        """When what spawns had come to its end."""
        return self.experiment.first(_spawns_no_more) if self.experiment else None

    @property
    def missed(self) -> list[Object]:
        """Records of targets that were not hit when the verdict was made; empty ones for missing faults."""
        due = 2 if self.metric.form is Form.WORKFLOW else 1
        nothing: list[Object] = [{}]
        found = nothing * max(0, due - len(self.counted))
        for fault in self.counted:
            found += records_of(fault.until(self.latest)) or nothing
        return [record for record in found if not record.get("injectedCount")]

    @property
    def hit_until(self) -> float | None:
        """When the last fault was over: by its records, whose writing may have taken long."""
        told = [time for fault in self.counted for time in _told_ends(fault, lasting=self.kind.lasting)]
        return max(told, default=self._last)

    @property
    def _last(self) -> float | None:
        ends = [self.end_of(fault) for fault in self.counted]
        return max((end for end in ends if end is not None), default=None) if None not in ends else None

    @property
    def over(self) -> float | None:
        """When it was seen to be over, all targets having been hit, and no other fault was to come."""
        last, end = self._last, self.stopped
        if self.metric.form is Form.PLAIN or last is None:
            return last
        return None if end is None else max(last, end)

    def end_of(self, fault: Trace) -> float | None:
        """When one fault was over; a Workflow deletes it then, whatever it has hit."""
        holds = recovered if self.kind.lasting else injected
        found = fault.first(holds)
        return found if found is not None or self.metric.form is Form.PLAIN else fault.gone

    @property
    def base(self) -> int:
        """How many pods were Ready before: as the create went out, not as it came."""
        before = [
            self.ready(time) for time in within(self.created - LAG, self.created, [*self.pods.values()])
        ]
        return max(before)

    def breached(self, time: float) -> bool:
        """Whether the canary is worse than the fault alone makes it."""
        return self._worse(time, self.spared(time))

    def surely_breached(self, time: float) -> bool:
        """The same, where each of many faults excuses whom it has hit for as long as it may at all."""
        return self._worse(time, self.spared(time, for_s=self.metric.recover_within + LAG))

    def _worse(self, time: float, spared: frozenset[str]) -> bool:
        base = min(self.base, self.wanted(time))
        return self.ready(time, spared) < base - len(spared) or self.restarts(time) > 0

    def spared(self, time: float, *, for_s: float | None = None) -> frozenset[str]:
        """Names of pods that need not be Ready: those hit; where faults come and go, by one on or just over.

        `for_s`: how long after its end; None is until the canary was back.
        """
        if not self.kind.takes_down:
            return frozenset()
        if self.metric.form is Form.PLAIN:
            return self.hit
        found: set[str] = set()
        for fault in self.faults:
            end = self.end_of(fault)
            if end is not None and for_s is None:
                back = self.spans(end, end + self.metric.recover_within, self.back)
                until = (back[0][0] if back else end + self.metric.recover_within) + LAG
            else:
                until = time + 1 if end is None else end + (for_s or 0.0)
            if fault.born <= time <= until:
                found |= names_of(fault)
        return frozenset(found)

    def restarts(self, time: float) -> int:
        """Restarts of containers beyond those by the faults themselves."""
        before = {pod["metadata"]["uid"]: _restarts(pod) for pod in self.canary(self.created)}
        hits = self.struck
        excess = 0
        for pod in self.canary(time):
            caused = self.kind.restarts * hits[pod["metadata"]["name"]]
            excess += max(0, _restarts(pod) - before.get(pod["metadata"]["uid"], 0) - caused)
        return excess

    def back(self, time: float) -> bool:
        return self.ready(time) >= min(self.base, self.wanted(time))

    # -- the circumstances

    def done(self, *deeds: Deed, until: float | None = None) -> bool:
        limit = self.seen_at if until is None else until
        return any(time <= limit and deed in set(deeds) for time, deed in self.place.deeds)

    def troubled(self, *words: str) -> list[Span]:
        return self.history.troubles(self.began - LAG, self.seen_at, *words)

    def spans(self, begin: float, end: float, holds: Callable[[float], bool]) -> list[Span]:
        traces = [*self.pods.values(), *([self.replica_set] if self.replica_set else ())]
        return spans(begin, end, traces, holds)

    def visible(
        self, begin: float, end: float, holds: Callable[[float], bool], at_least: float = LAG
    ) -> bool:
        """Whether it was so for long enough to be seen by whoever could see."""
        blind = self.troubled()
        return any(without(span, blind) > at_least for span in self.spans(begin, end, holds))


# -- measurements and their experiments


def cases_of(plan: Plan, metric: Metric, place: Place, history: History, run: Trace) -> list[Case]:
    made = [
        each for each in of_run(place, run.last["metadata"]["uid"]) if each.name.startswith(metric.template)
    ]
    found: list[Case] = []
    counted = 0
    for index, measurement in enumerate(measurements(run.last, metric.name)):
        if not measurement.get("finishedAt") or _of_another(measurement, run):
            continue
        later = [each for each in made[counted:] if each.born < _seconds(measurement["finishedAt"]) + 1]
        experiment = later[0] if later else None
        seen = run.first(partial(_stores, metric.name, index, measurement))
        found.append(
            Case(
                plan,
                metric,
                place,
                history,
                run,
                measurement,
                experiment,
                seen if seen is not None else run.born,
            )
        )
        if measurement["phase"] != "Error" and experiment is not None:
            counted += 1
    return found


def _of_another(measurement: Object, run: Trace) -> bool:
    """Argo writes by name: what it made of a run that was just deleted lands on that one's successor."""
    began = measurement.get("startedAt")
    return began is not None and _seconds(began) < run.born - 1.5


def _stores(metric: str, index: int, measurement: Object, run: Object) -> bool:
    """Whether a measurement stands there; another's may have before it."""
    found, facts = measurements(run, metric), ("phase", "finishedAt", "message")
    return len(found) > index and all(found[index].get(each) == measurement.get(each) for each in facts)


def measurements(run: Object, metric: str) -> list[Object]:
    results = (run.get("status") or {}).get("metricResults") or ()
    return next((list(each.get("measurements") or ()) for each in results if each["name"] == metric), [])


def of_run(place: Place, uid: str) -> list[Trace]:
    return [trace for trace in place.experiments if owner(trace.last) == uid]


def owner(obj: Object) -> str:
    return next((str(each["uid"]) for each in obj["metadata"].get("ownerReferences") or ()), "")


def _controller(obj: Object) -> str:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((str(each["uid"]) for each in owners if each.get("controller")), "")


def records_of(experiment: Object) -> list[Object]:
    status = (experiment.get("status") or {}).get("experiment") or {}
    return [each for each in status.get("containerRecords") or () if each["selectorKey"] == "."]


def names_of(fault: Trace, *, struck: bool = False) -> frozenset[str]:
    """Names of pods that its records name at any time, or of those only that were hit."""
    records = (record for _, state in fault.states for record in records_of(state))
    return frozenset(each["id"].split("/")[1] for each in records if each.get("injectedCount") or not struck)


def _told_ends(fault: Trace, *, lasting: bool) -> list[float]:
    """When its targets recovered, or were hit by what is over then, as their records tell."""
    last = "Recover" if lasting else "Apply"
    events = (event for record in records_of(fault.last) for event in record.get("events") or ())
    return [
        _seconds(each["timestamp"])
        for each in events
        if (each["type"], each["operation"]) == ("Succeeded", last)
    ]


def _spawns_no_more(parent: Object) -> bool:
    """A Schedule that is paused, a Workflow that has ended."""
    if parent["kind"] == "Schedule":
        return (parent["metadata"].get("annotations") or {}).get(PAUSE) == "true"
    known = (parent.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Accomplished" and each["status"] == "True" for each in known)


def injected(experiment: Object) -> bool:
    found = records_of(experiment)
    return bool(found) and all(each.get("injectedCount") for each in found)


def recovered(experiment: Object) -> bool:
    return injected(experiment) and all(each["phase"] == "Not Injected" for each in records_of(experiment))


def lasting(experiment: Object) -> bool:
    return bool(experiment["spec"].get("action") != "pod-kill")


def is_on(record: Object) -> bool:
    return str(record["phase"]).startswith("Injected")


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    up = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return up and "deletionTimestamp" not in pod["metadata"]


def _has_pause_image(pod: Object) -> bool:
    return any(each["image"].startswith(_PAUSED) for each in pod["spec"]["containers"])


def _restarts(pod: Object) -> int:
    return sum(each["restartCount"] for each in (pod.get("status") or {}).get("containerStatuses") or ())


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
