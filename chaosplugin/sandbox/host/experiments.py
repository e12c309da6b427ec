"""The Experiment controller: ReplicaSets of its own beside the Rollout's, analyses that look at them.

Source: argo-rollouts experiments/{controller,experiment,replicaset}.go.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from chaosplugin.sandbox.api.metadata import owner_reference
from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, EXPERIMENTS, REPLICA_SETS, Object
from chaosplugin.sandbox.host import arguments
from chaosplugin.sandbox.host.arguments import ArgumentError
from chaosplugin.sandbox.host.caches import Caches
from chaosplugin.sandbox.host.gates import create
from chaosplugin.sandbox.host.informer import Key, controller, key_of
from chaosplugin.sandbox.host.objects import (
    COMPLETED,
    HASH_LABEL,
    available,
    copy,
    difference,
    duration,
    moment,
    replicas,
    stamp,
    template_hash,
)
from chaosplugin.sandbox.host.requests import RequestError, Requests
from chaosplugin.sandbox.host.workers import Workers

WORKERS = 10
SCALE_DOWN_DELAY = 30  # seconds that the pods of an ended Experiment live on

_NAME = "experiment.argoproj.io/name"
_TEMPLATE_NAME = "experiment.argoproj.io/template-name"
_WORST = ("Successful", "Running", "Pending", "Inconclusive", "Error", "Failed")


class ExperimentController:
    """Follows Experiments, their ReplicaSets and AnalysisRuns."""

    def __init__(self, requests: Requests, caches: Caches, clock: Callable[[], datetime]) -> None:
        self._requests = requests
        self._caches = caches
        self._clock = clock
        self._workers = Workers(self._reconcile, WORKERS)
        caches.experiments.listen(lambda _, experiment: self._workers.add(key_of(experiment)))
        for informer in (caches.replica_sets, caches.runs):
            informer.listen(lambda _, obj: self._hear(obj))

    async def run(self) -> None:
        await self._workers.run()

    def _hear(self, obj: Object) -> None:
        owner = controller(obj)
        if owner is not None and owner["kind"] == "Experiment":
            self._workers.add((obj["metadata"]["namespace"], owner["name"]))

    async def _reconcile(self, key: Key) -> float | None:
        known = self._caches.experiments.get(key)
        if known is None or known["metadata"].get("deletionTimestamp"):
            return None
        experiment = copy(known)
        status = experiment.setdefault("status", {})
        owned = self._caches.replica_sets.owned_by(experiment["metadata"]["uid"])
        sets = {each["metadata"]["annotations"][_TEMPLATE_NAME]: each for each in owned}
        again = await self._templates(experiment, sets)
        if not _ended(experiment):
            await self._analyses(experiment, sets)
            self._assess(experiment)
        elif status.get("phase") not in COMPLETED:
            status["phase"] = "Successful"
        if _ended(experiment):
            await self._end_analyses(experiment)
        change = difference(known.get("status") or {}, status)
        if change:
            changed = await self._requests.patch(EXPERIMENTS, *key, {"status": change})
            self._caches.experiments.put(changed)
        return again

    # -- templates

    async def _templates(self, experiment: Object, sets: dict[str, Object]) -> float | None:
        """Make and scale the ReplicaSets; return the seconds until something is due."""
        status, now = experiment["status"], self._clock()
        ended = _ended(experiment)
        if ended and "endedAt" not in status:
            status["endedAt"] = stamp(now)
        delay = experiment["spec"].get("scaleDownDelaySeconds", SCALE_DOWN_DELAY)
        left = timedelta()
        if ended:
            left = moment(status["endedAt"]) + timedelta(seconds=int(delay)) - now
        for template in experiment["spec"].get("templates") or ():
            name = template["name"]
            if name not in sets and not ended:
                sets[name] = await self._make(experiment, template)
            found = sets.get(name)
            wanted = 0 if ended and left <= timedelta() else int(template.get("replicas", 1))
            if found is not None and replicas(found) != wanted:
                change = {"spec": {"replicas": wanted}}
                sets[name] = await self._requests.patch(REPLICA_SETS, *key_of(found), change)
                self._caches.replica_sets.put(sets[name])
        status["templateStatuses"] = [_template_status(each, sets) for each in _templates(experiment)]
        return self._due(experiment, left.total_seconds() if ended else None)

    def _due(self, experiment: Object, left: float | None) -> float | None:
        if left is not None:
            return left + 0.05 if left > 0 else None
        since = experiment["status"].get("availableAt")
        if not since or not experiment["spec"].get("duration"):
            return None
        end = moment(since) + duration(experiment["spec"]["duration"])
        return max(0.0, (end - self._clock()).total_seconds()) + 0.05

    async def _make(self, experiment: Object, template: Object) -> Object:
        """Create a template's ReplicaSet; the hash is its own, not the Rollout's."""
        pod = copy(template["template"])
        pod["metadata"].get("labels", {}).pop(HASH_LABEL, None)
        hash_ = template_hash({"of": "experiment"} | pod)
        labels = (pod["metadata"].get("labels") or {}) | {HASH_LABEL: hash_}
        pod["metadata"]["labels"] = labels
        selector = copy(template["selector"])
        selector["matchLabels"] = (selector.get("matchLabels") or {}) | {HASH_LABEL: hash_}
        name = experiment["metadata"]["name"]
        replica_set = {
            "metadata": {
                "name": f"{name}-{template['name']}",
                "labels": labels,
                "annotations": {_NAME: name, _TEMPLATE_NAME: template["name"]},
                "ownerReferences": [owner_reference(experiment)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": pod},
        }
        namespace = experiment["metadata"]["namespace"]
        try:
            made = await self._requests.create(REPLICA_SETS, namespace, replica_set)
        except RequestError as error:
            if error.reason != "AlreadyExists":
                raise
            made = await self._requests.get(REPLICA_SETS, namespace, f"{name}-{template['name']}")
        self._caches.replica_sets.put(made)
        return made

    # -- analyses

    async def _analyses(self, experiment: Object, sets: dict[str, Object]) -> None:
        status = experiment["status"]
        if not status.get("availableAt"):
            return
        known = {each["name"]: each for each in status.get("analysisRuns") or ()}
        for analysis in experiment["spec"].get("analyses") or ():
            name = analysis["name"]
            if name not in known:
                known[name] = await self._begin(experiment, analysis, sets)
            elif known[name]["phase"] not in COMPLETED:
                key = (experiment["metadata"]["namespace"], known[name]["analysisRun"])
                run = (self._caches.runs.get(key) or {}).get("status") or {}
                known[name] |= {k: run[k] for k in ("phase", "message") if run.get(k)}
        status["analysisRuns"] = list(known.values())

    async def _begin(self, experiment: Object, analysis: Object, sets: dict[str, Object]) -> Object:
        namespace = experiment["metadata"]["namespace"]
        try:
            template = self._caches.template(namespace, analysis)
            since = experiment["status"]["availableAt"]
            given = arguments.of_experiment(analysis.get("args") or (), sets, since)
            spec = arguments.run_spec([template], given, experiment["spec"].get("dryRun") or ())
        except ArgumentError as error:
            why = f"Failed to create AnalysisRun for analysis '{analysis['name']}': {error}"
            return {"name": analysis["name"], "analysisRun": "", "phase": "Error", "message": why}
        metadata = {
            "name": f"{experiment['metadata']['name']}-{analysis['name']}",
            "ownerReferences": [owner_reference(experiment)],
        }
        made = await create(
            self._requests, ANALYSIS_RUNS, namespace, {"metadata": metadata, "spec": spec}, "."
        )
        return {"name": analysis["name"], "analysisRun": made["metadata"]["name"], "phase": "Pending"}

    async def _end_analyses(self, experiment: Object) -> None:
        for run in self._caches.runs.owned_by(experiment["metadata"]["uid"]):
            phase = (run.get("status") or {}).get("phase")
            if phase not in COMPLETED and not run["spec"].get("terminate"):
                await self._requests.patch(ANALYSIS_RUNS, *key_of(run), {"spec": {"terminate": True}})

    # -- the end

    def _assess(self, experiment: Object) -> None:
        status, spec = experiment["status"], experiment["spec"]
        ready = all(each["status"] == "Running" for each in status["templateStatuses"])
        if ready:
            status.setdefault("availableAt", stamp(self._clock()))
        worst, message = "Successful", ""
        for each in status.get("analysisRuns") or ():
            if _WORST.index(each["phase"]) > _WORST.index(worst):
                worst, message = each["phase"], each.get("message", "")
        over = "availableAt" in status and bool(spec.get("duration"))
        over = over and self._clock() > moment(status["availableAt"]) + duration(spec["duration"])
        required = {each["name"] for each in spec.get("analyses") or () if each.get("requiredForCompletion")}
        passed = {each["name"] for each in status.get("analysisRuns") or () if each["phase"] == "Successful"}
        if worst in {"Failed", "Error", "Inconclusive"}:
            status |= {"phase": worst, "message": message}
        elif required <= passed and worst == "Successful" if required else over:
            status["phase"] = "Successful"
        else:
            status["phase"] = "Running" if ready else "Pending"


def _templates(experiment: Object) -> list[Object]:
    return list(experiment["spec"].get("templates") or ())


def _ended(experiment: Object) -> bool:
    phase = (experiment.get("status") or {}).get("phase")
    return phase in COMPLETED or bool(experiment["spec"].get("terminate"))


def _template_status(template: Object, sets: dict[str, Object]) -> Object:
    found = sets.get(template["name"])
    count = 0 if found is None else available(found)
    wanted = int(template.get("replicas", 1))
    return {
        "name": template["name"],
        "status": "Running" if count == wanted else "Progressing",
        "replicas": 0 if found is None else replicas(found),
        "availableReplicas": count,
    }
