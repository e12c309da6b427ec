"""The blast radius by construction: an experiment whose selectors can match the canary's pods only.

Chaos Mesh ANDs all criteria of a selector but `pods`, which bypasses the rest. So the canary's label is
added as one more expression, which nothing can overwrite, and what would select otherwise is refused.
Source: chaos-mesh pkg/selector/pod, pkg/selector/generic, api/v1alpha1/selector.go.
"""

from collections.abc import Mapping, Sequence

from chaosplugin.core import ledger
from chaosplugin.core.forms import known, mapping, optional, pairs, texts
from chaosplugin.core.part import Part, key_of
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, ScopeRefused, names, quote
from chaosplugin.core.template import KEY, SPEC, Template

_CRITERIA = (
    "namespaces",
    "labelSelectors",
    "expressionSelectors",
    "annotationSelectors",
    "fieldSelectors",
    "podPhaseSelectors",
    "nodes",
    "nodeSelectors",
    "pods",
)


def namespace(template: Template, own: str, policy: Policy) -> str:
    """Return the one namespace of the experiment and of its targets.

    Raises:
        ScopeRefused: another one than the AnalysisRun's, or several.
    """
    selected: set[str] = set()
    for part in template.parts:
        key = f"{key_of(SPEC, part.where)}.selector"
        selected.update(
            texts(f"{key}.namespaces", optional(key, part.spec.get("selector")).get("namespaces"))
        )
    named = sorted({*selected, *([template.namespace] if template.namespace else [])})
    if named in ([], [own]):
        return own
    if not policy.allow_cross_namespace:
        other = names(name for name in named if name != own)
        raise ScopeRefused(
            f"the experiment names namespace {other}, the canary is in {own}: remove metadata.namespace and "
            f"selector.namespaces (the operator may allow it by --allow-cross-namespace)"
        )
    if len(named) > 1:
        raise ScopeRefused(
            f"the experiment names {len(named)} namespaces ({names(named)}), it must live where its only "
            f"targets are: name one in metadata.namespace and selector.namespaces"
        )
    return named[0]


def confine(part: Part, *, namespace: str, label: str, value: str, policy: Policy) -> dict[str, object]:
    """Return a fault's spec with the canary's label and namespace in its selector.

    Raises:
        ScopeRefused: the template selects by something that the label cannot narrow.
        InvalidConfig: a selector has not the form of one.
    """
    spec = dict(part.spec)
    place = key_of("spec", part.where)
    if spec.pop("remoteCluster", None):
        raise ScopeRefused(
            f"{place}.remoteCluster moves the experiment to another cluster, where the canary is not: "
            f"remove it"
        )
    spec["selector"] = _confined(f"{place}.selector", spec.get("selector"), namespace, label, value)
    if part.kind.second_selector and spec.get("target") is not None:
        spec["target"] = _destination(part, namespace, policy)
    return spec


def _confined(place: str, given: object, namespace: str, label: str, value: str) -> dict[str, object]:
    key = f"{KEY}.{place}"
    selector = optional(key, given)
    known(key, selector, _CRITERIA)
    if selector.pop("pods", None):
        raise ScopeRefused(
            f"{place}.pods selects by name and bypasses every other criterion: remove it, the canary's "
            f"pods are selected by their label"
        )
    equal = pairs(f"{key}.labelSelectors", selector.get("labelSelectors"))
    if equal.get(label, value) != value:
        raise ScopeRefused(
            f"{place}.labelSelectors wants {label}={quote(equal[label])}, the canary has "
            f"{quote(value)}: remove that label, it is added by the plugin"
        )
    expressions = _expressions(f"{key}.expressionSelectors", selector.get("expressionSelectors"))
    for expression in expressions:
        if _excludes(key, expression, label, value):
            raise ScopeRefused(
                f"{place}.expressionSelectors excludes the canary ({label}={value}): remove the "
                f"expression on {label}, it is added by the plugin"
            )
    confined = {**selector, "namespaces": [namespace]}
    confined["expressionSelectors"] = [*expressions, {"key": label, "operator": "In", "values": [value]}]
    if not selector.get("podPhaseSelectors"):
        confined["podPhaseSelectors"] = ["Running"]  # else completed pods are selected and never injected
    return confined


