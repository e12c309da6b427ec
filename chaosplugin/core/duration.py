"""Durations as Go writes them: "300ms", "1.5h", "2h45m".

Source: Go's time.ParseDuration and Duration.String, which Argo Rollouts and Chaos Mesh use; so neither
days nor a bare number exist. Inside there are `timedelta`s: what is finer than a microsecond is cut off.
"""

import re
from datetime import timedelta
from functools import lru_cache

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
_MAX_NS = (1 << 63) - 1
_MAX_LENGTH = 64
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")


class BadDuration(ValueError):
    """Not a Go duration; `str()` says why in a few words."""


@lru_cache(256)
def parse(text: str) -> timedelta:
    """Parse what Go's time.ParseDuration takes.

    Raises:
        BadDuration: with the reason; a day or a missing unit is named, with what to write instead.
    """
    if len(text) > _MAX_LENGTH:
        raise BadDuration(f"longer than {_MAX_LENGTH} characters")
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text[:1] in {"+", "-"} else text
    if body == "0":
        return timedelta()
    if not body:
        raise BadDuration("it is empty")
    total = 0
    for match in _TERM.finditer(body):
        if match.end() > match.start():
            total += _nanoseconds(match)
    if total > _MAX_NS:
        raise BadDuration("it is longer than 292 years")
    return sign * timedelta(microseconds=total // 1000)


def _nanoseconds(term: re.Match[str]) -> int:
    whole, fraction, unit = term.group(1), term.group(2) or "", term.group(3)
    if not (whole or fraction):
        raise BadDuration("a number is missing")
    if not unit:
        number = term.group(0)
        raise BadDuration(f"the unit is missing: write {number}s or {number}m")
    if unit == "d" and whole and not fraction:
        raise BadDuration(f"there is no unit d: write {int(whole) * 24}h")
    if unit not in _UNITS:
        raise BadDuration(f'there is no unit "{unit}": units are ms, s, m and h')
    scale = _UNITS[unit]
    return int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


def text(duration: timedelta) -> str:
    """Write a duration as Go does, but without the zero parts: 5m, 1h30m, 1.5s, 300ms."""
    microseconds = duration // timedelta(microseconds=1)
    sign, microseconds = ("-", -microseconds) if microseconds < 0 else ("", microseconds)
    if microseconds == 0:
        return "0s"
    if microseconds < 1000:
        return f"{sign}{microseconds}us"
    if microseconds < 1_000_000:
        return f"{sign}{_decimal(microseconds, 1000)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    if rest:
        parts.append(f"{_decimal(rest, 1_000_000)}s")
    return sign + "".join(parts)


def _decimal(value: int, scale: int) -> str:
    whole, part = divmod(value, scale)
    digits = str(scale + part)[1:].rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
