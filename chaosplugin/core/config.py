"""The configuration of a gate: what stands under the single key of `provider.plugin`.

Checked whole, and before anything is created, so that a mistake is an Error that names the key, what
was met and what is wanted. Bounds: a timeout of 15 s leaves room for the shortest fault and its end, and
24 h is longer than any canary step should be.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from chaosplugin.core import duration, selector, template, window
from chaosplugin.core.analysis import Phase
from chaosplugin.core.forms import boolean, known, mapping, met, number, span, text
from chaosplugin.core.part import key_of
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, names, quote
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.template import KEY, SPEC, Template
from chaosplugin.core.window import LONGEST_TIMEOUT, Window, check_length

HASH_LABEL = "rollouts-pod-template-hash"
"""Argo Rollouts' label on pods and ReplicaSets (utils/conditions, DefaultRolloutUniqueLabelKey)."""

_KEYS = (
    KEY,
    "targetReplicaSetLabel",
    "targetReplicaSetValue",
    "chaosMeshEndpoint",
    "credentials",
    "timeout",
    "cleanupOnFinish",
    "targetTimeout",
    "onNoTargets",
    "scheduleFor",
    "steadyState",
)
_ON_NO_TARGETS = {"inconclusive": Phase.INCONCLUSIVE, "fail": Phase.FAILED, "succeed": Phase.SUCCESSFUL}
_MAX_BYTES = 2 << 20  # 1 MiB of YAML, whose quotes and line ends JSON writes as two characters
_MAX_DEPTH = 64
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_LEAST_TIMEOUT = timedelta(seconds=15)

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL_KEY = re.compile(
    r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
)
_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_ENDPOINT = re.compile(
    r"https://(?P<host>[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?(/[a-z0-9._~/-]*)?",
    re.IGNORECASE,
)
_VALUE = "targetReplicaSetValue"
_TELL_HASH = (
    "pass the hash by valueFrom: {podTemplateHashValue: Latest} in the Rollout's analysis args, or by "
    "{{templates.<name>.podTemplateHash}} in an Experiment's"
)


class Config(Struct, frozen=True, kw_only=True, gc=False):
    """A checked configuration."""

    template: Template
    namespace: str
    """of the experiment and of its targets"""
    label: str
    value: str
    """the canary's; "" where neither the configuration nor the AnalysisRun tells it"""
    value_given: bool
    """the configuration tells it"""
    endpoint: str
    """another API server; "" is the AnalysisRun's own"""
    credentials: str
    """name of the Secret for the endpoint, "" without one"""
    timeout: timedelta
    window: Window | None
    """how long a Schedule fires; None for other kinds"""
    target_timeout: timedelta
    cleanup: bool
    on_no_targets: Phase
    rules: Rules
    digest: str
    """16 hexadecimal digits that tell one configuration from another"""


def parse(
    plugin: Mapping[str, bytes],
    *,
    labels: Mapping[str, str] | None,
    namespace: str,
    policy: Policy,
    load_yaml: Callable[[str], object],
) -> Config:
    """Check the configuration of a metric.

    `labels` and `namespace` are the AnalysisRun's. `load_yaml` reads one YAML document of a stranger and
    raises ValueError with a text of one line.

    Raises:
        InvalidConfig, ScopeRefused, PolicyRefused: what is wrong, and what to do.
    """
    return bind(read(plugin, policy, load_yaml), labels, namespace, policy)


def bind(found: Config, labels: Mapping[str, str] | None, namespace: str, policy: Policy) -> Config:
    """Return a configuration for the canary that an AnalysisRun's labels and namespace tell.

    Raises:
        ScopeRefused: it is to hit pods of another namespace.
    """
    value = found.value if found.value_given else (labels or {}).get(found.label, "")
    return replace(found, namespace=selector.namespace(found.template, namespace, policy), value=value)


