"""Plays one gate of a plan on the bed, waits for its end, and lets the oracle judge."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    BY_KIND,
    NAMESPACES,
    PODS,
    ROLLOUTS,
    WORKFLOWS,
    Object,
    Resource,
)
from chaosplugin.sandbox.api.store import Change
from chaosplugin.sandbox.chaosmesh.experiment import PAUSE, Operation
from chaosplugin.sandbox.chaosmesh.workflow import ABORT
from tests.e2e.manifests import PLUGIN
from tests.soak import facts, objects, oracle
from tests.soak.bed import Bed
from tests.soak.history import story
from tests.soak.plan import Act, Deed, Moment, Plan

if TYPE_CHECKING:
    from chaosplugin.sandbox.chaosmesh.faults import Trouble

_LOOK_S = 0.1
_QUIET_S = 1.0
"""How long all must be at its end before it counts as ended."""
PATIENCE_S = 150.0
_HASH = "rollouts-pod-template-hash"
_OURS = ("chaosplugin.io/", "chaos-mesh-")


class Stage:
    """One gate."""

    def __init__(self, bed: Bed, plan: Plan) -> None:
        self.bed, self.plan = bed, plan
        self.place = bed.history.places[plan.namespace]
        self._api = bed.cluster.api
        self._troubles: list[Trouble] = []
        self._unlisten: Callable[[], None] = lambda: None
        self._acting = len(plan.acts)
        self.phases: list[str] = []
        """of all measurements, with their reasons"""
        self.unexcused = 0
        """measurements while which nothing happened that could excuse anything"""

    async def play(self, told: Path) -> list[str]:
        """Return what is wrong; then the file tells what happened."""
        wrong = ["is not over"]
        try:
            wrong = await self._play()
        finally:
            if wrong:
                lines = story(self.place, self.bed.history.troubled)
                told.write_text("\n".join([str(self.plan), *wrong, *lines]) + "\n")
            await self._remove()
        return wrong

    async def _play(self) -> list[str]:
        self._deploy()
        try:
            if not await self._until(self._healthy):
                return ["the first version was never healthy"]
            await anyio.sleep(self.plan.first_at)
            self._set_troubles()
            if self.plan.down_from_start:
                self._unlisten = self.bed.cluster.store.listen(self._hear_run, ANALYSIS_RUNS)
            self._change_version(2)
            async with anyio.create_task_group() as tasks:
                for act in self.plan.acts:
                    tasks.start_soon(self._act, act)
                ended = await self._until(self._ended, _QUIET_S)
                tasks.cancel_scope.cancel()
            if not ended:
                return ["does not end"]
            self.phases = [f"{case.phase}/{case.reason}" for case in self._cases()]
            self.unexcused = sum(not case.troubled() for case in self._cases())
            return oracle.judge(self.plan, self.place, self.bed.history) + self._left_behind()
        finally:
            self._unlisten()
            for trouble in self._troubles:
                trouble.mend()

    def _cases(self) -> Iterator[facts.Case]:
        for run in self.place.runs.values():
            for metric in self.plan.metrics:
                yield from facts.cases_of(self.plan, metric, self.place, self.bed.history, run)

    # -- the gate

    def _deploy(self) -> None:
        self.bed.cluster.add_namespace(self.plan.namespace)
        spec = {"metrics": [metric.manifest(PLUGIN) for metric in self.plan.metrics]}
        self._create(ANALYSIS_TEMPLATES, {"metadata": {"name": "gate"}, "spec": spec})
        analysis = {"analysis": {"templates": [{"templateName": "gate"}]}}
        steps = [analysis] if self.plan.no_canary else [{"setWeight": 50}, analysis]
        rollout = {
            "replicas": self.plan.replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": self._template(1),
            "strategy": {"canary": {"steps": steps}},
        }
        self._create(ROLLOUTS, {"metadata": {"name": "web"}, "spec": rollout})

    def _template(self, version: int) -> Object:
        containers = [{"name": "web", "image": f"web:{version}"}]
        return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}

    def _set_troubles(self) -> None:
        chaos = self.bed.cluster.chaos
        failing: tuple[tuple[Operation, int], ...] = (
            ("Apply", self.plan.apply_fails),
            ("Recover", self.plan.recover_fails),
        )
        for operation, tries in failing:
            if tries:
                times = None if tries < 0 else tries
                self._troubles.append(chaos.fail(operation, "the daemon is away", self._is_mine, times))

    def _hear_run(self, change: Change) -> None:
        """Argo begins no analysis of a canary that is down: it must fall just then."""
        if change.type == "ADDED" and change.stored.namespace == self.plan.namespace:
            self._do(Deed.KEEP_DOWN)

    def _is_mine(self, experiment: Object, _: str) -> bool:
        return bool(experiment["metadata"]["namespace"] == self.plan.namespace)

    # -- what is done to it

    async def _act(self, act: Act) -> None:
        if await self._until(lambda: self._reached(act.moment)):
            await anyio.sleep(act.after)
            with suppress(ApiError, LookupError):  # what it is about is not there any more
                if not self._all_runs_ended():
                    self._do(act.deed)
        self._acting -= 1

    def _reached(self, moment: Moment) -> bool:
        """A moment that never comes is one when the gate has ended."""
        if self._all_runs_ended():
            return True
        made = list(self.place.experiments)
        faults = [fault for each in made for fault in self.place.faults(each)]
        match moment:
            case Moment.BEGUN:
                return bool(self.place.runs)
            case Moment.CREATED:
                return bool(made)
            case Moment.INJECTED:
                return any(objects.injected(each.last) for each in faults)
            case Moment.RECOVERED:
                return any(objects.recovered(each.last) for each in faults)
            case Moment.DECIDED:
                notes = (run.last["metadata"].get("annotations") or {} for run in self.place.runs.values())
                return any(key.startswith("chaosplugin.io/verdict.") for found in notes for key in found)

    def _do(self, deed: Deed) -> None:
        """Do it, and note when it was begun.

        Raises:
            ApiError, LookupError: what it is about is not there.
        """
        deeds: dict[Deed, Callable[[], object]] = {
            Deed.KEEP_DOWN: self._keep_down,
            Deed.FLAP: self._flap,
            Deed.RESTART: lambda: self.bed.cluster.kubelet.restart(*self._pod(), "web"),
            Deed.REPLACE: lambda: self._api.delete(PODS, *self._pod()),
            Deed.STRANGER: self._add_stranger,
            Deed.SCALE: lambda: self._merge(ROLLOUTS, "web", {"spec": {"replicas": 2}}),
            Deed.DELETE_EXPERIMENT: lambda: self._api.delete(*self._experiment()),
            Deed.PAUSE: self._pause,
            Deed.UNLABEL: self._unlabel,
            Deed.TERMINATE: lambda: self._merge(ANALYSIS_RUNS, self._run(), {"spec": {"terminate": True}}),
            Deed.DELETE_RUN: lambda: self._api.delete(ANALYSIS_RUNS, self.plan.namespace, self._run()),
            Deed.ABORT: self._abort,
            Deed.UPDATE: lambda: self._change_version(3),
            Deed.ROLL_BACK: lambda: self._change_version(1),
            Deed.DELETE_ROLLOUT: lambda: self._api.delete(ROLLOUTS, self.plan.namespace, "web"),
            Deed.DELETE_NAMESPACE: lambda: self._api.delete(NAMESPACES, "", self.plan.namespace),
        }
        now = self.bed.history.now()
        deeds[deed]()
        self.place.deeds.append((now, deed))

    def _keep_down(self) -> None:
        for pod in self._canary():
            self._mark_down(pod, down=True)

    def _mark_down(self, pod: Object, *, down: bool) -> None:
        change = {"metadata": {"annotations": {"realbed/ready": "false" if down else None}}}
        self._merge(PODS, pod["metadata"]["name"], change)

    def _flap(self) -> None:
        pod = self._canary()[0]
        self._mark_down(pod, down=True)
        self.bed.later(2.5, lambda: self._mark_down(pod, down=False))

    def _add_stranger(self) -> None:
        labels = {_HASH: self._hash(), "app": "stranger"}
        container = {"name": "web", "image": "stranger:1"}
        self._create(
            PODS, {"metadata": {"name": "stranger", "labels": labels}, "spec": {"containers": [container]}}
        )

    def _pause(self) -> None:
        """A Workflow cannot be paused, only aborted."""
        resource, _, _ = self._experiment()
        self._note_experiment({"annotations": {ABORT if resource is WORKFLOWS else PAUSE: "true"}})

    def _unlabel(self) -> None:
        labels = ("app.kubernetes.io/managed-by", "chaosplugin.io/run", "chaosplugin.io/analysisrun-uid")
        self._note_experiment({"labels": dict.fromkeys(labels)})

    def _abort(self) -> None:
        self._api.merge(ROLLOUTS, self.plan.namespace, "web", {"status": {"abort": True}}, "status")

    def _note_experiment(self, metadata: Object) -> None:
        resource, _, name = self._experiment()
        self._merge(resource, name, {"metadata": metadata})

    def _change_version(self, version: int) -> None:
        self._merge(ROLLOUTS, "web", {"spec": {"template": self._template(version)}})

    # -- how it is

    def _healthy(self) -> bool:
        rollout = self.place.rollout()
        return rollout is not None and (rollout.get("status") or {}).get("phase") == "Healthy"

    def _all_runs_ended(self) -> bool:
        runs = self.place.live(ANALYSIS_RUNS)
        return bool(self.place.runs) and all("completedAt" in (run.get("status") or {}) for run in runs)

    def _ended(self) -> bool:
        """All analyses are over, the Rollout wants no other one, and what was to go is gone."""
        rollout = self.place.rollout()
        if self._acting:
            return False
        if rollout is None:
            return not list(self._remains())
        status = rollout.get("status") or {}
        kept_down = any(deed is Deed.KEEP_DOWN for _, deed in self.place.deeds)  # perhaps after its gate
        settled = status.get("phase") in {"Healthy", "Degraded", "Paused"} or kept_down
        return settled and self._all_runs_ended() and not list(self._remains())

    def _remains(self) -> list[Object]:
        """Experiments that should be gone: those that are kept have their AnalysisRun still."""
        keeps = {metric.template for metric in self.plan.metrics if metric.keep}
        runs = {run["metadata"]["uid"] for run in self.place.live(ANALYSIS_RUNS)}
        live = [trace for trace in self.place.experiments if trace.gone is None]
        faults = [each.last for trace in live for each in self.place.faults(trace) if each.gone is None]
        left = faults + self.place.orphans
        if left and self._troubles and self._all_runs_ended():
            self._help(left)
        return self.place.orphans + [
            trace.last
            for trace in live
            if not any(trace.name.startswith(name) for name in keeps)
            or objects.owner(trace.last) not in runs
            or any(
                objects.lasting(fault.last) and any(map(objects.is_on, objects.records_of(fault.last)))
                for fault in self.place.faults(trace)
                if fault.gone is None
            )
        ]

    def _help(self, left: list[Object]) -> None:
        """The daemon is back, and somebody lets Chaos Mesh try again."""
        for trouble in self._troubles:
            trouble.mend()
        for each in left:
            if "helped" not in (each["metadata"].get("annotations") or {}):
                resource = BY_KIND[each["apiVersion"], each["kind"]]
                self._merge(
                    resource, each["metadata"]["name"], {"metadata": {"annotations": {"helped": "yes"}}}
                )

    def _left_behind(self) -> list[str]:
        found = []
        for pod in self.place.live(PODS):
            words = (pod["metadata"].get("annotations") or {}) | (pod["metadata"].get("labels") or {})
            found += [f"{pod['metadata']['name']} keeps {key}" for key in words if key.startswith(_OURS)]
        return found

    def _hash(self) -> str:
        """Return the canary's, also when the Rollout has another one by now, or none."""
        if not self.place.runs:
            raise LookupError
        return str(list(self.place.runs.values())[-1].last["metadata"]["labels"][_HASH])

    def _canary(self) -> list[Object]:
        value = self._hash()
        pods = self.place.live(PODS)
        return [pod for pod in pods if pod["metadata"]["labels"].get(_HASH) == value]

    def _pod(self) -> tuple[str, str]:
        return self.plan.namespace, self._canary()[0]["metadata"]["name"]

    def _run(self) -> str:
        return str(self.place.live(ANALYSIS_RUNS)[-1]["metadata"]["name"])

    def _experiment(self) -> tuple[Resource, str, str]:
        found = [trace.last for trace in self.place.experiments if trace.gone is None][-1]
        return BY_KIND[found["apiVersion"], found["kind"]], self.plan.namespace, found["metadata"]["name"]

    # -- means

    def _create(self, resource: Resource, obj: Object) -> None:
        self._api.create(resource, obj, self.plan.namespace)

    def _merge(self, resource: Resource, name: str, change: Object) -> None:
        self._api.merge(resource, self.plan.namespace, name, change)

    async def _until(self, holds: Callable[[], bool], for_s: float = 0.0) -> bool:
        """Wait until it is so, and has been for a while; False if that takes too long."""
        quiet = 0.0
        with anyio.move_on_after(PATIENCE_S):
            while quiet <= for_s:
                await anyio.sleep(_LOOK_S)
                quiet = quiet + _LOOK_S if holds() else 0.0
                if for_s == 0.0 and quiet:
                    return True
            return True
        return False

    async def _remove(self) -> None:
        """Free the memory: of this bed, and of the history."""
        with suppress(ApiError):  # it was, already
            self._api.delete(NAMESPACES, "", self.plan.namespace)
        with anyio.move_on_after(PATIENCE_S):
            while self._api.find(NAMESPACES, "", self.plan.namespace) is not None:
                await anyio.sleep(_LOOK_S)
        self.bed.history.places.pop(self.plan.namespace, None)
