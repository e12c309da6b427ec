"""Log records as the JSON that a go-plugin host reads from a plugin's stderr, one object a line.

    {"@level": "info", "@message": "...", "@module": "...", "@timestamp": "2026-11-23T22:18:00.000000Z", ...}

The host trusts this blindly, so nothing here depends on what is logged:
- `@message`, `@level` and `@timestamp` are text, always: any other type panics the host. All other values
  are made text as well, and no other key begins with `@`.
- `@timestamp` has exactly six digits of a second and a zone, or the host takes the whole line for text.
- A line is shorter than the 64 KiB that the host's reader holds, or it is not parsed. Longer messages are
  split over several entries, longer values cut.
- JSON is escaped to ASCII: no bytes that are not UTF-8, no lone surrogates, no line breaks.

Source: logStderr and parseJSON of hashicorp/go-plugin v1.6.3, hclog's TimeFormatJSON.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import msgspec

MAX_LINE: Final = 60_000  # bytes; the host's buffer holds 65,536
_MAX_PIECE: Final = 30_000  # bytes of @message in one entry
_MAX_FIELDS: Final = 24_000  # bytes of all other values and keys in one entry
_FEW: Final = 20_000  # bytes of them that are not weighed one by one
_MAX_MESSAGE: Final = 1_000_000  # characters
_MOST_ESCAPED: Final = 12  # bytes of JSON in ASCII that one character takes at most
_CUT: Final = " [...] "

_LEVELS: Final = {
    logging.ERROR: "error",
    logging.WARNING: "warn",
    logging.INFO: "info",
    logging.DEBUG: "debug",
}
"""from the highest on"""
_FEWEST: Final = len(logging.makeLogRecord({}).__dict__)
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_encode_any: Final = json.JSONEncoder(separators=(",", ":")).encode


def _encode(entry: dict[str, str]) -> str:
    """Write JSON in ASCII; what needs no escape for that, as nearly all, by the faster encoder."""
    try:
        text = msgspec.json.encode(entry).decode()
    except UnicodeEncodeError:  # a lone surrogate
        return _encode_any(entry)
    return text if text.isascii() else _encode_any(entry)


def level_name(level: int) -> str:
    """Return hclog's name of the nearest level that is not higher."""
    known = _LEVELS.get(level)
    return known or next((name for at_least, name in _LEVELS.items() if level >= at_least), "trace")


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What was given by `extra=`."""
    given = islice(record.__dict__.items(), _FEWEST, None)  # which comes last
    return {key: value for key, value in given if key not in _STANDARD}


class HclogFormatter(logging.Formatter):
    """Formats a record to one or more whole lines, joined by newlines, none at the end."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            fields["exception"] = record.exc_text
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        moment = datetime.fromtimestamp(record.created, UTC)
        lines = entries(level_name(record.levelno), record.getMessage(), record.name, moment, fields)
        return lines[0] if len(lines) == 1 else "\n".join(lines)


def entries(
    level: str, message: str, module: str, moment: datetime, fields: Mapping[str, object]
) -> list[str]:
    """Return the lines of one entry; `moment` is in UTC. Only a message that is too long makes several."""
    timestamp = f"{moment.isoformat(timespec='microseconds')[:-6]}Z"
    entry = {"@level": level, "@message": message, "@module": _fit(module, 1000), "@timestamp": timestamp}
    if _is_short(message, _MAX_PIECE):  # as nearly always
        return [_encode(entry | _values(fields))]
    pieces = list(_pieces(_shorten(message, _MAX_MESSAGE)))
    lines = []
    for number, piece in enumerate(pieces, 1):
        entry["@message"] = piece
        if len(pieces) > 1:
            entry["part"] = f"{number}/{len(pieces)}"
        lines.append(_encode(entry | _values(fields) if number == 1 else entry))
    return lines


def _pieces(message: str) -> Iterator[str]:
    while message:
        size = _MAX_PIECE
        while len(json.dumps(message[:size])) > _MAX_PIECE:
            size //= 2
        yield message[:size]
        message = message[size:]


def _values(fields: Mapping[str, object]) -> dict[str, str]:
    values = {key.replace("@", "_"): str(value) for key, value in fields.items()}
    size = sum(map(len, values)) + sum(map(len, values.values())) + 4 * len(values)
    if _MOST_ESCAPED * size <= _FEW:
        return values  # as nearly always
    values = {}
    room = _MAX_FIELDS
    for key, value in fields.items():
        name = _fit(key.replace("@", "_"), 200)
        if room < 1000:
            values["omitted"] = f"{len(fields) - len(values)} more fields"
            break
        values[name] = _fit(str(value), room - 500)
        room -= len(json.dumps(name)) + len(json.dumps(values[name])) + 2
    return values


def _is_short(text: str, size: int) -> bool:
    """Tell whether the JSON of it takes at most `size` bytes, whatever it holds."""
    return len(text) * _MOST_ESCAPED + 2 <= size


def _fit(text: str, size: int) -> str:
    """Cut the middle out until the JSON of it takes at most `size` bytes."""
    if _is_short(text, size):  # as nearly always
        return text
    keep = size
    text = _shorten(text, keep)
    while len(json.dumps(text)) > size:
        keep = keep * 2 // 3
        text = _shorten(text, keep)
    return text


def _shorten(text: str, size: int) -> str:
    """Keep the beginning and, as the end of a traceback says most, twice as much of the end."""
    if len(text) <= size:
        return text
    head = (size - len(_CUT)) // 3
    return f"{text[:head]}{_CUT}{text[-(size - len(_CUT) - head) :]}"
