"""How go-plugin's client reads a plugin's stderr."""

import pytest

from chaosplugin.sandbox.host.logs import CHUNK, HostPanic, LogReader, LogRecord


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (
            b'{"@level":" Info","@message":"m","@timestamp":"2026-01-02T03:04:05.000001Z","k":1}',
            LogRecord("info", "m", {"k": 1}),
        ),
        (b'{"@level":"warn","@message":"m"}', LogRecord("warn", "m")),
        (b"[WARN] careful", LogRecord("warn", "[WARN] careful", raw=True)),
        (b"Traceback", LogRecord("debug", "Traceback", raw=True)),
        (b"{}", LogRecord("debug", "{}", raw=True)),
        (
            b'{"@level":"loud","@message":"m"}',
            LogRecord("debug", '{"@level":"loud","@message":"m"}', raw=True),
        ),
        (
            b'{"@level":"info","@timestamp":"2026-01-02T03:04:05Z"}',
            LogRecord("debug", '{"@level":"info","@timestamp":"2026-01-02T03:04:05Z"}', raw=True),
        ),
        (b"[1]", LogRecord("debug", "[1]", raw=True)),
    ],
)
def test_a_line_is_a_record_or_plain_text(line: bytes, record: LogRecord) -> None:
    assert LogReader().read(line) == record


def test_text_after_a_go_panic_is_an_error() -> None:
    reader = LogReader()

    assert [reader.read(line).level for line in (b"a", b"panic: b", b"c")] == ["debug", "error", "error"]


@pytest.mark.parametrize("key", ["@message", "@level", "@timestamp"])
def test_a_key_that_is_no_text_would_crash_the_host(key: str) -> None:
    with pytest.raises(HostPanic):
        LogReader().read(f'{{"{key}": 5}}'.encode())


def test_a_line_too_long_is_not_parsed() -> None:
    line = b'{"@level":"info","@message":"' + b"x" * CHUNK + b'"}'

    assert LogReader().read(line).raw
