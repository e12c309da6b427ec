"""A process whose stderr is a host's pipe: everything that may come out of it."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import indent

import pytest

from chaosplugin.telemetry import logs

PREAMBLE = """
import logging, os, subprocess, sys, threading, time, warnings
from chaosplugin.telemetry import logs
log = logging.getLogger("test")
"""


def program(body: str) -> list[str]:
    return [sys.executable, "-c", f'{PREAMBLE}with logs.for_host("debug"):\n{indent(body.strip(), "  ")}']


def stderr_of(body: str) -> list[str]:
    return (
        subprocess.run(program(body), capture_output=True, timeout=60, check=False)
        .stderr.decode()
        .splitlines()
    )


def entries_of(body: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in stderr_of(body)]


@pytest.mark.parametrize(
    ("body", "level", "said"),
    [
        ('log.warning("hello %s", "you", extra={"run": 7})', "warn", "hello you"),
        ('warnings.warn("old")', "warn", "UserWarning: old"),
        ('os.write(2, b"from C\\n")', "info", "from C"),
        ('print("printed", file=sys.stderr)', "info", "printed"),
        ('os.write(2, b"no newline")', "info", "no newline"),
        ('os.write(2, b"\\xff\\x00{\\"@message\\":5}\\n")', "info", '{"@message":5}'),
        ('subprocess.run(["sh", "-c", "echo from a child >&2"])', "info", "from a child"),
        (
            'threading.Thread(target=lambda: 1 / 0, name="worker").start()',
            "error",
            "worker ended by an exception",
        ),
        ("raise RuntimeError('the end')", "error", "unhandled exception"),
        (
            "class Bad:\n  def __del__(self): raise ValueError('in del')\nb = Bad(); del b",
            "error",
            "exception ignored",
        ),
    ],
)
def test_whatever_is_written_reaches_the_host_as_an_entry(body: str, level: str, said: str) -> None:
    (entry,) = [e for e in entries_of(body) if e["@message"]]
    assert entry["@level"] == level
    assert said.lower() in entry["@message"].lower()


def test_an_exception_carries_its_traceback() -> None:
    (entry,) = entries_of("raise RuntimeError('the end')")
    assert "RuntimeError: the end" in entry["exception"]


def test_a_record_that_cannot_be_formatted_ends_nothing() -> None:
    entries = entries_of('log.info("%d", "x"); log.info("alive")')
    assert any("Logging error" in e["@message"] for e in entries)
    assert any(e["@message"] == "alive" for e in entries)


def test_a_crash_leaves_its_stacks() -> None:
    lines = stderr_of("log.info('before'); import ctypes; time.sleep(0.2); ctypes.string_at(0)")
    assert json.loads(lines[0])["@message"] == "before"
    assert any("Segmentation fault" in line for line in lines)


def test_a_host_that_does_not_read_stops_nothing_and_is_told_what_it_missed(tmp_path: Path) -> None:
    done = tmp_path / "done"
    body = f"""
for i in range(12000): log.info("x" * 1000)
open({str(done)!r}, "w").close()
time.sleep(0.5)
log.info("last")
"""
    with subprocess.Popen(program(body), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        deadline = time.monotonic() + 30
        while not done.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        messages = [json.loads(line)["@message"] for line in process.stderr]
    dropped = [m for m in messages if "were dropped" in m]

    assert len(dropped) == 1
    assert int(dropped[0].split()[0]) + len([m for m in messages if m.startswith("x")]) == 12000


def test_a_host_that_is_gone_stops_nothing() -> None:
    reading, writing = os.pipe()
    body = (
        'import pathlib\nfor i in range(100): log.info("x")\ntime.sleep(0.1)\nlog.info("y")\nprint("alive")'
    )
    with subprocess.Popen(program(body), stderr=writing, stdout=subprocess.PIPE) as process:
        os.close(writing)
        os.close(reading)
        assert process.stdout is not None
        assert process.stdout.read() == b"alive\n"
    assert process.returncode == 0


def test_a_child_process_does_not_hold_the_hosts_pipe() -> None:
    with subprocess.Popen(program('subprocess.Popen(["sleep", "30"])'), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        before = time.monotonic()
        process.stderr.read()
    assert time.monotonic() - before < 20


def test_what_is_logged_at_exit_still_reaches_the_host() -> None:
    (entry,) = entries_of('import atexit; atexit.register(log.info, "bye")')
    assert entry["@message"] == "bye"


def test_levels_below_the_wanted_one_are_not_written() -> None:
    command = [
        sys.executable,
        "-c",
        f'{PREAMBLE}with logs.for_host("warning"): log.info("x"); log.error("y")',
    ]
    run = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert [json.loads(line)["@message"] for line in run.stderr.splitlines()] == ["y"]


def test_a_collector_gets_json_where_there_is_no_host() -> None:
    body = f'{PREAMBLE}logs.for_person("info", "json"); log.warning("hello", extra=dict(run=7))'
    run = subprocess.run([sys.executable, "-c", body], capture_output=True, timeout=60, check=True)
    entry = json.loads(run.stderr)

    assert (entry["@level"], entry["@message"], entry["run"]) == ("warn", "hello", "7")


def test_a_person_gets_text() -> None:
    command = [
        sys.executable,
        "-c",
        f'{PREAMBLE}logs.for_person("info"); log.warning("hello", extra=dict(run=7))',
    ]
    run = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert run.stderr.decode().strip().endswith("WARNING test: hello run=7")


IN_GATE = """
from chaosplugin.core.trace import Trace
from chaosplugin.provider.facts import Gate, gate
trace = Trace("0af7651916cd43dd8448eb211c80319c")
gate.set(Gate("0123456789", trace, "", sampled=False, secrets=("hunter2",)))
"""


def test_a_line_that_is_logged_for_a_gate_names_run_and_trace() -> None:
    (entry,) = entries_of(f'{IN_GATE}log.info("reading")')

    assert entry["run"] == "0123456789"
    assert entry["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_what_the_line_itself_says_of_its_run_stands() -> None:
    (entry,) = entries_of(f'{IN_GATE}log.info("reading", extra=dict(run="other"))')

    assert entry["run"] == "other"


@pytest.mark.parametrize(
    "body",
    [
        'log.warning("denied: hunter2")',
        'log.warning("denied: %s", "hunter2")',
        'log.warning("denied", extra=dict(why="hunter2"))',
        'try: raise ValueError("hunter2")\nexcept ValueError: log.exception("denied")',
    ],
)
def test_secrets_of_a_gate_reach_no_line(body: str) -> None:
    (entry,) = entries_of(IN_GATE + body)

    assert "hunter2" not in json.dumps(entry)
    assert "*****" in json.dumps(entry)


def test_warnings_of_the_transport_are_counted_by_layer() -> None:
    counted: list[str] = []
    logs.count_warnings(counted.append)
    try:
        transport = logging.getLogger("chaosplugin.transport.goplugin")
        transport.warning("net/rpc stream given up")
        transport.info("ending")
        logging.getLogger("chaosplugin.kube.session").warning("away")
    finally:
        logging.getLogger("chaosplugin.transport").handlers.clear()

    assert counted == ["goplugin"]
