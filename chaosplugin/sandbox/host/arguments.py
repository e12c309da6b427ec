"""Arguments of analyses: from the Rollout or Experiment into an AnalysisRun, from there into its metrics.

Source: argo-rollouts utils/template, utils/analysis/factory.go, utils/analysis/helpers.go.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.host.objects import HASH_LABEL

_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class ArgumentError(Exception):
    """An argument is missing, or an expression is not one of Argo's; `str()` is Argo's text."""


def resolve(text: str, values: Mapping[str, str]) -> str:
    """Replace every `{{name}}`; what is put in is not looked at again.

    Raises ArgumentError if a name is unknown.
    """

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1].strip())
        if found is None:
            raise ArgumentError(f"failed to resolve {{{{{match[1]}}}}}")
        return found

    return _TAG.sub(value, text)


def resolve_metric(metric: Object, args: Iterable[Object]) -> Object:
    """Return a metric with `{{args.name}}` replaced wherever it stands.

    Raises ArgumentError.
    """
    values = {}
    for each in args:
        if each.get("value") is None:
            raise ArgumentError(f'argument "{each["name"]}" was not supplied')
        values[f"args.{each['name']}"] = msgspec.json.encode(each["value"]).decode()[1:-1]
    resolved: Object = msgspec.json.decode(resolve(msgspec.json.encode(metric).decode(), values))
    return resolved


def of_rollout(args: Iterable[Object], latest: str, stable: str, rollout: Object) -> list[Object]:
    """Return the arguments that a Rollout gives to an analysis, `valueFrom` replaced by the value."""
    return [{"name": each["name"], "value": _value(each, latest, stable, rollout)} for each in args]


def _value(arg: Object, latest: str, stable: str, rollout: Object) -> str:
    match arg.get("valueFrom"):
        case {"podTemplateHashValue": "Latest"}:
            return latest
        case {"podTemplateHashValue": "Stable"}:
            return stable
        case {"fieldRef": {"fieldPath": str(path)}}:
            return _field(rollout, path)
        case _:
            return str(arg.get("value", ""))


def _field(rollout: Object, path: str) -> str:
    found: object = rollout
    for part in re.split(r"[.\[\]']+", path):
        if part:
            found = found.get(part) if isinstance(found, dict) else None
    if found is None or isinstance(found, dict | list):
        raise ArgumentError(f"invalid path {path} in rollout")
    return str(found)


def of_experiment(
    args: Iterable[Object], replica_sets: Mapping[str, Object], available_at: str
) -> list[Object]:
    """Return the arguments that an Experiment gives to an analysis; `replica_sets` by template name.

    Raises ArgumentError.
    """
    values = {"experiment.availableAt": available_at}
    for template, replica_set in replica_sets.items():
        values[f"templates.{template}.podTemplateHash"] = replica_set["metadata"]["labels"][HASH_LABEL]
        values[f"templates.{template}.replicaset.name"] = replica_set["metadata"]["name"]
    return [{"name": each["name"], "value": resolve(str(each.get("value", "")), values)} for each in args]


def run_spec(templates: Iterable[Object], given: Iterable[Object], dry_run: Iterable[Object]) -> Object:
    """Return the spec of an AnalysisRun made from templates; given arguments come before their defaults.

    Raises ArgumentError if one has no value, or two templates bear a metric of one name.
    """
    supplied = {each["name"]: each for each in given}
    metrics: dict[str, Object] = {}
    args: dict[str, Object] = {}
    marked = list(dry_run)
    for template in templates:
        spec = template["spec"]
        for metric in spec.get("metrics") or ():
            if metrics.setdefault(metric["name"], metric) is not metric:
                raise ArgumentError(f"two metrics have the same name '{metric['name']}'")
        for each in spec.get("args") or ():
            args[each["name"]] = each | supplied.get(each["name"], {})
        marked += spec.get("dryRun") or ()
    for name, each in args.items():
        if each.get("value") is None and not each.get("valueFrom"):
            raise ArgumentError(f"args.{name} was not resolved")
    spec = {"metrics": list(metrics.values()), "args": list(args.values())}
    return spec | ({"dryRun": marked} if marked else {})
