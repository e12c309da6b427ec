"""Steady state: is the canary as well as it was before the fault?

Before: as many pods Ready as the ReplicaSet wants. During: what the fault does not take away by
intent stays Ready, and nothing restarts but what the fault itself restarts. After: as many pods Ready
as before (or as the ReplicaSet wants by now, if that is fewer), in time, and for a while: a pod that
is Ready in the second of the recovery and falls over in the third has not survived.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import Struct

from chaosplugin.core import moments
from chaosplugin.core.fault import pod_of
from chaosplugin.core.objects import Pod

SETTLE = timedelta(seconds=5)
"""How long the canary must hold after the fault: kubelets restart containers and flip Ready within
it, and the streams of pods and experiments may be apart by some milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is asked of the canary, by configuration and by the kind of the fault."""

    enabled: bool = True
    min_ready: int | None = None
    """absolute number of Ready pods during the fault; else `min_ready_percent`"""
    min_ready_percent: int = 100
    max_restarts: int = 0
    recover_within: timedelta = timedelta(seconds=60)
    unready_by_intent: bool = False
    """hit pods cannot be Ready while the fault is on"""
    replaces_pods: bool = False
    """hit pods never come back: others take their place"""
    restarts_by_fault: int = 0
    """restarts which the fault itself causes of each container that it hits"""


class Baseline(Struct, frozen=True, gc=False):
    """The canary before the fault."""

    ready: int
    restarts: Mapping[str, int]
    """by pod uid"""
    since: datetime | None = None
    """when the last of its pods became Ready; None where one of them does not tell"""
    generation: int | None = None
    """the ReplicaSet's: while it stays so, nobody scales"""

    def as_text(self) -> str:
        """Return a form that survives in an annotation: `ready;uid=restarts,...;since;generation`."""
        restarted = ",".join(f"{uid}={count}" for uid, count in self.restarts.items() if count)
        since = self.since.isoformat() if self.since else ""
        return f"{self.ready};{restarted};{since};{'' if self.generation is None else self.generation}"

    @staticmethod
    def from_text(text: str) -> "Baseline | None":
        """Read that form; an older plugin's ends after the restarts."""
        ready, restarted, since, generation = [*text.split(";"), "", "", ""][:4]
        pairs = [item.partition("=") for item in restarted.split(",") if item]
        at = moments.read(since)
        if since and at is None:
            return None
        try:
            return Baseline(
                int(ready),
                {uid: int(count) for uid, _, count in pairs},
                at,
                int(generation) if generation else None,
            )
        except ValueError:
            return None


class Toll(Struct, frozen=True, gc=False):
    """What the faults take from the canary by intent."""

    spared: frozenset[str]
    """names of pods that need not be Ready now"""
    replaced: frozenset[str]
    """names of pods that do not come back: others take their place"""
    restarts: Mapping[str, int]
    """caused so far of each container, by target: a pod stands for all of its containers"""
    until: datetime | None = None
    """when the first of those spared is spared no more"""
    excused: frozenset[str] = frozenset()
    """names of all pods that have been down by intent, be it long ago"""
    replaces: bool = False
    """pods are killed: one that is new may stand in for one of them"""
    known: bool = True
    """each pod that was hit is known"""


def toll(rules: Rules, targets: Collection[str]) -> Toll:
    """Return what one experiment takes from its targets, by the ids of their records."""
    hit = frozenset(map(pod_of, targets))
    return Toll(
        spared=hit if rules.unready_by_intent else frozenset(),
        replaced=hit if rules.replaces_pods else frozenset(),
        restarts=dict.fromkeys(targets, rules.restarts_by_fault) if rules.restarts_by_fault else {},
        excused=hit if rules.unready_by_intent else frozenset(),
        replaces=rules.replaces_pods,
    )


def whole(before: Baseline, pods: Iterable[Pod], wanted: int | None) -> bool:
    """Tell whether as many pods are Ready as before, or as are wanted by now, if that is fewer."""
    needed = before.ready if wanted is None else min(before.ready, wanted)
    return sum(pod.ready for pod in pods if not pod.completed) >= needed


def baseline(pods: Iterable[Pod], generation: int | None = None) -> Baseline:
    """Take the state before the fault; `generation` is the ReplicaSet's."""
    pods = [pod for pod in pods if not pod.completed]
    times = [_changed_at(pod) for pod in pods if pod.ready]
    since = max((at for at in times if at), default=None)
    return Baseline(
        sum(pod.ready for pod in pods),
        {pod.metadata.uid: pod.restarts for pod in pods},
        None if None in times else since,
        generation,
    )


def _changed_at(pod: Pod) -> datetime | None:
    """Return when it became Ready, or ceased to be."""
    return pod.ready_condition.last_transition_time if pod.ready_condition else None


def _was_there(pod: Pod, since: datetime) -> bool:
    """Tell whether a pod is surely none that stands in for another: times are whole seconds."""
    created = pod.metadata.creation_timestamp
    return created is not None and created < since


