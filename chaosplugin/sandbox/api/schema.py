"""Structural schemas of custom resources: unknown fields, pruning, defaults, required fields and enums."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from chaosplugin.sandbox.api.errors import Cause
from chaosplugin.sandbox.api.resources import Object

Type = Literal["object", "array", "string", "integer", "number", "boolean", "any"]

_PYTHON: Mapping[Type, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "any": (object,),
}
_METADATA = frozenset(
    {
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
    }
)


@dataclass(frozen=True, slots=True)
class Node:
    """The schema of one value.

    An object has `fields`; with `items` it is open, and they are its other values. An array has `items`.
    """

    type: Type = "any"
    fields: Mapping[str, "Node"] = field(default_factory=dict)
    items: "Node | None" = None
    required: frozenset[str] = frozenset()
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    pattern: str = ""
    default: Any = None


def _named(wanted: Type) -> str:
    return "Boolean" if wanted == "boolean" else wanted


class Schema:
    """The schema of a kind: the fields given, some of them required; metadata as every object has it."""

    def __init__(self, required: str = "", /, **fields: Node) -> None:
        shared = {"apiVersion": Node("string"), "kind": Node("string"), "metadata": Node(), "status": Node()}
        self._root = Node("object", shared | fields, required=frozenset(required.split()))

    def unknown(self, obj: Object) -> list[str]:
        """Return the paths of fields that the schema does not know, in the order they are met."""
        found = [f"metadata.{key}" for key in obj.get("metadata") or {} if key not in _METADATA]
        return [*_unknown(self._root, obj, ""), *found]

    def prune(self, obj: Object) -> None:
        """Drop unknown fields, in place."""
        _prune(self._root, obj)
        for key in set(obj["metadata"]) - _METADATA:
            del obj["metadata"][key]

    def fill(self, obj: Object) -> None:
        """Set defaults, in place."""
        _fill(self._root, obj)

    def refusals(self, obj: Object) -> list[Cause]:
        return list(_refusals(self._root, obj, ""))


def _children(node: Node, value: Any, path: str) -> Iterator[tuple[Node, Any, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            child = node.fields.get(key, node.items)
            if child is not None:
                yield child, inner, f"{path}.{key}" if path else key
    elif isinstance(value, list) and node.items is not None:
        for number, inner in enumerate(value):
            yield node.items, inner, f"{path}[{number}]"


def _closed(node: Node, value: Any) -> bool:
    return bool(node.fields) and node.items is None and isinstance(value, dict)


def _unknown(node: Node, value: Any, path: str) -> Iterator[str]:
    if _closed(node, value):
        for key in value:
            if key not in node.fields:
                yield f"{path}.{key}" if path else key
    for child, inner, inner_path in _children(node, value, path):
        yield from _unknown(child, inner, inner_path)


def _prune(node: Node, value: Any) -> None:
    if _closed(node, value):
        for key in [key for key in value if key not in node.fields]:
            del value[key]
    for child, inner, _ in _children(node, value, ""):
        _prune(child, inner)


def _fill(node: Node, value: Any) -> None:
    if isinstance(value, dict):
        for key, child in node.fields.items():
            if child.default is not None:
                value.setdefault(key, child.default)
    for child, inner, _ in _children(node, value, ""):
        _fill(child, inner)


def _refusals(node: Node, value: Any, path: str) -> Iterator[Cause]:
    if not isinstance(value, _PYTHON[node.type]) or (
        isinstance(value, bool) and node.type not in {"boolean", "any"}
    ):
        given = {
            dict: "object",
            list: "array",
            str: "string",
            bool: "boolean",
            int: "integer",
            float: "number",
        }
        met = given.get(type(value), "null")
        message = f'Invalid value: "{met}": {path} in body must be of type {_named(node.type)}: "{met}"'
        yield Cause(path, "FieldValueTypeInvalid", message)
        return
    if isinstance(value, dict):
        for key in sorted(node.required - value.keys()):
            yield Cause(f"{path}.{key}" if path else key, "FieldValueRequired", "Required value")
    yield from _scalar(node, value, path)
    for child, inner, inner_path in _children(node, value, path):
        yield from _refusals(child, inner, inner_path)


def _scalar(node: Node, value: Any, path: str) -> Iterator[Cause]:
    if node.enum and value not in node.enum:
        known = ", ".join(f'"{each}"' for each in node.enum)
        yield Cause(
            path, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {known}'
        )
    if node.minimum is not None and isinstance(value, int) and value < node.minimum:
        message = f"Invalid value: {value}: {path} in body should be greater than or equal to {node.minimum}"
        yield Cause(path, "FieldValueInvalid", message)
    if node.pattern and isinstance(value, str) and not re.search(node.pattern, value):
        message = f"Invalid value: \"{value}\": {path} in body should match '{node.pattern}'"
        yield Cause(path, "FieldValueInvalid", message)
