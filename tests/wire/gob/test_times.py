from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.wire.errors import LocalProtocolError
from chaosplugin.wire.gob.times import decode_time, encode_time
from tests.wire.vectors import streams

KNOWN = [
    ("0001-01-01T00:00:00+00:00", "010000000000000000" + "00000000" + "ffff"),
    ("1970-01-01T00:00:00+00:00", "010000000e7791f700" + "00000000" + "ffff"),
    ("2024-01-02T03:04:05.678901+00:00", "010000000edd257425" + "28773508" + "ffff"),
    ("9999-12-31T23:59:59.999999+00:00", "0100000049778638" + "7f" + "3b9ac618" + "ffff"),
]


@pytest.mark.parametrize(("text", "data"), KNOWN)
def test_moments_travel_in_utc(text: str, data: str) -> None:
    moment = datetime.fromisoformat(text)

    assert encode_time(moment).hex() == data
    assert decode_time(bytes.fromhex(data)) == moment


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_every_moment_survives(moment: datetime) -> None:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return  # within a day of the end of time

    assert decode_time(encode_time(moment)) == moment


def test_zones_do_not_change_the_moment() -> None:
    [vector] = streams("gob")["time-top"]
    # neither the year -1 nor zones with seconds, which the text leaves out
    known = [v for v in vector.decoded if not v["$time"].startswith("-") and v["bytes"].startswith("01")]

    for value in known:
        # Python knows microseconds, Go wrote nanoseconds
        text, _, rest = value["$time"].partition(".")
        wanted = datetime.fromisoformat(f"{text}.{rest[:6]}{rest[9:]}" if len(rest) > 9 else value["$time"])
        assert decode_time(bytes.fromhex(value["bytes"])) == wanted


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("", "Time.UnmarshalBinary: no data"),
        ("03" + "00" * 14, "Time.UnmarshalBinary: unsupported version"),
        ("01" + "00" * 13, "Time.UnmarshalBinary: invalid length"),
        ("01" + "00" * 15, "Time.UnmarshalBinary: invalid length"),
        ("01ffffffffffffffff" + "00" * 6, "only years 1 to 9999"),
        ("017fffffffffffffff" + "00" * 6, "only years 1 to 9999"),
    ],
)
def test_what_is_no_time_is_refused(data: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        decode_time(bytes.fromhex(data))


def test_a_time_without_a_zone_is_nobodys_moment() -> None:
    with pytest.raises(LocalProtocolError):
        encode_time(datetime(2024, 1, 2))  # noqa: DTZ001  the point
