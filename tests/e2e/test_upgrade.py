"""Another version of the plugin takes over while a gate's fault is on, as the README's chapter has it.

Two releases that differ in their number, under the stock controller: by another image, in a rolling update
with the election of a leader as upstream's Deployment has them, and by another address, in the same pod.
"""

import copy
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
import yaml

from chaosplugin import __version__
from tests.e2e import downloads, rendering, ways
from tests.e2e.pods import Pod
from tests.packaging import release
from tests.realbed.rollouts import ArgoRollouts

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(900)]
_NEXT = release.NEXT
_DURATION = "25s"  # longer than a controller waits for the lease of one that has ended


@pytest.fixture(scope="module")
def files() -> dict[str, Path]:
    """The one file of both versions."""
    return {__version__: release.file(), _NEXT: release.next_file()}


@pytest.fixture(scope="module")
def argo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoRollouts]:
    with ways.installed(tmp_path_factory.mktemp("upgrade")) as argo:
        yield argo


def _says_its_version(pod: Pod, version: str) -> bool:
    (ready,) = [line for line in _log(pod).splitlines() if "[INFO]  plugin.chaos-mesh: ready: " in line]
    return f"version={version}" in ready


def _log(pod: Pod) -> str:
    return pod.log("argo-rollouts")


# -- another image


class _Deployed:
    """The Deployment in the cluster, whose pods are played as it says now."""

    def __init__(self, argo: ArgoRollouts, files: dict[str, Path], work: Path) -> None:
        self._argo, self._work = argo, work
        self._images = {
            f"registry.example.com/chaosplugin:{version}": file for version, file in files.items()
        }
        shutil.copytree(rendering.DEPLOY, work / "deploy")
        ways.kubectl(argo, "apply", "--namespace=argo-rollouts", objects=rendering.INSTALLED)

    def run(self, *words: str) -> None:
        """Run the README's commands for the controller that have one of these words."""
        commands = [each for each in ways.readme_commands() if each.startswith("kubectl -n argo-rollouts ")]
        wanted = [each for each in commands if any(word in each for word in words)]
        assert len(wanted) == len(words), wanted
        for command in wanted:
            ways.run_as_written(self._argo, command, self._work)

    def pod(self, name: str, shift: int) -> AbstractContextManager[Pod]:
        """Play a pod of it. All share the machine's addresses: the controller's ports are shifted."""
        deployment = copy.deepcopy(self._argo.bed.api.get(ways.DEPLOYMENT))
        (controller,) = deployment["spec"]["template"]["spec"]["containers"]
        for port in controller["ports"]:
            port["containerPort"] += shift
        words = [f"--{port['name']}Port={port['containerPort']}" for port in controller["ports"]]
        folder = self._work / name
        return ways.running(self._argo, deployment, folder, self._images, [*words, "--loglevel=debug"])


def test_a_gate_goes_on_through_an_upgrade_and_through_a_rollback(
    argo: ArgoRollouts, files: dict[str, Path], tmp_path: Path
) -> None:
    with ways.applied(argo, rendering.kustomized(rendering.DEPLOY / "cluster")), ExitStack() as pods:
        deployed = _Deployed(argo, files, tmp_path)
        deployed.run("patch configmap", "patch deployment", f"chaosplugin:{__version__}", "rollout restart")
        old = pods.enter_context(deployed.pod("old", 0))
        story = ways.begin_a_gate(argo, "upgrade", _DURATION)

        deployed.run(f"chaosplugin:{_NEXT}")
        new = pods.enter_context(deployed.pod("new", 1))
        old.stop()
        ways.passes(story)
        assert (_says_its_version(old, __version__), "gate ended" in _log(old)) == (True, False)
        assert (_says_its_version(new, _NEXT), "gate ended" in _log(new)) == (True, True)

        story = ways.begin_a_gate(argo, "rollback", _DURATION)
        ended = _log(new).count("gate ended")
        deployed.run("rollout undo")
        again = pods.enter_context(deployed.pod("again", 0))
        new.stop()
        ways.passes(story)
        assert _log(new).count("gate ended") == ended
        assert (_says_its_version(again, __version__), "gate ended" in _log(again)) == (True, True)


# -- another address


def _trees(pod: Pod) -> set[str]:
    """Return what the versions of the file have unpacked beside it."""
    return {path.name for path in pod.volume("plugin-bin").glob("chaosplugin/.chaosplugin-*-*")}


def _named(argo: ArgoRollouts, version: str, file: Path) -> None:
    """Name another version in the ConfigMap."""
    path = f"{ways.NAMESPACE}/configmaps/argo-rollouts-config"
    entry = downloads.plugin(argo.bed.api.get(path))
    entry |= {"location": downloads.location(version), "sha256": downloads.digest(file)}
    patch = {"data": {"metricProviderPlugins": yaml.safe_dump([entry])}}
    argo.bed.api.patch(path, patch)


def test_another_version_is_downloaded_over_the_one_that_had_begun_the_gate(
    argo: ArgoRollouts, files: dict[str, Path], tmp_path: Path
) -> None:
    """And the old one's files are removed."""
    with (
        ways.applied(argo, rendering.kustomized(rendering.DEPLOY / "cluster")),
        downloads.served(tmp_path / "files", argo.bed.pki, files),
        ways.controller(argo, "download", tmp_path, downloads.with_digest(files[__version__])) as pod,
    ):
        seen = []
        for namespace, before, after in (("there", __version__, _NEXT), ("back", _NEXT, __version__)):
            story = ways.begin_a_gate(argo, namespace, "8s")
            seen.append(_trees(pod))
            assert _says_its_version(pod, before)
            _named(argo, after, files[after])
            pod.restart("argo-rollouts", ways.CONTROLLER)
            ways.passes(story)

            assert _says_its_version(pod, after)
            assert "gate ended" in _log(pod)
        seen.append(_trees(pod))

    assert [len(trees) for trees in seen] == [1, 1, 1]
    assert seen[0] == seen[2] != seen[1]
