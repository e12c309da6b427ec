"""The one clock, while the machine's is set."""

from datetime import UTC, datetime, timedelta

import pytest

from chaosplugin.app import Clock

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize("set_by", [timedelta(hours=1), timedelta(hours=-1), timedelta(seconds=2)])
def test_a_clock_that_is_set_is_no_time_that_goes_by(set_by: timedelta) -> None:
    wall, passed = NOON, 100.0
    clock = Clock(lambda: wall, lambda: passed)

    assert (clock(), clock.step()) == (NOON, timedelta())
    passed += 30
    wall += timedelta(seconds=30.2)
    assert (clock(), clock.step()) == (NOON + timedelta(seconds=30), timedelta())
    wall += set_by
    assert clock() == NOON + timedelta(seconds=30)
    assert clock.step() == timedelta(seconds=0.2) + set_by
