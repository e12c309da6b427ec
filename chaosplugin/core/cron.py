"""When a Schedule fires: the expressions that Chaos Mesh takes, and the next time after a given one.

Source: robfig/cron v3 as Chaos Mesh sets it up (StandardCronParser): five fields or, with seconds, six;
descriptors such as @hourly; `@every` with a Go duration. Times are in UTC, in which its controller runs.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from chaosplugin.core import duration
from chaosplugin.core.duration import BadDuration

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_LEAST = timedelta(seconds=1)
_FARTHEST = timedelta(days=5 * 366)
_PART = re.compile(r"(?P<first>\*|\?|\w+)(-(?P<last>\w+))?(/(?P<step>[0-9]{1,4}))?")


class BadCron(ValueError):
    """Not an expression; `str()` says why in a few words."""


@dataclass(frozen=True, slots=True)
class Every:
    """`@every 30s`: at whole seconds."""

    period: timedelta

    def after(self, moment: datetime) -> datetime | None:
        return moment.replace(microsecond=0) + self.period


@dataclass(frozen=True, slots=True)
class Fields:
    """The values of each field that match; of the days either may, where both are restricted."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    """one of the two fields of days is a star, so that both have to match"""

    def after(self, moment: datetime) -> datetime | None:
        """Return the next time; None where there is none within five years."""
        at = moment.replace(microsecond=0) + timedelta(seconds=1)
        end = at + _FARTHEST
        while at <= end:
            if not self._on(at):
                at = at.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif at.hour not in self.hours:
                at = at.replace(minute=0, second=0) + timedelta(hours=1)
            elif at.minute not in self.minutes:
                at = at.replace(second=0) + timedelta(minutes=1)
            elif at.second not in self.seconds:
                at += timedelta(seconds=1)
            else:
                return at
        return None

    def _on(self, at: datetime) -> bool:
        day, weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        return at.month in self.months and ((day and weekday) if self.any_day else (day or weekday))


Cron = Every | Fields


def parse(text: str) -> Cron:
    """Parse what Chaos Mesh takes in `spec.schedule`.

    Raises:
        BadCron: with the reason; a time zone is refused, as a window of minutes has no use for it.
    """
    if text.startswith(("TZ=", "CRON_TZ=")):
        raise BadCron("a time zone is not taken here: write it in UTC")
    if text.startswith(_EVERY):
        return _every(text[len(_EVERY) :])
    if text.startswith("@") and text not in _DESCRIPTORS:
        raise BadCron(f"known descriptors are @every 30s, {', '.join(sorted(_DESCRIPTORS))}")
    words = _DESCRIPTORS.get(text, text).split()
    if len(words) not in {5, 6}:
        raise BadCron(f"it has {len(words)} fields, 5 are wanted, or 6 with seconds")
    if len(words) == 5:
        words = ["0", *words]
    seconds, minutes, hours, days, months, weekdays = (
        _field(word, *rest) for word, rest in zip(words, _FIELDS, strict=True)
    )
    star = _is_star(words[3]) or _is_star(words[5])
    return Fields(seconds, minutes, hours, days, months, weekdays, star)


def _is_star(text: str) -> bool:
    """A star with a step restricts."""
    return any(part.removesuffix("/1") in {"*", "?"} for part in text.split(","))


def _every(text: str) -> Every:
    try:
        period = duration.parse(text)
    except BadDuration as error:
        raise BadCron(str(error)) from None
    return Every(max(_LEAST, timedelta(seconds=period // _LEAST)))


def _field(text: str, name: str, least: int, most: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise BadCron(f"{part!r} is no {name}")
        every = match["first"] in {"*", "?"}
        first = least if every else _number(match["first"], name, least, most, names)
        if match["last"]:
            last = _number(match["last"], name, least, most, names)
        else:
            last = most if every or match["step"] else first
        step = int(match["step"] or 1)
        if (every and match["last"]) or last < first or step == 0:
            raise BadCron(f"{part!r} is no range of a {name}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, name: str, least: int, most: int, names: tuple[str, ...]) -> int:
    lower = text.lower()
    if lower in names:
        return names.index(lower) + least
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not least <= int(text) <= most:
        raise BadCron(f"{text!r} is no {name} from {least} to {most}")
    return int(text)
