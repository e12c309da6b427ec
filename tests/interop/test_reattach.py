"""A second client on a plugin that runs already, and requests that no controller sends."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.conftest import Plugin
from tests.interop.hosts import Host
from tests.interop.leftovers import files

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the host


@dataclass(frozen=True, slots=True)
class Serving:
    """A plugin without a controller, and where it listens."""

    process: subprocess.Popen[str]
    address: Path


@contextmanager
def _serve(file: Path, environment: Mapping[str, str]) -> Iterator[Serving]:
    cookie = {"ARGO_ROLLOUTS_RPC_PLUGIN": "metricprovider", "PLUGIN_PROTOCOL_VERSIONS": "1"}
    with subprocess.Popen(
        [str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**environment, **cookie},
    ) as process:
        try:
            assert process.stdout is not None
            _, _, network, address, protocol, _ = process.stdout.readline().rstrip("\n").split("|")
            assert (network, protocol) == ("unix", "netrpc")
            yield Serving(process, Path(address))
        finally:
            process.kill()


@pytest.fixture
def serving(plugin: Plugin, environment: dict[str, str]) -> Iterator[Serving]:
    with _serve(plugin.file, environment) as served:
        yield served


@pytest.fixture
def go_serving(binary: Path, environment: dict[str, str]) -> Iterator[Serving]:
    """A plugin written in Go, with Argo's own server side."""
    with _serve(binary, environment) as served:
        yield served


@pytest.fixture
def attached(host: Host, serving: Serving) -> Host:
    """Reattaching opens a connection and closes it without a byte, then opens another."""
    answer = host.ask("reattach", address=str(serving.address), pid=serving.process.pid)

    assert answer.error == ""
    return host


def test_the_empty_probe_connection_does_not_end_the_plugin(attached: Host) -> None:
    assert [attached.ask("ping").error for _ in range(3)] == ["", "", ""]


def test_only_the_owner_can_reach_the_socket(serving: Serving) -> None:
    assert serving.address.stat().st_mode & 0o777 == 0o600
    assert serving.address.parent.stat().st_mode & 0o777 == 0o700


def test_a_quit_ends_the_process_and_leaves_nothing(attached: Host, serving: Serving, plugin: Plugin) -> None:
    attached.ask("quit")

    assert serving.process.wait(20) == 0
    assert files(plugin.scratch) == []


@pytest.mark.parametrize("name", ["RpcStepPlugin", "RpcMissingPlugin"])
def test_a_plugin_that_is_not_there_is_not_dispensed(attached: Host, name: str) -> None:
    refused = attached.ask("dispense", name=name)
    again = attached.ask("dispense", name="RpcMetricProviderPlugin")

    assert name in refused.error
    assert again.error == ""


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("Plugin.Nothing", "run"),
        ("Nothing.Run", "run"),
        ("Run", "run"),
        ("Plugin.Run", "nil"),
        ("Plugin.Run", "string"),
    ],
)
def test_a_wrong_request_gets_the_very_text_of_gos_server(
    attached: Host, go_serving: Serving, method: str, argument: str
) -> None:
    ours = attached.ask("raw", method=method, argument=argument)
    alive = attached.ask("ping")
    attached.ask("reattach", address=str(go_serving.address), pid=go_serving.process.pid)
    gos = attached.ask("raw", method=method, argument=argument)

    assert ours.error == gos.error != ""
    assert alive.error == ""


@pytest.mark.parametrize(
    ("method", "argument"), [("Resume", "run"), ("Run", "terminate"), ("GetMetadata", "run")]
)
def test_arguments_of_another_method_are_refused_without_their_content(
    attached: Host, method: str, argument: str
) -> None:
    """Go's server prints the whole value, with its secrets."""
    answer = attached.ask("raw", method=f"Plugin.{method}", argument=argument)

    assert answer.error in ("invalid args RunArgs", "invalid args TerminateAndResumeArgs")


def test_an_unknown_method_with_a_nil_argument_is_answered(attached: Host) -> None:
    """Go's server waits for ever: its gob reads on behind a nil interface that it skips."""
    answer = attached.ask("raw", method="Plugin.Nothing", argument="nil")

    assert answer.error == "rpc: can't find method Plugin.Nothing"
