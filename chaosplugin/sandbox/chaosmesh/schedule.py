"""The controllers of Schedule: cron spawns, active lists, gc keeps the history short, pause is passed on.

Upstream has four of them over one object; here one pass does their work, in an order that they may come in.
Children are found by the label managed-by in all namespaces, as upstream finds them.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.metadata import owner_reference, suffixed, timestamp
from chaosplugin.sandbox.api.resources import BY_KIND, CHAOS_KINDS, SCHEDULES, WORKFLOWS, Object, Resource
from chaosplugin.sandbox.api.store import Change, Stored
from chaosplugin.sandbox.api.verbs import Api
from chaosplugin.sandbox.chaosmesh import cron, events, experiment
from chaosplugin.sandbox.chaosmesh.schemas import EMBEDDED
from chaosplugin.sandbox.chaosmesh.writing import SYSTEM_WRITE, tell
from chaosplugin.sandbox.workqueue import WorkQueue

MANAGED_BY = "managed-by"
_MISSED = 100
_CHILDREN = (*CHAOS_KINDS, WORKFLOWS)
_KEYS = {kind: key for key, kind in EMBEDDED.items()} | {"Workflow": "workflow"}

_Key = tuple[str, str]


class ScheduleController:
    """Works on each Schedule when it, or a child of it, has changed, and when it is due to fire."""

    def __init__(self, api: Api, pause: Callable[[], Awaitable[None]]) -> None:
        self._api = api
        self._pause = pause
        self.queue: WorkQueue[_Key] = WorkQueue()
        api.store.listen(self._hear, SCHEDULES)
        for kind in _CHILDREN:
            api.store.listen(self._hear_child, kind)

    async def run(self) -> None:
        await self.queue.work(self._look)

    def look_at_all(self) -> None:
        """Look at every one, as after a restart."""
        self.queue.forget_all()
        for each in self._api.list(SCHEDULES):
            self.queue.add((each.namespace, each.name))

    def _hear(self, change: Change) -> None:
        if change.type != "DELETED":
            self.queue.add((change.stored.namespace, change.stored.name))

    def _hear_child(self, change: Change) -> None:
        name = (change.stored.metadata.get("labels") or {}).get(MANAGED_BY)
        if name and self._api.find(SCHEDULES, change.stored.namespace, name):
            self.queue.add((change.stored.namespace, name))

    async def _look(self, key: _Key) -> None:
        await self._pause()
        stored = self._api.find(SCHEDULES, *key)
        if stored is None:
            return
        after = self._fire(stored)
        self._list_active(key)
        self._collect(stored)
        self._pass_pause_on(stored)
        if after is not None:
            self.queue.add(key, after)

    # -- cron

    def _fire(self, stored: Stored) -> float | None:
        """Spawn what is due; returns the seconds until the next time, where it is worth a look."""
        schedule, now = stored.copy(), self._api.clock()
        if experiment.paused(schedule):
            return None
        try:
            missed, following = _unmet(schedule, now)
        except ValueError as error:
            tell(self._api, schedule, "schedule-cron", events.failed("get run time", str(error)))
            return None
        if missed is None:
            return (following - now).total_seconds() + 0.001
        late = schedule["spec"].get("startingDeadlineSeconds")
        if late is not None and missed + timedelta(seconds=late) < now:
            tell(self._api, schedule, "schedule-cron", events.missed(missed))
            return None
        running = self._running(stored, now)
        if running and schedule["spec"].get("concurrencyPolicy", "Forbid") == "Forbid":
            tell(self._api, schedule, "schedule-cron", events.forbidden(running))
            return None
        self._spawn(stored, schedule, now)
        return None

    def _running(self, stored: Stored, now: datetime) -> str:
        return next((c.name for c in self._children(stored) if not _finished(c.object, now)[0]), "")

    def _spawn(self, stored: Stored, schedule: Object, now: datetime) -> None:
        kind = schedule["spec"]["type"]
        child: Object = {
            "metadata": {
                "name": suffixed(f"{stored.name}-"),
                "labels": {MANAGED_BY: stored.name},
                "ownerReferences": [owner_reference(schedule)],
            },
            "spec": schedule["spec"][_KEYS[kind]],
        }
        try:
            made = self._api.create(_resource(kind), child, stored.namespace, SYSTEM_WRITE)
        except ApiError as error:
            tell(self._api, schedule, "schedule-cron", events.failed("create new object", str(error)))
            return
        tell(self._api, schedule, "schedule-cron", events.spawned(made.name))
        self._status(stored.namespace, stored.name, time=timestamp(now))
        tell(self._api, schedule, "schedule-cron", events.updated("lastScheduleTime"))

    # -- active, gc, pause

    def _children(self, stored: Stored) -> list[Stored]:
        kind = _resource(stored.object["spec"]["type"])
        found = [
            each
            for each in self._api.list(kind)
            if (each.metadata.get("labels") or {}).get(MANAGED_BY) == stored.name
        ]
        return sorted(found, key=lambda each: str(each.metadata["creationTimestamp"]))

    def _list_active(self, key: _Key) -> None:
        stored = self._api.find(SCHEDULES, *key)
        if stored is None:
            return
        active = [
            {
                "apiVersion": each.object["apiVersion"],
                "kind": each.object["kind"],
                "name": each.name,
                "namespace": each.namespace,
                "resourceVersion": str(each.revision),
                "uid": each.uid,
            }
            for each in sorted(self._children(stored), key=lambda each: each.name)
        ]
        if active != ((stored.object.get("status") or {}).get("active") or []):
            self._status(*key, active=active)

    def _collect(self, stored: Stored) -> None:
        """Delete finished children beyond the limit, the oldest first; no limit is a limit of none."""
        children, now = self._children(stored), self._api.clock()
        for child in children[: max(0, len(children) - stored.object["spec"].get("historyLimit", 0))]:
            finished, left = _finished(child.object, now)
            if not finished and left:
                self.queue.add((stored.namespace, stored.name), left)
            elif child.resource in CHAOS_KINDS or finished:
                self._api.delete(child.resource, child.namespace, child.name)

    def _pass_pause_on(self, stored: Stored) -> None:
        schedule = stored.object
        wanted = experiment.paused(schedule)
        if schedule["spec"]["type"] == "Workflow":
            if wanted:
                tell(self._api, schedule, "schedule-pause", events.UNPAUSABLE)
            return
        for child in self._children(stored):
            if experiment.paused(child.object) != wanted:
                mark = {"metadata": {"annotations": {experiment.PAUSE: str(wanted).lower()}}}
                self._api.merge(child.resource, child.namespace, child.name, mark, write=SYSTEM_WRITE)

    def _status(self, namespace: str, name: str, **fields: object) -> None:
        def change(fresh: Object) -> Object:
            fresh["status"] = {"time": None} | (fresh.get("status") or {}) | fields
            return fresh

        if self._api.find(SCHEDULES, namespace, name):
            self._api.update(SCHEDULES, namespace, name, change, write=SYSTEM_WRITE)


def _resource(kind: str) -> Resource:
    return BY_KIND["chaos-mesh.org/v1alpha1", kind]


def _unmet(schedule: Object, now: datetime) -> tuple[datetime | None, datetime]:
    """Return the latest time that has passed without a firing, and the next one."""
    following = cron.parse(schedule["spec"]["schedule"])
    last = (schedule.get("status") or {}).get("time") or schedule["metadata"]["creationTimestamp"]
    at, missed = following(datetime.fromisoformat(last)), None
    for _ in range(_MISSED + 1):
        if at > now:
            return missed, at
        missed, at = at, following(at)
    raise ValueError(
        "too many missed start time (> 100). Set or decrease .spec.startingDeadlineSeconds "
        "or check clock skew"
    )


def _finished(child: Object, now: datetime) -> tuple[bool, float]:
    """Say whether a child has ended, and how long it still has (0 for ever, as upstream has it)."""
    if child["kind"] == "Workflow":
        known = (child.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Accomplished" and each["status"] == "True" for each in known), 1.0
    records = experiment.records(child) or []
    if experiment.one_shot(child):
        return bool(records) and all(each["phase"] == experiment.INJECTED for each in records), 1.0
    left = experiment.time_left(child, now)
    recovered = experiment.phase(child) != "Run" and all(
        each["phase"] == experiment.NOT_INJECTED for each in records
    )
    if left is None:
        return False, 0.0
    return recovered and left.total_seconds() < 0, max(0.0, left.total_seconds())
