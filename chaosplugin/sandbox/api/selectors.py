"""Label and field selectors: as query text, and as the LabelSelector structure in objects."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaosplugin.sandbox.api.errors import ApiError, bad_request
from chaosplugin.sandbox.api.resources import Object, Resource

_LABEL = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<not>[^\s=!,()]+)"
    r"|(?P<key>[^\s=!,()]+)\s*(?:(?P<set>\bin\b|\bnotin\b)\s*\((?P<values>[^()]*)\)"
    r"|(?P<op>==|=|!=)\s*(?P<value>[^\s=!,()]*))?)\s*(?:,|$)"
)
_FIELD = re.compile(r"(?P<key>[^=!,]+?)(?P<op>==|=|!=)(?P<value>[^,]*)(?:,|$)")

_FIELDS: Mapping[str, frozenset[str]] = {
    "pods": frozenset(
        {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"}
    ),
    "events": frozenset(
        {
            f"involvedObject.{key}"
            for key in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")
        }
        | {"reason", "reportingComponent", "source", "type"}
    ),
    "secrets": frozenset({"type"}),
    "namespaces": frozenset({"status.phase", "name"}),
    "replicasets": frozenset({"status.replicas"}),
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """`key operator values`, with the operators of a LabelSelector."""

    key: str
    operator: str  # In | NotIn | Exists | DoesNotExist
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements on labels and all on fields must hold; an empty one selects everything."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def matches(self, obj: Object) -> bool:
        if self.labels:
            labels = obj["metadata"].get("labels") or {}
            if not all(requirement.matches(labels) for requirement in self.labels):
                return False
        return all(
            requirement.matches({requirement.key: _field(obj, requirement.key)})
            for requirement in self.fields
        )


EVERYTHING = Selector()


def _field(obj: Object, path: str) -> str:
    value: Any = obj
    if path == "source" and obj.get("kind") == "Event":
        return str(obj.get("source", {}).get("component", ""))
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def parse(labels: str, fields: str, resource: Resource) -> Selector:
    """Parse `labelSelector` and `fieldSelector` of a request.

    Raises:
        ApiError: 400, for text that is no selector and fields that the resource cannot be selected by.
    """
    return Selector(tuple(_parse_labels(labels)), tuple(_parse_fields(fields, labels, resource)))


def _parse_labels(text: str) -> list[Requirement]:
    found, position = [], 0
    while position < len(text):
        match = _LABEL.match(text, position)
        if match is None:
            raise bad_request(f"unable to parse requirement: found {text[position:]!r}, expected: identifier")
        position = match.end()
        found.append(_requirement(match))
    return found


def _requirement(match: re.Match[str]) -> Requirement:
    if match["absent"]:
        return Requirement(match["not"], "DoesNotExist")
    if match["set"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], "In" if match["set"] == "in" else "NotIn", values)
    if match["op"]:
        return Requirement(
            match["key"], "NotIn" if match["op"] == "!=" else "In", frozenset({match["value"]})
        )
    return Requirement(match["key"], "Exists")


def _parse_fields(text: str, labels: str, resource: Resource) -> list[Requirement]:
    found, position = [], 0
    known = {"metadata.name"} | ({"metadata.namespace"} if resource.namespaced else set())
    known |= _FIELDS.get(resource.plural, frozenset()) if not resource.custom else set()
    while position < len(text):
        match = _FIELD.match(text, position)
        if match is None:
            raise bad_request(f"invalid selector: {text!r}; can't understand {text[position:]!r}")
        position = match.end()
        if match["key"] not in known:
            raise _unsupported(resource, labels, text, match["key"])
        operator = "NotIn" if match["op"] == "!=" else "In"
        found.append(Requirement(match["key"], operator, frozenset({match["value"]})))
    return found


def _unsupported(resource: Resource, labels: str, fields: str, key: str) -> ApiError:
    group = resource.api_version if resource.group else f"/{resource.version}"
    return bad_request(
        f'Unable to find "{group}, Resource={resource.plural}" that match label selector "{labels}", '
        f'field selector "{fields}": field label not supported: {key}'
    )


def label_selector(structure: Object | None) -> Callable[[Mapping[str, str]], bool]:
    """Return the predicate of a LabelSelector structure (`matchLabels`, `matchExpressions`)."""
    structure = structure or {}
    requirements = [
        Requirement(key, "In", frozenset({value}))
        for key, value in (structure.get("matchLabels") or {}).items()
    ]
    requirements += [
        Requirement(e["key"], e["operator"], frozenset(e.get("values") or ()))
        for e in structure.get("matchExpressions") or ()
    ]
    return lambda labels: all(requirement.matches(labels) for requirement in requirements)
