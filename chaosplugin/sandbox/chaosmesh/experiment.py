"""The rules of an experiment, as functions of the object: phase, conditions, what a record needs next."""

from datetime import datetime, timedelta
from random import SystemRandom
from typing import Literal

from chaosplugin.sandbox.api.metadata import timestamp
from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.chaosmesh.durations import parse

FINALIZER = "chaos-mesh/records"
PAUSE = "experiment.chaos-mesh.org/pause"
CLEAN_FINALIZER = "chaos-mesh.chaos-mesh.org/cleanFinalizer"
MAX_EVENTS = 100  # of a record; the oldest are dropped, from 2.6.5 on

INJECTED = "Injected"
NOT_INJECTED = "Not Injected"
WAIT = "/Wait"

Operation = Literal["Apply", "Recover"]

_random = SystemRandom()


def deleting(obj: Object) -> bool:
    """Say whether the object has been deleted, and waits for its finalizers."""
    return "deletionTimestamp" in obj["metadata"]


def paused(obj: Object) -> bool:
    """Say whether its user paused it."""
    return bool((obj["metadata"].get("annotations") or {}).get(PAUSE) == "true")


def one_shot(obj: Object) -> bool:
    """Say whether the action is over once it is done: such a one never recovers, pauses or ends."""
    return obj["kind"] == "PodChaos" and obj["spec"]["action"] in {"pod-kill", "container-kill"}


def time_left(obj: Object, now: datetime) -> timedelta | None:
    """Return what is left of the duration; None for one without, or with one that cannot be parsed.

    The clock starts at creationTimestamp, in whole seconds: a fault lives up to 1 s less than asked.
    """
    text = obj["spec"].get("duration")
    if text is None:
        return None
    try:
        duration = parse(text)
    except ValueError:
        return None
    return datetime.fromisoformat(obj["metadata"]["creationTimestamp"]) + duration - now


def desired_phase(obj: Object, now: datetime) -> tuple[str, str]:
    """Return the phase wanted, and the reason of the Event that tells of entering it ("" for none)."""
    if deleting(obj):
        return "Stop", "Deleted"
    if one_shot(obj):
        return "Run", ""
    left = time_left(obj, now)
    if left is not None and left < timedelta():
        return "Stop", "TimeUp"
    if paused(obj):
        return "Stop", "Paused"
    return "Run", "Started"


def status(obj: Object) -> Object:
    """Return status.experiment of an object that is being changed, made where it is absent."""
    experiment: Object = obj.setdefault("status", {}).setdefault("experiment", {})
    return experiment


def records(obj: Object) -> list[Object] | None:
    """Return the records; None until targets were selected."""
    found: list[Object] | None = ((obj.get("status") or {}).get("experiment") or {}).get("containerRecords")
    return found


def phase(obj: Object) -> str:
    """Return the desired phase as it was last written, "" before."""
    return str(((obj.get("status") or {}).get("experiment") or {}).get("desiredPhase", ""))


def conditions(obj: Object) -> dict[str, str]:
    """Return the four conditions as they follow from the records."""
    known = records(obj)

    def every(wanted: str) -> bool:
        return known is not None and all(each["phase"] == wanted for each in known)

    truths = {
        "Selected": known is not None,
        "AllInjected": every(INJECTED),
        "AllRecovered": every(NOT_INJECTED),
        "Paused": paused(obj),
    }
    return {key: str(value) for key, value in truths.items()}


def shuffled(wanted: dict[str, str]) -> list[Object]:
    """Write conditions in no order and without reason, as upstream does from a Go map."""
    written: list[Object] = [{"status": value, "type": key} for key, value in wanted.items()]
    _random.shuffle(written)
    return written


def operation(record_phase: str, wanted: str) -> Operation | None:
    """Say what a record needs next, so that it goes round Not Injected, its Wait, Injected, its Wait."""
    done = {"Run": INJECTED, "Stop": NOT_INJECTED}.get(wanted)
    if done is None or record_phase == done:
        return None
    return "Apply" if record_phase.startswith(NOT_INJECTED) else "Recover"


def new_record(key: str, identity: str) -> Object:
    """Return the record of a target that nothing was done to."""
    return {
        "id": identity,
        "selectorKey": key,
        "phase": NOT_INJECTED,
        "injectedCount": 0,
        "recoveredCount": 0,
    }


def note(record: Object, what: Operation, now: datetime, failure: str = "") -> None:
    """Append an event to a record."""
    event: Object = {
        "operation": what,
        "timestamp": timestamp(now),
        "type": "Failed" if failure else "Succeeded",
    }
    if failure:
        event["message"] = failure
    record["events"] = [*record.get("events", ()), event][-MAX_EVENTS:]


def releasable(obj: Object) -> bool:
    """Say whether the finalizer may go: every record recovered, or the user forced it."""
    forced = (obj["metadata"].get("annotations") or {}).get(CLEAN_FINALIZER) == "forced"
    return forced or all(each["phase"] == NOT_INJECTED for each in records(obj) or ())
