"""A Rollout's analyses and Experiments: begun when their step is reached, cancelled when it is not theirs.

Source: argo-rollouts rollout/{analysis,experiment}.go, utils/analysis/helpers.go.
"""

from collections.abc import Iterable
from typing import Any

from chaosplugin.sandbox.api.metadata import owner_reference
from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, EXPERIMENTS, Object, Resource
from chaosplugin.sandbox.host import arguments
from chaosplugin.sandbox.host.caches import Caches
from chaosplugin.sandbox.host.canary import ABORTED
from chaosplugin.sandbox.host.informer import key_of
from chaosplugin.sandbox.host.objects import COMPLETED, HASH_LABEL, REVISION, copy
from chaosplugin.sandbox.host.requests import RequestError, Requests
from chaosplugin.sandbox.host.situation import Situation

HISTORY = 5  # finished runs of each sort that are kept, unless spec.analysis says otherwise

_STEP = "currentStepAnalysisRunStatus"
_BACKGROUND = "currentBackgroundAnalysisRunStatus"
_TERMINATE = {"spec": {"terminate": True}}


class Gates:
    """What stands between a Rollout and its next step."""

    def __init__(self, requests: Requests, caches: Caches) -> None:
        self._requests = requests
        self._caches = caches

    async def reconcile(self, at: Situation, status: Object) -> None:
        """Begin and cancel; put what became of the current ones into `status`."""
        runs = self._caches.runs.owned_by(at.rollout["metadata"]["uid"])
        experiments = self._caches.experiments.owned_by(at.rollout["metadata"]["uid"])
        known = copy(at.rollout["status"].get("canary") or {})
        mine: dict[str, Any] = {}
        if not (at.promoted or at.aborted or at.rollout["status"].get("promoteFull")):
            try:
                await self._step(at, status, known, mine, runs)
                await self._background(at, status, known, mine, runs)
                await self._experiment(at, status, known, mine, experiments)
            except arguments.ArgumentError as error:
                _invalid(status, str(error))
        status["canary"] = mine
        names = {each["name"] for each in (mine.get(_STEP), mine.get(_BACKGROUND)) if each}
        await self._cancel(ANALYSIS_RUNS, (each for each in runs if each["metadata"]["name"] not in names))
        await self._forget(at, [each for each in runs if each["metadata"]["name"] not in names])
        current = mine.get("currentExperiment")
        await self._cancel(EXPERIMENTS, (each for each in experiments if each["metadata"]["name"] != current))
        if status.get("abort"):
            await self._cancel(ANALYSIS_RUNS, runs)
            await self._cancel(EXPERIMENTS, experiments)
            _report_abort(at, status, "")
        else:
            conditions = status.get("conditions") or ()
            status["conditions"] = [each for each in conditions if each.get("reason") != ABORTED]

    def passed(self, at: Situation) -> bool:
        """Say whether the analysis or the Experiment of the current step was successful."""
        status = at.rollout["status"].get("canary") or {}
        if at.step is not None and "experiment" in at.step:
            name = status.get("currentExperiment")
            found = self._caches.experiments.get((at.namespace, str(name)))
        else:
            name = (status.get(_STEP) or {}).get("name")
            found = self._caches.runs.get((at.namespace, str(name)))
        return found is not None and _phase(found) == "Successful"

    # -- analyses

    async def _step(
        self, at: Situation, status: Object, known: Object, mine: Object, runs: list[Object]
    ) -> None:
        current = _named(runs, known.get(_STEP))
        paused = status.get("pauseConditions") or at.rollout["status"].get("pauseConditions")
        if paused:
            if current is not None:
                mine[_STEP] = _short(current)
            return
        analysis = (at.step or {}).get("analysis") or {}
        if not analysis.get("templates"):
            return
        index = str(at.index)
        if current is not None and current["metadata"]["labels"].get("step-index") != index:
            current = None
        if current is None or self._again(at, current):
            labels = {"rollout-type": "Step", "step-index": index}
            current = await self._begin(at, analysis, index, labels)
        mine[_STEP] = _short(current)
        _judge(at, status, current, "Step-based analysis phase error/failed")

    async def _background(
        self, at: Situation, status: Object, known: Object, mine: Object, runs: list[Object]
    ) -> None:
        analysis = at.rollout["spec"]["strategy"].get("canary", {}).get("analysis") or {}
        if not analysis.get("templates") or at.index < int(analysis.get("startingStep") or 0):
            return
        current = _named(runs, known.get(_BACKGROUND))
        if current is None or (not status.get("pauseConditions") and self._again(at, current)):
            current = await self._begin(at, analysis, "", {"rollout-type": "Background"})
        mine[_BACKGROUND] = _short(current)
        _judge(at, status, current, "Background analysis phase error/failed")

    def _again(self, at: Situation, current: Object) -> bool:
        """A person went on after an inconclusive run: it is run once more."""
        resumed = at.rollout["status"].get("controllerPause") and not at.rollout["status"].get(
            "pauseConditions"
        )
        return bool(resumed) and _phase(current) == "Inconclusive"

    async def _begin(self, at: Situation, analysis: Object, infix: str, labels: Object) -> Object:
        rollout = at.rollout
        given = arguments.of_rollout(analysis.get("args") or (), at.hash, at.stable_hash, rollout)
        templates = [self._caches.template(at.namespace, each) for each in analysis["templates"]]
        spec = arguments.run_spec(templates, given, analysis.get("dryRun") or ())
        if analysis.get("measurementRetention"):
            spec["measurementRetention"] = analysis["measurementRetention"]
        parts = [at.name, at.hash, str(at.revision), *([infix] if infix else [])]
        metadata = {
            "name": "-".join(parts),
            "labels": labels | {HASH_LABEL: at.hash} | (rollout["spec"]["selector"].get("matchLabels") or {}),
            "annotations": {REVISION: str(at.revision)},
            "ownerReferences": [owner_reference(rollout)],
        }
        made = await create(
            self._requests, ANALYSIS_RUNS, at.namespace, {"metadata": metadata, "spec": spec}, "."
        )
        self._caches.runs.put(made)
        return made

    # -- Experiments

    async def _experiment(
        self, at: Situation, status: Object, known: Object, mine: Object, experiments: list[Object]
    ) -> None:
        step = (at.step or {}).get("experiment")
        if step is None or at.stable is None or status.get("pauseConditions"):
            return
        name = known.get("currentExperiment")
        current = next((each for each in experiments if each["metadata"]["name"] == name), None)
        if current is None:
            current = await create(self._requests, EXPERIMENTS, at.namespace, _experiment(at, step), "-")
            self._caches.experiments.put(current)
        mine["currentExperiment"] = current["metadata"]["name"]
        phase = _phase(current)
        if phase == "Inconclusive":
            status["pauseConditions"] = [{"reason": "InconclusiveExperiment"}]
        elif phase in {"Failed", "Error"}:
            message = (current.get("status") or {}).get("message")
            why = "Experiment analysis phase is error/failed" + (f": {message}" if message else "")
            _abort(at, status, why)

    # -- ends

    async def _cancel(self, resource: Resource, objects: Iterable[Object]) -> None:
        for each in objects:
            if _phase(each) not in COMPLETED and not each["spec"].get("terminate"):
                try:
                    await self._requests.patch(resource, *key_of(each), _TERMINATE)
                except RequestError as error:
                    if error.status != 404:
                        raise

    async def _forget(self, at: Situation, others: list[Object]) -> None:
        """Delete the oldest finished runs beyond the history limits."""
        limits = at.rollout["spec"].get("analysis") or {}
        finished = [each for each in others if _phase(each) in COMPLETED]
        good = [each for each in finished if _phase(each) == "Successful"]
        bad = [each for each in finished if _phase(each) != "Successful"]
        for runs, limit in (
            (good, limits.get("successfulRunHistoryLimit", HISTORY)),
            (bad, limits.get("unsuccessfulRunHistoryLimit", HISTORY)),
        ):
            for each in runs[: max(0, len(runs) - int(limit))]:
                try:
                    await self._requests.delete(ANALYSIS_RUNS, *key_of(each))
                except RequestError as error:
                    if error.status != 404:
                        raise


