"""What built-in kinds must have, as far as the sandbox itself relies on it; all else is let through."""

from collections.abc import Mapping

from chaosplugin.sandbox.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    PODS,
    REPLICA_SETS,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from chaosplugin.sandbox.api.schema import Node, Schema

_ANY = Node()
_TEXT = Node("string")
_MAP = Node("object", items=_TEXT)


def _open(required: str = "", /, **fields: Node) -> Node:
    return Node("object", fields, items=_ANY, required=frozenset(required.split()))


_CONTAINER = _open("name", name=_TEXT, image=_TEXT)
_POD = _open(
    "containers",
    containers=Node("array", items=_CONTAINER),
    nodeName=_TEXT,
    terminationGracePeriodSeconds=Node("integer", minimum=0),
)
_REQUIREMENT = _open("key operator", key=_TEXT, operator=_TEXT, values=Node("array", items=_TEXT))
_TEMPLATE = _open(metadata=_open(labels=_MAP, annotations=_MAP), spec=_POD)
_REPLICA_SET = _open(
    "selector template",
    replicas=Node("integer", minimum=0, default=1),
    selector=_open(matchLabels=_MAP, matchExpressions=Node("array", items=_REQUIREMENT)),
    template=_TEMPLATE,
)

_TEXTS = Node("array", items=_TEXT)
_RULE = _open("verbs", apiGroups=_TEXTS, resources=_TEXTS, resourceNames=_TEXTS, verbs=_TEXTS)
_ROLE = Schema(rules=Node("array", items=_RULE))
_SUBJECT = _open("kind name", kind=_TEXT, name=_TEXT, namespace=_TEXT)
_BINDING = Schema(
    "roleRef",
    roleRef=_open("kind name", kind=_TEXT, name=_TEXT),
    subjects=Node("array", items=_SUBJECT),
)

SCHEMAS: Mapping[Resource, Schema] = {
    PODS: Schema("spec", spec=_POD),
    REPLICA_SETS: Schema("spec", spec=_REPLICA_SET),
    ROLES: _ROLE,
    CLUSTER_ROLES: _ROLE,
    ROLE_BINDINGS: _BINDING,
    CLUSTER_ROLE_BINDINGS: _BINDING,
}
