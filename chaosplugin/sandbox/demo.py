"""`chaosplugin demo`: a canary that survives and is promoted, one that does not and is aborted.

The cluster, Chaos Mesh and Argo Rollouts are the sandbox's; the plugin is the real process, started by the
host as Argo's controller starts it. What is printed was read from the cluster, and the exit code says
whether both canaries ended as they must.
"""

import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import anyio
import yaml
from anyio.abc import TaskGroup

from chaosplugin.sandbox import cluster
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.api.resources import ANALYSIS_TEMPLATES, POD_CHAOS, PODS, ROLLOUTS, Object
from chaosplugin.sandbox.host import controller, requests
from chaosplugin.sandbox.host.controller import Host
from chaosplugin.sandbox.host.informer import key_of
from chaosplugin.sandbox.host.logs import LogRecord
from chaosplugin.sandbox.host.objects import HASH_LABEL, template_hash
from chaosplugin.sandbox.host.process import Command
from chaosplugin.sandbox.host.requests import Login
from chaosplugin.sandbox.narrator import Narrator, Scene, is_ready
from chaosplugin.sandbox.terminal import Ink, Terminal

PLUGIN = "chaosplugin/chaos-mesh"
APP = "my-app"
DEADLINE = 60.0  # seconds for each of the two canaries
LOG_LINES = 40  # of the plugin's log, shown if something goes wrong

_BUG = {"metadata": {"annotations": {"sandbox.chaosplugin.io/ready-after": "600"}}}
_NEXT = """\
Next:
  examples/                           AnalysisTemplates and Rollouts to start from
  chaosplugin sandbox --folder DIR    the same cluster, without Argo, for your own objects and kubectl
  deploy/                             rights, and ways to install it in your cluster
  README.md                           every key of the configuration, every verdict, every refusal
"""


class NotAsExpected(Exception):
    """Something in the cluster is not as it must be; `str()` says what was wanted and what was met."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The running parts of a demo."""

    scene: Scene
    host: Host
    terminal: Terminal
    tasks: TaskGroup
    url: str


async def run(
    clock: Callable[[], datetime],
    environ: Mapping[str, str],
    plugin: Sequence[str],
    *,
    stay: bool = False,
) -> int:
    """Play both canaries; return 0 if they ended as they must, 1 if not.

    `plugin` is the command of one; with `stay` all keeps running after the story, to be looked at.
    """
    began = time.monotonic()
    terminal = Terminal(sys.stdout, environ, lambda: time.monotonic() - began)
    log: deque[LogRecord] = deque(maxlen=LOG_LINES)
    terminal.plain("A canary, gated by Chaos Mesh experiments, in an embedded cluster.", Ink.BOLD)
    with tempfile.TemporaryDirectory(prefix="chaosplugin-demo-") as folder:
        async with _set(clock, Path(folder), environ, plugin, terminal, log.append) as stage:
            try:
                await _play(stage)
                if stay:
                    terminal.title("Both canaries ended as they must; all keeps running until ctrl-C.")
                    await anyio.sleep_forever()
            except NotAsExpected as error:
                terminal.title("The demo did not end as it must.")
                terminal.plain(str(error), Ink.RED)
                for record in log:
                    terminal.plain(f"  plugin: {record.level}: {record.message} {record.fields or ''}")
                return 1
    terminal.title(f"Both canaries ended as they must, in {time.monotonic() - began:.0f} s.")
    terminal.plain("")
    terminal.plain(_NEXT.rstrip())
    return 0


@asynccontextmanager
async def _set(
    clock: Callable[[], datetime],
    folder: Path,
    environ: Mapping[str, str],
    plugin: Sequence[str],
    terminal: Terminal,
    log: Callable[[LogRecord], None],
) -> AsyncIterator[Stage]:
    """Start the cluster, the host with its plugin, and an onlooker."""
    async with cluster.start(clock, folder) as bed:
        environment = {
            **environ,
            "KUBECONFIG": str(bed.kubeconfig(ARGO_ROLLOUTS, "argo-rollouts")),
            "TMPDIR": str(folder),
        }
        command = Command(list(plugin), environment)
        settings = controller.Settings(Login(bed.url, bed.token(ARGO_ROLLOUTS)), {PLUGIN: command})
        async with (
            controller.start(settings, clock, log) as host,
            requests.connect(Login(bed.url, bed.token())) as client,
            anyio.create_task_group() as tasks,
        ):
            scene = Scene(client)
            for informer in scene.informers:
                tasks.start_soon(informer.run)
            for informer in scene.informers:
                await informer.synced.wait()
            yield Stage(scene, host, terminal, tasks, bed.url)
            tasks.cancel_scope.cancel()


