"""What a mode does not need it does not import."""

import subprocess
import sys

import pytest

_SERVERS_ONLY = "{'grpc', 'google', 'cryptography', 'google.protobuf'}"


@pytest.mark.parametrize("module", ["cli", "app", "options", "kube.clusters"])
def test_the_plugin_mode_does_without_what_servers_need(module: str) -> None:
    code = f"import sys, chaosplugin.{module}; print({_SERVERS_ONLY} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