async def create(
    requests: Requests, resource: Resource, namespace: str, obj: Object, separator: str
) -> Object:
    """Create an object; a name that is taken by another one, or by one that has ended, gets a number.

    An unfinished one of the same spec and owner is ours, made from a stale cache: it is returned.
    """
    base = obj["metadata"]["name"]
    owner = obj["metadata"]["ownerReferences"][0]["uid"]
    number = 0
    while True:
        name = f"{base}{separator}{number}" if number else base
        try:
            return await requests.create(
                resource, namespace, obj | {"metadata": obj["metadata"] | {"name": name}}
            )
        except RequestError as error:
            if error.reason != "AlreadyExists":
                raise
        taken = await requests.get(resource, namespace, name)
        ours = any(each["uid"] == owner for each in taken["metadata"].get("ownerReferences") or ())
        same = {k: v for k, v in taken["spec"].items() if k != "terminate"} == obj["spec"]
        if ours and same and _phase(taken) not in COMPLETED and not taken["spec"].get("terminate"):
            return taken
        number += 1


def _experiment(at: Situation, step: Object) -> Object:
    """Return the Experiment of a step; its templates are copies of the canary's or the stable's."""
    templates = []
    for each in step.get("templates") or ():
        source = at.new if each["specRef"] == "canary" else at.stable
        spec = copy((source or {})["spec"])
        template: Object = {"name": each["name"], "template": spec["template"], "selector": spec["selector"]}
        if "replicas" in each:
            template["replicas"] = each["replicas"]
        metadata = each.get("metadata") or {}
        if each.get("selector"):
            template["selector"] = copy(each["selector"])
        if metadata.get("labels"):
            template["template"]["metadata"]["labels"] |= metadata["labels"]
            template["selector"].setdefault("matchLabels", {}).update(metadata["labels"])
        if metadata.get("annotations"):
            annotations = template["template"]["metadata"].setdefault("annotations", {})
            annotations |= metadata["annotations"]
        templates.append(template)
    analyses = []
    for each in step.get("analyses") or ():
        args = arguments.of_rollout(each.get("args") or (), at.hash, at.stable_hash, at.rollout)
        analyses.append(each | {"args": args})
    spec = {key: step[key] for key in ("duration", "scaleDownDelaySeconds", "dryRun") if key in step}
    metadata = {
        "name": f"{at.name}-{at.hash}-{at.revision}-{at.index}",
        "labels": (at.rollout["metadata"].get("labels") or {}) | {HASH_LABEL: at.hash},
        "annotations": {REVISION: str(at.revision)},
        "ownerReferences": [owner_reference(at.rollout)],
    }
    return {"metadata": metadata, "spec": spec | {"templates": templates, "analyses": analyses}}


