"""What pods and ReplicaSets must have, as far as the controllers here rely on it; all else is let through."""

from collections.abc import Mapping

from chaosplugin.sandbox.api.resources import PODS, REPLICA_SETS, Resource
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

SCHEMAS: Mapping[Resource, Schema] = {PODS: Schema(_POD), REPLICA_SETS: Schema(_REPLICA_SET)}
