"""Refusals: what is wrong with a request, in one line that says what was met, wanted, and to be done.

All of them are raised before anything was created, so they end in phase Error.
"""

import difflib
import json
from collections.abc import Iterable
from typing import ClassVar

from chaosplugin.core.redaction import cut
from chaosplugin.core.verdict import Reason

_QUOTED = 96
"""Bytes of a foreign value within a message."""


class Refusal(Exception):
    """A gate that cannot be made. `str()` is one line, at most 1 kB."""

    reason: ClassVar[Reason]


class InvalidConfig(Refusal):
    """A key of the configuration, or a field of the experiment, is not what it must be."""

    reason = Reason.INVALID_CONFIG

    def __init__(self, key: str, met: str, allowed: str, advice: str = "") -> None:
        self.key = key
        text = f"{key}: met {met}, wanted {allowed}" + (f"; {advice}" if advice else "")
        super().__init__(_line(text))


class ScopeRefused(Refusal):
    """The experiment could hit something else than the canary."""

    reason = Reason.SCOPE_REFUSED

    def __init__(self, message: str) -> None:
        super().__init__(_line(message))


class PolicyRefused(Refusal):
    """The operator has not allowed it, or this version does not do it."""

    reason = Reason.POLICY_REFUSED

    def __init__(self, message: str) -> None:
        super().__init__(_line(message))


def _line(text: str) -> str:
    return cut(" ".join(text.split()))


def quote(value: object) -> str:
    """Return a foreign value for a message: JSON on one line, cut where it is long."""
    if isinstance(value, dict):
        return f"an object with {len(value)} keys"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return json.dumps(cut(value, _QUOTED), ensure_ascii=False)
    return cut(json.dumps(value, default=str), _QUOTED)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return advice that names the nearest known word, or all of them where none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word.lower(), [w.lower() for w in words], n=1, cutoff=0.6)
    if not near:
        return "known are " + ", ".join(words)
    return f"did you mean {next(w for w in words if w.lower() == near[0])}?"


def names(words: Iterable[str], limit: int = 3) -> str:
    """List names for a message, at most `limit` of them."""
    listed = list(words)
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")