def _named(runs: list[Object], short: Object | None) -> Object | None:
    name = (short or {}).get("name")
    return next((each for each in runs if each["metadata"]["name"] == name), None)


def _short(run: Object) -> Object:
    """How a Rollout's status remembers a run."""
    short = {"name": run["metadata"]["name"], "status": _phase(run)}
    message = (run.get("status") or {}).get("message")
    return short | ({"message": message} if message else {})


def _phase(obj: Object) -> str:
    return str((obj.get("status") or {}).get("phase") or "")


def _judge(at: Situation, status: Object, run: Object, words: str) -> None:
    phase = _phase(run)
    if phase == "Inconclusive":
        conditions = status.setdefault("pauseConditions", [])
        if all(each["reason"] != "InconclusiveAnalysisRun" for each in conditions):
            conditions.append({"reason": "InconclusiveAnalysisRun"})
    elif phase in {"Failed", "Error"}:
        message = (run.get("status") or {}).get("message")
        _abort(at, status, words + (f": {message}" if message else ""))


def _abort(at: Situation, status: Object, why: str) -> None:
    status["abort"] = True
    _report_abort(at, status, why)


def _report_abort(at: Situation, status: Object, why: str) -> None:
    """Set the condition; the reason that was given first stays."""
    conditions = [each for each in status.get("conditions") or () if each["type"] != "Progressing"]
    known = [each for each in status.get("conditions") or () if each.get("reason") == ABORTED]
    if known and not why:
        return
    message = f"Rollout aborted update to revision {at.revision}" + (f": {why}" if why else "")
    condition = {"type": "Progressing", "status": "False", "reason": ABORTED, "message": message}
    status["conditions"] = [*conditions, condition]


def _invalid(status: Object, why: str) -> None:
    conditions = [each for each in status.get("conditions") or () if each["type"] != "InvalidSpec"]
    condition = {"type": "InvalidSpec", "status": "True", "reason": "InvalidSpec", "message": why}
    status["conditions"] = [*conditions, condition]
