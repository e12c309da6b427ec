"""What a plugin writes to stderr, as go-plugin's client reads it: hclog's JSON lines, or plain text.

Source: hashicorp/go-plugin v1.6.3 client.go (logStderr), log_entry.go.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

CHUNK = 65536  # bytes of a line that are looked at together

_LEVELS = frozenset({"trace", "debug", "info", "warn", "error"})
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_PREFIX = re.compile(r"\[(TRACE|DEBUG|INFO|WARN|ERROR)\]")
_PANIC = ("panic: ", "fatal error: ")


class HostPanic(Exception):
    """A line that would have crashed the real controller: a key of hclog's that is not a text."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A line in the controller's log. `raw` marks text that was not understood as a record."""

    level: str
    message: str
    fields: dict[str, object] = field(default_factory=dict)
    raw: bool = False


Log = Callable[[LogRecord], None]


class LogReader:
    """Lines of one process; after the line of a Go panic all text is an error."""

    def __init__(self) -> None:
        self._panicking = False

    def read(self, line: bytes) -> LogRecord:
        """Understand a line, without its newline.

        Raises HostPanic.
        """
        text = line.decode(errors="replace").rstrip("\r")
        if len(line) > CHUNK:
            return LogRecord("debug", text, raw=True)
        try:
            entry = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._text(text)
        if not isinstance(entry, dict):
            return self._text(text)
        return _entry(entry) or LogRecord("debug", text, raw=True)

    def _text(self, text: str) -> LogRecord:
        prefix = _PREFIX.match(text)
        if prefix:
            return LogRecord(prefix[1].lower(), text, raw=True)
        self._panicking |= text.startswith(_PANIC)
        return LogRecord("error" if self._panicking else "debug", text, raw=True)


def _entry(entry: dict[str, object]) -> LogRecord | None:
    for key in ("@message", "@level", "@timestamp"):
        if key in entry and not isinstance(entry[key], str):
            raise HostPanic(f"log line with {key} {entry[key]!r}, a text was expected")
    stamp = str(entry.pop("@timestamp", ""))
    level = str(entry.pop("@level", "")).strip().lower()
    if level not in _LEVELS or (stamp and not _STAMP.fullmatch(stamp)):
        return None
    if stamp:
        datetime.fromisoformat(stamp)
    return LogRecord(level, str(entry.pop("@message", "")), entry)
