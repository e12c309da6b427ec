"""Go's time.ParseDuration, with its texts for what is none."""

import re
from collections.abc import Mapping
from datetime import timedelta

_UNITS: Mapping[str, float] = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")


def parse(text: str) -> timedelta:
    """Parse a duration such as "1h2m3.5s".

    Raises:
        ValueError: as Go words it, e.g. `time: unknown unit "d" in duration "1d"`.
    """
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return timedelta()
    position, seconds = 0, 0.0
    while rest:
        match = _PART.match(rest, position)
        if match is None:
            raise ValueError(f'time: invalid duration "{text}"')
        number, unit = match.groups()
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        seconds += float(number) * _UNITS[unit]
        position = match.end()
        if position == len(rest):
            return timedelta(seconds=-seconds if text.startswith("-") else seconds)
    raise ValueError(f'time: invalid duration "{text}"')
