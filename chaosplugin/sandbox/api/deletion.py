"""DELETE: preconditions, grace, propagation, and when an object is really gone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chaosplugin.sandbox.api import errors, metadata
from chaosplugin.sandbox.api.resources import NAMESPACES, PODS, Object
from chaosplugin.sandbox.api.store import Stored

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
POD_GRACE = 30  # seconds, terminationGracePeriodSeconds where a pod names none

_FINALIZER = {"Foreground": FOREGROUND, "Orphan": ORPHAN}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """The body of a DELETE; `grace` in seconds."""

    uid: str = ""
    resource_version: str = ""
    grace: int | None = None
    propagation: str = ""  # "" | Background | Foreground | Orphan
    dry_run: bool = False

    @classmethod
    def of(cls, body: Any) -> "DeleteOptions":
        """Read the body of a DELETE.

        Raises:
            ApiError: 400, when it is no DeleteOptions.
        """
        if body is None:
            return cls()
        if not isinstance(body, dict):
            raise errors.bad_request("the body of a DELETE is a DeleteOptions object")
        preconditions = body.get("preconditions") or {}
        policy = body.get("propagationPolicy") or ""
        if policy not in {"", "Background", "Foreground", "Orphan"}:
            raise errors.bad_request(f"unknown propagationPolicy {policy!r}")
        return cls(
            preconditions.get("uid") or "",
            preconditions.get("resourceVersion") or "",
            body.get("gracePeriodSeconds"),
            policy,
            bool(body.get("dryRun")),
        )

    def check(self, stored: Stored) -> None:
        """Compare the preconditions with the object.

        Raises:
            ApiError: 409, when it is another object or another version.
        """
        if self.uid and self.uid != stored.uid:
            raise errors.conflict(
                stored.resource,
                stored.name,
                f"the UID in the precondition ({self.uid}) does not match the UID in record ({stored.uid}). "
                "The object might have been deleted and then recreated",
            )
        if self.resource_version and self.resource_version != str(stored.revision):
            raise errors.conflict(
                stored.resource,
                stored.name,
                f"the ResourceVersion in the precondition ({self.resource_version}) does not match the "
                f"ResourceVersion in record ({stored.revision}). The object might have been modified",
            )


def mark(stored: Stored, options: DeleteOptions, now: datetime) -> Object:
    """Return the object as it is while being deleted."""
    new = stored.copy()
    meta = new["metadata"]
    finalizers = list(meta.get("finalizers") or ())
    added = _FINALIZER.get(options.propagation)
    if added and added not in finalizers:
        finalizers.append(added)
    if finalizers:
        meta["finalizers"] = finalizers
    grace = _grace(stored, options)
    if "deletionTimestamp" not in meta and "generation" in meta:
        meta["generation"] += 1
    if "deletionTimestamp" not in meta or grace < meta.get("deletionGracePeriodSeconds", 0):
        meta["deletionTimestamp"] = metadata.timestamp(now + timedelta(seconds=grace))
        meta["deletionGracePeriodSeconds"] = grace
    if stored.resource is NAMESPACES:
        new["status"] = (new.get("status") or {}) | {"phase": "Terminating"}
    return new


def _grace(stored: Stored, options: DeleteOptions) -> int:
    """Only pods that run somewhere are given time to end."""
    if stored.resource is not PODS or not stored.object.get("spec", {}).get("nodeName"):
        return 0
    if stored.object.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    if options.grace is not None:
        return max(0, int(options.grace))
    return int(stored.object["spec"].get("terminationGracePeriodSeconds", POD_GRACE))


def releasable(obj: Object) -> bool:
    """Say whether nothing holds a deleted object back: no finalizer, no grace left."""
    meta = obj["metadata"]
    return (
        "deletionTimestamp" in meta
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
    )
