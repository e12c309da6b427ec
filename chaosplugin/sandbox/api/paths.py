"""Which resource, object and verb a request path means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaosplugin.sandbox.api.errors import ApiError, NoPathError, not_found
from chaosplugin.sandbox.api.resources import BY_PATH, NAMESPACES, TABLE, Object, Resource

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True, slots=True)
class Target:
    """A collection (no name), an object or a subresource."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def verb(self, method: str, query: Mapping[str, str]) -> str:
        """Return the verb as RBAC names it.

        Raises:
            ApiError: 405, where the method is none for this path.
        """
        if method in {"GET", "HEAD"}:
            if query.get("watch") in {"1", "true"}:
                return "watch"
            return "get" if self.name else "list"
        if method == "DELETE":
            return "delete" if self.name else "deletecollection"
        verb = _VERBS.get(method, "")
        if not verb or (verb == "create") == bool(self.name):
            raise ApiError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {}
            )
        return verb


def parse(path: str) -> Target | None:
    """Parse the path of a resource; None for paths that are none (/version, /apis, ...).

    Raises:
        ApiError: 404, for a resource or subresource that is not served.
    """
    parts = path.strip("/").split("/")
    match parts:
        case ["api", "v1", *rest] if rest:
            return _target("", "v1", rest)
        case ["apis", group, version, *rest] if rest:
            return _target(group, version, rest)
    return None


def _target(group: str, version: str, rest: list[str]) -> Target:
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and (len(rest) > 3 or rest[2] not in {"status", "finalize"}):
        namespace, rest = rest[1], rest[2:]
    resource = BY_PATH.get((group, version, rest[0]))
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if resource is None or len(rest) > 3 or bool(namespace) > resource.namespaced:
        raise NoPathError
    if name and resource.namespaced and not namespace:
        raise NoPathError
    if subresource and not (subresource == "status" and resource.status):
        raise not_found(resource, name)
    if resource is NAMESPACES:
        namespace = name
    return Target(resource, namespace, name, subresource)


def discovery(path: str) -> Object | None:
    """Answer the paths that tell what is served; None for any other."""
    parts = path.strip("/").split("/")
    groups = sorted({(r.group, r.version) for r in TABLE if r.group})
    match parts:
        case ["version"]:
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.4+sandbox", "platform": "linux/amd64"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*each) for each in groups]}
        case ["api", "v1"]:
            return _resources("", "v1")
        case ["apis", group, version] if (group, version) in groups:
            return _resources(group, version)
    return None


def _group(group: str, version: str) -> dict[str, Any]:
    served = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [served], "preferredVersion": served}


def _resources(group: str, version: str) -> Object:
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    served: list[Object] = []
    for each in TABLE:
        if (each.group, each.version) == (group, version):
            entry: Object = {
                "name": each.plural,
                "singularName": each.kind.lower(),
                "namespaced": each.namespaced,
                "kind": each.kind,
            }
            served.append(entry | {"verbs": verbs})
            if each.status:
                served.append(entry | {"name": f"{each.plural}/status", "verbs": ["get", "patch", "update"]})
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": served}
