"""Each way to install the plugin, played as its rendered manifests say, with the stock controller.

Controller, init container, sidecar and server run in read-only roots, with the volumes and accounts of their
pods.
"""

import base64
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from chaosplugin import __version__
from tests.e2e import downloads, rendering, ways
from tests.e2e.manifests import PLUGIN, POD_FAILURE, Json, gate
from tests.e2e.story import Story
from tests.packaging import release
from tests.realbed import pki
from tests.realbed.processes import NotInTime
from tests.realbed.rollouts import ArgoRollouts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def argo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArgoRollouts]:
    with ways.installed(tmp_path_factory.mktemp("ways")) as argo:
        yield argo


def test_the_file_from_an_init_container_is_the_plugin(argo: ArgoRollouts, tmp_path: Path) -> None:
    with (
        ways.applied(argo, rendering.kustomized(rendering.DEPLOY / "cluster")),
        ways.controller(argo, "init-container", tmp_path) as pod,
    ):
        ways.passes(ways.begin_a_gate(argo, "init-container"))

        said = pod.log("argo-rollouts")
        check = pod.execute("argo-rollouts", ways.readme_checks()["deployment/argo-rollouts"])
    assert "Copied plugin from /plugins/chaosplugin to /home/argo-rollouts/plugin-bin/" in said
    (ready,) = [line for line in said.splitlines() if "[INFO]  plugin.chaos-mesh: ready: " in line]
    assert f"version={__version__}" in ready
    assert (check.returncode, "MISSING" in check.stdout) == (0, False), check.stdout + check.stderr


def test_the_downloaded_file_is_the_plugin(argo: ArgoRollouts, tmp_path: Path) -> None:
    file = release.file()
    with (
        ways.applied(argo, rendering.kustomized(rendering.DEPLOY / "cluster")),
        downloads.served(tmp_path / "files", argo.bed.pki, {__version__: file}),
        ways.controller(argo, "download", tmp_path, downloads.with_digest(file)) as pod,
    ):
        ways.passes(ways.begin_a_gate(argo, "download"))

        assert f"Downloading plugin {PLUGIN} from: {downloads.location(__version__)}" in pod.log(
            "argo-rollouts"
        )


def test_a_file_of_another_digest_is_told_as_the_readme_quotes(argo: ArgoRollouts, tmp_path: Path) -> None:
    wanted = _pattern("sha256 hash of downloaded plugin (...) does not match expected hash")
    with (
        downloads.served(tmp_path / "files", argo.bed.pki, {__version__: release.file()}),
        pytest.raises(NotInTime) as raised,
        ways.controller(argo, "download", tmp_path),
    ):
        pass

    assert re.search(wanted, str(raised.value)), raised.value


def test_a_sidecar_does_the_work_of_a_bridge(argo: ArgoRollouts, tmp_path: Path) -> None:
    with (
        ways.applied(argo, rendering.kustomized(rendering.DEPLOY / "cluster")),
        ways.controller(argo, "sidecar", tmp_path) as pod,
    ):
        ways.passes(ways.begin_a_gate(argo, "sidecar"))

        assert "gate ended" in pod.log("chaosplugin-server")
        assert "gate ended" not in pod.log("argo-rollouts")
        assert "[INFO]  plugin.chaos-mesh: bridging to " in pod.log("argo-rollouts")
        status, page = pod.fetch("chaosplugin-server", "chaosplugin", "/metrics")
        assert status == 200
        assert sum(map(float, re.findall(r"(?m)^rollouts_chaos_gates_total\{.*\} ([\d.]+)", page))) == 1


@pytest.mark.full
def test_a_sidecar_that_hangs_fails_its_probe_and_its_successor_goes_on(
    argo: ArgoRollouts, tmp_path: Path
) -> None:
    with (
        ways.applied(argo, rendering.kustomized(rendering.DEPLOY / "cluster")),
        ways.controller(argo, "sidecar", tmp_path) as pod,
    ):
        story = ways.begin_a_gate(argo, "hanging", "20s")
        os.kill(pod.pid("chaosplugin-server"), signal.SIGSTOP)
        assert not pod.probe("chaosplugin-server", "livenessProbe")

        pod.restart("chaosplugin-server", ())
        ways.passes(story)
        assert "gate ended" in pod.log("chaosplugin-server")


