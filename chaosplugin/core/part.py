"""One fault of a template: an experiment's spec, where it stands alone or is embedded in another one."""

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache

from msgspec import Struct

from chaosplugin.core import duration
from chaosplugin.core.cron import Cron
from chaosplugin.core.forms import go_duration, met, text, texts
from chaosplugin.core.kinds import Effect, Kind
from chaosplugin.core.refusal import InvalidConfig, nearest, quote

_MODES = ("one", "all", "fixed", "fixed-percent", "random-max-percent")
SECOND = timedelta(seconds=1)
SHORTEST = timedelta(seconds=2)
"""of a fault that is created at any time of a second: Chaos Mesh counts from its begin"""
_TOO_SHORT = "of a shorter one nothing may be left when it is injected, as Chaos Mesh counts in whole seconds"

Path = tuple[str | int, ...]


class Part(Struct, frozen=True, kw_only=True):
    """A fault, checked in form."""

    where: Path
    """path of its spec within the template's; () is that itself"""
    kind: Kind
    action: str
    effect: Effect
    spec: Mapping[str, object]
    duration: timedelta | None
    """how long the fault lasts; None where none is given, or the action is one-shot"""
    cron: Cron | None = None
    """when a Schedule repeats it"""
    step: str = ""
    """the template of a Workflow that it is of"""

    @property
    def ends_itself(self) -> bool:
        """Nothing has to end it: it is over at once, or its step's deadline deletes it."""
        return self.effect.one_shot or (bool(self.step) and self.cron is None)


@lru_cache(1024)
def key_of(root: str, where: Path) -> str:
    """Return how a message names a place: chaosExperimentCRD.spec.templates[1].podChaos."""
    return root + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in where)


def read(
    root: str,
    where: Path,
    kind: Kind,
    spec: Mapping[str, object],
    *,
    cron: Cron | None = None,
    step: str = "",
) -> Part:
    """Check a fault.

    Raises:
        InvalidConfig: names the field.
    """
    key = key_of(root, where)
    action = _action(key, kind, spec)
    effect = kind.effect(action)
    _check_mode(key, spec)
    if effect.needs_containers and not texts(f"{key}.containerNames", spec.get("containerNames")):
        raise InvalidConfig(
            f"{key}.containerNames",
            met(spec.get("containerNames")),
            f"the containers that {action} is to kill",
        )
    # a Schedule fires as a second begins
    shortest = SECOND if effect.one_shot or cron is not None else SHORTEST
    lasting = span(f"{key}.duration", spec.get("duration"), shortest)
    return Part(
        where=where,
        kind=kind,
        action=action,
        effect=effect,
        spec=spec,
        duration=None if effect.one_shot else lasting,
        cron=cron,
        step=step,
    )


def _action(key: str, kind: Kind, spec: Mapping[str, object]) -> str:
    action = spec.get("action")
    if kind.actions and (not isinstance(action, str) or action not in kind.actions):
        raise InvalidConfig(
            f"{key}.action",
            met(action),
            f"an action of {kind.name}",
            nearest(action if isinstance(action, str) else "", kind.actions),
        )
    return text(f"{key}.action", action) if kind.actions else action if isinstance(action, str) else ""


def _check_mode(key: str, spec: Mapping[str, object]) -> None:
    mode = spec.get("mode")
    if mode not in _MODES:
        raise InvalidConfig(f"{key}.mode", met(mode), "one of " + ", ".join(_MODES))
    if mode in _MODES[2:] and not (isinstance(spec.get("value"), str) and spec["value"]):
        raise InvalidConfig(
            f"{key}.value", met(spec.get("value")), f'a number as text for mode {mode}, such as "50"'
        )


def span(key: str, given: object, least: timedelta = SECOND) -> timedelta | None:
    """Read a Go duration of at least so much; absent is None."""
    if given is None:
        return None
    wanted = f"a Go duration of at least {duration.text(least)}, such as 30s or 1m30s"
    found = go_duration(key, given, wanted)
    if found < least:
        raise InvalidConfig(key, quote(given), wanted, _TOO_SHORT if least == SHORTEST else "")
    return found
