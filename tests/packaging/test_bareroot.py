"""The one file where the stock controller would run it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from chaosplugin import __version__
from tests.interop.leftovers import children, until
from tests.packaging.bareroot import USER, BareRoot

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.mark.parametrize("proc", ["no", "yes"])
def test_the_file_runs_without_libc_shell_or_proc(bare: BareRoot, proc: str) -> None:
    said = bare.run("--version", proc=proc)

    assert (said.returncode, said.stdout, said.stderr) == (0, f"chaosplugin {__version__}\n", "")


def test_it_unpacks_beside_itself_once(bare: BareRoot) -> None:
    bare.run("--version")
    (tree,) = bare.trees()
    made = tree.stat()
    bare.run("--version")

    assert made.st_mode & 0o777 == 0o700
    assert made.st_uid == USER
    assert bare.trees() == [tree]
    assert tree.stat().st_ino == made.st_ino
    assert list(bare.tmp.iterdir()) == []


@pytest.mark.parametrize("proc", ["no", "yes"])
def test_one_process_without_rights_becomes_the_plugin_and_its_kill_leaves_none(
    bare: BareRoot, proc: str
) -> None:
    with bare.running({}, proc=proc) as outer:
        assert outer.stdout is not None
        line = outer.stdout.readline()
        (pid,) = children(outer.pid)
        status = Path(f"/proc/{pid}/status").read_text()
        alone = children(pid) == []
        os.kill(pid, signal.SIGKILL)
        rest = outer.stdout.read()  # ends only when nobody holds the pipe

    assert line.split("|")[:3] == ["1", "1", "unix"]
    assert rest == ""
    assert alone
    assert "Name:\tchaosplugin" in status
    assert f"Uid:\t{USER}" in status
    for capabilities in ("Inh", "Prm", "Eff"):
        assert f"Cap{capabilities}:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_the_file_is_not_held_while_the_plugin_runs(bare: BareRoot) -> None:
    with bare.running({}) as outer:
        assert outer.stdout is not None
        outer.stdout.readline()
        with bare.file.open("r+b") as opened:  # else: text file busy
            opened.truncate(0)


def test_the_tree_is_marked_when_it_has_reached_the_disk(bare: BareRoot) -> None:
    with bare.running({}) as outer:
        assert outer.stdout is not None
        outer.stdout.readline()
        (tree,) = bare.trees()
        until((tree / ".durable").exists, 60)


def test_variables_meant_for_other_programs_change_nothing(bare: BareRoot) -> None:
    hostile = {
        "LD_PRELOAD": "/tmp/none.so",
        "LD_LIBRARY_PATH": "/tmp",
        "PYTHONPATH": "/tmp",
        "PYTHONHOME": "/tmp",
        "PYTHONSTARTUP": "/tmp/none.py",
    }
    said = subprocess.run([bare.file, "--version"], env=hostile, capture_output=True, text=True, check=False)

    assert (said.returncode, said.stderr) == (0, "")


def test_everything_loads_there(bare: BareRoot) -> None:
    said = bare.run("--self-check")
    first, second, third, *_ = said.stdout.splitlines()

    assert first.startswith(f"ok       chaosplugin {__version__}, Python 3.11.")
    assert first.endswith(" modules load")
    assert second == "ok       a socket can be made in /tmp"
    assert third.startswith("MISSING  no kubeconfig given, and not inside a cluster")
    assert said.returncode == 1
    assert said.stderr == ""


def test_the_demo_runs_there(bare: BareRoot) -> None:
    said = bare.run("demo")

    assert said.returncode == 0, said.stdout + said.stderr
    assert "Both canaries ended as they must" in said.stdout
