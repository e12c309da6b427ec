"""Names of few values for what has many: requests by verb and resource, gates by their Rollout."""

from chaosplugin.core.objects import AnalysisRun
from chaosplugin.provider.facts import Requested

_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


def request_name(fact: Requested) -> tuple[str, str]:
    """Return Kubernetes's verb and the resource, such as ("list", "pods")."""
    parts = fact.path.split("/")  # "", api, v1, ... or "", apis, group, version, ...
    at = 3 if parts[1] == "api" else 4
    if parts[at] == "namespaces" and len(parts) > at + 2:
        at += 2
    if fact.method != "GET":
        verb = _VERBS.get(fact.method, "other")
    elif fact.watch:
        verb = "watch"
    else:
        verb = "get" if len(parts) > at + 1 else "list"
    return verb, parts[at]


def rollout_of(run: AnalysisRun) -> str:
    """Return the name of the Rollout that controls an AnalysisRun, "" if that is none."""
    owner = run.metadata.controller
    return owner.name if owner is not None and owner.kind == "Rollout" else ""
