from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core.duration import BadDuration, parse, text


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [
        ("300ms", 0.3),
        ("1.5h", 5400),
        ("2h45m", 9900),
        ("0", 0),
        ("+5s", 5),
        ("-5s", -5),
        (".5s", 0.5),
        ("1.s", 1),
        ("1h1h", 7200),
        ("7us", 0.000007),
        ("7µs", 0.000007),
        ("999ns", 0),
    ],
)
def test_what_go_parses_is_parsed(given_: str, seconds: float) -> None:
    assert parse(given_) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("1d", "there is no unit d: write 24h"),
        ("5", "the unit is missing: write 5s or 5m"),
        ("5 minutes", 'there is no unit " minutes"'),
        ("", "it is empty"),
        ("-", "it is empty"),
        (".s", "a number is missing"),
        ("s", "a number is missing"),
        ("1h-2m", 'there is no unit "h-"'),
        ("9999999h", "longer than 292 years"),
        ("1" * 65, "longer than 64 characters"),
    ],
)
def test_what_go_refuses_is_refused_with_the_reason(given_: str, said: str) -> None:
    with pytest.raises(BadDuration, match=said):
        parse(given_)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (0.0003, "300us"),
        (0.3, "300ms"),
        (1.5, "1.5s"),
        (60, "1m"),
        (5400, "1h30m"),
        (-61, "-1m1s"),
    ],
)
def test_a_duration_is_written_as_a_user_would(seconds: float, written: str) -> None:
    assert text(timedelta(seconds=seconds)) == written


@given(st.timedeltas(min_value=timedelta(days=-100_000), max_value=timedelta(days=100_000)))
def test_a_written_duration_reads_back_as_itself(duration: timedelta) -> None:
    assert parse(text(duration)) == duration


@given(st.text())
def test_any_text_is_a_duration_or_refused(given_: str) -> None:
    try:
        found: object = parse(given_)
    except BadDuration as refused:
        found = refused

    assert isinstance(found, timedelta | BadDuration)
