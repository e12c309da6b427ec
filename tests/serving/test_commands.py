"""`chaosplugin run`, `watch`, `ls` and `stop` as processes: what they print, and how they end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from chaosplugin import commands
from chaosplugin.core.analysis import Phase
from chaosplugin.core.gates import GateEvent
from chaosplugin.core.run import Stage
from chaosplugin.sandbox.api import resources
from tests.core.test_feed import event
from tests.provider.gate import HASH, NAMESPACE, podchaos
from tests.serving.bed import Served, served

TEMPLATE = """\
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: survives}
spec:
  args:
    - name: hash
    - name: lasting
      value: 3s
  metrics:
    - name: chaos
      provider:
        plugin:
          chaosplugin/chaos-mesh:
            timeout: 60s
            targetReplicaSetValue: "{{args.hash}}"
            chaosExperimentCRD: |
              apiVersion: chaos-mesh.org/v1alpha1
              kind: PodChaos
              metadata: {name: away}
              spec: {action: pod-failure, mode: all, selector: {}, duration: "{{args.lasting}}"}
"""


class Ended:
    def __init__(self, process: "subprocess.CompletedProcess[bytes]") -> None:
        self.code = process.returncode
        self.lines = process.stdout.decode().splitlines()
        self.said = process.stderr.decode()


class Ground:
    """Where commands are run: at a server, or directly."""

    def __init__(self, bed: Served, where: Sequence[str], template: Path) -> None:
        self.bed, self.where, self.template = bed, where, template

    def command(self, name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "chaosplugin", name, *arguments, *self.where]

    async def do(self, name: str, *arguments: str) -> Ended:
        with anyio.fail_after(100):
            done = await anyio.run_process(
                self.command(name, *arguments), check=False, env={**os.environ, "KUBECONFIG": ""}
            )
        return Ended(done)

    async def run(self, *arguments: str) -> Ended:
        return await self.do("run", str(self.template), "--rollout", "web", "--json", *arguments)


@asynccontextmanager
async def ground(folder: Path, how: str) -> AsyncIterator[Ground]:
    template = folder / "template.yaml"
    template.write_text(TEMPLATE)
    async with served(folder) as bed:
        bed.gate.deploy()
        if how == "direct":
            yield Ground(bed, ("--kubeconfig", bed.kubeconfig), template)
            return
        async with bed.server() as server:
            yield Ground(bed, ("--server", server.address), template)


BOTH = pytest.mark.parametrize("how", ["server", "direct"])


@BOTH
async def test_a_canary_that_survives_is_0_and_each_step_a_line(tmp_path: Path, how: str) -> None:
    async with ground(tmp_path, how) as at:
        ended = await at.run()

        assert (ended.code, ended.said) == (0, ""), ended.lines
        told = [json.loads(line) for line in ended.lines]
        stages = [each["stage"] for each in told]
        assert stages[-3:] == ["recovering", "decided", "done"]
        assert all(one != other for one, other in pairwise(stages)), "pods may change, and be proved again"
        assert told[-1]["phase"] == "Successful"
        assert told[-1]["value"]["injected"] == 2
        assert not at.bed.gate.experiments
        listed = await at.do("ls")
        assert listed.lines[0].split()[:2] == ["NAMESPACE", "ID"]
        assert told[-1]["id"] in listed.lines[1]


async def test_a_canary_that_does_not_come_back_is_1(tmp_path: Path) -> None:
    async with ground(tmp_path, "direct") as at:

        async def break_canary() -> None:
            await at.bed.gate.until(lambda: at.bed.gate.experiments, seconds=90)
            for pod in at.bed.gate.pods:
                if pod["metadata"]["labels"]["rollouts-pod-template-hash"] == HASH:
                    change = {"metadata": {"annotations": {"sandbox.chaosplugin.io/ready": "false"}}}
                    at.bed.gate.cluster.api.merge(resources.PODS, NAMESPACE, pod["metadata"]["name"], change)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(break_canary)
            ended = await at.run("--set", "steadyState={recoverWithin: 2s}")

        assert ended.code == 1, (ended.said, ended.lines)
        assert "SteadyStateBroken" in ended.lines[-1]


async def test_an_experiment_alone_against_no_pods_is_2(tmp_path: Path) -> None:
    async with ground(tmp_path, "direct") as at:
        at.bed.gate.cluster.api.merge(
            resources.REPLICA_SETS, NAMESPACE, f"web-{HASH}", {"spec": {"replicas": 0}}
        )
        await at.bed.gate.until(lambda: len(at.bed.gate.pods) == 2)
        at.template.write_text(json.dumps(podchaos()))

        ended = await at.run("--set", "targetTimeout=1s")

        assert ended.code == 2, ended.said
        assert "NoTargets" in ended.lines[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "timeOut=1m"), "did you mean timeout?"),
        (("--arg", "x=1"), "an argument of the template (hash, lasting)"),
        (("--metric", "other"), "0 metrics with a plugin called other"),
        (("--rollout", "wob"), "there is no Rollout default/wob"),
    ],
)
async def test_what_cannot_be_is_3_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    async with ground(tmp_path, "direct") as at:
        ended = await at.run(*arguments)

        assert ended.code == 3
        assert words in ended.said
        assert len(ended.said.splitlines()) == 1
        assert ended.lines == []


async def test_a_rollout_that_no_controller_has_looked_at_is_3(tmp_path: Path) -> None:
    async with ground(tmp_path, "direct") as at:
        nothing = {"status": {"currentPodHash": None}}
        at.bed.gate.cluster.api.merge(resources.ROLLOUTS, NAMESPACE, "web", nothing, "status")

        ended = await at.run()

        assert ended.code == 3
        assert "Rollout default/web tells no status.currentPodHash" in ended.said
        assert len(ended.said.splitlines()) == 1


async def test_wrong_usage_is_3_as_well(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chaosplugin", "run", str(tmp_path / "none")]
    unnamed = await anyio.run_process(command, check=False)
    missing = await anyio.run_process([*command, "--rollout", "web"], check=False)
    away = await anyio.run_process(
        [sys.executable, "-m", "chaosplugin", "ls", "--server", f"unix://{tmp_path}/s"], check=False
    )

    assert [unnamed.returncode, missing.returncode, away.returncode] == [3, 3, 3]
    assert b"--rollout" in unnamed.stderr
    assert b"none" in missing.stderr
    assert away.stderr.startswith(f"chaosplugin: no server answers at unix:{tmp_path}/s; see".encode())
    assert len(away.stderr.splitlines()) == 1


@BOTH
async def test_ctrl_c_ends_the_gate_and_waits_until_the_fault_is_undone(tmp_path: Path, how: str) -> None:
    async with ground(tmp_path, how) as at:
        command = at.command("run", str(at.template), "--rollout", "web", "--arg", "lasting=9s")
        with (tmp_path / "out").open("w") as out:
            process = await anyio.open_process(command, stdout=out, stderr=out)
            await at.bed.gate.until(lambda: at.bed.gate.experiments)
            process.send_signal(signal.SIGINT)
            with anyio.fail_after(30):
                code = await process.wait()

        assert code == 2, (tmp_path / "out").read_text()
        assert "Terminated" in (tmp_path / "out").read_text()
        assert not at.bed.gate.experiments


async def test_a_reader_that_leaves_does_not_leave_the_gate_alone(tmp_path: Path) -> None:
    async with ground(tmp_path, "direct") as at:
        command = at.command("run", str(at.template), "--rollout", "web", "--arg", "lasting=3s")
        reading, writing = os.pipe()
        with (tmp_path / "said").open("w") as said:
            process = await anyio.open_process(command, stdout=writing, stderr=said)
        os.close(writing)
        await anyio.wait_readable(reading)
        os.close(reading)
        with anyio.fail_after(60):
            code = await process.wait()

        assert (code, (tmp_path / "said").read_text()) == (0, "")
        assert not at.bed.gate.experiments


async def test_a_watch_ends_with_its_reader(tmp_path: Path) -> None:
    async with ground(tmp_path, "direct") as at:
        reading, writing = os.pipe()
        process = await anyio.open_process(at.command("watch"), stdout=writing, stderr=subprocess.DEVNULL)
        os.close(writing)
        os.close(reading)
        await at.run()
        with anyio.fail_after(60):
            code = await process.wait()

        assert code == 0


@BOTH
async def test_a_gate_whose_runner_died_is_stopped_by_its_id(tmp_path: Path, how: str) -> None:
    async with ground(tmp_path, how) as at:
        command = at.command("run", str(at.template), "--rollout", "web", "--arg", "lasting=9s")
        process = await anyio.open_process(command, stdout=subprocess.DEVNULL)
        await at.bed.gate.until(lambda: at.bed.gate.experiments)
        process.kill()
        await process.wait()
        (experiment,) = at.bed.gate.experiments
        gate_id = experiment["metadata"]["labels"]["chaosplugin.io/run"]

        stopped = await at.do("stop", gate_id, "--json")

        assert stopped.code == 0, stopped.said
        assert json.loads(stopped.lines[-1])["message"] == "Terminated: the gate ended early: it was stopped"
        assert not at.bed.gate.experiments
        assert (await at.do("stop", "0123456789")).code == 3


async def test_a_watch_tells_of_a_gate_that_another_has_started(tmp_path: Path) -> None:
    async with ground(tmp_path, "direct") as at:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(at.run, "--arg", "lasting=3s")
            await at.bed.gate.until(lambda: at.bed.gate.experiments)
            (experiment,) = at.bed.gate.experiments
            gate_id = experiment["metadata"]["labels"]["chaosplugin.io/run"]

            watched = await at.do("watch", gate_id, "-n", "default", "--json")

        assert watched.code == 0, watched.said
        told = [json.loads(line) for line in watched.lines]
        assert {each["id"] for each in told} == {gate_id}
        assert told[-1]["stage"] == "done"
        assert at.bed.created == 1


@BOTH
async def test_a_watch_of_a_gate_that_has_ended_ends_and_of_none_is_an_error(
    tmp_path: Path, how: str
) -> None:
    async with ground(tmp_path, how) as at:
        ran = await at.run()

        watched = await at.do("watch", json.loads(ran.lines[-1])["id"], "--json")
        missed = await at.do("watch", "0123456789")

        assert watched.code == 0, watched.said
        assert json.loads(watched.lines[-1])["stage"] == "done"
        assert (missed.code, missed.said) == (3, "chaosplugin: no gate 0123456789 in any namespace\n")


def test_what_others_have_written_is_no_command_to_a_terminal_and_need_not_be_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gate = replace(
        event(1).gate, stage=Stage.DONE, phase=Phase.FAILED, message="a\x1b[2J\nb", value="no JSON"
    )

    commands._tell(GateEvent(gate, None, event(1).at), as_json=False)
    commands._tell(GateEvent(gate, None, event(1).at), as_json=True)

    line, shown = capsys.readouterr().out.splitlines()
    assert line.endswith("Failed a?[2J?b")
    assert json.loads(shown)["value"] == "no JSON"


def test_a_verdict_and_the_end_of_the_clean_up_are_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for stage in (Stage.DECIDED, Stage.DONE):
        gate = replace(event(1).gate, stage=stage, phase=Phase.FAILED, message="Timeout: x")
        commands._tell(GateEvent(gate, None, event(1).at), as_json=False)

    decided, done = capsys.readouterr().out.splitlines()
    assert decided.endswith(" Failed decided: Timeout: x")
    assert done.endswith(" Failed Timeout: x")
