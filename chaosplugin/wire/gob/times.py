"""time.Time in gob: the bytes of its MarshalBinary.

    0        version: 1, or 2 if the zone's offset has seconds
    1..8     seconds since 0001-01-01T00:00:00Z, signed
    9..12    nanoseconds
    13..14   the zone's offset from UTC in minutes, signed; -1 is UTC itself
    15       version 2 only: the seconds of the offset

The zone does not change the moment, and a controller whose local zone is UTC writes 0 instead of -1.
Source: Go's time/time.go.
"""

import struct
from datetime import UTC, datetime, timedelta

from chaosplugin.wire.errors import LocalProtocolError

_FORM = struct.Struct(">BqIH")
_YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)
_UTC_OFFSET = 0xFFFF
_SIZES = {1: 15, 2: 16}


def encode_time(moment: datetime) -> bytes:
    """The bytes of a moment, in UTC; raises LocalProtocolError if it has no zone."""
    if moment.tzinfo is None:
        raise LocalProtocolError(f"gob: {moment} has no zone")
    since = moment.astimezone(UTC) - _YEAR_1
    return _FORM.pack(1, since.days * 86_400 + since.seconds, since.microseconds * 1_000, _UTC_OFFSET)


def decode_time(data: bytes) -> datetime:
    """The moment in UTC, cut to whole microseconds; Go's zero time is the first moment of year 1.

    Raises ValueError, with Go's text where it has one.
    """
    if not data:
        raise ValueError("Time.UnmarshalBinary: no data")
    if data[0] not in _SIZES:
        raise ValueError("Time.UnmarshalBinary: unsupported version")
    if len(data) != _SIZES[data[0]]:
        raise ValueError("Time.UnmarshalBinary: invalid length")
    _, seconds, nanoseconds, _ = _FORM.unpack(data[:15])
    try:
        return _YEAR_1 + timedelta(seconds=seconds, microseconds=nanoseconds // 1_000)
    except OverflowError:
        raise ValueError(f"a time {seconds} s after year 1; only years 1 to 9999 are known") from None
