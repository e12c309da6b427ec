"""What a plugin logs, read by the host of go-plugin itself: hclog's JSON in, the host's own log out.

The host believes what it reads: a JSON line that is not as it expects ends the whole controller.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interop import hosts
from tests.interop.hosts import Host

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the peer

_LONGEST = 64 * 1024  # bytes that the host's reader takes for one line
_START = """
import faulthandler, json, logging, os, signal, subprocess, sys, threading, warnings
from chaosplugin.telemetry import logs
from chaosplugin.transport import listener
host = listener.announce(listener.listen(os.environ), 1)
open(sys.argv[1]).close()  # the host has read our line
log = logging.getLogger("test")
logs._FLUSH_S = 30  # a busy machine is not what is judged here
"""
_BARE = """
import os, sys
os.write(1, b"1|1|unix|/nowhere/socket|netrpc|\\n")
open(sys.argv[1]).close()
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the host's log; a line that it took for text has no fields."""

    level: str
    message: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Log:
    entries: Sequence[Entry]
    raw: Sequence[str]


def run(program: Host, code: str, *arguments: str, level: str = "trace") -> Log:
    """Let the host run a plugin, and return what it says of its stderr."""
    with tempfile.TemporaryDirectory() as folder:
        gate = f"{folder}/gate"
        os.mkfifo(gate)
        command = [sys.executable, "-c", code, gate, *arguments]
        answer = program.ask("read_log", command=command, gate=gate, level=level)
    assert answer.error == ""
    return Log([entry for line in answer.result["logged"] for entry in _read(line)], answer.result["raw"])


def _read(line: str) -> list[Entry]:
    fields = json.loads(line)
    if fields.pop("@module") == "plugin":
        return []  # the host's own
    return [Entry(fields.pop("@level"), fields.pop("@message"), fields)]


def logged_by(program: Host, body: str, *arguments: str) -> Sequence[Entry]:
    """What comes of code that logs for a host; every line of it was understood."""
    log = run(program, f'{_START}with logs.for_host("debug"):\n{indent(body, "  ")}\n', *arguments)
    assert all(len(line) < _LONGEST for line in log.raw)
    assert all("timestamp" in entry.fields for entry in log.entries)
    return log.entries


def test_each_level_is_the_hosts(peer: Host) -> None:
    ours = ["debug", "info", "warning", "error", "critical"]
    entries = logged_by(
        peer, "\n".join(f'log.{level}("hello %s", "you", extra={{"run": 7}})' for level in ours)
    )

    assert [entry.level for entry in entries] == ["debug", "info", "warn", "error", "error"]
    assert {(entry.message, entry.fields["run"]) for entry in entries} == {("hello you", "7")}


FOREIGN = {
    b"from C": "from C",
    b"\xff\xfe not UTF-8 \x00": "\ufffd\ufffd not UTF-8 \x00",
    b'{"@message":5}': '{"@message":5}',
    b'{"@level":[],"@timestamp":{}}': '{"@level":[],"@timestamp":{}}',
    b"panic: not of Go": "panic: not of Go",
    b"[ERROR] not of hclog": "[ERROR] not of hclog",
    b"no newline": "no newline",
}


def test_foreign_lines_on_stderr_are_entries_of_the_hosts_log(peer: Host) -> None:
    written = b"\n".join(FOREIGN)
    entries = logged_by(peer, f"os.write(2, {written!r})")

    assert [entry.message for entry in entries] == list(FOREIGN.values())
    assert {entry.level for entry in entries} == {"info"}


MESSAGES = {
    "\ud800 alone, and \0\x1b[31m": "\ufffd alone, and \0\x1b[31m",
    "two\nlines\r\n\u2028": "two\nlines\r\n\u2028",
    "panic: not of Go": "panic: not of Go",
    '{"@message":5}': '{"@message":5}',
    "": "",
}


def test_any_message_is_one_entry_of_the_hosts_log(peer: Host) -> None:
    entries = logged_by(peer, "\n".join(f"log.info({message!a})" for message in MESSAGES))

    assert [entry.message for entry in entries] == list(MESSAGES.values())


@pytest.mark.parametrize(
    ("body", "level", "said"),
    [
        ('warnings.warn("old")', "warn", "UserWarning: old"),
        ('subprocess.run(["sh", "-c", "echo from a child >&2"])', "info", "from a child"),
        ("raise RuntimeError('the end')", "error", "ended by an unhandled exception"),
        ("threading.Thread(target=lambda: 1 / 0).start()", "error", "ended by an exception"),
    ],
)
def test_whatever_befalls_a_process_is_one_entry_of_the_hosts_log(
    peer: Host, body: str, level: str, said: str
) -> None:
    (entry,) = logged_by(peer, body)

    assert entry.level == level
    assert said in entry.message


def test_nothing_that_was_written_colours_what_comes_after_it(peer: Host) -> None:
    """A line `panic: ...` would make errors of all text lines behind it."""
    first, *rest = logged_by(peer, 'os.write(2, b"panic: x\\n")\nos.write(2, b"y\\nz\\n")')

    assert {entry.level for entry in (first, *rest)} == {"info"}


