"""The user's experiment as given in chaosExperimentCRD: one object of a usable kind, checked in form.

What the CRD and Chaos Mesh's webhooks check better is left to them; checked here is what decides who
is hit, how long, and how it is judged. Server-owned fields of an object that was copied out of a
cluster are dropped: a status, for one, would be believed by Chaos Mesh and end its selection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from chaosplugin.core import duration, kinds
from chaosplugin.core.duration import BadDuration
from chaosplugin.core.forms import known, mapping, met, pairs, text, texts
from chaosplugin.core.kinds import API_VERSION, Effect, Kind
from chaosplugin.core.refusal import InvalidConfig, nearest, quote

KEY = "chaosExperimentCRD"

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_KEPT_METADATA = ("name", "generateName", "namespace", "labels", "annotations")
_SERVER_METADATA = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "ownerReferences",
    "finalizers",
)
_MODES = ("one", "all", "fixed", "fixed-percent", "random-max-percent")
_SHORTEST = timedelta(seconds=1)
_STEERING = ("chaos-mesh.org", "chaosplugin.io")
_STEERING_KEYS = (
    "managed-by",  # a Schedule collects its children by it
    "app.kubernetes.io/managed-by",
    "kubectl.kubernetes.io/last-applied-configuration",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An experiment before it is bound to a canary."""

    kind: Kind
    action: str
    effect: Effect
    name: str
    namespace: str
    """as given, "" if not"""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, object]
    duration: timedelta | None
    """how long the fault lasts; None where none is given, or the action is one-shot"""


def read(given: object) -> Template:
    """Check an experiment.

    Raises:
        InvalidConfig: names the field.
        ScopeRefused, PolicyRefused: the kind cannot be used as a gate.
    """
    top = mapping(KEY, given)
    known(KEY, top, _TOP)
    if top.get("apiVersion") != API_VERSION:
        raise InvalidConfig(f"{KEY}.apiVersion", met(top.get("apiVersion")), f'"{API_VERSION}"')
    kind = kinds.find(top.get("kind"))
    metadata = mapping(f"{KEY}.metadata", top.get("metadata", {}))
    known(f"{KEY}.metadata", metadata, (*_KEPT_METADATA, *_SERVER_METADATA))
    spec = mapping(f"{KEY}.spec", top.get("spec"))
    if "scheduler" in spec:
        raise InvalidConfig(
            f"{KEY}.spec.scheduler",
            "the scheduler of Chaos Mesh 1.x",
            "a spec of Chaos Mesh 2, which has none",
            "remove it: each measurement runs the experiment once; to repeat it, set the metric's count "
            "and interval",
        )
    action = _action(kind, spec)
    effect = kind.effect(action)
    _check_mode(spec)
    if effect.needs_containers and not texts(f"{KEY}.spec.containerNames", spec.get("containerNames")):
        raise InvalidConfig(
            f"{KEY}.spec.containerNames",
            met(spec.get("containerNames")),
            f"the containers that {action} is to kill",
        )
    lasting = _duration(spec)
    return Template(
        kind=kind,
        action=action,
        effect=effect,
        name=text(f"{KEY}.metadata.name", metadata.get("name"))
        or text(f"{KEY}.metadata.generateName", metadata.get("generateName")),
        namespace=text(f"{KEY}.metadata.namespace", metadata.get("namespace")),
        labels=_kept(pairs(f"{KEY}.metadata.labels", metadata.get("labels"))),
        annotations=_kept(pairs(f"{KEY}.metadata.annotations", metadata.get("annotations"))),
        spec=spec,
        duration=None if effect.one_shot else lasting,
    )


def _action(kind: Kind, spec: Mapping[str, object]) -> str:
    action = spec.get("action")
    if kind.actions and (not isinstance(action, str) or action not in kind.actions):
        raise InvalidConfig(
            f"{KEY}.spec.action",
            met(action),
            f"an action of {kind.name}",
            nearest(action if isinstance(action, str) else "", kind.actions),
        )
    return action if isinstance(action, str) else ""


def _check_mode(spec: Mapping[str, object]) -> None:
    mode = spec.get("mode")
    if mode not in _MODES:
        raise InvalidConfig(f"{KEY}.spec.mode", met(mode), "one of " + ", ".join(_MODES))
    if mode in _MODES[2:] and not (isinstance(spec.get("value"), str) and spec["value"]):
        raise InvalidConfig(
            f"{KEY}.spec.value", met(spec.get("value")), f'a number as text for mode {mode}, such as "50"'
        )


def _duration(spec: Mapping[str, object]) -> timedelta | None:
    given = spec.get("duration")
    if given is None:
        return None
    wanted = "a Go duration of at least 1s, such as 30s or 1m30s"
    if not isinstance(given, str):
        raise InvalidConfig(f"{KEY}.spec.duration", met(given), wanted)
    try:
        lasting = duration.parse(given)
    except BadDuration as error:
        raise InvalidConfig(f"{KEY}.spec.duration", quote(given), wanted, str(error)) from None
    if lasting < _SHORTEST:
        raise InvalidConfig(
            f"{KEY}.spec.duration", quote(given), wanted, "a shorter fault is over before it is injected"
        )
    return lasting


def _kept(given: Mapping[str, str]) -> dict[str, str]:
    """Drop what steers Chaos Mesh (pause, cleanFinalizer) or is ours to say."""
    kept = {}
    for key, value in given.items():
        domain = key.partition("/")[0] if "/" in key else ""
        steers = any(domain == owner or domain.endswith("." + owner) for owner in _STEERING)
        if not steers and key not in _STEERING_KEYS:
            kept[key] = value
    return kept
