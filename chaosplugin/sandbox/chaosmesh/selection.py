"""Which pods and containers an experiment's selectors pick: once, and at random where the mode says so."""

import math
from collections.abc import Callable
from random import SystemRandom
from typing import Any

from chaosplugin.sandbox.api.resources import NODES, PODS, Object
from chaosplugin.sandbox.api.selectors import Requirement, label_selector
from chaosplugin.sandbox.api.store import Stored
from chaosplugin.sandbox.api.verbs import Api

CONTAINER_KINDS = frozenset({"StressChaos", "IOChaos", "TimeChaos", "DNSChaos", "JVMChaos", "BlockChaos"})
"""Kinds whose targets are containers; PodChaos too, when its action is container-kill."""

_random = SystemRandom()


class SelectionError(Exception):
    """Nothing was selected; the text is that of Chaos Mesh's Event."""


def targets(api: Api, obj: Object) -> list[tuple[str, str]]:
    """Return (selectorKey, id) of each target.

    Raises:
        SelectionError: when one of the selectors picks nothing; then there are no targets at all.
    """
    spec, kind = obj["spec"], obj["kind"]
    by_container = kind in CONTAINER_KINDS or spec.get("action") == "container-kill"
    found = [(".", each) for each in _ids(_pick(api, spec), spec, by_container=by_container)]
    if kind == "NetworkChaos" and spec.get("target"):
        target = spec["target"]
        found += [(".Target", each) for each in _ids(_pick(api, target), target, by_container=False)]
    return found


def _ids(pods: list[Stored], spec: Object, *, by_container: bool) -> list[str]:
    if not by_container:
        return [f"{pod.namespace}/{pod.name}" for pod in pods]
    found = []
    for pod in pods:
        names = [each["name"] for each in pod.object["spec"]["containers"]]
        wanted = spec.get("containerNames") or names[:1]
        suffix = f"/{spec['volumeName']}" if "volumeName" in spec else ""
        found += [f"{pod.namespace}/{pod.name}/{name}{suffix}" for name in wanted if name in names]
    if not found:
        raise SelectionError("no target has been selected")
    return found


def _pick(api: Api, spec: Object) -> list[Stored]:
    pods = _matching(api, spec["selector"])
    if not pods:
        raise SelectionError("no pod is selected")
    wanted = _count(spec["mode"], str(spec.get("value") or "0"), len(pods))
    if wanted == 0:
        raise SelectionError("no target has been selected")
    return pods if wanted >= len(pods) else _random.sample(pods, wanted)


def _count(mode: str, value: str, present: int) -> int:
    match mode:
        case "one":
            return 1
        case "fixed":
            return min(int(value), present)
        case "fixed-percent":
            return math.ceil(present * int(value) / 100)
        case "random-max-percent":
            return present * _random.randint(0, int(value)) // 100
        case _:
            return present


def _matching(api: Api, selector: Object) -> list[Stored]:
    """Return the pods of a selector; `pods` bypasses every other criterion."""
    if selector.get("pods"):
        named = [api.find(PODS, ns, name) for ns, names in selector["pods"].items() for name in names]
        return [pod for pod in named if pod is not None]
    accepts = _predicate(api, selector)
    namespaces = selector.get("namespaces") or [""]
    return [pod for ns in namespaces for pod in api.list(PODS, ns) if accepts(pod)]


def _predicate(api: Api, selector: Object) -> Callable[[Stored], bool]:
    labels = label_selector(
        {
            "matchLabels": selector.get("labelSelectors"),
            "matchExpressions": selector.get("expressionSelectors"),
        }
    )
    annotations = [
        Requirement(key, "In", frozenset({value}))
        for key, value in (selector.get("annotationSelectors") or {}).items()
    ]
    fields = selector.get("fieldSelectors") or {}
    phases = selector.get("podPhaseSelectors") or []
    nodes = _nodes(api, selector)

    def accepts(pod: Stored) -> bool:
        return (
            labels(pod.metadata.get("labels") or {})
            and all(each.matches(pod.metadata.get("annotations") or {}) for each in annotations)
            and all(_field(pod.object, path) == value for path, value in fields.items())
            and _in_phase(phases, pod.object["status"].get("phase", ""))
            and (nodes is None or pod.object["spec"].get("nodeName") in nodes)
        )

    return accepts


def _nodes(api: Api, selector: Object) -> set[str] | None:
    """Return the names of `nodes` and of those that `nodeSelectors` match; None where neither is given."""
    if not selector.get("nodes") and not selector.get("nodeSelectors"):
        return None
    named = set(selector.get("nodes") or ())
    if selector.get("nodeSelectors"):
        accepts = label_selector({"matchLabels": selector["nodeSelectors"]})
        named |= {node.name for node in api.list(NODES) if accepts(node.metadata.get("labels") or {})}
    return named


def _in_phase(wanted: list[str], phase: str) -> bool:
    included = [each for each in wanted if not each.startswith("!")]
    return f"!{phase}" not in wanted and (not included or phase in included)


def _field(obj: Object, path: str) -> str:
    value: Any = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return "" if value is None else str(value)
