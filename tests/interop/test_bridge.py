"""A bridge under the real client of Argo Rollouts; the server comes, and goes, beside it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.interop.conftest import NAME, Plugin
from tests.interop.hosts import Host
from tests.interop.leftovers import children, until
from tests.interop.test_argo_client import GOOD, run_of

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the host


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "server"


@pytest.fixture
def bridged(host: Host, plugin: Plugin, socket: Path) -> Host:
    arguments = ["bridge", "--target", f"unix://{socket}"]
    config = [{"name": NAME, "location": f"file://{plugin.file}", "args": arguments}]
    assert host.ask("load", plugins=json.dumps(config)).error == ""
    return host


@pytest.fixture
def server(socket: Path, tmp_path: Path, environment: dict[str, str]) -> Iterator[None]:
    """A server whose cluster is away, too: it answers from memory all the same."""
    command = [sys.executable, "-m", "chaosplugin", "serve", "--listen", f"unix://{socket}"]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, env=environment)
    try:
        until(lambda: "serving at" in (tmp_path / "server.log").read_text(), 60)
        yield
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_the_handshake_is_done_though_no_server_is_there(bridged: Host) -> None:
    assert bridged.call("Get", metric=GOOD).error == ""
    assert bridged.call("Type", metric=GOOD).result == "ChaosMesh"
    assert "bridge" in bridged.call("GetMetadata", metric=GOOD).result["chaosplugin"]


def test_without_a_server_go_gets_a_measurement_to_be_resumed_in_15_seconds(bridged: Host) -> None:
    before = datetime.now(UTC)  # noqa: TID251
    answer = bridged.call("Run", metric=GOOD, run=run_of())
    after = datetime.now(UTC)  # noqa: TID251

    assert answer.error == ""
    assert answer.result["phase"] == "Running"
    later = datetime.fromisoformat(answer.result["resumeAt"])
    assert before + timedelta(seconds=14) < later < after + timedelta(seconds=16)
    resumed = bridged.call("Resume", metric=GOOD, run=run_of(), measurement=answer.result)
    assert (resumed.result["phase"], resumed.result["startedAt"]) == ("Running", answer.result["startedAt"])
    ended = bridged.call("Terminate", metric=GOOD, run=run_of(), measurement=answer.result)
    assert ended.result["phase"] == "Inconclusive"


@pytest.mark.usefixtures("server")
def test_the_server_answers_go_through_the_bridge(bridged: Host) -> None:
    answer = bridged.call("Run", metric=GOOD, run=run_of())

    assert answer.error == ""
    assert answer.result["phase"] == "Running"
    assert "PodChaos default/away" in answer.result["metadata"]["experiment"]
    wrong = bridged.call(
        "Run", metric={**GOOD, "name": "wrong", "provider": {"plugin": {NAME: {}}}}, run=run_of(2)
    )
    assert wrong.result["phase"] == "Error"
    assert "InvalidConfig: " in wrong.result["message"]


def test_the_host_ends_its_bridge_in_time(bridged: Host) -> None:
    bridged.call("Get", metric=GOOD)
    (pid,) = children(bridged.pid)

    bridged.ask("cleanup")

    assert pid not in children(bridged.pid)
