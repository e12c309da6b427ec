"""`chaosplugin demo` as a user runs it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaosplugin.sandbox import demo
from tests.sandbox.conftest import clock

_PLUGIN = [sys.executable, "-m", "chaosplugin"]


def begin(folder: Path) -> subprocess.Popen[str]:
    # a job that a shell put into the background ignores ctrl-C, and hands that down
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    return subprocess.Popen(
        [*_PLUGIN, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_demo_ends_as_it_must_and_leaves_nothing(tmp_path: Path) -> None:
    process = begin(tmp_path)
    out, err = process.communicate(timeout=110)

    assert process.returncode == 0, out + err
    assert err == ""
    assert "\x1b" not in out
    story = out[out.index("Version 2") : out.index("Version 3")]
    told = [
        "canary at 20 %: 2 of 10 pods are version 2",
        "PodChaos pod-kill-experiment",
        "PodChaos pod-failure-experiment",
        "of version 2",
        "injected: pod-failure",
        "recovered: the fault is gone",
        "Successful: Survived",
        "promoted: version 2 is Healthy, 10 pods ready",
    ]
    places = [story.index(each) for each in told]
    assert places[0] == min(places)
    assert places[-1] == max(places)
    assert "Degraded: RolloutAborted: Rollout aborted update to revision 3" in out
    assert "SteadyStateBroken" in out
    assert "Next:" in out
    assert list(tmp_path.iterdir()) == []
    assert re.search(r"^ +\d+\.\d s  verdict ", out, re.MULTILINE)
    (pid,) = re.findall(r"process (\d+), started by the host", out)
    assert not alive(int(pid))


def test_ctrl_c_ends_the_demo_and_leaves_nothing(tmp_path: Path) -> None:
    process = begin(tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if "injected" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert err == ""
    assert list(tmp_path.iterdir()) == []


async def test_a_demo_that_goes_wrong_says_what_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DEADLINE", 3.0)
    result = await demo.run(clock, {"PYTHONHOME": "/nowhere"}, _PLUGIN)  # no Python starts with it

    out = capsys.readouterr().out
    assert result == 1
    assert "version 2 is promoted: not within 3 s; the Rollout is Progressing" in out
    assert "plugin: debug: " in out
