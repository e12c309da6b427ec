"""The experiment as it is created, and as it is found again.

One manifest per intent: its name is computed, so whoever comes after a death finds it by name, and a
second create of it is refused by the API server.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from chaosplugin.core import duration, ledger, selector
from chaosplugin.core.config import Config
from chaosplugin.core.duration import BadDuration
from chaosplugin.core.kinds import API_VERSION, KINDS, Effect, Kind
from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import AnalysisRun, ChaosObject
from chaosplugin.core.policy import Policy
from chaosplugin.core.template import Template

_NAME_LIMIT = 50
_DEFAULT_DURATION = timedelta(seconds=60)
_RESERVE = timedelta(seconds=30)
_LEAST_DURATION = timedelta(seconds=5)


def default_duration(timeout: timedelta) -> timedelta:
    """Return how long a lasting fault without a duration lasts: it must heal by itself, whoever dies."""
    return min(_DEFAULT_DURATION, max(timeout - _RESERVE, _LEAST_DURATION))


def name(template: Template, identity: Identity) -> str:
    """Return the experiment's name: of the user's, what DNS-1123 and 50 characters allow, and the digest."""
    stem = re.sub(r"[^a-z0-9]+", "-", (template.name or template.kind.name).lower())
    stem = stem.strip("-")[: _NAME_LIMIT - len(identity.digest) - 1].strip("-")
    return f"{stem or template.kind.name.lower()}-{identity.digest}"


def build(
    config: Config,
    *,
    value: str,
    run: AnalysisRun,
    identity: Identity,
    policy: Policy,
    origin: str = "",
    annotations: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Build the manifest to create.

    `value` is the canary's, which `config.value` may not tell; `annotations` are further ones of ours
    (traceparent, the state before).

    Raises:
        ScopeRefused: it could hit something else than the canary.
        InvalidConfig: a selector has not the form of one.
    """
    template = config.template
    spec = selector.confine(
        template, namespace=config.namespace, label=config.label, value=value, policy=policy
    )
    if template.duration is None and not template.effect.one_shot:
        spec["duration"] = duration.text(default_duration(config.timeout))
    metadata: dict[str, object] = {
        "name": name(template, identity),
        "namespace": config.namespace,
        "labels": {
            **template.labels,
            ledger.MANAGED_BY: ledger.MANAGER,
            ledger.RUN: identity.digest,
            ledger.ANALYSIS_RUN_UID: identity.analysis_run_uid,
            **({ledger.ORIGIN: origin} if origin else {}),
        },
        "annotations": {
            **template.annotations,
            ledger.RUN: f"{run.metadata.namespace}/{run.metadata.name}",
            ledger.METRIC: identity.metric,
            ledger.INTENT: str(identity.intent),
            ledger.CONFIG_DIGEST: config.digest,
            **(annotations or {}),
        },
    }
    if not config.endpoint and config.namespace == run.metadata.namespace:
        # neither controller nor blockOwnerDeletion: the latter wants rights on AnalysisRuns' finalizers
        metadata["ownerReferences"] = [
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AnalysisRun",
                "name": run.metadata.name,
                "uid": run.metadata.uid,
            }
        ]
    return {"apiVersion": API_VERSION, "kind": template.kind.name, "metadata": metadata, "spec": spec}


@dataclass(frozen=True, slots=True)
class Created:
    """What an experiment that was found again does, whatever the template says by now."""

    kind: Kind
    action: str
    effect: Effect
    duration: timedelta | None
    """None: one-shot, or without a duration that can be read"""


def adopt(experiment: ChaosObject) -> Created | None:
    """Read an experiment as created; None for a kind that we do not create."""
    kind = KINDS.get(experiment.kind)
    if kind is None:
        return None
    action, given = experiment.spec.get("action"), experiment.spec.get("duration")
    effect = kind.effect(action if isinstance(action, str) else "")
    try:
        lasting = duration.parse(given) if isinstance(given, str) and not effect.one_shot else None
    except BadDuration:
        lasting = None
    return Created(kind, action if isinstance(action, str) else "", effect, lasting)
