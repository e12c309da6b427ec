"""go-plugin's gRPC mode under its real client: what a host other than Argo Rollouts would do."""

import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import generate, hosts
from tests.interop.conftest import Plugin
from tests.interop.hosts import Host
from tests.interop.leftovers import children, files, lives, until
from tests.interop.test_argo_client import GOOD, run_of

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the host

_SERVICES = [
    "chaosplugin.v1.MetricProviderService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "plugin.GRPCBroker",
    "plugin.GRPCController",
    "plugin.GRPCStdio",
]
_PRINTING = """
import sys, threading
threading.Timer(1, lambda: print("x" * 3000, flush=True)).start()
from chaosplugin.cli import main
sys.exit(main(["--protocol", "grpc"]))
"""


def _start(host: Host, plugin: Plugin, *, mtls: bool = False, group: str = "") -> int:
    command = [str(plugin.file), "--protocol", "grpc"]
    answer = host.ask("grpc_start", command=command, mtls=mtls, group=group)
    assert answer.error == ""
    (pid,) = children(host.pid)
    return pid


@pytest.fixture(params=[False, True], ids=["plain", "mtls"])
def started(request: pytest.FixtureRequest, host: Host, plugin: Plugin) -> Iterator[Host]:
    _start(host, plugin, mtls=request.param)
    yield host
    host.ask("grpc_kill")


def test_a_host_pings_and_asks_for_a_measurement(started: Host) -> None:
    assert started.ask("grpc_ping").error == ""
    answer = started.ask("grpc_run", run_json=json.dumps(run_of()), metric_json=json.dumps(GOOD))

    assert answer.error == ""
    measurement = json.loads(answer.result)
    assert measurement["phase"] == "Running"
    assert measurement["metadata"]["experiment"].startswith("PodChaos default/away-")


def test_reflection_tells_of_exactly_what_a_host_expects_and_our_service(started: Host) -> None:
    assert started.ask("grpc_services").result == _SERVICES


def test_what_is_no_object_is_refused_with_the_field(started: Host) -> None:
    answer = started.ask("grpc_run", run_json="{", metric_json="{}")

    assert "InvalidArgument" in answer.error
    assert "analysis_run" in answer.error


@pytest.mark.parametrize("mtls", [False, True])
def test_a_host_ends_its_plugin_without_force_and_nothing_is_left(
    host: Host, plugin: Plugin, *, mtls: bool
) -> None:
    pid = _start(host, plugin, mtls=mtls)

    end = host.ask("grpc_kill").result

    assert end["exited"]
    assert end["seconds"] < 2
    assert "gracefully" not in end["log"]
    until(lambda: not lives(pid))
    assert files(plugin.scratch) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to any group")
@pytest.mark.parametrize("mtls", [False, True])
@pytest.mark.parametrize(("group", "number"), [("12345", 12345), ("daemon", 1)])
def test_a_group_that_the_host_names_may_use_the_socket(
    host: Host, plugin: Plugin, group: str, number: int, *, mtls: bool
) -> None:
    _start(host, plugin, mtls=mtls, group=group)
    (socket,) = [file for file in plugin.scratch.rglob("socket") if file.is_socket()]

    assert (socket.stat().st_gid, stat.filemode(socket.stat().st_mode)) == (number, "srw-rw----")
    assert (socket.parent.stat().st_gid, stat.filemode(socket.parent.stat().st_mode)) == (
        number,
        "drwx--x---",
    )
    assert host.ask("grpc_ping").error == ""
    assert host.ask("grpc_kill").result["exited"]
    assert files(plugin.scratch) == []


def test_a_group_that_there_is_not_is_told(host: Host, plugin: Plugin) -> None:
    command = [str(plugin.file), "--protocol", "grpc"]

    assert host.ask("grpc_start", command=command, group="nobodies").error

    until(lambda: not children(host.pid))
    assert (
        "PLUGIN_UNIX_SOCKET_GROUP=nobodies: no such group"
        in (plugin.scratch.parent / "controller" / "host.log").read_text()
    )


def test_a_plugin_whose_host_is_killed_ends_by_itself(host: Host, plugin: Plugin) -> None:
    pid = _start(host, plugin)

    host.kill()

    until(lambda: not lives(pid))
    assert files(plugin.scratch) == []


def test_sigterm_ends_it_and_sigint_does_not(host: Host, plugin: Plugin) -> None:
    pid = _start(host, plugin)

    os.kill(pid, signal.SIGINT)
    assert host.ask("grpc_ping").error == ""
    os.kill(pid, signal.SIGTERM)

    until(lambda: not lives(pid))
    assert files(plugin.scratch) == []


def test_what_the_plugin_prints_reaches_the_host_byte_by_byte(host: Host) -> None:
    assert host.ask("grpc_start", command=[sys.executable, "-c", _PRINTING]).error == ""

    until(lambda: host.ask("grpc_printed").result == "x" * 3000 + "\n")
    host.ask("grpc_kill")


def test_a_host_that_wants_one_connection_for_all_is_told_that_there_is_none(
    host: Host, plugin: Plugin
) -> None:
    answer = host.ask("grpc_start", command=[str(plugin.file), "--protocol", "grpc"], multiplex=True)

    assert "gRPC broker multiplexing" in answer.error
    until(lambda: not children(host.pid))


def test_a_host_of_netrpc_only_refuses_it_in_words(host: Host, plugin: Plugin) -> None:
    config = [{"name": "a/b", "location": f"file://{plugin.file}", "args": ["--protocol", "grpc"]}]
    assert host.ask("load", plugins=json.dumps(config)).error == ""

    metric = {"name": "chaos", "provider": {"plugin": {"a/b": {}}}}
    assert 'nsupported plugin protocol "grpc"' in host.call("Get", metric=metric).error


def test_the_go_client_is_what_is_generated_of_proto(tmp_path: Path) -> None:
    generate.generate(tmp_path)

    checked_in = Path(hosts.__file__).parent / "host" / "pb"
    assert {file.name: file.read_text() for file in checked_in.iterdir()} == {
        file.name: file.read_text() for file in tmp_path.iterdir()
    }, "run `python -m tests.interop.generate tests/interop/host/pb`"
