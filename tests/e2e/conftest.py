"""The two beds on which the stories are told: the real control plane, and the sandbox."""

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.e2e import deployed
from tests.e2e.manifests import PLUGIN
from tests.e2e.story import Story
from tests.realbed import bed, build, chaosmesh
from tests.realbed.api import Api
from tests.realbed.rollouts import VERSIONS, ArgoRollouts, Version


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a story is told. `prepare` makes a namespace in which the plugin may act."""

    api: Api
    prepare: Callable[[str], None]


def _plugin_file(folder: Path) -> Path:
    """Write the file that the controller copies and runs: the installed plugin."""
    file = folder / "chaosplugin"
    file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m chaosplugin "$@"\n')
    file.chmod(0o755)
    return file


def _real(version: Version, folder: Path) -> Iterator[Ground]:
    """Give the real control plane; the releases differ in how the plugin gets its rights, too."""
    with bed.running(build.cache(), folder) as running:
        chaosmesh.install(running)
        argo = ArgoRollouts(running, version)
        argo.install()
        argo.configure([{"name": PLUGIN, "location": f"file://{_plugin_file(folder)}"}])
        argo.start()
        cluster_wide = version is VERSIONS[0]
        deployed.apply(running.api, "cluster" if cluster_wide else "identity")

        def prepare(namespace: str) -> None:
            running.make_namespace(namespace)
            if not cluster_wide:
                deployed.apply(running.api, "namespace", namespace)

        yield Ground(running.api, prepare)


_REAL = {f"real-{version.release}": version for version in VERSIONS}


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=[pytest.mark.e2e, pytest.mark.timeout(300)]) for name in _REAL],
)
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp(request.param)
    yield from _real(_REAL[request.param], folder)


_numbers = count(1)


@pytest.fixture
def story(ground: Ground) -> Story:
    namespace = f"story-{next(_numbers)}"
    ground.prepare(namespace)
    return Story(ground.api, namespace)