def read(plugin: Mapping[str, bytes], policy: Policy, load_yaml: Callable[[str], object]) -> Config:
    """Check all of a configuration that is the same for each AnalysisRun; see `parse`."""
    given = _settings(plugin)
    document = _document(given.get(KEY), load_yaml)
    experiment = template.read(document, policy)
    timeout = span("timeout", given.get("timeout", "5m"), _LEAST_TIMEOUT, LONGEST_TIMEOUT, "90s or 5m")
    _check_times(experiment, timeout)
    label = text("targetReplicaSetLabel", given.get("targetReplicaSetLabel", HASH_LABEL))
    if not _LABEL_KEY.fullmatch(label):
        raise InvalidConfig(
            "targetReplicaSetLabel", quote(label), f"the key of a label, such as {HASH_LABEL}"
        )
    endpoint, credentials = _endpoint(given, policy)
    return Config(
        template=experiment,
        namespace="",
        label=label,
        value=_value(given, label),
        value_given=_VALUE in given,
        endpoint=endpoint,
        credentials=credentials,
        timeout=timeout,
        window=window.read(experiment, timeout, given),
        target_timeout=span("targetTimeout", given.get("targetTimeout", "60s"), _SECOND, _DAY, "60s"),
        cleanup=boolean("cleanupOnFinish", given.get("cleanupOnFinish", True)),
        on_no_targets=_on_no_targets(given.get("onNoTargets", "inconclusive")),
        rules=_rules(given.get("steadyState", {}), experiment),
        digest=_digest({**given, KEY: document}),
    )


def _settings(plugin: Mapping[str, bytes]) -> dict[str, object]:
    """Return what was set; a setting of null is none."""
    if len(plugin) != 1:
        there = f"{len(plugin)} keys ({names(plugin)})" if plugin else "nothing"
        raise InvalidConfig("provider.plugin", there, "one key, the plugin's name, with the configuration")
    ((name, raw),) = plugin.items()
    key = f"provider.plugin.{name}"
    if len(raw) > _MAX_BYTES:
        raise InvalidConfig(key, f"{len(raw)} bytes", f"at most {_MAX_BYTES}")
    try:
        found: object = msgspec.json.decode(raw) if raw.strip() else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidConfig(key, f"broken JSON ({error})", "an object") from None
    if not found:
        raise InvalidConfig(key, "nothing", f"an object with at least {KEY}")
    settings = mapping(key, found)
    known(key, settings, _KEYS)
    return {name: value for name, value in settings.items() if value is not None}


def _document(given: object, load_yaml: Callable[[str], object]) -> object:
    wanted = "one chaos experiment, as YAML text or as an object"
    if given in (None, "", {}):
        raise InvalidConfig(KEY, "nothing", wanted)
    if not isinstance(given, str):
        if _too_deep(given, _MAX_DEPTH):
            raise InvalidConfig(KEY, f"an object deeper than {_MAX_DEPTH} levels", wanted)
        return given
    if given.lstrip().startswith("{{"):
        raise InvalidConfig(
            KEY, quote(given), wanted, "the argument is not resolved: give it in the analysis' args"
        )
    try:
        return load_yaml(given)
    except ValueError as error:
        raise InvalidConfig(KEY, f"text that is not accepted as YAML ({error})", wanted) from None


