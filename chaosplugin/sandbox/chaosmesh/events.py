"""Events as Chaos Mesh writes them: core/v1, one each time, with their fields as annotations."""

from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex

from chaosplugin.sandbox.api.metadata import timestamp
from chaosplugin.sandbox.api.resources import Object

_PREFIX = "chaos-mesh.org/"


@dataclass(frozen=True, slots=True)
class Happening:
    """What is told: the reason, the text, and the fields that its annotations repeat."""

    reason: str
    message: str
    type: str
    fields: tuple[tuple[str, str], ...] = ()
    warning: bool = False


def updated(field: str) -> Happening:
    """Tell of a write."""
    return Happening("Updated", f"Successfully update {field} of resource", "updated", (("field", field),))


def failed(activity: str, error: str) -> Happening:
    """Tell of a failure; the only reason that is a Warning."""
    fields = (("activity", activity), ("err", error))
    return Happening("Failed", f"Failed to {activity}: {error}", "failed", fields, warning=True)


def acted(operation: str, identity: str) -> Happening:
    """Tell of a record injected or recovered."""
    reason, verb = ("Applied", "apply") if operation == "Apply" else ("Recovered", "recover")
    return Happening(reason, f"Successfully {verb} chaos for {identity}", reason.lower(), (("id", identity),))


def spawned(name: str) -> Happening:
    """Tell of a firing of a Schedule."""
    return Happening("Spawned", f"Create new object: {name}", "schedule-spawn", (("name", name),))


def forbidden(running: str) -> Happening:
    """Tell of a firing that is left out, as the one before is not over."""
    text = f"Forbid spawning new job because: {running} is still running"
    return Happening("Forbid", text, "schedule-forbid", (("running-name", running),), warning=True)


def missed(moment: datetime) -> Happening:
    """Tell of a firing that is too late."""
    text = f"Missed scheduled time to start a job: {moment:%a, %d %b %Y %H:%M:%S} UTC"
    return Happening("MissSchedule", text, "missed-schedule", warning=True)


def told(reason: str, message: str, *, warning: bool = False) -> Happening:
    """Tell something of a Workflow or one of its nodes."""
    kebab = "".join(f"-{c.lower()}" if c.isupper() else c for c in reason).lstrip("-")
    return Happening(reason, message, kebab, warning=warning)


UNPAUSABLE = Happening(
    "NotSupported", "pausing a workflow schedule is not supported", "not-supported", warning=True
)
FINALIZER_INITED = Happening("FinalizerInited", "Finalizer has been inited", "finalizer-inited")
FINALIZER_REMOVED = Happening("FinalizerInited", "Finalizer has been removed", "finalizer-inited")
PHASES = {
    "Started": Happening("Started", "Experiment has started", "started"),
    "Paused": Happening("Paused", "Experiment has been paused", "paused"),
    "TimeUp": Happening("TimeUp", "Time up according to the duration", "time-up"),
    "Deleted": Happening("Deleted", "Experiment has been deleted", "deleted"),
}


def event(obj: Object, happening: Happening, component: str, now: datetime) -> Object:
    """Return the Event about `obj`."""
    metadata = obj["metadata"]
    annotations = {_PREFIX + "type": happening.type}
    annotations |= {_PREFIX + key: value for key, value in happening.fields}
    moment = timestamp(now)
    return {
        "metadata": {
            "name": f"{metadata['name']}.{token_hex(8)}",
            "namespace": metadata["namespace"],
            "annotations": annotations,
        },
        "involvedObject": {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "resourceVersion": metadata["resourceVersion"],
            "uid": metadata["uid"],
        },
        "reason": happening.reason,
        "message": happening.message,
        "type": "Warning" if happening.warning else "Normal",
        "source": {"component": component},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
