"""The Go host of each release of Argo Rollouts, and the plugin as the file that it is given."""

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.interop import hosts, peers
from tests.packaging import release

NAME = "chaosplugin/chaos-mesh"


@dataclass(frozen=True, slots=True)
class Plugin:
    """`file` is what the ConfigMap points to; `scratch` is the plugin's TMPDIR, where its sockets are."""

    file: Path
    scratch: Path

    @property
    def config(self) -> str:
        return json.dumps([{"name": NAME, "location": f"file://{self.file}"}])


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one: the path of a socket has 108 bytes, which pytest's own uses up."""
    with tempfile.TemporaryDirectory(prefix="interop-") as folder:
        yield Path(folder)


def _write_script(file: Path) -> None:
    file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m chaosplugin "$@"\n')
    file.chmod(0o755)


@pytest.fixture(params=["installed", pytest.param("one file", marks=pytest.mark.system)])
def plugin(request: pytest.FixtureRequest, tmp_path: Path) -> Plugin:
    """The plugin as it is installed here, and the file of a release."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    file = tmp_path / "chaosplugin"
    if request.param == "installed":
        _write_script(file)
    else:
        shutil.copy(release.file(), file)
    return Plugin(file, scratch)


@pytest.fixture
def environment(tmp_path: Path, plugin: Plugin) -> dict[str, str]:
    """The environment of a controller whose API server is away: nobody listens at that port."""
    kubeconfig = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "away",
        "clusters": [{"name": "away", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "nobody", "user": {"token": "none"}}],
        "contexts": [{"name": "away", "context": {"cluster": "away", "user": "nobody"}}],
    }
    kubeconfig.write_text(json.dumps(config))
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in ("PATH", "HOME") or key.startswith("COVERAGE_")
    }
    return {**kept, "KUBECONFIG": str(kubeconfig), "TMPDIR": str(plugin.scratch)}


@pytest.fixture(scope="session", params=hosts.MOD_FILES)
def binary(request: pytest.FixtureRequest) -> Path:
    return hosts.build(request.param)


@pytest.fixture
def host(binary: Path, tmp_path: Path, environment: dict[str, str]) -> Iterator[hosts.Host]:
    folder = tmp_path / "controller"
    folder.mkdir()
    with hosts.running(binary, folder, environment) as running:
        yield running


@pytest.fixture
def loaded(host: hosts.Host, plugin: Plugin) -> hosts.Host:
    """A host that has read its ConfigMap and copied the plugin, but not started it yet."""
    answer = host.ask("load", plugins=plugin.config)

    assert answer.error == ""
    return host


@pytest.fixture(scope="module", params=hosts.MOD_FILES)
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[hosts.Host]:
    """The program of `peer/`, with the yamux of each release: v0.1.1 and v0.1.2."""
    binary = hosts.build(request.param, "peer")
    with hosts.running(binary, tmp_path_factory.mktemp("peer"), os.environ) as running:
        yield running


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> str:
    """The role of Go in a yamux session."""
    return str(request.param)


@pytest.fixture
def join(peer: hosts.Host, role: str, tmp_path: Path) -> peers.Join:
    return partial(peers.joined, peer, tmp_path, role)
