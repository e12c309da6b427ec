"""Times are those of robfig/cron v3.0.1, asked on the same expressions."""

from datetime import UTC, datetime

import pytest

from chaosplugin.core import cron

_NOW = datetime(2026, 2, 27, 22, 59, 31, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("@every 30s", ["02-27 23:00:01", "02-27 23:00:31"]),
        ("@every 1m30.9s", ["02-27 23:01:01", "02-27 23:02:31"]),
        ("@every 10ms", ["02-27 22:59:32", "02-27 22:59:33"]),
        ("@hourly", ["02-27 23:00:00", "02-28 00:00:00"]),
        ("*/20 * * * *", ["02-27 23:00:00", "02-27 23:20:00"]),
        ("*/15 * * * * *", ["02-27 22:59:45", "02-27 23:00:00"]),
        ("10/20 59 22 * * ?", ["02-27 22:59:50", "02-28 22:59:10"]),
        ("0 12 1 * mon", ["03-01 12:00:00", "03-02 12:00:00"]),
        ("0 12 */9 * MON", ["02-28 12:00:00", "03-01 12:00:00"]),
        ("0 12 * Mar-apr 0", ["03-01 12:00:00", "03-08 12:00:00"]),
        ("0 0 29 2 *", ["02-29 00:00:00"]),
    ],
)
def test_an_expression_fires_when_chaos_mesh_fires_it(text: str, times: list[str]) -> None:
    when, at = cron.parse(text), _NOW
    found = []
    for _ in times:
        following = when.after(at)
        assert following
        found.append(f"{following:%m-%d %H:%M:%S}")
        at = following

    assert found == times


def test_a_day_that_never_comes_is_never() -> None:
    assert cron.parse("0 0 30 2 *").after(_NOW) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has 0 fields, 5 are wanted"),
        ("soon", "it has 1 fields"),
        ("@every soon", "a number is missing"),
        ("@every 1d", "there is no unit d: write 24h"),
        ("@noon", "known descriptors are @every 30s, @annually"),
        ("TZ=Asia/Tokyo 0 12 * * *", "write it in UTC"),
        ("60 * * * *", "'60' is no minute from 0 to 59"),
        ("* * * * 7", "'7' is no day of week from 0 to 6"),
        ("5-3 * * * *", "'5-3' is no range of a minute"),
        ("*/0 * * * *", "'*/0' is no range of a minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("* * * x *", "'x' is no month from 1 to 12"),
    ],
)
def test_what_chaos_mesh_would_refuse_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(cron.BadCron) as refused:
        cron.parse(text)

    assert said in str(refused.value)