def unmoved(before: Baseline, pods: Iterable[Pod], toll: Toll) -> bool:
    """Tell whether a pod that was down by intent looks as if it had not been."""
    return any(
        pod.ready
        and pod.metadata.name in toll.excused
        and pod.restarts == before.restarts.get(pod.metadata.uid)
        and (before.since is None or (at := _changed_at(pod)) is None or at <= before.since)
        for pod in pods
    )


def restarts(before: Baseline, pods: Iterable[Pod], toll: Toll) -> int:
    """Count container restarts beyond those that the fault itself causes."""
    excess = 0
    for pod in pods:
        excess += max(0, pod.restarts - before.restarts.get(pod.metadata.uid, 0) - _caused(pod, toll))
    return excess


def _caused(pod: Pod, toll: Toll) -> int:
    if not toll.restarts:
        return 0
    target = f"{pod.metadata.namespace}/{pod.metadata.name}"
    named = (toll.restarts.get(f"{target}/{each.name}", 0) for each in pod.spec.containers)
    return toll.restarts.get(target, 0) * len(pod.spec.containers) + sum(named)


def excess(rules: Rules, before: Baseline, pods: Iterable[Pod], toll: Toll) -> str:
    """Return how many restarts too many there were, or "": no later reading takes them back."""
    count = restarts(before, [pod for pod in pods if not pod.completed], toll)
    if count <= rules.max_restarts:
        return ""
    return (
        f"{count} container restarts of the canary beyond those of the fault itself "
        f"(maxRestarts {rules.max_restarts})"
    )


def breach(rules: Rules, before: Baseline, pods: Iterable[Pod], toll: Toll, wanted: int | None) -> str:
    """Return how fewer pods are Ready now than the rules allow while the fault is on, or "".

    `wanted` is the ReplicaSet's replicas now, if known: what it has scaled away is not lost.
    """
    needed, _ = _needed(rules, before, toll, wanted)
    ready = sum(pod.ready for pod in pods if pod.metadata.name not in toll.spared and not pod.completed)
    if ready >= needed:
        return ""
    others = " beside the pods hit" if toll.spared else ""
    return f"{ready} pods Ready{others}, {needed} wanted ({before.ready} were Ready before)"


def dip(
    rules: Rules,
    before: Baseline,
    pods: Iterable[Pod],
    toll: Toll,
    wanted: int | None,
    *,
    until: datetime | None = None,
) -> str:
    """Return which breach, be it over, the pods still tell of, or "": as lasting as restarts.

    A Ready condition that has changed since before the fault, and before its end at `until`, is that of a
    pod that was down, or of one that stands in for another. As long as nobody scales, which is for the
    caller to know, there was no other pod meanwhile; how many were down at once is not told.
    """
    needed, eligible = _needed(rules, before, toll, wanted)
    since = before.since
    if not toll.known or since is None or not eligible or needed < eligible:
        return ""
    pods = list(pods)
    sure: list[datetime] = []
    new: list[datetime] = []
    for pod in pods:
        at = _changed_at(pod)
        if pod.completed or pod.metadata.name in toll.spared | toll.excused or at is None:
            continue
        if at > since and (until is None or at < until):
            (sure if _was_there(pod, since) else new).append(at)
    excused = len(toll.excused - {pod.metadata.name for pod in pods})  # they may have others in their place
    times = sure if toll.replaces else sure + sorted(new)[excused:]
    if not times:
        return ""
    others = " beside the pods hit" if toll.spared else ""
    return (
        f"{len(times)} pods{others} were not Ready for a while, or replaced, the last at "
        f"{max(times).isoformat(timespec='seconds')}, and {needed} were wanted Ready all the time"
    )


def _needed(rules: Rules, before: Baseline, toll: Toll, wanted: int | None) -> tuple[int, int]:
    """Return how many pods must be Ready while the fault is on, and how many could be."""
    population = before.ready if wanted is None else min(before.ready, wanted)
    eligible = max(0, population - len(toll.spared))
    if rules.min_ready is not None:
        return min(rules.min_ready, eligible), eligible
    return math.ceil(eligible * rules.min_ready_percent / 100), eligible


class Recovery(Struct, frozen=True, gc=False):
    """How far the canary is after the fault; `since` is when the last needed pod became Ready."""

    ready: int
    needed: int
    since: datetime | None


def recovery(
    before: Baseline, pods: Iterable[Pod], toll: Toll, wanted: int | None, ended_at: datetime
) -> Recovery:
    """Judge the canary after the fault has ended at `ended_at`, by the API server's clock.

    "Ready since" comes from the pods' own lastTransitionTime, so that a gap in the watch does not
    make a pod late, nor one that was late be in time.
    """
    since = sorted(
        max(ended_at, condition.last_transition_time or ended_at)
        for pod in pods
        if pod.ready
        and not pod.completed
        and pod.metadata.name not in toll.replaced
        and (condition := pod.ready_condition) is not None
    )
    needed = before.ready if wanted is None else min(before.ready, wanted)
    return Recovery(
        len(since),
        needed,
        (since[needed - 1] if needed else ended_at) if len(since) >= needed else None,
    )