async def _play(stage: Stage) -> None:
    scene, terminal = stage.scene, stage.terminal
    terminal.say("cluster", f"API server at {stage.url}; Chaos Mesh and Argo are stand-ins")
    for name, resource in (("analysis-template.yaml", ANALYSIS_TEMPLATES), ("rollout.yaml", ROLLOUTS)):
        await scene.requests.create(resource, "default", manifest(name))
    hashes = {template_hash(_template(f"{APP}:v{number}")): f"version {number}" for number in (1, 2, 3)}
    Narrator(scene, terminal, APP, lambda hash_: hashes.get(hash_, f"hash {hash_}"))
    first, second, third = hashes
    await _until(stage, "version 1 is Healthy", lambda: _healthy(scene, first))
    terminal.say("rollout", f"version 1 is Healthy: {_count(scene, first)} pods ready")

    terminal.title("Version 2 survives.")
    await _deploy(stage, "v2")
    await _until(stage, "version 2 is promoted", lambda: _healthy(scene, second))
    terminal.say("rollout", f"promoted: version 2 is Healthy, {_count(scene, second)} pods ready", Ink.GREEN)
    live = stage.host.processes.live(PLUGIN)
    if live is None:
        raise NotAsExpected("version 2 was promoted, but the plugin was never started")
    terminal.say("plugin", f"process {live.process.pid}, started by the host when it was first asked")
    _expect(scene, passed=2, failed=0)
    await _until(stage, "no experiment is left", lambda: not list(scene.experiments))

    terminal.title("Version 3 starts, but never a second time.")
    stage.tasks.start_soon(_break, stage, third)
    await _deploy(stage, "v3")
    await _until(stage, "version 3 is aborted", lambda: scene.status(APP).get("phase") == "Degraded")
    terminal.say("rollout", f"Degraded: {scene.status(APP)['message']}", Ink.RED)
    if "SteadyStateBroken" not in scene.status(APP)["message"]:
        raise NotAsExpected("version 3 was aborted, but not for its pods that did not come back")
    await _until(stage, "version 2 has all pods again", lambda: _restored(scene, second, third))
    terminal.say("rollout", f"version 2 serves alone again: {_count(scene, second)} pods ready", Ink.GREEN)
    _expect(scene, passed=3, failed=1)
    await _until(stage, "no experiment is left", lambda: not list(scene.experiments))
    await _look_behind(stage)


async def _deploy(stage: Stage, tag: str) -> None:
    change = {"spec": {"template": _template(f"{APP}:{tag}")}}
    await stage.scene.requests.patch(ROLLOUTS, "default", APP, change)
    stage.terminal.say("rollout", f"image {APP}:{tag} deployed")


async def _break(stage: Stage, hash_: str) -> None:
    """Be the bug of a version: once its containers are ready, they will not be a second time."""
    broken: set[str] = set()
    changed = anyio.Event()

    def hear(_: object, pod: Object) -> None:
        if (pod["metadata"].get("labels") or {}).get(HASH_LABEL) == hash_ and is_ready(pod):
            changed.set()

    stage.scene.pods.listen(hear)
    while True:
        await changed.wait()
        changed = anyio.Event()
        for pod in stage.scene.serving(hash_):
            if pod["metadata"]["uid"] not in broken:
                broken.add(pod["metadata"]["uid"])
                await stage.scene.requests.patch(PODS, *key_of(pod), _BUG)


async def _until(stage: Stage, what: str, holds: Callable[[], object]) -> None:
    """Wait for a state of the cluster, looking after every change that the onlooker sees.

    Raises NotAsExpected.
    """
    changed = anyio.Event()
    stage.scene.wake = changed.set
    with anyio.move_on_after(DEADLINE):
        while not holds():
            await changed.wait()
            changed = anyio.Event()
            stage.scene.wake = changed.set
        return
    status = stage.scene.status(APP)
    met = f"{status.get('phase', 'no phase')} {status.get('message', '')}".strip()
    raise NotAsExpected(f"{what}: not within {DEADLINE:.0f} s; the Rollout is {met}")


def _healthy(scene: Scene, hash_: str) -> bool:
    status = scene.status(APP)
    alone = status.get("phase") == "Healthy" and status.get("stableRS") == hash_
    return alone and _count(scene, hash_) == _wanted(scene) and _count_others(scene, hash_) == 0


def _restored(scene: Scene, stable: str, canary: str) -> bool:
    gone = all((each["metadata"].get("labels") or {}).get(HASH_LABEL) != canary for each in scene.pods)
    return gone and _count(scene, stable) == _wanted(scene)


def _wanted(scene: Scene) -> int:
    return int(scene.rollout(APP)["spec"].get("replicas", 0))


def _count(scene: Scene, hash_: str) -> int:
    return len(scene.serving(hash_))


def _count_others(scene: Scene, hash_: str) -> int:
    return sum(1 for each in scene.pods if (each["metadata"].get("labels") or {}).get(HASH_LABEL) != hash_)


def _expect(scene: Scene, *, passed: int, failed: int) -> None:
    """Raises NotAsExpected if the gates so far did not end in these numbers."""
    phases = sorted(str((each.get("status") or {}).get("phase")) for each in scene.runs)
    wanted = ["Failed"] * failed + ["Successful"] * passed
    if phases != wanted:
        raise NotAsExpected(f"the AnalysisRuns are {', '.join(phases)}; expected {', '.join(wanted)}")


async def _look_behind(stage: Stage) -> None:
    """Ask the API server itself for what is left. Raises NotAsExpected."""
    left = await stage.scene.requests.list(POD_CHAOS)
    names = [each["metadata"]["name"] for each in left["items"]]
    if names:
        raise NotAsExpected(f"experiments are left behind: {', '.join(names)}")
    stage.terminal.say("cluster", "no experiment is left behind")


def manifest(name: str) -> Object:
    """Return one of the demo's manifests."""
    text = resources.files("chaosplugin.sandbox").joinpath("manifests", name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def _template(image: str) -> Object:
    """Return the Rollout's pod template with another image."""
    template: Object = manifest("rollout.yaml")["spec"]["template"]
    template["spec"]["containers"][0]["image"] = image
    return template
