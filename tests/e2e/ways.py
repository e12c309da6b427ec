"""Argo Rollouts as each way installs the plugin, with pods that are played by what their manifests say."""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from chaosplugin import __version__
from tests.e2e import rendering
from tests.e2e.manifests import CANARY_REPLICAS, POD_FAILURE, Json, gate
from tests.e2e.pods import Image, Pod
from tests.e2e.story import Story
from tests.packaging import release
from tests.realbed import bed, build, chaosmesh
from tests.realbed.rollouts import VERSIONS, ArgoRollouts

NAMESPACE = "/api/v1/namespaces/argo-rollouts"
DEPLOYMENT = "/apis/apps/v1/namespaces/argo-rollouts/deployments/argo-rollouts"
SERVICE = "chaosplugin.chaosplugin.svc"
FILES = "files.example.com"
"""where deploy/download has the file"""
README = Path(__file__).parents[2] / "README.md"
CONTROLLER = ("--leader-elect=false", "--loglevel=debug")
"""words for a controller that is the only one"""


@contextmanager
def installed(folder: Path) -> Iterator[ArgoRollouts]:
    """Give a bed with all of Argo Rollouts but its controller."""
    with bed.running(build.cache(), folder) as running:
        chaosmesh.install(running)
        argo = ArgoRollouts(running, VERSIONS[-1])
        argo.install()
        yield argo


def _images(argo: ArgoRollouts, ours: Mapping[str, Path]) -> dict[str, Image]:
    """Return the stock controller's, and ours by their names."""
    controller = argo.bed.cache / "bin" / argo.version.binary
    program = "/bin/rollouts-controller"
    return {
        "argo-rollouts": Image({program: controller}, [program], "/home/argo-rollouts"),
        **{name: Image({"/chaosplugin": file}, ["/chaosplugin"]) for name, file in ours.items()},
    }


def kubectl(argo: ArgoRollouts, verb: str, *options: str, objects: list[Json]) -> None:
    command = [rendering.kubectl(), verb, f"--kubeconfig={argo.bed.kubeconfig}", *options, "--filename=-"]
    subprocess.run(command, input=yaml.safe_dump_all(objects), text=True, check=True, capture_output=True)


@contextmanager
def applied(argo: ArgoRollouts, text: str) -> Iterator[list[Json]]:
    """Apply what is rendered, give its Deployments, which are played instead, and delete it all."""
    objects = list(yaml.safe_load_all(text))
    kept = [manifest for manifest in objects if manifest["kind"] != "Deployment"]
    kubectl(argo, "apply", "--server-side", "--force-conflicts", objects=kept)
    try:
        yield [manifest for manifest in objects if manifest["kind"] == "Deployment"]
    finally:
        kubectl(argo, "delete", "--timeout=60s", objects=kept)


@contextmanager
def running(
    argo: ArgoRollouts,
    manifest: Json,
    folder: Path,
    ours: Mapping[str, Path] | None = None,
    words: Sequence[str] = CONTROLLER,
) -> Iterator[Pod]:
    """Play a pod of a Deployment in a new folder; `words` are the controller's, `ours` our images by name."""
    images = _images(argo, ours or {f"chaosplugin:{__version__}": release.file()})
    pod = Pod(argo.bed, manifest, images, folder, [SERVICE, FILES])
    try:
        pod.start({"argo-rollouts": words})
        yield pod
    finally:
        pod.stop()


@contextmanager
def controller(
    argo: ArgoRollouts, way: str, work: Path, change: Callable[[Json, Json], None] = lambda *_: None
) -> Iterator[Pod]:
    """Run it as a way installs it; `change` may alter its Deployment and its ConfigMap before."""
    objects = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(rendering.installed(way, work))}
    change(objects["Deployment"], objects["ConfigMap"])
    with (
        applied(argo, yaml.safe_dump_all(objects.values())) as (deployment,),
        running(argo, deployment, work / "controller") as pod,
    ):
        yield pod


def begin_a_gate(argo: ArgoRollouts, namespace: str, duration: str = "4s") -> Story:
    """Begin a canary, and wait until the fault of its gate is on."""
    argo.bed.make_namespace(namespace)
    story = Story(argo.bed.api, namespace)
    story.begin(gate(POD_FAILURE.format(duration=duration), timeout="60s"))
    story.until_injected()
    return story


def passes(story: Story) -> None:
    """See the canary promoted after one fault, of which nothing is left."""
    story.until_promoted()
    story.until_clean()

    assert story.measurement()["phase"] == "Successful"
    assert len(story.experiments_created()) == 1
    assert f'"injected":{CANARY_REPLICAS}' in story.measurement()["value"].replace(" ", "")


# -- the README's chapter


def readme_commands() -> list[str]:
    """Return the kubectl commands of the chapter, but those that want a running pod."""
    return [command for command in _commands() if " logs " not in command and " exec " not in command]


def readme_checks() -> dict[str, list[str]]:
    """Return what the chapter lets run in pods, by their Deployments."""
    words = [shlex.split(command) for command in _commands() if " exec " in command]
    return {each[each.index("exec") + 1]: each[each.index("--") + 1 :] for each in words}


def _commands() -> list[str]:
    chapter = README.read_text().split("\n## Install\n")[1].split("\n## ")[0]
    joined = chapter.replace("\\\n", "")
    return [inline or line for inline, line in re.findall(r"(?m)`(kubectl [^`\n]+)`|^(kubectl .+)$", joined)]


def run_as_written(argo: ArgoRollouts, command: str, folder: Path) -> None:
    """Run such a command, and wait until the Deployment's controller has seen it: an undo goes by that."""
    program, *arguments = shlex.split(command)
    kubeconfig = f"--kubeconfig={argo.bed.kubeconfig}"
    command_line = [rendering.kubectl(), kubeconfig, *arguments]
    done = subprocess.run(command_line, cwd=folder, capture_output=True, text=True, check=False)
    assert (program, done.returncode) == ("kubectl", 0), f"{command}: {done.stderr}"
    argo.bed.processes.until(f"seen: {command}", "controllers", lambda: _is_seen(argo))


def _is_seen(argo: ArgoRollouts) -> bool:
    deployment = argo.bed.api.get(DEPLOYMENT)
    return bool(
        deployment["metadata"]["generation"] == deployment.get("status", {}).get("observedGeneration")
    )
