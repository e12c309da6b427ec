"""One measurement with all that bears on it, as the history tells it."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chaosplugin.sandbox.api.resources import REPLICA_SETS, Object
from tests.soak import objects
from tests.soak.history import History, Place, Span, Trace, spans, within, without
from tests.soak.plan import KINDS, WINDOW_S, Deed, Form, Kind, Metric, Plan

LAG = 1.5
"""Seconds that a change may take to be acted upon, on a busy machine."""

_ROUNDED = 2.0
"""Two of Kubernetes' times, which are whole seconds, may hide so many."""

HASH = "rollouts-pod-template-hash"
ARGOS_WORDS = "Metric Terminated"
"""What Argo writes over the message of a measurement that it has asked to end."""


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
        return objects.seconds(text) if text else self.run.born

    @property
    def decided(self) -> float:
        """The second that the verdict names: it was made within the one after it."""
        return objects.seconds(self.measurement["finishedAt"])

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
        return {key: pod for key, pod in self.place.pods.items() if objects.controller(pod.last) == uid}

    def canary(self, time: float) -> list[Object]:
        return [found for pod in self.pods.values() if (found := pod.at(time)) is not None]

    def wanted(self, time: float) -> int:
        found = self.replica_set.at(time) if self.replica_set else None
        return int(found["spec"].get("replicas", 1)) if found else 0

    def ready(self, time: float, spared: frozenset[str] = frozenset()) -> int:
        return sum(objects.ready(pod) and pod["metadata"]["name"] not in spared for pod in self.canary(time))

    def full(self, time: float) -> bool:
        pods = [pod for pod in self.canary(time) if "deletionTimestamp" not in pod["metadata"]]
        return len(pods) >= max(1, self.wanted(time)) and all(map(objects.ready, pods))

    # -- the fault

    @property
    def created(self) -> float:
        return self.experiment.born if self.experiment else self.began

    @property
    def due(self) -> float:
        """Until when the fault has to be over."""
        assert self.experiment is not None
        return objects.seconds(self.experiment.last["metadata"]["creationTimestamp"]) + self.metric.timeout

    @property
    def faults(self) -> list[Trace]:
        """The experiment, or what it has spawned."""
        return self.place.faults(self.experiment) if self.experiment else []

    @property
    def hit(self) -> frozenset[str]:
        """Names of pods that a record names, at any time."""
        return frozenset(name for fault in self.faults for name in objects.names_of(fault))

    @property
    def struck(self) -> Counter[str]:
        """Names of pods that records say to have been hit, and how many faults say so."""
        return Counter(name for fault in self.faults for name in objects.names_of(fault, struck=True))

    @property
    def paused(self) -> frozenset[str]:
        """Names of pods that really were down, whatever the records say."""
        return frozenset(
            pod.name
            for pod in self.pods.values()
            if any(objects.has_pause_image(state) for _, state in pod.states)
        )

    @property
    def counted(self) -> list[Trace]:
        """The faults that count: not what a Schedule's end cuts short, nor what selects nothing."""
        if self.metric.form is not Form.SCHEDULE or self.experiment is None:
            return self.faults
        end = None if self.stopped is None else self.experiment.born + WINDOW_S - _ROUNDED
        return [
            fault
            for fault in self.faults
            if fault.first(objects.records_of)
            and (fault.first(objects.injected) or end is None or objects.over_before(fault, end))
        ]

    @property
    def stopped(self) -> float | None:
        """When what spawns had come to its end."""
        return self.experiment.first(objects.spawns_no_more) if self.experiment else None

    @property
    def missed(self) -> list[Object]:
        """Records of targets that were not hit when the verdict was made; empty ones for missing faults."""
        due = 2 if self.metric.form is Form.WORKFLOW else 1
        nothing: list[Object] = [{}]
        found = nothing * max(0, due - len(self.counted))
        for fault in self.counted:
            found += objects.records_of(fault.until(self.latest)) or nothing
        return [record for record in found if not record.get("injectedCount")]

    @property
    def unhit(self) -> list[Object]:
        """The same of all faults, also of those cut short, and of targets that were hit just now."""
        nothing: list[Object] = [{}]
        lately = [objects.records_of(fault.until(self.decided - LAG)) or nothing for fault in self.faults]
        return [record for records in lately for record in records if not record.get("injectedCount")]

    @property
    def hit_until(self) -> float | None:
        """When the last fault was over: by its records, whose writing may have taken long."""
        told = [
            time for fault in self.counted for time in objects.told_ends(fault, lasting=self.kind.lasting)
        ]
        return max(told, default=self.healed)

    @property
    def healed(self) -> float | None:
        """When the last fault was over; that whatever spawned them is to end, too, is another matter."""
        ends = [self.end_of(fault) for fault in self.counted]
        return max((end for end in ends if end is not None), default=None) if None not in ends else None

    @property
    def over(self) -> float | None:
        """When it was seen to be over, all targets having been hit, and no other fault was to come."""
        last, end = self.healed, self.stopped
        if self.metric.form is Form.PLAIN or last is None:
            return last
        return None if end is None else max(last, end)

    def end_of(self, fault: Trace) -> float | None:
        """When one fault was over; a Workflow deletes it then, whatever it has hit."""
        holds = objects.recovered if self.kind.lasting else objects.injected
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
                found |= objects.names_of(fault)
        return frozenset(found)

    def restarts(self, time: float) -> int:
        """Restarts of containers beyond those by the faults themselves."""
        before = {pod["metadata"]["uid"]: objects.restarts(pod) for pod in self.canary(self.created)}
        hits = self.struck
        excess = 0
        for pod in self.canary(time):
            caused = self.kind.restarts * hits[pod["metadata"]["name"]]
            excess += max(0, objects.restarts(pod) - before.get(pod["metadata"]["uid"], 0) - caused)
        return excess

    def back(self, time: float) -> bool:
        return self.ready(time) >= min(self.base, self.wanted(time))

    # -- the circumstances

    def done(self, *deeds: Deed, ever: bool = False) -> bool:
        """Whether one of these was done to this analysis, or `ever`: what has begun it was done before it."""
        since = 0.0 if ever else self.run.born - (LAG if len(self.plan.acts) > 1 else 0.0)
        return any(since <= time <= self.seen_at and deed in deeds for time, deed in self.place.deeds)

    @property
    def fallen(self) -> list[str]:
        """Names of pods that tell, when the verdict is made, of not having been Ready while the fault was on.

        Of those that no fault has excused, and only where each other pod is wanted Ready and nobody scales.
        """
        if self.metric.form is not Form.PLAIN or self.over is None or self.scaled:
            return []
        spared = self.hit if self.kind.takes_down else frozenset()
        was, now = self.canary(self.created), self.canary(self.decided - LAG)
        before, there = objects.names(was), objects.names(now)
        if before <= spared:
            return []
        since, end = max(map(objects.ready_since, was)), self.hit_until or self.over  # in whole seconds
        told = objects.names(
            pod for pod in now if objects.ready(pod) and since < objects.ready_since(pod) < end
        )
        new = sorted(told - before)
        instead = len(new) if self.metric.kind == "pod-kill" else len(spared - there)
        return sorted(told & (before - spared)) + new[instead:]

    @property
    def scaled(self) -> bool:
        """Whether another number of pods was wanted at any time from the create to the verdict."""
        states = self.replica_set.states if self.replica_set else ()
        times = [since for since, _ in states if self.created < since <= self.decided]
        return any(self.wanted(time) != self.wanted(self.created) for time in times)

    def troubled(self, *words: str) -> list[Span]:
        since = min(self.began, self.created)  # of which an Error tells less, after which it was adopted
        return self.history.troubles(since - LAG, self.seen_at, *words)

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
        each
        for each in objects.of_run(place, run.last["metadata"]["uid"])
        if each.name.startswith(metric.template)
    ]
    found: list[Case] = []
    counted = 0
    for index, measurement in sorted(objects.ended(run, metric.name, place).items()):
        own = objects.digest_of(measurement)
        later = [
            each
            for each in (made[counted:] if not own else made)
            if each.born < objects.seconds(measurement["finishedAt"]) + 1
            and own in {"", objects.digest_of(each.states[0][1])}
        ]
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


def _stores(metric: str, index: int, measurement: Object, run: Object) -> bool:
    """Whether a measurement stands there; another's may have before it."""
    found, facts = objects.measurements(run, metric), ("phase", "finishedAt", "message")
    return len(found) > index and all(found[index].get(each) == measurement.get(each) for each in facts)
