"""The process boundary, as go-plugin's client and Argo keep it, with a plugin on the real transport."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, Object
from chaosplugin.sandbox.cluster import start
from chaosplugin.sandbox.host import controller
from chaosplugin.sandbox.host.assessment import Rules
from chaosplugin.sandbox.host.client import PluginUnavailable
from chaosplugin.sandbox.host.controller import Host, Settings
from chaosplugin.sandbox.host.logs import LogRecord
from chaosplugin.sandbox.host.plugin import ConfigError, PluginProcesses
from chaosplugin.sandbox.host.process import Command
from tests.sandbox.bed import until
from tests.sandbox.host.conftest import QUICK, clock, login
from tests.sandbox.host.stage import Stage

NAME = "argo/chaos"
RECORDER = Path(__file__).with_name("recorder.py")


class Bed:
    """A host with a recording plugin process."""

    def __init__(self, stage: Stage, host: Host, file: Path, logs: list[LogRecord]) -> None:
        self.stage = stage
        self.host = host
        self.logs = logs
        self._file = file

    @property
    def calls(self) -> list[Object]:
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text().splitlines()]

    @property
    def methods(self) -> list[str]:
        return [str(call["method"]) for call in self.calls]

    @property
    def pid(self) -> int:
        live = self.host.processes.live(NAME)
        assert live is not None
        return live.process.pid

    async def settled(self) -> None:
        """Wait for the Resume that follows the first status write."""
        await self.wait(lambda: "Resume" in self.methods)

    async def wait(self, holds: Callable[[], object]) -> None:
        with anyio.fail_after(20):
            while not holds():
                await anyio.sleep(0.01)  # the file of another process

    async def gone(self) -> None:
        live = self.host.processes.live(NAME)
        assert live is not None
        with anyio.fail_after(20):
            await live.process.exited.wait()


Bedding = Callable[..., Any]


@pytest.fixture
def bed(tmp_path: Path) -> Bedding:
    """`async with bed(**answer) as bed`; `argv` is another program than the recorder."""

    @asynccontextmanager
    async def make(argv: list[str] | None = None, rules: Rules = QUICK, **answer: Any) -> AsyncIterator[Bed]:
        file, logs = tmp_path / "calls", list[LogRecord]()
        recorder = [sys.executable, str(RECORDER), str(file), json.dumps(answer)]
        command = Command(argv or recorder, dict(os.environ) | {"TMPDIR": str(tmp_path)})
        async with start(clock, tmp_path) as cluster:
            settings = Settings(login(cluster), {NAME: command}, rules)
            async with controller.start(settings, clock, logs.append) as host:
                yield Bed(Stage(cluster, host.caches), host, file, logs)

    return make


async def test_a_plugin_is_started_when_first_wanted_and_initialised_once(bed: Bedding) -> None:
    async with bed(run="Successful") as b:
        assert b.host.processes.live(NAME) is None

        b.stage.analyse("one")
        await b.stage.ends("one", "Successful")
        b.stage.analyse("two")
        await b.stage.ends("two", "Successful")

        assert b.methods == ["InitPlugin", "Run", "GetMetadata", "Run", "GetMetadata"]
        assert len({call["pid"] for call in b.calls}) == 1


async def test_the_run_arrives_with_what_a_plugin_reads(bed: Bedding) -> None:
    async with bed(run="Successful") as b:
        b.stage.analyse()
        status = await b.stage.ends()
        run = b.stage.run()

        call = b.calls[1]
        assert call["run"] == "run"
        assert call["uid"] == run["metadata"]["uid"]
        assert call["plugin"] == {NAME: {"hash": "abc"}}
        (measurement,) = status["metricResults"][0]["measurements"]
        assert measurement["message"] == "said"
        assert measurement["startedAt"] == "2026-01-02T03:04:05Z"
        assert status["metricResults"][0]["metadata"] == {"kind": "Recorder"}


async def test_a_patch_wakes_the_plugin_within_a_moment(bed: Bedding) -> None:
    async with bed() as b:
        b.stage.analyse()
        await b.settled()
        b.stage.patch(ANALYSIS_RUNS, "run", {"metadata": {"annotations": {"end": "Failed"}}})
        status = await b.stage.ends()

        assert status["message"].endswith('"Error Message: ended"')


async def test_what_the_plugin_logs_is_handed_on(bed: Bedding) -> None:
    async with bed() as b:
        b.stage.analyse()
        await b.settled()

        assert b.logs[:2] == [
            LogRecord("info", "hello", {"n": 1}),
            LogRecord("debug", "plain", raw=True),
        ]


async def test_what_the_plugin_prints_does_not_stop_it(bed: Bedding) -> None:
    async with bed(run="Successful", print=True) as b:
        b.stage.analyse()
        await b.stage.ends(phase="Successful")


async def test_a_plugin_killed_between_calls_is_started_again_and_resumes(bed: Bedding) -> None:
    async with bed() as b:
        b.stage.analyse()
        await b.settled()
        first = b.pid
        os.kill(first, signal.SIGKILL)
        await b.gone()
        b.stage.patch(ANALYSIS_RUNS, "run", {"metadata": {"annotations": {"end": "Successful"}}})
        await b.stage.ends(phase="Successful")

        assert b.pid != first
        assert b.methods.count("Run") == 1
        assert b.methods.count("InitPlugin") == 2


async def test_a_plugin_killed_inside_a_call_makes_an_error_and_a_new_run(bed: Bedding) -> None:
    async with bed(sleep=3600) as b:
        b.stage.analyse()
        await b.wait(lambda: "Run" in b.methods)
        os.kill(b.pid, signal.SIGKILL)
        await b.stage.has(lambda result: result["measurements"][0]["phase"] == "Error")
        await b.wait(lambda: b.methods.count("Run") == 2)

        message = b.stage.run()["status"]["metricResults"][0]["measurements"][0]["message"]
        assert message == "Run rpc call error: unexpected EOF"


@pytest.mark.parametrize(("told", "text"), [(True, "no cluster"), (False, "%!w(<nil>)")])
async def test_a_refused_init_is_reported_once_and_the_plugin_used_all_the_same(
    bed: Bedding, told: bool, text: str
) -> None:
    rules = Rules(error_retry=0.05, tells_init_error=told)
    async with bed(rules=rules, run="Successful", init="no cluster") as b:
        b.stage.analyse()
        status = await b.stage.ends(phase="Successful")

        first, second = status["metricResults"][0]["measurements"]
        assert first["message"].endswith(f"unable to initialize plugin via rpc ({NAME}): {text}")
        assert second["phase"] == "Successful"
        assert b.methods.count("InitPlugin") == 1


async def test_the_plugin_is_gone_with_its_host(bed: Bedding) -> None:
    async with bed() as b:
        b.stage.analyse()
        await b.settled()
        pid = b.pid

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("print('hello')", "Unrecognized remote plugin message: not a handshake line: 'hello'"),
        ("pass", "Failed to read any lines from plugin's stdout"),
        ("print('1|1|unix|/nowhere|netrpc|', flush=True); input()", "No such file or directory"),
        ("print('1|2|unix|/nowhere|netrpc|')", "plugin version '2', only 1 was offered"),
    ],
)
async def test_a_program_that_is_no_plugin_is_said_to_be_none(bed: Bedding, program: str, why: str) -> None:
    async with bed([sys.executable, "-c", program]) as b:
        b.stage.analyse()
        await b.stage.has(lambda result: result["measurements"])

        message = b.stage.run()["status"]["metricResults"][0]["measurements"][0]["message"]
        system = "unable to get metric plugin: unable to start plugin system"
        assert message.startswith(f"{system}: unable to get plugin client ({NAME}): ")
        assert why in message


DEAF = """
import os, socket, sys, time
path = os.environ["TMPDIR"] + f"/deaf{os.getpid()}"
listening = socket.socket(socket.AF_UNIX)
listening.bind(path)
listening.listen()
print(f"1|1|unix|{path}|netrpc|", flush=True)
connection, _ = listening.accept()
heard = b""
while b"Dispense" not in heard:
    heard += connection.recv(1000)
