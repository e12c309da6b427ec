"""The Rollout controller: a canary by steps, its ReplicaSets, its analyses and Experiments, its end.

Of the strategies only the canary without trafficRouting, of the steps setWeight, pause, analysis and
experiment; background analysis as well.

Source: argo-rollouts rollout/{canary,analysis,experiment,pause,sync}.go.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from chaosplugin.sandbox.api.metadata import owner_reference
from chaosplugin.sandbox.api.resources import REPLICA_SETS, ROLLOUTS, Object
from chaosplugin.sandbox.host import canary
from chaosplugin.sandbox.host.caches import Caches
from chaosplugin.sandbox.host.gates import Gates
from chaosplugin.sandbox.host.informer import Key, controller, key_of
from chaosplugin.sandbox.host.objects import (
    HASH_LABEL,
    REVISION,
    copy,
    difference,
    duration,
    moment,
    replicas,
    stamp,
)
from chaosplugin.sandbox.host.requests import RequestError, Requests
from chaosplugin.sandbox.host.situation import Situation, see
from chaosplugin.sandbox.host.workers import Workers

WORKERS = 10


class RolloutController:
    """Follows Rollouts and all that they own."""

    def __init__(self, requests: Requests, caches: Caches, clock: Callable[[], datetime]) -> None:
        self._requests = requests
        self._caches = caches
        self._clock = clock
        self._gates = Gates(requests, caches)
        self._workers = Workers(self._reconcile, WORKERS)
        caches.rollouts.listen(lambda _, rollout: self._workers.add(key_of(rollout)))
        for informer in (caches.replica_sets, caches.runs, caches.experiments):
            informer.listen(lambda _, obj: self._hear(obj))

    async def run(self) -> None:
        await self._workers.run()

    def _hear(self, obj: Object) -> None:
        owner = controller(obj)
        if owner is not None and owner["kind"] == "Rollout":
            self._workers.add((obj["metadata"]["namespace"], owner["name"]))

    async def _reconcile(self, key: Key) -> float | None:
        rollout = self._caches.rollouts.get(key)
        if rollout is None or rollout["metadata"].get("deletionTimestamp"):
            return None
        rollout = copy(rollout)
        rollout.setdefault("status", {})
        now = self._clock()
        owned = self._caches.replica_sets.owned_by(rollout["metadata"]["uid"])
        at = see(rollout, [copy(each) for each in owned])
        if at.new is None:
            await self._begin_revision(at)
            return 0.0
        await self._order_revisions(at)
        if at.changed:
            await self._persist(at, _reset(at))
            return 0.0
        status = at.next_status()
        again = None
        if at.initial:
            status["stableRS"] = at.hash
        else:
            await self._gates.reconcile(at, status)
            if not status.get("pauseConditions") or at.rollout["status"].get("pauseConditions"):
                again = self._advance(at, status, now)
        _date(status, now)
        await self._scale(at, status)
        await self._persist(at, status)
        return again

    # -- revisions

    async def _begin_revision(self, at: Situation) -> None:
        """Make the ReplicaSet of a template that is new."""
        rollout, spec = at.rollout, at.rollout["spec"]
        template = copy(spec["template"])
        labels = (template.setdefault("metadata", {}).get("labels") or {}) | {HASH_LABEL: at.hash}
        template["metadata"]["labels"] = labels
        selector = copy(spec["selector"])
        selector["matchLabels"] = (selector.get("matchLabels") or {}) | {HASH_LABEL: at.hash}
        name = f"{rollout['metadata']['name']}-{at.hash}"
        replica_set = {
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": {REVISION: str(at.last_revision + 1)},
                "ownerReferences": [owner_reference(rollout)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        }
        namespace = rollout["metadata"]["namespace"]
        try:
            made = await self._requests.create(REPLICA_SETS, namespace, replica_set)
        except RequestError as error:
            if error.reason != "AlreadyExists":
                raise
            made = await self._requests.get(REPLICA_SETS, namespace, name)
        self._caches.replica_sets.put(made)

    async def _order_revisions(self, at: Situation) -> None:
        """Give the current ReplicaSet the highest revision, and the Rollout the same."""
        new, rollout = at.new, at.rollout
        if new is None:
            return
        revision = at.revision
        if revision < at.last_revision:
            revision = at.last_revision + 1
            change = {"metadata": {"annotations": {REVISION: str(revision)}}}
            self._caches.replica_sets.put(await self._requests.patch(REPLICA_SETS, *key_of(new), change))
            new["metadata"].setdefault("annotations", {})[REVISION] = str(revision)
        if (rollout["metadata"].get("annotations") or {}).get(REVISION) != str(revision):
            change = {"metadata": {"annotations": {REVISION: str(revision)}}}
            changed = await self._requests.patch(ROLLOUTS, *key_of(rollout), change)
            self._caches.rollouts.put(changed)
            rollout["metadata"].setdefault("annotations", {})[REVISION] = str(revision)

    # -- steps

    def _advance(self, at: Situation, status: Object, now: datetime) -> float | None:
        """Complete the current step, or promote; return the seconds until a pause is over."""
        if status.get("abort"):
            status["currentStepIndex"] = 0
            return None
        if at.rollout["status"].get("promoteFull"):
            status |= {"currentStepIndex": len(at.steps), "pauseConditions": []}
        if status["currentStepIndex"] >= len(at.steps):
            if canary.pods(at.new).available == replicas(at.rollout):
                status["stableRS"] = at.hash
                status.pop("promoteFull", None)
            return None
        step = at.steps[status["currentStepIndex"]]
        done, again = False, None
        if "setWeight" in step:
            done = canary.settled(at.rollout, at.percent, at.new, at.stable, at.others_left)
        elif "pause" in step:
            done, again = _pause(at, status, step["pause"] or {}, now)
        else:
            done = self._gates.passed(at)
        if done and not at.rollout["spec"].get("paused"):
            status["currentStepIndex"] += 1
            status["pauseConditions"] = []
            (status.get("canary") or {}).pop("currentStepAnalysisRunStatus", None)
        return again

    async def _scale(self, at: Situation, status: Object) -> None:
        """Tell the ReplicaSets how many pods they should have by now."""
        if at.rollout["spec"].get("paused") and not status.get("abort"):
            return
        if at.stable is None or at.initial:
            wanted = canary.scale(at.rollout, 100, canary.pods(at.new), canary.Pods(), at.others_pods)
        else:
            percent = canary.weight(at.steps, status["currentStepIndex"], aborted=bool(status.get("abort")))
            wanted = canary.scale(
                at.rollout, percent, canary.pods(at.new), canary.pods(at.stable), at.others_pods
            )
            await self._set(at.stable, wanted[1])
        await self._set(at.new, wanted[0])
        less = at.others_pods.wanted - wanted[2]
        for other in at.others:
            cut = min(less, replicas(other))
            less -= cut
            await self._set(other, replicas(other) - cut)

    async def _set(self, replica_set: Object | None, count: int) -> None:
        if replica_set is not None and replicas(replica_set) != count:
            change = {"spec": {"replicas": count}}
            changed = await self._requests.patch(REPLICA_SETS, *key_of(replica_set), change)
            self._caches.replica_sets.put(changed)

    async def _persist(self, at: Situation, status: Object) -> None:
        status["phase"], status["message"] = canary.phase(at.rollout, status)
        change = difference(
            at.rollout["status"], {k: v for k, v in status.items() if v not in (None, "", [])}
        )
        if change:
            key = key_of(at.rollout)
            changed = await self._requests.patch(ROLLOUTS, *key, {"status": change}, "status")
            self._caches.rollouts.put(changed)


def _reset(at: Situation) -> Object:
    """Return the status with which a new template, or new steps, begin."""
    status = at.next_status()
    for key in ("abort", "abortedAt", "promoteFull", "pauseConditions", "controllerPause", "canary"):
        status.pop(key, None)
    back = at.initial or at.rollout["status"].get("stableRS") == at.hash
    status["currentStepIndex"] = len(at.steps) if back else 0
    status["conditions"] = []
    return status


def _pause(at: Situation, status: Object, pause: Object, now: datetime) -> tuple[bool, float | None]:
    """Return whether a pause step is over, and the seconds left."""
    known = at.rollout["status"]
    conditions = known.get("pauseConditions") or ()
    ours = next((each for each in conditions if each["reason"] == "CanaryPauseStep"), None)
    if ours is None:
        if known.get("controllerPause") and not conditions:
            return True, None  # somebody took the condition away: promoted
        status["pauseConditions"] = [{"reason": "CanaryPauseStep", "startTime": stamp(now)}]
        return False, 0.0
    if pause.get("duration") is None:
        return False, None
    left = moment(ours["startTime"]) + duration(pause["duration"]) - now
    return left < timedelta(), max(0.0, left.total_seconds()) + 0.01


def _date(status: Object, now: datetime) -> None:
    """Put times to what this reconcile has begun, and keep flags and lists together."""
    if status.get("abort"):
        status.setdefault("abortedAt", stamp(now))
        status.pop("pauseConditions", None)
        status.pop("controllerPause", None)
    for each in status.get("pauseConditions") or ():
        each.setdefault("startTime", stamp(now))
    if status.get("pauseConditions"):
        status["controllerPause"] = True
    else:
        status.pop("controllerPause", None)