def test_a_server_of_its_own_does_the_work_with_its_own_rights(argo: ArgoRollouts, tmp_path: Path) -> None:
    authority = (argo.bed.pki / "ca.crt").read_bytes()
    certificate, key = pki.make_server(argo.bed.pki, ways.SERVICE)
    secrets = [
        _secret("argo-rollouts", "chaosplugin-ca", {"ca.crt": authority}),
        _secret("chaosplugin", "chaosplugin-tls", {"tls.crt": certificate, "tls.key": key}),
    ]
    with (
        ways.applied(argo, rendering.kustomized(rendering.DEPLOY / "server")) as (deployment,),
        ways.applied(argo, yaml.safe_dump_all(secrets)),
        ways.running(argo, deployment, tmp_path / "server") as server,
        ways.controller(argo, "bridge", tmp_path) as pod,
    ):
        ways.passes(ways.begin_a_gate(argo, "server"))

        assert "gate ended" in server.log("chaosplugin")
        assert "gate ended" not in pod.log("argo-rollouts")
        assert "[INFO]  plugin.chaos-mesh: bridging to " in pod.log("argo-rollouts")
        check = server.execute("chaosplugin", ways.readme_checks()["deployment/chaosplugin"])
        assert (check.returncode, "MISSING" in check.stdout) == (0, False), check.stdout + check.stderr


def _secret(namespace: str, name: str, data: dict[str, bytes]) -> Json:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


# -- the README's chapter


def test_the_readmes_commands_are_accepted_one_after_the_other(argo: ArgoRollouts, tmp_path: Path) -> None:
    shutil.copytree(rendering.DEPLOY, tmp_path / "deploy")
    certificate, key = pki.make_server(argo.bed.pki, ways.SERVICE)
    for name, data in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", certificate)):
        (tmp_path / name).write_bytes(data)
    ways.kubectl(argo, "apply", "--namespace=argo-rollouts", objects=rendering.INSTALLED)
    images = []
    for command in ways.readme_commands():
        ways.run_as_written(argo, command, tmp_path)
        images.append(_image(argo))

    (config,) = [
        m
        for m in argo.bed.api.items(f"{ways.NAMESPACE}/configmaps")
        if "argo-rollouts" in m["metadata"]["name"]
    ]
    assert yaml.safe_load(config["data"]["metricProviderPlugins"])[0]["name"] == PLUGIN
    assert list(dict.fromkeys(images)) == [
        *("", f"chaosplugin:{__version__}"),
        *(f"registry.example.com/chaosplugin:{version}" for version in (__version__, "0.2.0")),
    ]
    assert images[-1] == f"registry.example.com/chaosplugin:{__version__}"


def test_without_kustomize_a_sidecar_comes_on_top_with_the_same_image(
    argo: ArgoRollouts, tmp_path: Path
) -> None:
    shutil.copytree(rendering.DEPLOY, tmp_path / "deploy")
    ways.kubectl(argo, "apply", "--namespace=argo-rollouts", objects=rendering.INSTALLED)
    commands = [each for each in ways.readme_commands() if each.startswith("kubectl -n argo-rollouts ")]
    patches = [each for each in commands if "--patch-file" in each]
    (named, *_) = [each for each in commands if "set image" in each]
    image = named.rpartition("=")[2]
    for command in (*patches, *(each.replace("init-container", "sidecar") for each in patches)):
        ways.run_as_written(argo, command, tmp_path)
    ways.run_as_written(argo, f"{named} chaosplugin-server={image}", tmp_path)

    pod = argo.bed.api.get(ways.DEPLOYMENT)["spec"]["template"]["spec"]
    containers = [*pod["initContainers"], *pod["containers"]]
    assert {each["name"]: each["image"] for each in containers} == {
        **dict.fromkeys(("chaosplugin", "chaosplugin-server"), image),
        "argo-rollouts": "argo-rollouts",
    }


def _image(argo: ArgoRollouts) -> str:
    """Return that of the init container, "" while there is none."""
    deployment = argo.bed.api.get(ways.DEPLOYMENT)
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
    assert f"| `{said}`" in ways.README.read_text()
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
    with pytest.raises(NotInTime) as raised, ways.controller(argo, "init-container", tmp_path, spoil):
        pass

    assert re.search(wanted, str(raised.value)), raised.value


def test_a_plugin_that_cannot_be_started_is_told_as_the_readme_quotes(
    argo: ArgoRollouts, tmp_path: Path
) -> None:
    first, later = _pattern("exec format error"), _pattern("exec: Stdout already set")
    with ways.controller(argo, "init-container", tmp_path, _at("file:///etc/hosts")):
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
