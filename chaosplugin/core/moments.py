"""Moments that others have written down, of which nobody has checked that they can be reckoned with."""

from datetime import UTC, datetime

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""A datetime ends with the year 9999; what leads beyond it, be it by a second, is an OverflowError."""


def read(text: str) -> datetime | None:
    """Read RFC 3339 text; None where it is none, has no zone, or is of no time with clusters."""
    try:
        return usable(datetime.fromisoformat(text))
    except ValueError:
        return None


def usable(at: datetime | None) -> datetime | None:
    """Return a moment to and from which any span that is met here can be added; None for any other."""
    if at is None or at.tzinfo is None or not _EARLIEST <= at <= _LATEST:
        return None
    return at
