"""Gates without an analysis: `chaosplugin run`, `ls`, `watch` and `stop`, directly and through a server.

On the real control plane; tests/serving has the sandbox. Servers and users have the rights that deploy/server
and deploy/gates give, and no others.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import deployed
from tests.e2e.conftest import GROUNDS, Ground, grounds
from tests.e2e.manifests import ANALYSIS, CANARY_REPLICAS, POD_FAILURE, gate, paused_rollout
from tests.e2e.servers import Server
from tests.e2e.story import Story
from tests.e2e.test_spawned import schedule, workflow

_RBAC = {"ClusterRole", "ClusterRoleBinding"}
BOTH = pytest.mark.parametrize("how", ["server", pytest.param("direct", marks=pytest.mark.full)])


class Ci:
    """Who gates the canary of a story from a command line; `where` are the options that say through whom."""

    def __init__(self, story: Story, folder: Path, where: Sequence[str]) -> None:
        self._story = story
        self._template = folder / "experiment.yaml"
        self._where = where

    def command(self, name: str, *arguments: str) -> list[str]:
        options = ["--namespace", self._story.namespace, "--json", *self._where]
        return [sys.executable, "-m", "chaosplugin", name, *arguments, *options]

    def begin(self, experiment: str, *settings: str) -> "subprocess.Popen[str]":
        """Begin to run a gate."""
        self._template.write_text(experiment)
        options = [word for setting in ("timeout=60s", *settings) for word in ("--set", setting)]
        command = self.command("run", str(self._template), "--rollout", "web", *options)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def do(self, name: str, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Return the exit code, and what was printed."""
        return ended(
            subprocess.Popen(
                self.command(name, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )

    def gate_id(self) -> str:
        """Return the id of the only gate."""
        code, (gate,) = self.do("ls")
        assert code == 0
        return str(gate["id"])


def ended(process: "subprocess.Popen[str]") -> tuple[int, list[dict[str, Any]]]:
    out, err = process.communicate(timeout=120)
    assert err == ""
    return process.returncode, [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module", params=grounds("real-v1.10"))
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Give a bed with the plugin, and the account of a server."""
    with GROUNDS[request.param](tmp_path_factory.mktemp(request.param)) as ground:
        deployed.apply(ground.api, "cluster")
        for manifest in deployed.resources("server"):
            if manifest["kind"] in _RBAC:
                deployed.create(ground.api, manifest)
        ground.make_namespace("chaosplugin")
        for manifest in deployed.resources("server"):
            if manifest["kind"] in {"Role", "RoleBinding"}:
                deployed.create(ground.api, manifest, "chaosplugin")
        yield ground


@pytest.fixture
def beginning(unprivileged: Story, ground: Ground) -> Story:
    deployed.apply(ground.api, "gates", unprivileged.namespace)
    return unprivileged


@pytest.fixture
def story(beginning: Story) -> Story:
    """A canary that waits for a person."""
    beginning.begin_canary(paused_rollout())
    beginning.until("the canary is paused", lambda: beginning.phase() == "Paused")
    return beginning


def _server(ground: Ground, story: Story, folder: Path, name: str) -> Server:
    caller = f"nobody={story.namespace}"  # names the namespace in which gates are followed
    options = ("--token-review", "--allow-client", caller, "--lease", "chaosplugin/chaosplugin")
    return Server(ground.servers_kubeconfig, folder / f"{name}.sock", folder / f"{name}.log", *options)


@contextmanager
def _ci(ground: Ground, story: Story, folder: Path, how: str) -> Iterator[Ci]:
    if how == "direct":
        yield Ci(story, folder, ("--kubeconfig", str(ground.servers_kubeconfig)))
        return
    server = _server(ground, story, folder, "server")
    try:
        server.start()
        yield Ci(story, folder, ("--server", server.address))
    finally:
        server.kill()


@BOTH
def test_a_canary_that_survives_is_exit_code_0(
    ground: Ground, story: Story, tmp_path: Path, how: str
) -> None:
    with _ci(ground, story, tmp_path, how) as ci:
        code, told = ended(ci.begin(POD_FAILURE.format(duration="3s")))
        listed = ci.do("ls")

    assert (code, told[-1]["reason"]) == (0, "Survived")
    assert told[-1]["value"]["injected"] == CANARY_REPLICAS
    assert [(gate["id"], gate["phase"]) for gate in listed[1]] == [(told[0]["id"], "Successful")]
    story.until_clean()
    assert len(story.experiments_created()) == 1


@BOTH
def test_a_canary_that_does_not_come_back_is_exit_code_1(
    ground: Ground, story: Story, tmp_path: Path, how: str
) -> None:
    with _ci(ground, story, tmp_path, how) as ci:
        process = ci.begin(POD_FAILURE.format(duration="5s"), "steadyState={recoverWithin: 4s}")
        story.until_injected()
        story.keep_canary_down()
        code, told = ended(process)

    assert (code, told[-1]["reason"]) == (1, "SteadyStateBroken")
    story.until_clean()


@BOTH
def test_a_gate_whose_runner_was_killed_is_stopped(
    ground: Ground, story: Story, tmp_path: Path, how: str
) -> None:
    with _ci(ground, story, tmp_path, how) as ci:
        process = ci.begin(POD_FAILURE.format(duration="40s"))
        story.until_injected()
        process.kill()
        process.communicate()
        code, told = ci.do("stop", ci.gate_id())

    assert (code, told[-1]["reason"]) == (0, "Terminated")
    assert story.api.items(story.chaos) == []
    story.until_clean()


@pytest.mark.full
def test_a_schedule_and_a_workflow_are_judged_as_in_an_analysis(
    ground: Ground, story: Story, tmp_path: Path
) -> None:
    with _ci(ground, story, tmp_path, "direct") as ci:
        scheduled = ended(ci.begin(schedule(), "scheduleFor=12s"))
        worked = ended(ci.begin(workflow()))

    for code, told in (scheduled, worked):
        assert (code, told[-1]["reason"]) == (0, "Survived"), told[-1]
    assert "2 firings, 4 targets hit" in scheduled[1][-1]["message"]
    assert "5 faults, 10 targets hit" in worked[1][-1]["message"]
    for kind, spawned in (("schedules", ("podchaos",)), ("workflows", ("podchaos", "workflownodes"))):
        Story(ground.api, story.namespace, kind, spawned).until_clean()


def test_a_gate_from_a_command_line_waits_for_the_one_of_the_analysis(
    ground: Ground, beginning: Story, tmp_path: Path
) -> None:
    story = beginning
    story.api.create(
        f"{story.argo}/analysistemplates", gate(POD_FAILURE.format(duration="4s"), timeout="60s")
    )
    story.begin_canary(paused_rollout(ANALYSIS))
    story.until_injected()
    with _ci(ground, story, tmp_path, "direct") as ci:
        code, told = ended(ci.begin(POD_FAILURE.format(duration="2s")))

    assert story.measurement()["phase"] == "Successful", story.measurement()
    assert (code, told[-1]["reason"]) == (0, "Survived"), told[-1]
    assert "queued" in [each["stage"] for each in told]
    assert len(story.experiments_created()) == 2
    story.until_clean()


def test_a_server_that_is_killed_in_mid_fault_is_replaced_by_another(
    ground: Ground, story: Story, tmp_path: Path
) -> None:
    first, second = (_server(ground, story, tmp_path, name) for name in ("first", "second"))
    try:
        first.start()
        ci = Ci(story, tmp_path, ("--server", first.address))
        process = ci.begin(POD_FAILURE.format(duration="6s"))
        story.until_injected()
        gate_id = ci.gate_id()
        first.kill()
        second.start()
        watched = Ci(story, tmp_path, ("--server", second.address)).do("watch", gate_id)
        first.start()
        code, told = ended(process)
    finally:
        first.kill()
        second.kill()

    assert (watched[0], watched[1][-1]["reason"]) == (0, "Survived")
    assert (code, told[-1]["reason"]) == (0, "Survived")
    assert told[-1]["value"] == watched[1][-1]["value"]
    story.until_clean()
    assert len(story.experiments_created()) == 1
