"""The services as somebody sees them who has grpcurl, and nothing of ours."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import hosts
from tests.interop.leftovers import until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds it


@pytest.fixture(scope="module")
def grpcurl() -> Path:
    return hosts.build_tool("github.com/fullstorydev/grpcurl/cmd/grpcurl")


@pytest.fixture
def socket(tmp_path: Path, environment: dict[str, str]) -> Iterator[Path]:
    """A server whose cluster is away."""
    socket, log = tmp_path / "s", tmp_path / "log"
    command = [sys.executable, "-m", "chaosplugin", "serve", "--listen", f"unix://{socket}"]
    with log.open("w") as written:
        process = subprocess.Popen(command, stderr=written, env=environment)
    try:
        until(lambda: "serving at" in log.read_text(), 60)
        yield socket
    finally:
        process.terminate()
        process.wait(30)


def _ask(grpcurl: Path, socket: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(grpcurl), "-plaintext", *arguments[:-1], f"unix:{socket}", arguments[-1]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_reflection_health_types_and_errors_with_details(grpcurl: Path, socket: Path) -> None:
    listed = _ask(grpcurl, socket, "list")
    healthy = _ask(grpcurl, socket, "grpc.health.v1.Health/Check")
    kind = _ask(grpcurl, socket, "chaosplugin.v1.MetricProviderService/GetType")
    unnamed = _ask(grpcurl, socket, "-d", '{"rollout": "web"}', "chaosplugin.v1.GateService/StartGate")

    assert {"chaosplugin.v1.GateService", "chaosplugin.v1.MetricProviderService"} <= set(
        listed.stdout.split()
    )
    assert json.loads(healthy.stdout) == {"status": "SERVING"}
    assert json.loads(kind.stdout) == {"type": "ChaosMesh"}
    assert "InvalidArgument" in unnamed.stderr
    assert "google.rpc.BadRequest" in unnamed.stderr
    assert '"field": "namespace"' in unnamed.stderr
