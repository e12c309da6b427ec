"""The two beds on which the stories are told: the real control plane, and the sandbox."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.host.assessment import V1_9, V1_10, Rules
from tests.e2e import deployed, sandboxed
from tests.e2e.manifests import PLUGIN
from tests.e2e.story import Story
from tests.interop.leftovers import children, command_line
from tests.packaging import release
from tests.realbed import bed, build, chaosmesh
from tests.realbed.api import Api
from tests.realbed.rollouts import VERSIONS, ArgoRollouts, Version


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a story is told. `make_namespace` gives the plugin no rights there, `grant` does."""

    api: Api
    make_namespace: Callable[[str], None]
    grant: Callable[[str], None] = lambda _: None
    argo: ArgoRollouts | None = None
    """only of the real control plane"""
    kubeconfig: Path = Path()
    """with the rights of the controller, and so of the plugin"""
    servers_kubeconfig: Path = Path()
    """of the account of deploy/server, which has no rights by itself; only of the real control plane"""

    def plugins(self) -> list[int]:
        """Return the pids of the plugin's processes: children of the controller, or of us, who play it."""
        parent = self.argo.pid if self.argo else os.getpid()
        return [pid for pid in children(parent) if b"chaosplugin" in command_line(pid)]


def _installed(folder: Path, arguments: Sequence[str]) -> Path:
    """Write a file that the controller can run: the plugin as it is installed here."""
    file = folder / "chaosplugin"
    command = shlex.join([sys.executable, "-m", "chaosplugin", *arguments])
    file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    file.chmod(0o755)
    return file


def _one_file(folder: Path, arguments: Sequence[str] = ()) -> Path:
    """Lay a release's file where the controller finds it."""
    assert not arguments, "a release's file is run as it is; its arguments are the controller's to give"
    return Path(shutil.copy(release.file(), folder / "chaosplugin"))


@contextmanager
def _real(version: Version, folder: Path, arguments: Sequence[str] = ()) -> Iterator[Ground]:
    with bed.running(build.cache(), folder) as running:
        chaosmesh.install(running)
        argo = ArgoRollouts(running, version)
        argo.install()
        force = (
            ["--force-cleanup"] if version.release == "v1.10.1" and not arguments else []
        )  # and once without any
        location = f"file://{_one_file(folder)}"
        argo.configure([{"name": PLUGIN, "location": location, "args": [*arguments, *force]}])
        argo.start()
        server = folder / "server.kubeconfig"
        server.write_text(_make_account(running, "chaosplugin", "chaosplugin"))
        yield Ground(
            running.api,
            running.make_namespace,
            argo=argo,
            kubeconfig=argo.kubeconfig,
            servers_kubeconfig=server,
        )


def _make_account(running: bed.Bed, namespace: str, name: str) -> str:
    """Make a ServiceAccount, and return its kubeconfig."""
    running.make_namespace(namespace)
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    running.api.create(accounts, {"metadata": {"name": name}})
    token = running.api.create(f"{accounts}/{name}/token", {"spec": {"expirationSeconds": 86400}})
    return running.api.kubeconfig(token=token["status"]["token"])


@contextmanager
def _sandbox(
    rules: Rules,
    make_plugin: Callable[[Path, Sequence[str]], Path],
    folder: Path,
    arguments: Sequence[str] = (),
) -> Iterator[Ground]:
    with sandboxed.running(rules, make_plugin(folder, arguments), folder) as api:

        def make_namespace(namespace: str) -> None:
            api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})

        kubeconfig = folder / f"{ARGO_ROLLOUTS.replace(':', '-')}.kubeconfig"
        yield Ground(api, make_namespace, kubeconfig=kubeconfig)


GROUNDS: dict[str, Callable[..., AbstractContextManager[Ground]]] = {
    "sandbox-v1.9": partial(_sandbox, V1_9, _installed),
    "sandbox-v1.10": partial(_sandbox, V1_10, _installed),
    "file-sandbox": partial(_sandbox, V1_10, _one_file),
    **{f"real-{version.release}": partial(_real, version) for version in VERSIONS},
}
_MARKS = {
    "real": [pytest.mark.e2e, pytest.mark.timeout(300)],
    "sandbox": [],
    "file": [pytest.mark.system],
}


def grounds(word: str = "") -> list[object]:
    """Return the beds whose names hold a word, as parameters of `ground`."""
    return [pytest.param(name, marks=_MARKS[name.split("-")[0]], id=name) for name in GROUNDS if word in name]


def usual_grounds() -> list[object]:
    """Return the beds of a story that names none."""
    return grounds("sandbox-v") + grounds("real")


@pytest.fixture(scope="module", params=usual_grounds())
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Give a bed. The releases differ in how the plugin gets its rights, too."""
    folder = tmp_path_factory.mktemp(request.param)
    with GROUNDS[request.param](folder) as bare:
        if "v1.9" in request.param:
            deployed.apply(bare.api, "cluster")
            yield bare
            return
        deployed.apply(bare.api, "identity")
        yield replace(bare, grant=partial(deployed.apply, bare.api, "namespace"))


@contextmanager
def daemon(ground: Ground, **rules: object) -> Iterator[None]:
    """Let chaos-daemon's calls fail meanwhile."""
    assert ground.argo is not None
    file = ground.argo.bed.work / "daemon-rules.json"
    file.write_text(json.dumps(rules))
    try:
        yield
    finally:
        file.unlink()


_numbers = count(1)


@pytest.fixture
def unprivileged(ground: Ground) -> Story:
    """A story in a namespace where the plugin has no rights, unless it has them everywhere."""
    namespace = f"story-{next(_numbers)}"
    ground.make_namespace(namespace)
    return Story(ground.api, namespace)


@pytest.fixture
def story(unprivileged: Story, ground: Ground) -> Story:
    ground.grant(unprivileged.namespace)
    return unprivileged
