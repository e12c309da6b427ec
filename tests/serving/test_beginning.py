"""What `serve` says, and how it ends, where it cannot begin."""

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.serving.bed import served
from tests.transport.grpc.test_ports import listener


@pytest.mark.parametrize("harm", ["port", "certificate"])
async def test_a_server_that_cannot_listen_ends_with_1_and_one_line(tmp_path: Path, harm: str) -> None:
    """gRPC's own lines say less, and stand in no format of ours."""
    with listener("127.0.0.1") as somebody:
        at = f"127.0.0.1:{somebody.getsockname()[1]}"
        options, words = {
            "port": (["--listen", at], f"cannot listen at {at}: something listens at {at} already; "),
            "certificate": (
                ["--listen", "127.0.0.1:0", "--tls-cert", "/none", "--tls-key", "/none"],
                "no TLS: /none: No such file or directory",
            ),
        }[harm]
        async with served(tmp_path) as bed:
            command = [sys.executable, "-m", "chaosplugin", "serve", "--kubeconfig", bed.kubeconfig, *options]
            with anyio.fail_after(60):
                ended = await anyio.run_process(command, check=False, stderr=subprocess.PIPE)

    (line,) = ended.stderr.decode().splitlines()
    assert ended.returncode == 1
    assert "ERROR" in line
    assert words in line
