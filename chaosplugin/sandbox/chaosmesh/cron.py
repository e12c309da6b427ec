"""Cron as Chaos Mesh's Schedules take it (robfig/cron v3): five fields, six with seconds, or `@every`."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from chaosplugin.sandbox.chaosmesh.durations import parse as duration

_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_NAMES = dict(
    zip(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        range(1, 13),
        strict=True,
    )
) | dict(zip(["sun", "mon", "tue", "wed", "thu", "fri", "sat"], range(7), strict=True))
_DESCRIPTORS = {"@hourly": "0 0 * * * *", "@daily": "0 0 0 * * *", "@midnight": "0 0 0 * * *"}
_YEAR = timedelta(days=366)

Next = Callable[[datetime], datetime]


def parse(text: str) -> Next:
    """Return what gives the next time after a moment.

    Raises:
        ValueError: as upstream words it, e.g. `expected 5 to 6 fields, found 1: [soon]`.
    """
    if text.startswith("@every "):
        period = duration(text.removeprefix("@every "))
        whole = timedelta(seconds=max(1, int(period.total_seconds())))
        return lambda moment: moment.replace(microsecond=0) + whole
    words = _DESCRIPTORS.get(text, text).split()
    if not 5 <= len(words) <= 6:
        raise ValueError(f"expected 5 to 6 fields, found {len(words)}: [{' '.join(words)}]")
    words = ["0"] * (6 - len(words)) + words
    fields = [frozenset(_field(*each)) for each in zip(words, _BOUNDS, strict=True)]
    return lambda moment: _next(fields, moment, either="*" not in words[3] and "*" not in words[5])


def _field(text: str, bounds: tuple[int, int]) -> Iterator[int]:
    low, high = bounds
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if first in {"*", "?"}:
            begin, end = low, high
        else:
            begin = _number(first)
            end = _number(last) if last else high if step else begin
        if begin < low or end > high:
            raise ValueError(f"value out of range ({begin} - {end}): {part}")
        yield from range(begin, end + 1, int(step or 1))


def _number(text: str) -> int:
    if text.lower() in _NAMES:
        return _NAMES[text.lower()]
    if not text.isdigit():
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _next(fields: list[frozenset[int]], moment: datetime, *, either: bool) -> datetime:
    seconds, minutes, hours, days, months, weekdays = fields
    at = moment.replace(microsecond=0) + timedelta(seconds=1)
    while at < moment + _YEAR:
        day, weekday = at.day in days, at.isoweekday() % 7 in weekdays
        if at.month not in months or not ((day or weekday) if either else (day and weekday)):
            at = at.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        elif at.hour not in hours or at.minute not in minutes:
            at = at.replace(second=0) + timedelta(minutes=1)
        elif at.second not in seconds:
            at += timedelta(seconds=1)
        else:
            return at
    return moment + _YEAR
