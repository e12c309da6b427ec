"""What a file of a user asks for: an AnalysisTemplate, or an experiment alone.

Of an AnalysisTemplate it is one metric, with `{{args.x}}` resolved as Argo does. A targetReplicaSetValue that
is an argument without a value is left out: the canary's hash is known by the Rollout that is named.
"""

import re
from collections.abc import Mapping

import msgspec

from chaosplugin.core.kinds import KINDS
from chaosplugin.core.record import Asked
from chaosplugin.core.refusal import InvalidConfig, names, nearest

_ARGUMENT = re.compile(r"\{\{\s*args\.([A-Za-z0-9_.-]+)\s*\}\}")
_TEMPLATES = ("AnalysisTemplate", "ClusterAnalysisTemplate")
_VALUE = "targetReplicaSetValue"


def read(found: object, arguments: Mapping[str, str], metric: str, settings: Mapping[str, object]) -> Asked:
    """Return what is asked for; `metric` is needed where a template has several that use a plugin.

    Raises:
        InvalidConfig: it is neither, or lacks something.
    """
    if not isinstance(found, dict):
        raise InvalidConfig("TEMPLATE", "no object", "an AnalysisTemplate or an experiment of Chaos Mesh")
    kind = str(found.get("kind"))
    if kind in _TEMPLATES:
        return _of_template(found, arguments, metric, settings)
    if kind in KINDS:
        for flag, given in (("--arg", names(sorted(arguments))), ("--metric", metric)):
            if given:
                raise InvalidConfig(flag, given, "an AnalysisTemplate", f"TEMPLATE is a {kind}: leave it out")
        return Asked(_raw({"chaosExperimentCRD": found, **settings}))
    raise InvalidConfig(
        "TEMPLATE.kind", repr(kind)[:80], "AnalysisTemplate or a kind of Chaos Mesh", nearest(kind, KINDS)
    )


def _of_template(
    found: Mapping[str, object], arguments: Mapping[str, str], metric: str, settings: Mapping[str, object]
) -> Asked:
    spec = found.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    values = _values(spec.get("args"), arguments)
    chosen = _metric(spec.get("metrics"), metric)
    plugins = _part(_part(chosen, "provider"), "plugin")
    (config,) = (each if isinstance(each, dict) else {} for each in plugins.values())
    value = config.get(_VALUE)
    argument = _ARGUMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if argument and argument[1] not in values:
        config = {key: each for key, each in config.items() if key != _VALUE}
    resolved = _resolve(config, values)
    return Asked(
        _raw({**resolved, **settings}) if isinstance(resolved, dict) else _raw(settings),
        str(_resolve(chosen.get("successCondition") or "", values)),
        str(_resolve(chosen.get("failureCondition") or "", values)),
    )


def _values(declared: object, given: Mapping[str, str]) -> dict[str, str]:
    """Return the arguments' values: those given, else those of the template."""
    known = {}
    listed = [each for each in declared if isinstance(each, dict)] if isinstance(declared, list) else []
    for each in listed:
        if isinstance(each.get("value"), str):
            known[str(each.get("name"))] = each["value"]
    unknown = given.keys() - {str(each.get("name")) for each in listed}
    if unknown:
        wanted = names(sorted(str(each.get("name")) for each in listed)) or "none"
        raise InvalidConfig("--arg", names(sorted(unknown)), f"an argument of the template ({wanted})")
    return known | dict(given)


def _metric(listed: object, name: str) -> Mapping[str, object]:
    """Return the metric of this name, or the only one that uses a single plugin."""
    metrics = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    usable = [each for each in metrics if len(_part(_part(each, "provider"), "plugin")) == 1]
    if name:
        found = [each for each in usable if each.get("name") == name]
        advice = nearest(name, (str(each.get("name")) for each in usable)) if usable else ""
    else:
        found, advice = usable, "choose one by --metric" if usable else ""
    if len(found) != 1:
        met = f"{len(found)} metrics with a plugin" + (f" called {name}" if name else "")
        raise InvalidConfig("TEMPLATE.spec.metrics", met, "one", advice)
    return found[0]


def _part(found: Mapping[str, object], key: str) -> Mapping[str, object]:
    part = found.get(key)
    return part if isinstance(part, dict) else {}


def _resolve(found: object, values: Mapping[str, str]) -> object:
    """Put the arguments' values in their places, however deep these are."""
    match found:
        case str():
            return _ARGUMENT.sub(lambda match: _value(match[1], values), found)
        case dict():
            return {key: _resolve(each, values) for key, each in found.items()}
        case list():
            return [_resolve(each, values) for each in found]
        case _:
            return found


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise InvalidConfig(f"args.{name}", "no value", "one", f"give it by --arg {name}=VALUE")
    return values[name]


def _raw(config: Mapping[str, object]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(config))
