"""One canary in a namespace of its own, watched by somebody who forgets nothing."""

import json
from typing import Any

import anyio

from chaosplugin.core import ledger
from chaosplugin.sandbox.api.faults import Seen
from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    BY_KIND,
    NAMESPACES,
    POD_CHAOS,
    PODS,
    ROLLOUTS,
    SCHEDULES,
    WORKFLOW_NODES,
    WORKFLOWS,
    Object,
)
from chaosplugin.sandbox.api.store import Change
from tests.e2e.manifests import PLUGIN, POD_FAILURE, next_version
from tests.walk.bed import PLUGIN_USER, Bed

_FAIL = {"action": "pod-failure", "mode": "all"}


def _template(kind: str, **spec: object) -> Object:
    return {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": {"name": "gate"}, "spec": spec}


KINDS: dict[str, Object] = {
    "PodChaos": {"chaosExperimentCRD": _template("PodChaos", **_FAIL, duration="2s")},
    "Schedule": {
        "chaosExperimentCRD": _template(
            "Schedule", schedule="@every 4s", type="PodChaos", podChaos={**_FAIL, "duration": "1s"}
        ),
        "scheduleFor": "9s",
    },
    "Workflow": {
        "chaosExperimentCRD": _template(
            "Workflow",
            entry="all",
            templates=[
                {"name": "all", "templateType": "Serial", "children": ["fail", "rest"]},
                {"name": "fail", "templateType": "PodChaos", "deadline": "2s", "podChaos": _FAIL},
                {"name": "rest", "templateType": "Suspend", "deadline": "1s"},
            ],
        )
    },
}
"""The configuration of a gate of each form: one fault, one that comes again, several in a row."""
HASH_LABEL = "rollouts-pod-template-hash"
CHAOS = "podchaos schedules workflows"
"""What a gate may create."""
_CHAOS = (POD_CHAOS, SCHEDULES, WORKFLOWS)


def metric(name: str = "chaos", duration: str = "4s", **changes: Any) -> Object:
    """Return a metric; what is in `config` goes to the plugin.

    The fault is longer, and its timeout much longer, than a busy machine may take to begin and end it.
    """
    config = {"chaosExperimentCRD": POD_FAILURE.format(duration=duration), "timeout": "60s"}
    config |= changes.pop("config", {})
    return {"name": name, "provider": {"plugin": {PLUGIN: config}}} | changes


def spawning(kind: str, **spec: Any) -> Object:
    """Return a metric of a Schedule or a Workflow."""
    experiment = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": {"name": "spawn"}}
    config = {"chaosExperimentCRD": json.dumps(experiment | {"spec": spec})}
    return metric(config=config | ({"scheduleFor": "12s"} if kind == "Schedule" else {}))


def forms(duration: str, *, every: str = "3s", each: str = "") -> dict[str, Object]:
    """Return a metric of each form, with one fault that lasts so long; `each`: of a Schedule."""
    step = {"name": "fail", "templateType": "PodChaos", "deadline": duration, "podChaos": _FAIL}
    repeated = _FAIL | {"duration": each or duration}
    return {
        "podchaos": metric(duration=duration),
        "schedule": spawning("Schedule", schedule=f"@every {every}", type="PodChaos", podChaos=repeated),
        "workflow": spawning("Workflow", entry="fail", templates=[step]),
    }


def twice() -> tuple[Object, Object]:
    """Return a Schedule and a Workflow that let the canary fail, and fail again.

    With a rest in between: pod-failure puts the image back that it has found, which is that of the fault
    before if this one is undone late, as by a sandbox that is busy; then the pod stays down for ever.
    """
    step = {"templateType": "PodChaos", "deadline": "2s", "podChaos": _FAIL}
    templates = [
        {"name": "all", "templateType": "Serial", "children": ["fail", "rest", "again"]},
        {"name": "fail"} | step,
        {"name": "rest", "templateType": "Suspend", "deadline": "1s"},
        {"name": "again"} | step,
    ]
    return (
        spawning("Schedule", schedule="@every 5s", type="PodChaos", podChaos=_FAIL | {"duration": "2s"}),
        spawning("Workflow", entry="all", templates=templates),
    )


class Gate:
    """A Rollout of two pods of which one is the canary's while the gate is asked."""

    def __init__(self, bed: Bed, namespace: str) -> None:
        self.bed, self.namespace = bed, namespace
        self.created: list[Object] = []
        """every experiment that ever was"""
        self.last: list[Object] = []
        """the same, as last seen"""
        self.verdicts: list[str] = []
        """every verdict that ever stood on the AnalysisRun"""
        self.touches = 0
        bed.cluster.add_namespace(namespace)
        for resource in _CHAOS:
            bed.cluster.store.listen(self._hear_chaos, resource)
        bed.cluster.store.listen(self._hear_run, ANALYSIS_RUNS)

    def _hear_chaos(self, change: Change) -> None:
        if change.stored.namespace != self.namespace or not _is_asked_for(change.stored.object):
            return
        if change.type == "ADDED":
            self.created.append(change.stored.copy())
            self.last.append(change.stored.copy())
        else:
            uids = [each["metadata"]["uid"] for each in self.created]
            self.last[uids.index(change.stored.uid)] = change.stored.copy()

    def _hear_run(self, change: Change) -> None:
        if change.stored.namespace != self.namespace:
            return
        notes = change.stored.metadata.get("annotations") or {}
        for key, value in notes.items():
            if key.startswith("chaosplugin.io/verdict.") and value not in self.verdicts:
                self.verdicts.append(value)

    # -- what happens

    def deploy(self, *metrics: Object, replicas: int = 2, steps: list[Object] | None = None) -> None:
        spec = {"metrics": list(metrics) or [metric()]}
        self._create(ANALYSIS_TEMPLATES, {"metadata": {"name": "gate"}, "spec": spec})
        steps = steps or [{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "gate"}]}}]
        labels = {"app": "web"}
        container = {"name": "web", "image": "web:1"}
        rollout = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "strategy": {"canary": {"steps": steps}},
        }
        self._create(ROLLOUTS, {"metadata": {"name": "web"}, "spec": rollout})

    def begin(self) -> None:
        """Begin a canary; the first version has to be healthy."""
        self.bed.cluster.api.merge(ROLLOUTS, self.namespace, "web", next_version())

    def update(self, image: str) -> None:
        """Put another version into the template, or an earlier one back."""
        containers = [{"name": "web", "image": image}]
        change = {"spec": {"template": {"spec": {"containers": containers}}}}
        self.bed.cluster.api.merge(ROLLOUTS, self.namespace, "web", change)

    def promote_fully(self) -> None:
        """Do as `kubectl argo rollouts promote --full`."""
        change = {"status": {"promoteFull": True}}
        self.bed.cluster.api.merge(ROLLOUTS, self.namespace, "web", change, "status")

    def retry(self) -> None:
        """Do as `kubectl argo rollouts retry rollout`."""
        self.bed.cluster.api.merge(ROLLOUTS, self.namespace, "web", {"status": {"abort": False}}, "status")

    def delete_rollout(self) -> None:
        self.bed.cluster.api.delete(ROLLOUTS, self.namespace, "web")

    def delete_namespace(self) -> None:
        self.bed.cluster.api.delete(NAMESPACES, "", self.namespace)

    def touch(self) -> None:
        """Let the controller look at the AnalysisRun, as its resync does."""
        self.touches += 1
        change = {"metadata": {"annotations": {"touched": str(self.touches)}}}
        if self.run is not None:
            self.change_run(change)

    def change_run(self, change: Object) -> None:
        run = self.run
        assert run is not None
        self.bed.cluster.api.merge(ANALYSIS_RUNS, self.namespace, run["metadata"]["name"], change)

    def change_experiment(self, change: Object) -> None:
        found = self.experiment
        assert found is not None
        self.bed.cluster.api.merge(_resource(found), self.namespace, found["metadata"]["name"], change)

    def touch_faults(self) -> None:
        """Let Chaos Mesh look at every fault again."""
        note = {"metadata": {"annotations": {"troubles": "mended"}}}
        for each in self._there(POD_CHAOS):
            self.bed.cluster.api.merge(POD_CHAOS, self.namespace, each["metadata"]["name"], note)

    def delete_experiment(self) -> None:
        found = self.experiment
        assert found is not None
        self.bed.cluster.api.delete(_resource(found), self.namespace, found["metadata"]["name"])

    def delete_run(self) -> None:
        run = self.run
        assert run is not None
        self.bed.cluster.api.delete(ANALYSIS_RUNS, self.namespace, run["metadata"]["name"])

    def abort(self) -> None:
        """Do as `kubectl argo rollouts abort`."""
        self.bed.cluster.api.merge(ROLLOUTS, self.namespace, "web", {"status": {"abort": True}}, "status")

    def keep_down(self, *, down: bool) -> None:
        """Let the canary's pods not be Ready, or again as they are."""
        for pod in self.canary_pods:
            change = {"metadata": {"annotations": {"realbed/ready": "false" if down else None}}}
            self.bed.cluster.api.merge(PODS, self.namespace, pod["metadata"]["name"], change)

    def _create(self, resource: Any, obj: Object) -> None:
        self.bed.cluster.api.create(resource, obj, self.namespace)

    # -- whose request

    def asks(self, verb: str, resource: str) -> Any:
        """Return a predicate for requests of the plugin for this gate."""
        return lambda seen: self._is(seen, PLUGIN_USER, verb, resource)

    def asked(self, verb: str = "") -> list[Seen]:
        """Return the plugin's latest requests for this gate, without those of shared watches and Events."""
        mine = self.asks(verb, "")
        return [
            seen
            for seen in self.bed.cluster.server.seen
            if mine(seen) and seen.verb != "watch" and seen.resource != "events"
        ]

    def host_writes(self) -> Any:
        """Return a predicate for the host's writes of this gate's AnalysisRun after the verdict."""
        return lambda seen: (
            self._is(seen, "", "patch", "analysisruns") and seen.user != PLUGIN_USER and self.recorded
        )

    def _is(self, seen: Seen, user: str, verb: str, resource: str) -> bool:
        return (
            seen.namespace == self.namespace
            and user in {"", seen.user}
            and verb in {"", seen.verb}
            and (not resource or seen.resource in resource.split())
        )

    # -- how things are

    @property
    def healthy(self) -> bool:
        return bool(self.rollout.get("status", {}).get("phase") == "Healthy")

    @property
    def rollout(self) -> Object:
        return self.bed.cluster.api.get(ROLLOUTS, self.namespace, "web").object

    @property
    def run(self) -> Object | None:
        runs = self.bed.cluster.api.list(ANALYSIS_RUNS, self.namespace)
        return runs[0].object if runs else None

    @property
    def runs(self) -> list[Object]:
        """All AnalysisRuns that are there, oldest first."""
        found = [each.object for each in self.bed.cluster.api.list(ANALYSIS_RUNS, self.namespace)]
        return sorted(found, key=lambda run: str(run["metadata"]["creationTimestamp"]))

    @property
    def verdict(self) -> tuple[str, str]:
        """Return phase and reason of the last measurement of the last AnalysisRun."""
        results = ((self.runs[-1].get("status") or {}).get("metricResults") or []) if self.runs else []
        measured = [each for result in results for each in result.get("measurements") or ()]
        last = measured[-1] if measured else {"phase": "", "message": ""}
        return last["phase"], last.get("message", "").partition(":")[0]

    @property
    def run_uid(self) -> str:
        return str((self.run or {"metadata": {"uid": ""}})["metadata"]["uid"])

    @property
    def state(self) -> str:
        """Return how things are, for whoever has to find out why."""
        return json.dumps([(self.run or {}).get("status"), self.notes, self.experiments])

    @property
    def notes(self) -> dict[str, str]:
        return (self.run or {"metadata": {}})["metadata"].get("annotations") or {}

    @property
    def marked(self) -> bool:
        return any(key.startswith("chaosplugin.io/mark.") for key in self.notes)

    @property
    def recorded(self) -> bool:
        return any(key.startswith("chaosplugin.io/verdict.") for key in self.notes)

    @property
    def results(self) -> list[Object]:
        return ((self.run or {}).get("status") or {}).get("metricResults") or []

    @property
    def measurements(self) -> list[Object]:
        return [each for result in self.results for each in result.get("measurements") or ()]

    @property
    def errors(self) -> int:
        """How many Errors Argo has counted."""
        return sum(result.get("error", 0) for result in self.results)

    @property
    def ended(self) -> bool:
        """The AnalysisRun has ended, or is gone with its Rollout."""
        if self.bed.cluster.api.find(ROLLOUTS, self.namespace, "web") is None:
            return not self.runs
        return "completedAt" in ((self.run or {}).get("status") or {})

    def _there(self, *resources: Any) -> list[Object]:
        return [each.object for kind in resources for each in self.bed.cluster.api.list(kind, self.namespace)]

    @property
    def experiments(self) -> list[Object]:
        """Those that were asked for, not what these have spawned."""
        return [each for each in self._there(*_CHAOS) if _is_asked_for(each)]

    @property
    def experiment(self) -> Object | None:
        return next(iter(self.experiments), None)

    @property
    def records(self) -> list[Object]:
        found = [((each.get("status") or {}).get("experiment") or {}) for each in self._there(POD_CHAOS)]
        return [record for status in found for record in status.get("containerRecords") or ()]

    @property
    def injected(self) -> bool:
        return bool(self.records) and all(each["phase"] == "Injected" for each in self.records)

    @property
    def recovered(self) -> bool:
        return bool(self.records) and all(
            each["phase"] == "Not Injected" and each.get("injectedCount") for each in self.records
        )

    @property
    def undone(self) -> bool:
        """No fault is on any more; a Workflow deletes its own."""
        return not any(each["phase"] == "Injected" for each in self.records)

    @property
    def canary_pods(self) -> list[Object]:
        value = self.rollout["status"]["currentPodHash"]
        pods = (each.object for each in self.bed.cluster.api.list(PODS, self.namespace))
        return [pod for pod in pods if pod["metadata"]["labels"].get(HASH_LABEL) == value]

    @property
    def left_behind(self) -> list[str]:
        """Experiments, and words of ours at pods."""
        found = [each["metadata"]["name"] for each in self._there(*_CHAOS, WORKFLOW_NODES)]
        for pod in self.bed.cluster.api.list(PODS, self.namespace):
            notes = (pod.metadata.get("annotations") or {}) | (pod.metadata.get("labels") or {})
            found += [f"{pod.name}: {key}" for key in notes if key.startswith(ledger.RUN.partition("/")[0])]
        return found


def _is_asked_for(experiment: Object) -> bool:
    owners = experiment["metadata"].get("ownerReferences") or ()
    return any(owner["kind"] == "AnalysisRun" for owner in owners)


def _resource(experiment: Object) -> Any:
    return BY_KIND[experiment["apiVersion"], experiment["kind"]]


async def settle(gates: list[Gate], seconds: float = 80) -> list[str]:
    """Wait until every analysis has ended and all is clean; return what is not, and how things are."""
    waiting = gates
    with anyio.move_on_after(seconds):
        while waiting := [gate for gate in waiting if not gate.ended or gate.left_behind]:
            await anyio.sleep(0.05)
    return [
        f"{gate.namespace} ends: {gate.ended}, leaves: {gate.left_behind}: {gate.state}" for gate in waiting
    ]
