"""Kubernetes objects as JSON, as the host's controllers handle them: copies, differences, times, hashes."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from chaosplugin.sandbox.api.resources import Object

HASH_LABEL = "rollouts-pod-template-hash"
REVISION = "rollout.argoproj.io/revision"
COMPLETED = frozenset({"Successful", "Failed", "Error", "Inconclusive"})
"""Phases of an AnalysisRun, an Experiment or a measurement that are final."""

_SAFE = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes makes names of: no vowels, so no words
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def copy(obj: Object) -> Object:
    """Return a deep copy."""
    copied: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return copied


def difference(before: Any, after: Any) -> Object:
    """Return the merge patch (RFC 7386) that turns one object into the other; empty if they are equal."""
    change: Object = {key: None for key in before if key not in after}
    for key, value in after.items():
        known = before.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            inner = difference(known, value)
            if inner:
                change[key] = inner
        elif key not in before or known != value:
            change[key] = value
    return change


def stamp(moment: datetime) -> str:
    """Write a time as metav1.Time does: whole seconds, cut off."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Read a time of an object."""
    return datetime.fromisoformat(text)


def duration(value: str | int) -> timedelta:
    """Read one of Argo's durations: Go's syntax, or a number of seconds.

    Raises ValueError with Go's text.
    """
    text = str(value)
    if text.isdigit():
        return timedelta(seconds=int(text))
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'time: invalid duration "{text}"')
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def template_hash(template: Object) -> str:
    """Return the hash of a pod template, 10 characters that may stand in a name and in a label."""
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    plain = _without_empty(template | {"metadata": metadata | {"labels": labels}})
    digest = hashlib.sha256(msgspec.json.encode(plain, order="sorted")).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:10])


def _without_empty(value: Any) -> Any:
    """What is empty is not there, as in Go's structs."""
    if isinstance(value, dict):
        inner = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in inner.items() if each not in (None, "", {}, [])}
    return [_without_empty(each) for each in value] if isinstance(value, list) else value


def replicas(obj: Object) -> int:
    """`spec.replicas` of a Rollout or ReplicaSet, 1 if it is not said."""
    count = obj["spec"].get("replicas")
    return 1 if count is None else int(count)


def available(replica_set: Object) -> int:
    """Return how many pods of a ReplicaSet are available."""
    return int((replica_set.get("status") or {}).get("availableReplicas") or 0)
