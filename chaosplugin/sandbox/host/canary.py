"""How many pods canary and stable get, and what a Rollout's status says: pure functions.

Source: argo-rollouts utils/replicaset/canary.go (the basic canary, without trafficRouting),
utils/rollout/rolloututil.go (CalculateRolloutPhase).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.host.objects import available, replicas

ABORTED = "RolloutAborted"
_BECOMING_AVAILABLE = "updated replicas are still becoming available"
_STEPS_LEFT = "waiting for all steps to complete"


@dataclass(frozen=True, slots=True)
class Pods:
    """What a ReplicaSet has been told to have, and what of it can take traffic."""

    wanted: int = 0
    available: int = 0


def pods(replica_set: Object | None) -> Pods:
    """Return the counts of a ReplicaSet."""
    if replica_set is None:
        return Pods()
    return Pods(replicas(replica_set), available(replica_set))


def weight(steps: Sequence[Object], index: int, *, aborted: bool) -> int:
    """Return the weight in per cent that is in force at a step."""
    if aborted:
        return 0
    if index >= len(steps):
        return 100
    return next((int(s["setWeight"]) for s in reversed(steps[: index + 1]) if "setWeight" in s), 0)


def split(count: int, percent: int, surge: int) -> tuple[int, int]:
    """Return the numbers for canary and stable that come nearest to the weight.

    They add up to `count`, or to one more if there is a surge; from 1 to 99 % both get at least one pod.
    """
    if not count:
        return 0, 0
    up, down = math.ceil(count * percent / 100), math.floor(count * percent / 100)
    zero = percent in {0, 100} or (count == 1 and not surge)
    options = []
    for total in (count, count + 1) if surge else (count,):
        if total > count or up < count or zero:
            options.append((up, total))
        if (total * percent) % 100 != 50 and (down or zero):
            options.append((down, total))
    if not options:
        return 0, count
    canary, total = min(options, key=lambda option: abs(option[0] * 100 / option[1] - percent))
    return canary, total - canary


def limits(rollout: Object) -> tuple[int, int]:
    """Return maxSurge and maxUnavailable in pods; both default to 25 %."""
    strategy = (rollout["spec"].get("strategy") or {}).get("canary") or {}
    count = replicas(rollout)
    surge = math.ceil(_number(strategy.get("maxSurge", "25%"), count))
    unavailable = math.floor(_number(strategy.get("maxUnavailable", "25%"), count))
    return surge, unavailable if surge or unavailable else 1


def _number(value: object, count: int) -> float:
    text = str(value)
    return count * int(text[:-1]) / 100 if text.endswith("%") else int(text)


def scale(rollout: Object, percent: int, canary: Pods, stable: Pods, others: Pods) -> tuple[int, int, int]:
    """Return the next numbers for canary, stable and all others together.

    Grows within maxSurge, stable first; shrinks only what availability can spare, the others first.
    """
    count = replicas(rollout)
    surge, unavailable = limits(rollout)
    want_canary, want_stable = split(count, percent, surge)
    room = max(0, count + surge - canary.wanted - stable.wanted - others.wanted)
    new_stable = stable.wanted + min(room, max(0, want_stable - stable.wanted))
    room -= new_stable - stable.wanted
    new_canary = canary.wanted + min(room, max(0, want_canary - canary.wanted))
    spare = canary.available + stable.available + others.available - (count - unavailable)
    new_others, spare = _shrink(others, 0, spare)
    if new_canary == canary.wanted:
        new_canary, spare = _shrink(canary, want_canary, spare)
    if new_stable == stable.wanted:
        new_stable, spare = _shrink(stable, want_stable, spare)
    return new_canary, new_stable, new_others


def _shrink(have: Pods, want: int, spare: int) -> tuple[int, int]:
    """Return the number to shrink to and what can be spared after it; pods not available go freely."""
    if want >= have.wanted:
        return have.wanted, spare
    dead = max(0, have.wanted - have.available)
    less = min(have.wanted - want, dead + max(0, spare))
    return have.wanted - less, spare - max(0, less - dead)


def settled(rollout: Object, percent: int, canary: Object | None, stable: Object | None, others: int) -> bool:
    """Say whether canary and stable are what the weight wants them to be, and nothing else is left."""
    surge, _ = limits(rollout)
    want_canary, want_stable = split(replicas(rollout), percent, surge)
    have_canary, have_stable = pods(canary), pods(stable)
    return (
        (have_canary.wanted, have_canary.available) == (want_canary, want_canary)
        and (stable is None or have_stable.wanted == want_stable)
        and not others
    )


def phase(rollout: Object, status: Object) -> tuple[str, str]:
    """Return the phase and message of a Rollout with this status."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "InvalidSpec":
            return "Degraded", f"InvalidSpec: {condition['message']}"
        if condition.get("reason") == ABORTED:
            return "Degraded", f"{ABORTED}: {condition['message']}"
    updated = int(status.get("updatedReplicas") or 0)
    reasons = status.get("pauseConditions") or [{"reason": ""}]
    verdicts = (
        (rollout["spec"].get("paused"), "Paused", "manually paused"),
        (status.get("pauseConditions"), "Paused", str(reasons[0]["reason"])),
        (updated < replicas(rollout), "Progressing", "more replicas need to be updated"),
        (_count(status, "availableReplicas") < updated, "Progressing", _BECOMING_AVAILABLE),
        (_count(status, "replicas") > updated, "Progressing", "old replicas are pending termination"),
        (status.get("stableRS") != status.get("currentPodHash"), "Progressing", _STEPS_LEFT),
        (True, "Healthy", ""),
    )
    return next((phase, message) for holds, phase, message in verdicts if holds)


def _count(status: Object, key: str) -> int:
    return int(status.get(key) or 0)
