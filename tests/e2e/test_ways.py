"""Each way to install the plugin, played as its rendered manifests say, with the stock controller.

Controller, init container, sidecar and server run in read-only roots, with the volumes and accounts of their
pods. Downloads are in tests/interop/test_download.py.
"""

import base64
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from chaosplugin import __version__
from tests.e2e import rendering
from tests.e2e.manifests import CANARY_REPLICAS, PLUGIN, POD_FAILURE, Json, gate
from tests.e2e.pods import Image, Pod
from tests.e2e.story import Story
from tests.packaging import release
from tests.realbed import bed, build, chaosmesh, pki
from tests.realbed.processes import NotInTime
from tests.realbed.rollouts import VERSIONS, ArgoRollouts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
_ROOT = Path(__file__).parents[2]
_NAMESPACE = "/api/v1/namespaces/argo-rollouts"
_DEPLOYMENT = "/apis/apps/v1/namespaces/argo-rollouts/deployments/argo-rollouts"
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
        _kubectl(argo, "delete", "--timeout=60s", objects=kept)


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
def _controller(
    argo: ArgoRollouts, way: str, work: Path, change: Callable[[Json, Json], None] = lambda *_: None
) -> Iterator[Pod]:
    """Run it as a way installs it; `change` may spoil its Deployment and its ConfigMap before."""
    objects = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(rendering.installed(way, work))}
    change(objects["Deployment"], objects["ConfigMap"])
    with (
        _applied(argo, yaml.safe_dump_all(objects.values())) as (deployment,),
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
    with (
        _applied(argo, rendering.kustomized(rendering.DEPLOY / "server")) as (deployment,),
        _applied(argo, yaml.safe_dump_all(secrets)),
        _running(argo, deployment, tmp_path) as server,
        _controller(argo, "bridge", tmp_path) as pod,
    ):
        _passes_a_gate(argo, "server")

        assert "gate ended" in server.log("chaosplugin")
        assert "gate ended" not in pod.log("argo-rollouts")


def _secret(namespace: str, name: str, data: dict[str, bytes]) -> Json:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


# -- the README's chapter


def _commands() -> list[str]:
    """Return the kubectl commands of the chapter, but those that look at a running pod."""
    chapter = (_ROOT / "README.md").read_text().split("\n## Install\n")[1].split("\n## ")[0]
    joined = chapter.replace("\\\n", "")
    found = [inline or line for inline, line in re.findall(r"(?m)`(kubectl [^`\n]+)`|^(kubectl .+)$", joined)]
    return [command for command in found if " logs " not in command]


def test_the_readmes_commands_are_accepted_one_after_the_other(argo: ArgoRollouts, tmp_path: Path) -> None:
    shutil.copytree(rendering.DEPLOY, tmp_path / "deploy")
    certificate, key = pki.make_server(argo.bed.pki, _SERVICE)
    for name, data in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", certificate)):
        (tmp_path / name).write_bytes(data)
    _kubectl(argo, "apply", "--namespace=argo-rollouts", objects=rendering.INSTALLED)
    images = []
    for command in _commands():
        program, *arguments = shlex.split(command)
        if arguments[2:3] == ["run"]:  # nobody would play its pod
            arguments = [word for word in arguments if word not in ("--rm", "-i")]
            arguments.insert(3, "--dry-run=server")
        kubeconfig = f"--kubeconfig={argo.bed.kubeconfig}"
        done = subprocess.run(
            [rendering.kubectl(), kubeconfig, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (program, done.returncode) == ("kubectl", 0), f"{command}: {done.stderr}"
        argo.bed.processes.until(f"seen: {command}", "controllers", lambda: _is_seen(argo))
        images.append(_image(argo))

    (config,) = [
        m for m in argo.bed.api.items(f"{_NAMESPACE}/configmaps") if "argo-rollouts" in m["metadata"]["name"]
    ]
    assert yaml.safe_load(config["data"]["metricProviderPlugins"])[0]["name"] == PLUGIN
    assert list(dict.fromkeys(images)) == [
        *("", f"chaosplugin:{__version__}"),
        *(f"registry.example.com/chaosplugin:{version}" for version in (__version__, "0.2.0")),
    ]
    assert images[-1] == f"registry.example.com/chaosplugin:{__version__}"


def _is_seen(argo: ArgoRollouts) -> bool:
    """Whether the Deployment's controller has made of it what it wants: an undo goes back by that."""
    deployment = argo.bed.api.get(_DEPLOYMENT)
    return bool(
        deployment["metadata"]["generation"] == deployment.get("status", {}).get("observedGeneration")
    )


def _image(argo: ArgoRollouts) -> str:
    """Return that of the init container, "" while there is none."""
    deployment = argo.bed.api.get(_DEPLOYMENT)
    containers = deployment["spec"]["template"]["spec"].get("initContainers") or [{"image": ""}]
    return str(containers[0]["image"])


def _named(name: str) -> Callable[[Json, Json], None]:
    return lambda _, config: _replace(config, PLUGIN, name)


def _at(location: str) -> Callable[[Json, Json], None]:
    return lambda _, config: _replace(config, "file:///plugins/chaosplugin", location)


def _replace(config: Json, old: str, new: str) -> None:
    data = config["data"]
    assert old in data["metricProviderPlugins"]
    data["metricProviderPlugins"] = data["metricProviderPlugins"].replace(old, new)


def _without_plugin_bin(deployment: Json, _: Json) -> None:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["volumeMounts"] = [
        mount for mount in container["volumeMounts"] if mount["name"] != "plugin-bin"
    ]


def _pattern(said: str) -> str:
    """Return a row of the README's table as a regular expression, and prove that it is one."""
    assert f"| `{said}`" in (_ROOT / "README.md").read_text()
    return re.escape(said).replace(re.escape("..."), ".*").replace(re.escape("(x)"), r"\(.*\)")


@pytest.mark.parametrize(
    ("said", "spoil"),
    [
        ("plugin repository (x) must be in the format of <namespace>/<name>", _named("chaos-mesh")),
        ("failed to copy plugin from ...: no such file", _at("file:///plugins/none")),
        ("mkdir .../plugin-bin: read-only file system", _without_plugin_bin),
    ],
)
def test_a_controller_that_cannot_begin_says_what_the_readme_quotes(
    argo: ArgoRollouts, tmp_path: Path, said: str, spoil: Callable[[Json, Json], None]
) -> None:
    wanted = _pattern(said)
    with pytest.raises(NotInTime) as raised, _controller(argo, "init-container", tmp_path, spoil):
        pass

    assert re.search(wanted, str(raised.value)), raised.value


def test_a_plugin_that_cannot_be_started_is_told_as_the_readme_quotes(
    argo: ArgoRollouts, tmp_path: Path
) -> None:
    first, later = _pattern("exec format error"), _pattern("exec: Stdout already set")
    with _controller(argo, "init-container", tmp_path, _at("file:///etc/hosts")):
        argo.bed.make_namespace("unstartable")
        story = Story(argo.bed.api, "unstartable")
        template = gate(POD_FAILURE.format(duration="4s"))
        template["spec"]["metrics"][0]["consecutiveErrorLimit"] = 1
        story.begin(template)
        story.until("the gate gave up", lambda: story.rollout()["status"].get("abort"))
        (result,) = story.analysis_run()["status"]["metricResults"]
        messages = [each["message"] for each in result["measurements"]]

    assert re.search(first, messages[0])
    assert re.search(later, messages[-1])