connection.close()
time.sleep(3600)
"""


async def test_a_plugin_that_hangs_up_and_lives_on_is_killed_and_started_again(bed: Bedding) -> None:
    async with bed([sys.executable, "-c", DEAF]) as b:
        b.stage.analyse()
        await b.stage.has(lambda result: len(result["measurements"]) == 1)
        first = b.pid
        await b.stage.has(lambda result: len(result["measurements"]) == 3)

        results = b.stage.run()["status"]["metricResults"]
        messages = [each["message"] for each in results[0]["measurements"]]
        assert f"unable to get plugin client ({NAME}): unable to dispense plugin" in messages[0]
        assert "could not ping plugin will cleanup process so we can restart it next reconcile" in messages[1]
        assert b.pid != first


async def test_a_program_that_is_not_there_is_an_error(bed: Bedding) -> None:
    async with bed(["/no/such/program"]) as b:
        b.stage.analyse()
        status = await b.stage.ends(phase="Error")

        assert "fork/exec /no/such/program: No such file or directory" in status["message"]


@pytest.mark.parametrize("name", ["argo-rollouts-chaos-mesh-plugin", "a/b/c", "a b/c", "/x", "x/"])
def test_a_name_without_one_slash_stops_the_controller(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        PluginProcesses({name: Command([], {})}, print)

    assert str(raised.value) == (
        "Failed to init config: validation of config due to "
        f"(plugin repository ({name}) must be in the format of <namespace>/<name>)"
    )


async def test_thirty_calls_at_a_time_go_through_one_stream(bed: Bedding) -> None:
    async with bed(run="Successful", sleep=0.5) as b:
        for number in range(30):
            b.stage.analyse(f"run-{number}")
        with anyio.fail_after(20):
            for number in range(30):
                await b.stage.ends(f"run-{number}", "Successful")

        assert b.methods.count("Run") == 30


async def test_an_unknown_plugin_is_unavailable(bed: Bedding) -> None:
    async with bed() as b:
        with pytest.raises(PluginUnavailable, match="not configured in configmap"):
            await b.host.processes.get("no/such")


async def test_a_large_run_goes_through(bed: Bedding) -> None:
    async with bed(run="Successful") as b:
        b.stage.analyse(args=[{"name": "hash", "value": "x" * 1_000_000}])
        await b.stage.ends(phase="Successful")
        await until(b.stage.cluster, lambda: True)

        assert len(b.calls[1]["plugin"][NAME]["hash"]) == 1_000_000
