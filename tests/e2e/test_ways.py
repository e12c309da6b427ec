"""Each way to install the plugin, played as its rendered manifests say, with the stock controller.

Controller, init container, sidecar and server run in read-only roots, with the volumes and accounts of their
pods. Downloads are in tests/interop/test_download.py.
"""

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from chaosplugin import __version__
from tests.e2e import rendering
from tests.e2e.manifests import CANARY_REPLICAS, POD_FAILURE, Json, gate
from tests.e2e.pods import Image, Pod
from tests.e2e.story import Story
from tests.packaging import release
from tests.realbed import bed, build, chaosmesh, pki
from tests.realbed.rollouts import VERSIONS, ArgoRollouts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
_CONTROLLER = ("--leader-elect=false", "--loglevel=debug")
_SERVICE = "chaosplugin.chaosplugin.svc"


@pytest.fixture(scope="module")
def argo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoRollouts]:
    """Give a bed with all of Argo Rollouts but its controller."""
    with bed.running(build.cache(), tmp_path_factory.mktemp("ways")) as running:
        chaosmesh.install(running)
        installed = ArgoRollouts(running, VERSIONS[-1])
        installed.install()
        yield installed


def _images(argo: ArgoRollouts) -> dict[str, Image]:
    controller = argo.bed.cache / "bin" / argo.version.binary
    program = "/bin/rollouts-controller"
    return {
        "argo-rollouts": Image({program: controller}, [program], "/home/argo-rollouts"),
        f"chaosplugin:{__version__}": Image({"/chaosplugin": release.file()}, ["/chaosplugin"]),
    }


def _kubectl(argo: ArgoRollouts, verb: str, *options: str, objects: list[Json]) -> None:
    command = [rendering.kubectl(), verb, f"--kubeconfig={argo.bed.kubeconfig}", *options, "--filename=-"]
    subprocess.run(command, input=yaml.safe_dump_all(objects), text=True, check=True, capture_output=True)


@contextmanager
def _applied(argo: ArgoRollouts, text: str) -> Iterator[list[Json]]:
    """Apply what is rendered, give its Deployments, which are played instead, and delete it all."""
    objects = list(yaml.safe_load_all(text))
    kept = [manifest for manifest in objects if manifest["kind"] != "Deployment"]
    _kubectl(argo, "apply", "--server-side", "--force-conflicts", objects=kept)
    try:
        yield [manifest for manifest in objects if manifest["kind"] == "Deployment"]
    finally:
        _kubectl(argo, "delete", "--wait=false", objects=kept)


@contextmanager
def _running(argo: ArgoRollouts, manifest: Json, work: Path) -> Iterator[Pod]:
    folder = work / f"pod-{manifest['metadata']['name']}"
    pod = Pod(argo.bed, manifest, _images(argo), folder, [_SERVICE])
    try:
        pod.start({"argo-rollouts": _CONTROLLER})
        yield pod
    finally:
        pod.stop()


@contextmanager
def _controller(argo: ArgoRollouts, way: str, work: Path) -> Iterator[Pod]:
    with (
        _applied(argo, rendering.installed(way, work)) as (deployment,),
        _running(argo, deployment, work) as pod,
    ):
        yield pod


def _passes_a_gate(argo: ArgoRollouts, namespace: str) -> None:
    argo.bed.make_namespace(namespace)
    story = Story(argo.bed.api, namespace)
    story.begin(gate(POD_FAILURE.format(duration="4s"), timeout="60s"))
    story.until_injected()
    story.until_promoted()
    story.until_clean()

    assert story.measurement()["phase"] == "Successful"
    assert len(story.experiments_created()) == 1
    assert f'"injected":{CANARY_REPLICAS}' in story.measurement()["value"].replace(" ", "")


def test_the_file_from_an_init_container_is_the_plugin(argo: ArgoRollouts, tmp_path: Path) -> None:
    with (
        _applied(argo, rendering.kustomized(rendering.DEPLOY / "cluster")),
        _controller(argo, "init-container", tmp_path) as pod,
    ):
        _passes_a_gate(argo, "init-container")

        said = pod.log("argo-rollouts")
    assert "Copied plugin from /plugins/chaosplugin to /home/argo-rollouts/plugin-bin/" in said
    (ready,) = [line for line in said.splitlines() if "[INFO]  plugin.chaos-mesh: ready: " in line]
    assert f"version={__version__}" in ready


def test_a_sidecar_does_the_work_of_a_bridge(argo: ArgoRollouts, tmp_path: Path) -> None:
    with (
        _applied(argo, rendering.kustomized(rendering.DEPLOY / "cluster")),
        _controller(argo, "sidecar", tmp_path) as pod,
    ):
        _passes_a_gate(argo, "sidecar")

        assert "gate ended" in pod.log("chaosplugin-server")
        assert "gate ended" not in pod.log("argo-rollouts")


def test_a_server_of_its_own_does_the_work_with_its_own_rights(argo: ArgoRollouts, tmp_path: Path) -> None:
    authority = (argo.bed.pki / "ca.crt").read_bytes()
    certificate, key = pki.make_server(argo.bed.pki, _SERVICE)
    secrets = [
        _secret("argo-rollouts", "chaosplugin-ca", {"ca.crt": authority}),
        _secret("chaosplugin", "chaosplugin-tls", {"tls.crt": certificate, "tls.key": key}),
    ]
    with _applied(argo, rendering.kustomized(rendering.DEPLOY / "server")) as (deployment,):
        _kubectl(argo, "apply", objects=secrets)
        with _running(argo, deployment, tmp_path) as server, _controller(argo, "bridge", tmp_path) as pod:
            _passes_a_gate(argo, "server")

            assert "gate ended" in server.log("chaosplugin")
            assert "gate ended" not in pod.log("argo-rollouts")


def _secret(namespace: str, name: str, data: dict[str, bytes]) -> Json:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}
