"""The controllers; that of the experiment kinds is here: five steps over one object, each its own write.

The steps are upstream's, in its order: finalizer, desired phase, conditions, records, clean-up. As
conditions come before records, they lag one pass behind them. A step that asks to be repeated skips those
after it, which is why a failing Recover keeps an object from ever being let go.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio

from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.resources import CHAOS_KINDS, Object, Resource
from chaosplugin.sandbox.api.store import Change
from chaosplugin.sandbox.api.verbs import Api
from chaosplugin.sandbox.chaosmesh import events, experiment
from chaosplugin.sandbox.chaosmesh.admission import install
from chaosplugin.sandbox.chaosmesh.faults import TWO_STEPS, InjectionError, Injector, Restart, Trouble
from chaosplugin.sandbox.chaosmesh.schedule import ScheduleController
from chaosplugin.sandbox.chaosmesh.selection import SelectionError, targets
from chaosplugin.sandbox.chaosmesh.workflow import WorkflowController
from chaosplugin.sandbox.chaosmesh.writing import SYSTEM_WRITE, tell
from chaosplugin.sandbox.workqueue import Unfinished, WorkQueue

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that the real controller was measured to take."""

    write: float = 0.008  # before each write of a step
    act: float = 0.035  # more, before the write that follows an injection or recovery
    child: float = 0.1  # for a Pod*Chaos child to do as ordered


