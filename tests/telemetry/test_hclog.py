import json
import logging
import re
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.telemetry.hclog import MAX_LINE, HclogFormatter, entries

NOON = datetime(2026, 11, 23, 12, 0, 0, 42, tzinfo=UTC)
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def read(line: str) -> dict[str, str]:
    """Do what the host's parser does, and panic where it would."""
    assert line.isascii()
    assert "\n" not in line
    assert len(line) < MAX_LINE
    entry = json.loads(line)
    assert isinstance(entry, dict)
    assert all(isinstance(value, str) for value in entry.values())
    assert entry["@level"] in {"trace", "debug", "info", "warn", "error"}
    assert TIMESTAMP.fullmatch(entry["@timestamp"])
    return entry


def record(message: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "a.b", "levelno": level, "msg": message, "created": 1.5})
    made.__dict__.update(extra)
    return made


def formatted(made: logging.LogRecord) -> dict[str, str]:
    return read(HclogFormatter().format(made))


def test_an_entry_is_what_hclog_writes() -> None:
    assert list(entries("info", "hello", "mod", NOON, {"run": "x", "count": 3})) == [
        '{"@level":"info","@message":"hello","@module":"mod","@timestamp":"2026-11-23T12:00:00.000042Z","run":"x","count":"3"}'
    ]


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (5, "trace"),
        (10, "debug"),
        (15, "debug"),
        (20, "info"),
        (30, "warn"),
        (40, "error"),
        (50, "error"),
        (0, "trace"),
    ],
)
def test_levels_have_hclogs_names(level: int, name: str) -> None:
    assert formatted(record("x", level))["@level"] == name


@pytest.mark.parametrize("value", [5, None, True, 1.5, {"a": 1}, ["x"], b"\xff", float("nan")])
def test_values_of_any_type_become_text(value: object) -> None:
    entry = formatted(record(value, field=value))
    assert entry["@message"] == str(value)
    assert entry["field"] == str(value)


def test_no_field_can_take_the_place_of_what_the_host_asserts() -> None:
    entry = formatted(record("x", logging.INFO, **{"@message": 5, "@level": 5, "@timestamp": "yesterday"}))
    assert (entry["@message"], entry["@level"], entry["_message"]) == ("x", "info", "5")


def test_an_exception_is_one_entry() -> None:
    entry = {}
    try:
        int("x\ny")
    except ValueError:
        entry = formatted(record("failed", exc_info=sys.exc_info()))
    assert entry["exception"].startswith("Traceback (most recent call last):\n")
    assert entry["exception"].endswith(r"base 10: 'x\ny'")


@pytest.mark.parametrize("character", ["x", '"', "\0", "é", "漢", "\U0001f4a5", "\udc80", "\n"])
@pytest.mark.parametrize("length", [29_000, 30_001, 100_000])
def test_a_long_message_is_split_and_lost_nowhere(character: str, length: int) -> None:
    lines = list(entries("info", character * length, "mod", NOON, {"field": "y" * 50_000}))
    read_back = [read(line) for line in lines]

    assert "".join(entry["@message"] for entry in read_back) == character * length
    assert [entry.get("part") for entry in read_back] == (
        [None] if len(lines) == 1 else [f"{n}/{len(lines)}" for n in range(1, len(lines) + 1)]
    )


def test_a_monstrous_message_is_cut() -> None:
    lines = list(entries("info", "x" * 50_000_000, "mod", NOON, {}))
    assert sum(map(len, lines)) < 1_100_000
    assert "[...]" in "".join(lines)


def test_a_traceback_keeps_its_end() -> None:
    (line,) = entries("error", "x", "mod", NOON, {"exception": "first" + "." * 100_000 + "the reason"})
    assert read(line)["exception"].startswith("first")
    assert read(line)["exception"].endswith("the reason")


def test_more_fields_than_fit_are_told() -> None:
    (line,) = entries("info", "x", "mod", NOON, {f"field{i}": "y" * 100 for i in range(1000)})
    assert re.fullmatch(r"\d+ more fields", read(line)["omitted"])


@given(
    message=st.text() | st.text(alphabet='\0"\\\U0001f4a5\udc80', min_size=5000),
    module=st.text(),
    fields=st.dictionaries(st.text(), st.none() | st.booleans() | st.floats() | st.text() | st.binary()),
    moment=st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)),  # noqa: DTZ001
)
def test_nothing_that_is_logged_can_break_the_host(
    message: str, module: str, fields: dict[str, object], moment: datetime
) -> None:
    for line in entries("info", message, module, moment, fields):
        read(line)