def test_an_exception_brings_its_traceback_as_a_field(peer: Host) -> None:
    (entry,) = logged_by(peer, 'try:\n  1 / 0\nexcept ZeroDivisionError:\n  log.exception("oh")')

    assert entry.message == "oh"
    assert entry.fields["exception"].endswith("ZeroDivisionError: division by zero")


def test_fields_of_any_type_reach_the_host_as_text(peer: Host) -> None:
    odd = '{"@message": 5, "@level": None, "@timestamp": [], "n": 1.5, "b": b"\\xff", "o": object, "": {}}'
    (entry,) = logged_by(peer, f'log.info("x", extra={odd})')

    assert entry.message == "x"
    assert {key: entry.fields[key] for key in ("_message", "_level", "_timestamp", "n", "b", "o", "")} == {
        "_message": "5",
        "_level": "None",
        "_timestamp": "[]",
        "n": "1.5",
        "b": "b'\\xff'",
        "o": "<class 'object'>",
        "": "{}",
    }


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f4a5", "\\", "\n"])
def test_a_megabyte_is_read_in_parts_that_are_whole_together(peer: Host, character: str) -> None:
    size = 1_000_000 // len(character.encode())
    entries = logged_by(peer, f"log.warning({character!a} * {size})")

    assert {entry.level for entry in entries} == {"warn"}
    assert "".join(entry.message for entry in entries) == character * size


def test_a_foreign_megabyte_without_a_newline_is_read_in_parts(peer: Host) -> None:
    entries = logged_by(peer, 'os.write(2, b"x" * 1_000_000)')

    assert "".join(entry.message for entry in entries) == "x" * 1_000_000


def test_large_fields_are_cut_and_their_line_understood(peer: Host) -> None:
    (entry,) = logged_by(peer, 'log.info("x", extra={"a": "y" * 10**6, "b" * 10**5: 1, "c": "\\0" * 10**6})')

    assert entry.fields["a"].startswith("yyy")


def test_what_is_printed_to_stdout_is_not_in_the_log_and_breaks_nothing(peer: Host) -> None:
    (entry,) = logged_by(peer, 'os.write(1, b"{}\\n" * 1000)\nprint("printed")\nlog.info("lives")')

    assert entry.message == "lives"


def test_the_stacks_of_a_crash_are_read_as_text(peer: Host) -> None:
    """No code runs any more that could make JSON of them."""
    log = run(peer, f'{_START}with logs.for_host("info"):\n  os.kill(os.getpid(), signal.SIGSEGV)\n')

    said = [entry.message for entry in log.entries]
    assert "Fatal Python error: Segmentation fault" in said
    assert any("line" in message and "in <module>" in message for message in said)
    assert {entry.level for entry in log.entries} == {"debug"}


def test_stacks_that_were_asked_for_are_entries(peer: Host) -> None:
    entries = logged_by(peer, "faulthandler.dump_traceback()")

    assert any("most recent call first" in entry.message for entry in entries)


def test_the_host_keeps_levels_that_it_does_not_want_out_of_its_log(peer: Host) -> None:
    log = run(
        peer, f'{_START}with logs.for_host("debug"):\n  log.info("no")\n  log.error("yes")', level="warn"
    )

    assert [entry.message for entry in log.entries] == ["yes"]


text = st.text(st.characters(exclude_categories=()), max_size=200) | st.builds(
    lambda start, size: start * size, st.text(min_size=1, max_size=3), st.integers(1, 30_000)
)
levels = st.sampled_from(["debug", "info", "warning", "error"])
keys = st.text(max_size=20).filter(lambda key: key not in ("args", "msg", "name"))
_LOG_ALL = """
for level, message, fields in json.load(open(sys.argv[2])):
  log.log(logging.getLevelName(level.upper()), "%s", message, extra={"k " + k: v for k, v in fields.items()})
"""


@given(
    st.lists(st.tuples(levels, text, st.dictionaries(keys, text | st.integers(), max_size=3)), max_size=40)
)
@settings(max_examples=5)
def test_any_records_reach_the_host_in_order_with_level_and_text(
    peer: Host, records: list[tuple[str, str, dict[str, object]]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "records"
        file.write_text(json.dumps(records))
        entries = logged_by(peer, _LOG_ALL.strip(), str(file))

    whole = [(level.replace("warning", "warn"), as_go_reads(message)) for level, message, _ in records]
    got: list[tuple[str, str]] = []
    for entry in entries:
        if entry.fields.get("part", "1/").startswith("1/"):
            got.append((entry.level, entry.message))
        else:
            got[-1] = (entry.level, got[-1][1] + entry.message)
    assert got == whole


def as_go_reads(text: str) -> str:
    """Halves of surrogate pairs are not text; two that fit are one character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@pytest.mark.parametrize("release", hosts.MOD_FILES)
def test_a_host_is_ended_by_the_very_line_that_we_keep_from_it(release: str, tmp_path: Path) -> None:
    """If it were not, the tests above would judge nothing."""
    line = 'os.write(2, b\'{"@level":"info","@message":5}\\n\')'
    with (
        hosts.running(hosts.build(release, "peer"), tmp_path, os.environ) as program,
        pytest.raises(EOFError, match="the host program ended"),
    ):
        run(program, _BARE + line)
    assert "interface conversion" in (tmp_path / "host.log").read_text()