class ChaosMesh:
    """Chaos Mesh in a cluster: its admission from the start, its controller while it is not stopped."""

    def __init__(self, api: Api, restart: Restart, pace: Pace | None = None) -> None:
        self._api = api
        self._pace = pace or Pace()
        self._injector = Injector(api, restart, self._pace.child)
        self._queues: dict[Resource, WorkQueue[_Key]] = {kind: WorkQueue() for kind in CHAOS_KINDS}
        self._spawners = (ScheduleController(api, self._breathe), WorkflowController(api, self._breathe))
        self._going = anyio.Event()
        self._going.set()
        install(api.admission)
        for kind in CHAOS_KINDS:
            api.store.listen(self._hear, kind)

    async def run(self) -> None:
        """Work for ever, with one worker a kind, as upstream has."""
        async with anyio.create_task_group() as tasks:
            for kind, queue in self._queues.items():
                tasks.start_soon(queue.work, partial(self._look, kind))
            for spawner in self._spawners:
                tasks.start_soon(spawner.run)

    def stop(self) -> None:
        """Do nothing any more, as if the controller were not running; admission stays."""
        if self._going.is_set():
            self._going = anyio.Event()

    def start(self) -> None:
        """Go on, with a look at every object, as after a restart."""
        self._going.set()
        for kind, queue in self._queues.items():
            queue.forget_all()
            for each in self._api.list(kind):
                queue.add((each.namespace, each.name))
        for spawner in self._spawners:
            spawner.look_at_all()

    async def _breathe(self) -> None:
        """Take the time of a write, or until the controller goes on."""
        await anyio.sleep(self._pace.write)
        await self._going.wait()

    def fail(
        self,
        operation: experiment.Operation,
        message: str,
        on: Callable[[Object, str], bool] = lambda _obj, _id: True,
        times: int | None = None,
    ) -> Trouble:
        """Let Apply or Recover fail where `on(object, record id)` says so, until the result's `mend()`."""
        trouble = Trouble(operation, message, on, times)
        self._injector.trouble(trouble)
        return trouble

    # -- one pass

    def _hear(self, change: Change) -> None:
        if change.type == "DELETED":
            return
        if change.previous is None or _material(change.previous.object) != _material(change.stored.object):
            self._queues[change.stored.resource].add((change.stored.namespace, change.stored.name))

    async def _look(self, kind: Resource, key: _Key) -> None:
        after = await self._pass(kind, key)
        if after is not None:
            self._queues[kind].add(key, after)

    async def _pass(self, kind: Resource, key: _Key) -> float | None:
        """Run the steps; returns the seconds until the next look, None for none."""
        await self._init_finalizer(kind, key)
        after = await self._set_phase(kind, key)
        await self._set_conditions(kind, key)
        waits = await self._run_records(kind, key)
        await self._clean(kind, key)
        if waits:
            return self._pace.child if after is None else min(after, self._pace.child)
        return after

    async def _init_finalizer(self, kind: Resource, key: _Key) -> None:
        obj = await self._read(kind, key)
        if (
            obj is None
            or experiment.deleting(obj)
            or experiment.FINALIZER in obj["metadata"].get("finalizers", ())
        ):
            return

        def change(fresh: Object) -> None:
            finalizers = fresh["metadata"].get("finalizers", [])
            fresh["metadata"]["finalizers"] = [*finalizers, experiment.FINALIZER]

        self._tell(obj, "initFinalizers", events.FINALIZER_INITED)
        await self._write(kind, obj, change, "finalizer")
        self._tell(obj, "initFinalizers", events.updated("finalizer"))

    async def _set_phase(self, kind: Resource, key: _Key) -> float | None:
        obj = await self._read(kind, key)
        if obj is None:
            return None
        now = self._api.clock()
        wanted, reason = experiment.desired_phase(obj, now)
        if wanted != experiment.phase(obj):
            if reason:
                self._tell(obj, "desiredphase", events.PHASES[reason])
            await self._write(
                kind, obj, lambda o: experiment.status(o).update(desiredPhase=wanted), "desiredphase"
            )
            self._tell(obj, "desiredphase", events.updated("desiredPhase"))
        left = experiment.time_left(obj, now)
        if left is None or reason not in {"Started", "Paused"}:
            return None
        return max(0.0, left.total_seconds()) + 0.001  # past the end, where the duration is exceeded

    async def _set_conditions(self, kind: Resource, key: _Key) -> None:
        obj = await self._read(kind, key)
        if obj is None:
            return
        wanted = experiment.conditions(obj)
        known = {each["type"]: each["status"] for each in (obj.get("status") or {}).get("conditions") or ()}
        if wanted != known:
            written = experiment.shuffled(wanted)
            await self._write(
                kind, obj, lambda o: o.setdefault("status", {}).update(conditions=written), "conditions"
            )

    async def _run_records(self, kind: Resource, key: _Key) -> bool:
        """Select, then apply or recover what needs it; returns whether a child is waited for."""
        obj = await self._read(kind, key)
        if obj is None:
            return False
        records = experiment.records(obj)
        changed = records is None
        if records is None:
            try:
                records = [experiment.new_record(*each) for each in targets(self._api, obj)]
            except SelectionError as error:
                self._tell(obj, "records", events.failed("select targets", str(error)))
                return False
        failed = False
        for record in records:
            what = experiment.operation(record["phase"], experiment.phase(obj))
            if what is not None:
                acted, well = self._act(obj, record, what)
                changed |= acted
                failed |= not well
        if changed:
            await anyio.sleep(self._pace.act)
            await self._write(
                kind, obj, lambda o: experiment.status(o).update(containerRecords=records), "records"
            )
            self._tell(obj, "records", events.updated("records"))
        if failed:
            raise Unfinished
        return kind.kind in TWO_STEPS and any(each["phase"].endswith(experiment.WAIT) for each in records)

    def _act(self, obj: Object, record: Object, what: experiment.Operation) -> tuple[bool, bool]:
        """Do one step of a record; returns whether it changed, and whether it went well."""
        before = record["phase"]
        try:
            record["phase"] = self._injector.act(what, obj, record)
        except (InjectionError, ApiError) as error:
            if obj["kind"] == "StressChaos" and what == "Recover":
                return False, True  # upstream swallows this one: no event, no retry
            experiment.note(record, what, self._api.clock(), str(error))
            activity = "apply chaos" if what == "Apply" else "recover chaos"
            self._tell(obj, "records", events.failed(activity, str(error)))
            return True, False
        done, count = ("Injected", "injectedCount") if what == "Apply" else ("Not Injected", "recoveredCount")
        if record["phase"] == done:
            record[count] += 1
            experiment.note(record, what, self._api.clock())
            self._tell(obj, "records", events.acted(what, record["id"]))
        return record["phase"] != before, True

    async def _clean(self, kind: Resource, key: _Key) -> None:
        obj = await self._read(kind, key)
        if obj is None or not experiment.deleting(obj) or not experiment.releasable(obj):
            return
        if obj["metadata"].get("finalizers"):
            self._tell(obj, "cleanFinalizers", events.FINALIZER_REMOVED)
            await self._write(kind, obj, lambda o: o["metadata"].update(finalizers=[]), "finalizer")

    # -- the API server

    async def _read(self, kind: Resource, key: _Key) -> Object | None:
        await self._going.wait()
        stored = self._api.find(kind, *key)
        return stored.copy() if stored else None

    async def _write(
        self, kind: Resource, obj: Object, change: Callable[[Object], object], what: str
    ) -> None:
        """Change the object as it is by now.

        Raises:
            ApiError: when the API server refuses; an Event tells why, and the pass is repeated.
        """
        await self._breathe()
        metadata = obj["metadata"]

        def apply(fresh: Object) -> Object:
            change(fresh)
            return fresh

        try:
            self._api.update(kind, metadata["namespace"], metadata["name"], apply, write=SYSTEM_WRITE)
        except ApiError as error:
            if error.code != 404:
                self._tell(obj, "records", events.failed(f"update {what}", str(error)))
            raise

    def _tell(self, obj: Object, step: str, happening: events.Happening) -> None:
        tell(self._api, obj, f"{obj['kind'].lower()}-{step}", happening)


def _material(obj: Object) -> Object:
    """Return what a change must touch to be looked at: all but versions and the records' events."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in {"resourceVersion", "generation"}}
    known = experiment.records(obj)
    if known is None:
        return obj | {"metadata": metadata}
    stripped = [{k: v for k, v in record.items() if k != "events"} for record in known]
    status = obj["status"] | {"experiment": obj["status"]["experiment"] | {"containerRecords": stripped}}
    return obj | {"metadata": metadata, "status": status}