def sign(spec: Mapping[str, object], origin: str, run: str) -> dict[str, object]:
    """Return a fault's spec that tells whose it is, as what is spawned of it bears no label of ours.

    Chaos Mesh copies nothing but the spec. No pod has these labels, so they narrow nothing.
    """
    given = mapping(SPEC, spec.get("selector"))
    expressions = _expressions(SPEC, given.get("expressionSelectors"))
    for key, value in ((ledger.ORIGIN, origin), (ledger.RUN, run)):
        expressions.append({"key": key, "operator": "NotIn", "values": [value]})
    return {**spec, "selector": {**given, "expressionSelectors": expressions}}


def run_of(spec: Mapping[str, object], origin: str) -> str:
    """Return the digest of the gate that a spawned fault is of, "" if it is not of this origin."""
    signed = spec.get("selector")
    found = signed.get("expressionSelectors") if isinstance(signed, dict) else None
    words = {
        str(each.get("key")): each.get("values")
        for each in (found if isinstance(found, list) else ())
        if isinstance(each, dict) and each.get("operator") == "NotIn"
    }
    run = words.get(ledger.RUN)
    if words.get(ledger.ORIGIN) != [origin] or not isinstance(run, list) or len(run) != 1:
        return ""
    return str(run[0])


def place_at(whole: Mapping[str, object], where: Sequence[str | int], value: object) -> dict[str, object]:
    """Return a copy of a template's spec with another value at a place, which is there."""
    found: object = _with(whole, where, value)
    return mapping(SPEC, found)


def _with(whole: object, where: Sequence[str | int], value: object) -> object:
    if not where:
        return value
    step, rest = where[0], where[1:]
    if isinstance(whole, list):
        return [_with(item, rest, value) if index == step else item for index, item in enumerate(whole)]
    inner = mapping(SPEC, whole)
    return {**inner, str(step): _with(inner.get(str(step)), rest, value)}


def _expressions(key: str, given: object) -> list[dict[str, object]]:
    if given is not None and not isinstance(given, list):
        raise InvalidConfig(key, quote(given), "a list of {key, operator, values}")
    return [mapping(f"{key}[{index}]", item) for index, item in enumerate(given or [])]


def _excludes(key: str, expression: Mapping[str, object], label: str, value: str) -> bool:
    if expression.get("key") != label:
        return False
    values = texts(f"{key}.expressionSelectors.values", expression.get("values"))
    match expression.get("operator"):
        case "In":
            return value not in values
        case "NotIn":
            return value in values
        case "DoesNotExist":
            return True
        case _:
            return False


def _destination(part: Part, namespace: str, policy: Policy) -> dict[str, object]:
    """Let spec.target be where the canary's traffic goes, not whose traffic is tampered with.

    `from` and `both` write rules on the target's pods, a partition does so in any direction.
    """
    key = f"{key_of(SPEC, part.where)}.target"
    target = mapping(key, part.spec.get("target"))
    direction = part.spec.get("direction") or "to"
    if (part.action == "partition" or direction != "to") and not policy.allow_network_target:
        what = "a partition" if part.action == "partition" else f"direction {quote(direction)}"
        raise ScopeRefused(
            f"{what} with spec.target writes rules on the target's pods, which are not the canary's: use "
            f"direction to with delay, loss, duplicate, corrupt or bandwidth, or externalTargets "
            f"(the operator may allow it by --allow-network-target)"
        )
    selector = optional(f"{key}.selector", target.get("selector"))
    if not selector.get("namespaces") and not selector.get("pods"):
        selector["namespaces"] = [namespace]  # without Chaos Mesh's webhook none would mean all
    return {**target, "selector": selector}
