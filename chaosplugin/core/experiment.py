"""The experiment as it is created, and as it is found again.

One manifest per intent: its name is computed, so whoever comes after a death finds it by name, and a
second create of it is refused by the API server.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache

import msgspec

from chaosplugin.core import duration, ledger, selector, spawning, template
from chaosplugin.core.config import Config
from chaosplugin.core.duration import BadDuration
from chaosplugin.core.forms import mapping
from chaosplugin.core.kinds import API_VERSION
from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import AnalysisRun, ChaosObject
from chaosplugin.core.part import Part, key_of
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import Refusal
from chaosplugin.core.template import SPEC, Template
from chaosplugin.core.window import Window

_NAME_LIMIT = 50
_LONG_SPEC = 8 << 10  # bytes of an experiment's spec that is not kept as read
_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DEFAULT_DURATION = timedelta(seconds=60)
_RESERVE = timedelta(seconds=30)
_LEAST_DURATION = timedelta(seconds=5)


def default_duration(timeout: timedelta) -> timedelta:
    """Return how long a lasting fault without a duration lasts: it must heal by itself, whoever dies."""
    return min(_DEFAULT_DURATION, max(timeout - _RESERVE, _LEAST_DURATION))


def _default_duration(part: Part, timeout: timedelta) -> timedelta:
    """Where a Schedule repeats it, the canary gets as long to recover."""
    longest = default_duration(timeout)
    if part.cron is None:
        return longest
    half = timedelta(seconds=spawning.period(part.cron) // timedelta(seconds=2))
    return min(longest, max(half, timedelta(seconds=1)))


def _keep_history(spec: dict[str, object], part: Part) -> dict[str, object]:
    """Let the Schedule of a fault keep what it has fired: without a limit each is deleted at its end.

    Two firings of one fault must not overlap by accident: that is Chaos Mesh's default from 2.2 on.
    """
    where = part.where[:-1]
    schedule: object = spec
    for step in where:
        schedule = schedule[step] if isinstance(schedule, dict | list) else {}  # type: ignore[index]
    given = mapping(key_of(SPEC, where), schedule)
    limit = given.get("historyLimit")
    if isinstance(limit, int) and limit > spawning.MAX_FIRINGS:
        return spec
    kept = {"concurrencyPolicy": "Forbid", **given, "historyLimit": spawning.MAX_FIRINGS}
    return selector.place_at(spec, where, kept)


def name(of: Template, identity: Identity) -> str:
    """Return the experiment's name: of the user's, what DNS-1123 and 50 characters allow, and the digest."""
    stem = _stem(of.name or of.kind.name, _NAME_LIMIT - len(identity.digest) - 1)
    return f"{stem or of.kind.name.lower()}-{identity.digest}"


@lru_cache(64)
def _stem(name: str, limit: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:limit].strip("-")


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
    asked = config.template
    spec: dict[str, object] = dict(asked.spec)
    for part in asked.parts:
        confined = selector.confine(
            part, namespace=config.namespace, label=config.label, value=value, policy=policy
        )
        if asked.kind.spawns and origin:
            confined = selector.sign(confined, origin, identity.digest)
        if part.duration is None and not part.ends_itself:
            confined["duration"] = duration.text(_default_duration(part, config.timeout))
        spec = selector.place_at(spec, part.where, confined)
        if part.cron is not None:
            spec = _keep_history(spec, part)
    metadata: dict[str, object] = {
        "name": name(asked, identity),
        "namespace": config.namespace,
        "labels": {
            **asked.labels,
            ledger.MANAGED_BY: ledger.MANAGER,
            ledger.RUN: identity.digest,
            ledger.ANALYSIS_RUN_UID: identity.analysis_run_uid,
            **({ledger.ORIGIN: origin} if origin else {}),
        },
        "annotations": {
            **asked.annotations,
            ledger.RUN: f"{run.metadata.namespace}/{run.metadata.name}",
            ledger.METRIC: identity.metric,
            ledger.INTENT: str(identity.intent),
            ledger.CONFIG_DIGEST: config.digest,
            **({ledger.WINDOW: duration.text(config.window.length)} if config.window else {}),
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
    return {"apiVersion": API_VERSION, "kind": asked.kind.name, "metadata": metadata, "spec": spec}


def adopt(found: ChaosObject) -> Template | None:
    """Read an experiment as created, whatever the template says by now; None for one that is not ours.

    Only its kind, faults, steps and window are of interest; what is allowed was asked at its creation.
    """
    parts = _parts(found)
    parts.pop("selector", None)  # it is not read; all else is the same for the gates of a template
    text = msgspec.json.encode(parts)
    return (_read_known if len(text) <= _LONG_SPEC else _read)(found.kind, text)


def _parts(found: ChaosObject) -> dict[str, msgspec.Raw]:
    try:
        return _raw.decode(found.raw_spec)
    except (msgspec.DecodeError, RecursionError):
        return {}


def _read(kind: str, spec: bytes) -> Template | None:
    anything = Policy(allow_workflow_task=True, allow_status_check=True)
    try:
        given = {"apiVersion": API_VERSION, "kind": kind, "spec": msgspec.json.decode(spec)}
        return template.read(given, anything)
    except (Refusal, RecursionError):
        return None


_read_known = lru_cache(64)(_read)


def window(found: ChaosObject, read: Template) -> Window | None:
    """Return when and how long a Schedule was to fire, as it was created."""
    when = read.parts[0].cron if not read.steps else None
    try:
        length = duration.parse(found.metadata.annotation(ledger.WINDOW) or "")
    except BadDuration:
        return None
    return Window(when, length) if when else None
