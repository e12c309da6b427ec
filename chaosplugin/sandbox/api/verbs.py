"""The verbs of the API over the store, without HTTP: the server and the sandbox's controllers call the same.

All methods are synchronous; each raises ApiError for what the real server would refuse.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec

from chaosplugin.sandbox.api import errors, metadata, patch
from chaosplugin.sandbox.api.access import SYSTEM, Access, User
from chaosplugin.sandbox.api.admission import Admission, Review
from chaosplugin.sandbox.api.builtin import SCHEMAS
from chaosplugin.sandbox.api.deletion import DeleteOptions, mark, releasable
from chaosplugin.sandbox.api.rbac import Rbac
from chaosplugin.sandbox.api.resources import CRDS, NAMESPACES, PODS, Object, Resource
from chaosplugin.sandbox.api.selectors import EVERYTHING, Selector
from chaosplugin.sandbox.api.store import Store, Stored

CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Write:
    """Who writes, and how the body is to be taken."""

    user: User = SYSTEM
    strict: bool = False
    dry_run: bool = False
    duplicates: list[str] = field(default_factory=list)  # fields that the JSON text named twice


BY_SYSTEM = Write()


class Api:
    """The API server without its HTTP."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = Store()
        self.access = Access()
        Rbac(self.store, self.access)
        self.admission = Admission(self.access, dict(SCHEMAS))

    # -- kinds

    def install(self, resource: Resource) -> None:
        """Write the CRD of a custom resource; without it the paths of the resource are not served."""
        names = {"plural": resource.plural, "singular": resource.kind.lower(), "kind": resource.kind}
        subresources: Object = {"status": {}} if resource.status else {}
        version = {"name": resource.version, "served": True, "storage": True, "subresources": subresources}
        spec = {
            "group": resource.group,
            "names": names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [version],
        }
        metadata = {"name": resource.qualified, "finalizers": [CRD_FINALIZER]}
        self.create(CRDS, {"metadata": metadata, "spec": spec})

    def installed(self, resource: Resource) -> bool:
        return self.find(CRDS, "", resource.qualified) is not None

    # -- reading

    def find(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        return self.store.get(resource, namespace, name)

    def get(self, resource: Resource, namespace: str, name: str) -> Stored:
        stored = self.store.get(resource, namespace, name)
        if stored is None:
            raise errors.not_found(resource, name)
        return stored

    def list(self, resource: Resource, namespace: str = "", selector: Selector = EVERYTHING) -> list[Stored]:
        return [each for each in self.store.list(resource, namespace) if selector.matches(each.object)]

    # -- writing

    def create(
        self, resource: Resource, obj: Object, namespace: str = "", write: Write = BY_SYSTEM
    ) -> Stored:
        """Create an object; `obj` is not changed."""
        kind = self.find(CRDS, "", resource.qualified) if resource.custom else None
        if kind is not None and kind.deleting:
            raise errors.kind_terminating("create")
        self.admission.decode(resource, obj, strict=write.strict, duplicates=write.duplicates)
        new: Object = {"apiVersion": resource.api_version, "kind": resource.kind} | _copy(obj)
        namespace = namespace or (new.get("metadata") or {}).get("namespace", "")
        if (new.get("metadata") or {}).get("resourceVersion"):
            raise errors.ApiError(500, "", "resourceVersion should not be set on objects to be created")
        metadata.begin(resource, new, namespace, self.clock())
        name = new["metadata"]["name"]
        self._check_namespace(resource, namespace, name)
        if resource.status:
            new.pop("status", None)
        _defaults(resource, new)
        self.admission.admit(Review("CREATE", resource, new, None, write.user, self.access))
        taken = self.store.get(resource, new["metadata"].get("namespace", ""), name)
        if taken is not None:
            raise errors.already_exists(resource, name, deleting=taken.deleting)
        return _unstored(resource, new) if write.dry_run else self.store.write(resource, new)

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Object], Object],
        subresource: Literal["", "status"] = "",
        write: Write = BY_SYSTEM,
    ) -> Stored:
        """Store what `change` makes of a copy of the object; PUT and PATCH are both this.

        A `resourceVersion` in the result must be the current one. A change that changes nothing makes no
        new version.
        """
        old = self.get(resource, namespace, name)
        new = change(old.copy())
        self.admission.decode(resource, new, strict=write.strict, duplicates=write.duplicates)
        self._check_identity(old, new)
        metadata.carry_over(old.object, new)
        if resource.status:
            new = _through_subresource(old, new, subresource)
        self._check_finalizers(old, new)
        metadata.bump(resource, old.object, new)
        self.admission.admit(Review("UPDATE", resource, new, old.object, write.user, self.access))
        new["metadata"]["resourceVersion"] = str(old.revision)
        if new == old.object:
            return old
        if write.dry_run:
            return _unstored(resource, new)
        if releasable(new):
            self.store.remove(old)
            return _unstored(resource, new)
        return self.store.write(resource, new)

    def merge(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Object,
        subresource: Literal["", "status"] = "",
        write: Write = BY_SYSTEM,
    ) -> Stored:
        """Merge-patch an object."""
        return self.update(
            resource, namespace, name, lambda old: dict(patch.merge(old, change)), subresource, write
        )

    def delete(
        self, resource: Resource, namespace: str, name: str, options: DeleteOptions | None = None
    ) -> Stored | None:
        """Delete an object, or begin to; returns what is left of it, None when it is gone."""
        options = options or DeleteOptions()
        old = self.get(resource, namespace, name)
        options.check(old)
        new = mark(old, options, self.clock())
        if options.dry_run:
            return old
        if resource is NAMESPACES or not releasable(new):
            if new == old.object:
                return old
            return self.store.write(resource, new)
        self.store.remove(old)
        return None

    def finalize(self, namespace: str) -> None:
        """Forget a namespace that is empty now; the namespace controller's last act."""
        stored = self.find(NAMESPACES, "", namespace)
        if stored is not None:
            self.store.remove(stored)

    # -- checks

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        stored = self.store.get(NAMESPACES, "", namespace)
        if stored is None:
            raise errors.not_found(NAMESPACES, namespace)
        if stored.deleting:
            raise errors.terminating(resource, name, namespace)

    @staticmethod
    def _check_identity(old: Stored, new: Object) -> None:
        meta = new.setdefault("metadata", {})
        named = meta.setdefault("name", old.name)
        if named != old.name:
            raise errors.bad_request(
                f"the name of the object ({named}) does not match the name on the URL ({old.name})"
            )
        if meta.setdefault("namespace", old.namespace) != old.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if meta.get("uid", old.uid) != old.uid:
            message = f'Invalid value: "{meta["uid"]}": field is immutable'
            raise errors.invalid(
                old.resource, old.name, [errors.Cause("metadata.uid", "FieldValueInvalid", message)]
            )
        version = meta.get("resourceVersion")
        if version and version != str(old.revision):
            raise errors.conflict(old.resource, old.name)

    @staticmethod
    def _check_finalizers(old: Stored, new: Object) -> None:
        added = set(new["metadata"].get("finalizers") or ()) - set(old.metadata.get("finalizers") or ())
        if old.deleting and added:
            told = ", ".join(f'"{each}"' for each in sorted(added))
            message = (
                "Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{told}}}"
            )
            cause = errors.Cause("metadata.finalizers", "FieldValueForbidden", message)
            raise errors.invalid(old.resource, old.name, [cause])


def _copy(obj: Object) -> Object:
    copied: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return copied


def _unstored(resource: Resource, obj: Object) -> Stored:
    meta = obj["metadata"]
    return Stored(resource, meta.get("namespace", ""), meta["name"], 0, obj, msgspec.json.encode(obj))


def _defaults(resource: Resource, obj: Object) -> None:
    if resource is NAMESPACES:
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    elif resource is PODS:
        obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def _through_subresource(old: Stored, new: Object, subresource: str) -> Object:
    """Keep the status on a plain write, and all but the status on one to /status."""
    if subresource == "status":
        kept: dict[str, Any] = old.copy()
        if "status" in new:
            kept["status"] = new["status"]
        return kept
    if "status" in old.object:
        return new | {"status": old.copy()["status"]}
    return {key: value for key, value in new.items() if key != "status"}