def _too_deep(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        return levels == 0 or any(_too_deep(item, levels - 1) for item in value.values())
    if isinstance(value, list):
        return levels == 0 or any(_too_deep(item, levels - 1) for item in value)
    return False


def _check_times(experiment: Template, timeout: timedelta) -> None:
    """Refuse what would outlast the timeout."""
    for part in experiment.parts:
        if part.duration is not None:
            key = f"{key_of(SPEC, part.where)}.duration"
            check_length(key, quote(part.spec.get("duration")), part.duration, timeout)
    longest = f"up to {duration.text(experiment.length)}"
    check_length(f"{SPEC}.templates", longest, experiment.length, timeout)


def _value(given: Mapping[str, object], label: str) -> str:
    key = _VALUE
    if key not in given:
        return ""
    value = text(key, given[key]).strip()
    if not value:
        raise InvalidConfig(
            key, "empty text", f"the canary's value of {label}", f"remove it, or {_TELL_HASH}"
        )
    if "{{" in value:
        raise InvalidConfig(
            key, f"{quote(value)}, which Argo has not resolved", "the canary's hash", _TELL_HASH
        )
    if not _LABEL_VALUE.fullmatch(value):
        raise InvalidConfig(key, quote(value), "the value of a label", _TELL_HASH)
    return value


def unknown_value(label: str) -> InvalidConfig:
    """Return the refusal for a canary that neither the configuration nor any object tells."""
    return InvalidConfig(
        _VALUE,
        f"nothing, and the AnalysisRun has no label {label}",
        "the canary's hash",
        _TELL_HASH,
    )


def _endpoint(given: Mapping[str, object], policy: Policy) -> tuple[str, str]:
    credentials = mapping("credentials", given.get("credentials", {}))
    known("credentials", credentials, ("secretName",))
    secret = text("credentials.secretName", credentials.get("secretName"))
    endpoint = text("chaosMeshEndpoint", given.get("chaosMeshEndpoint"))
    if bool(endpoint) != bool(secret):
        missing, there = ("credentials.secretName", "chaosMeshEndpoint")[:: 1 if endpoint else -1]
        raise InvalidConfig(
            missing,
            "nothing",
            f"a value, as {there} is set",
            "another API server needs both; this cluster neither",
        )
    if not endpoint:
        return "", ""
    if not _OBJECT_NAME.fullmatch(secret):
        raise InvalidConfig("credentials.secretName", quote(secret), "the name of a Secret")
    found = _ENDPOINT.fullmatch(endpoint)
    if not found or not 0 < int(found["port"] or 443) < 1 << 16:
        raise InvalidConfig(
            "chaosMeshEndpoint",
            quote(endpoint),
            "the https URL of another Kubernetes API server, such as https://api.example.com:6443",
        )
    policy.check_endpoint(found["host"].lower(), int(found["port"] or 443))
    return endpoint.rstrip("/"), secret


def _on_no_targets(given: object) -> Phase:
    if not isinstance(given, str) or given not in _ON_NO_TARGETS:
        raise InvalidConfig("onNoTargets", met(given), "one of " + ", ".join(_ON_NO_TARGETS))
    return _ON_NO_TARGETS[given]


def _rules(given: object, experiment: Template) -> Rules:
    key = "steadyState"
    if isinstance(given, bool):
        raise InvalidConfig(key, met(given), "an object", f"write {{enabled: {str(given).lower()}}}")
    effect = experiment.parts[0].effect
    rules = mapping(key, given)
    known(key, rules, ("enabled", "minReady", "maxRestarts", "recoverWithin"))
    count, percent = _min_ready(rules.get("minReady", "100%"))
    return Rules(
        enabled=boolean(f"{key}.enabled", rules.get("enabled", True)),
        min_ready=count,
        min_ready_percent=percent,
        max_restarts=number(f"{key}.maxRestarts", rules.get("maxRestarts", 0), 0, 10_000),
        recover_within=span(f"{key}.recoverWithin", rules.get("recoverWithin", "60s"), _SECOND, _DAY, "60s"),
        unready_by_intent=effect.unready,
        replaces_pods=effect.replaces_pods,
        restarts_by_fault=effect.restarts,
    )


def _min_ready(given: object) -> tuple[int | None, int]:
    key = "steadyState.minReady"
    try:
        if isinstance(given, str) and given.strip().endswith("%"):
            return None, number(key, given.strip()[:-1], 0, 100)
        return number(key, given, 0, 10_000), 100
    except InvalidConfig:
        raise InvalidConfig(key, met(given), "a number of pods (0 to 10000) or a share such as 80%") from None


def _digest(settings: Mapping[str, object]) -> str:
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()[:16]
