"""What objects of a history tell, as the API's JSON has it."""

from collections.abc import Iterable
from datetime import datetime

from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.chaosmesh.experiment import PAUSE
from chaosplugin.sandbox.chaosmesh.workflow import ABORT
from tests.soak.history import Place, Trace

RUN = "chaosplugin.io/run"
_PAUSED = "gcr.io/google-containers/pause"


def measurements(run: Object, metric: str) -> list[Object]:
    results = (run.get("status") or {}).get("metricResults") or ()
    return next((list(each.get("measurements") or ()) for each in results if each["name"] == metric), [])


def ended(run: Trace, metric: str, place: Place) -> dict[int, Object]:
    """Return the measurements that have ended, by their index, each as it was last stored so.

    Argo writes without a version: of two controllers one may overwrite what the other has stored.
    """
    found: dict[int, Object] = {}
    for _, state in run.states:
        stored = enumerate(measurements(state, metric))
        over = {index: each for index, each in stored if each.get("finishedAt")}
        found |= {index: each for index, each in over.items() if not foreign(each, run, place)}
    return found


def foreign(measurement: Object, run: Trace, place: Place) -> bool:
    """Argo writes by name: what it made of a run that was just deleted lands on that one's successor.

    The intent tells whose it is, as the beginning is written there, too, and may be the other one's.
    """
    began, digest = measurement.get("startedAt"), digest_of(measurement)
    if not digest:
        return began is not None and seconds(began) < run.born - 1.5
    return any(each.born < run.born and digest in _intents(each) for each in place.runs.values())


def _intents(run: Trace) -> set[str]:
    """Return of which intents an AnalysisRun has ever had measurements."""
    results = [
        each for _, state in run.states for each in (state.get("status") or {}).get("metricResults") or ()
    ]
    return {digest_of(measured) for each in results for measured in each.get("measurements") or ()}


def of_run(place: Place, uid: str) -> list[Trace]:
    return [trace for trace in place.experiments if owner(trace.last) == uid]


def digest_of(obj: Object) -> str:
    """Return which intent a measurement, or an experiment as it was created, says to be of; "" for none."""
    metadata = obj.get("metadata") or {}
    return str((metadata.get("labels") or metadata).get(RUN, ""))


def owner(obj: Object) -> str:
    return next((str(each["uid"]) for each in obj["metadata"].get("ownerReferences") or ()), "")


def controller(obj: Object) -> str:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((str(each["uid"]) for each in owners if each.get("controller")), "")


def names(pods: Iterable[Object]) -> frozenset[str]:
    return frozenset(str(pod["metadata"]["name"]) for pod in pods)


def records_of(experiment: Object) -> list[Object]:
    records = _experiment(experiment).get("containerRecords") or ()
    return [each for each in records if each["selectorKey"] == "."]


def names_of(fault: Trace, *, struck: bool = False) -> frozenset[str]:
    """Names of pods that its records name at any time, or of those only that were hit."""
    records = (record for _, state in fault.states for record in records_of(state))
    return frozenset(each["id"].split("/")[1] for each in records if each.get("injectedCount") or not struck)


def told_ends(fault: Trace, *, lasting: bool) -> list[float]:
    """When its targets recovered, or were hit by what is over then, as their records tell."""
    last = "Recover" if lasting else "Apply"
    events = (event for record in records_of(fault.last) for event in record.get("events") or ())
    return [
        seconds(each["timestamp"])
        for each in events
        if (each["type"], each["operation"]) == ("Succeeded", last)
    ]


def spawns_no_more(parent: Object) -> bool:
    """A Schedule that is paused, a Workflow that has ended."""
    if parent["kind"] == "Schedule":
        return (parent["metadata"].get("annotations") or {}).get(PAUSE) == "true"
    known = (parent.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Accomplished" and each["status"] == "True" for each in known)


def is_paused(experiment: Object) -> bool:
    """Whether somebody has paused it, or, of a Workflow, aborted it."""
    notes = experiment["metadata"].get("annotations") or {}
    return "true" in {notes.get(PAUSE), notes.get(ABORT)}


def injected(experiment: Object) -> bool:
    found = records_of(experiment)
    return bool(found) and all(each.get("injectedCount") for each in found)


def recovered(experiment: Object) -> bool:
    return injected(experiment) and all(each["phase"] == "Not Injected" for each in records_of(experiment))


def over_before(fault: Trace, time: float) -> bool:
    """Whether it was gone by then, or its own time was over, whatever it had hit."""
    stops = fault.first(lambda obj: _experiment(obj).get("desiredPhase") == "Stop")
    return any(each is not None and each < time for each in (fault.gone, stops))


def _experiment(obj: Object) -> Object:
    found: Object = (obj.get("status") or {}).get("experiment") or {}
    return found


def lasting(experiment: Object) -> bool:
    return bool(experiment["spec"].get("action") != "pod-kill")


def is_on(record: Object) -> bool:
    return str(record["phase"]).startswith("Injected")


def ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    up = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return up and "deletionTimestamp" not in pod["metadata"]


def ready_since(pod: Object) -> float:
    """When its Ready condition has last changed; 0 where it does not tell."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    told = [each for each in conditions if each["type"] == "Ready" and "lastTransitionTime" in each]
    return seconds(told[0]["lastTransitionTime"]) if told else 0.0


def has_pause_image(pod: Object) -> bool:
    return any(each["image"].startswith(_PAUSED) for each in pod["spec"]["containers"])


def restarts(pod: Object) -> int:
    return sum(each["restartCount"] for each in (pod.get("status") or {}).get("containerStatuses") or ())


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
