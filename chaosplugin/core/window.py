"""The time in which a Schedule fires: from its creation until it is paused, as the window is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from chaosplugin.core import duration
from chaosplugin.core.cron import Cron, Every
from chaosplugin.core.forms import span
from chaosplugin.core.refusal import InvalidConfig, quote
from chaosplugin.core.spawning import MAX_FIRINGS
from chaosplugin.core.template import SPEC, Template

RESERVE = timedelta(seconds=10)
"""What Chaos Mesh needs at most, in peace, to inject before and to recover after a duration."""
LONGEST_TIMEOUT = timedelta(days=1)
_DEFAULT_RESERVE = timedelta(seconds=30)
_LEAST_DEFAULT = timedelta(seconds=5)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """When a Schedule fires, and for how long."""

    when: Cron
    length: timedelta

    def check(self, created: datetime, key: str = "scheduleFor") -> None:
        """Hold it against a time of creation.

        Raises:
            InvalidConfig: it would never fire, or too often.
        """
        there, end = quote(duration.text(self.length)), created + self.length
        first = at = self.when.after(created)
        if first is None or first > end:
            wait = (
                f"{duration.text(first - created.replace(microsecond=0))} after" if first else "never after"
            )
            raise InvalidConfig(
                key,
                there,
                f"a time in which the Schedule fires at least once: it first fires {wait} its creation",
                "lengthen it, or let it fire sooner",
            )
        for _ in range(MAX_FIRINGS):
            at = self.when.after(at) if at else None
            if at is None or at > end:
                return
        raise InvalidConfig(
            key, there, f"a time in which the Schedule fires at most {MAX_FIRINGS} times", "shorten it"
        )


def read(experiment: Template, timeout: timedelta, given: Mapping[str, object]) -> Window | None:
    """Read the window of a Schedule; None for other kinds.

    A schedule by the clock is checked when it is created: only then it is known how far its time is.

    Raises:
        InvalidConfig: it does not go with the timeout, or the Schedule would never fire.
    """
    when = experiment.parts[0].cron if not experiment.steps else None
    if when is None:
        _refuse(experiment, timeout, given)
        return None
    key, length = "scheduleFor", experiment.window
    if length is not None and key in given:
        raise InvalidConfig(
            f"{SPEC}.duration",
            f"{quote(duration.text(length))} beside scheduleFor",
            "one of them",
            "for a fault that is over at once both say how long its scheduler runs",
        )
    if length is not None:
        key = f"{SPEC}.duration"
        check_length(key, quote(duration.text(length)), length, timeout)
    else:
        default = duration.text(max(timeout - _DEFAULT_RESERVE, _LEAST_DEFAULT))
        length = span(key, given.get(key, default), _SECOND, timeout - RESERVE, "2m")
    window = Window(when, length)
    if isinstance(when, Every):
        window.check(datetime(2026, 1, 1), key)  # noqa: DTZ001 - any time will do
    return window


def check_length(key: str, there: str, asked: timedelta, timeout: timedelta) -> None:
    """Refuse what would last longer than the timeout allows.

    Raises:
        InvalidConfig: says by how much.
    """
    most = timeout - RESERVE
    if asked > most:
        enough = asked + RESERVE
        or_else = f", or set timeout to at least {duration.text(enough)}" if enough <= LONGEST_TIMEOUT else ""
        raise InvalidConfig(
            key,
            there,
            f"at most {duration.text(most)}: timeout is {duration.text(timeout)}, "
            f"and {duration.text(RESERVE)} of it are for injection and recovery",
            f"shorten it{or_else}",
        )


def _refuse(experiment: Template, timeout: timedelta, given: Mapping[str, object]) -> None:
    if "scheduleFor" not in given:
        return
    span("scheduleFor", given["scheduleFor"], _SECOND, timeout, "2m")
    says = "the deadlines of its templates say" if experiment.steps else "spec.duration says"
    raise InvalidConfig(
        "scheduleFor",
        f"{quote(given['scheduleFor'])} beside a {experiment.kind.name}",
        "it only with a Schedule",
        f"remove it: {says} how long the fault lasts",
    )
