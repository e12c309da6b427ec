"""The API server's clock against ours, from the `Date` headers of its answers."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_WINDOW_S = 300.0
_LARGEST = timedelta(days=36525)
"""more is no clock's error, and what is reckoned with it might be beyond the years that a datetime knows"""


class ClockOffset:
    """The largest of the recent differences.

    A Date is cut to whole seconds and has travelled, so each difference is at most the true offset, and
    the largest is the nearest to it. Those of the current and the last window of five minutes count.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._window_at = monotonic()
        self._current: timedelta | None = None
        self._last: timedelta | None = None

    @property
    def value(self) -> timedelta:
        """Server minus us; zero as long as no answer has come."""
        known = [offset for offset in (self._current, self._last) if offset is not None]
        return max(known, default=timedelta(0))

    def observe(self, date: str, local: datetime) -> None:
        """Take a `Date` header that came at `local`; one that is no date is passed over."""
        try:
            server = parsedate_to_datetime(date)
        except (ValueError, OverflowError):  # the latter for digits without end
            return
        offset = (server if server.tzinfo else server.replace(tzinfo=UTC)) - local
        if abs(offset) > _LARGEST:
            return
        if self._monotonic() - self._window_at > _WINDOW_S:
            self._window_at = self._monotonic()
            self._last, self._current = self._current, None
        self._current = offset if self._current is None else max(offset, self._current)
