"""Gates of analyses at a replica that Argo's calls do not reach, and from a command line."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from chaosplugin.client import Client, connect
from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.core.gates import Gate, GateEvent
from chaosplugin.core.run import Stage
from chaosplugin.sandbox.api import resources
from chaosplugin.transport.bridge import BridgeProvider
from tests.provider.gate import NAMESPACE, podchaos
from tests.serving.bed import Served, bridge, config, served


class Argo:
    """Asks for one measurement as the controller does, and stores what it is answered."""

    def __init__(self, bed: Served, by: BridgeProvider, duration: str) -> None:
        self._gate = bed.gate
        self._by = by
        self._run = bed.gate.analysis_run()
        self._metric = bed.gate.metric(config(podchaos(duration=duration)))
        self.answer = Measurement(phase=Phase.PENDING)

    async def measure(self) -> None:
        """Ask until there is an answer that has ended; end early where the AnalysisRun says so."""
        self._store(await self._by.run(self._run, self._metric))
        with anyio.fail_after(60):
            while not self.answer.phase.completed:
                await anyio.sleep(0.05)
                found = self._gate.cluster.api.get(resources.ANALYSIS_RUNS, NAMESPACE, "web-1").object
                ask = self._by.terminate if found["spec"].get("terminate") else self._by.resume
                self._store(await ask(self._run, self._metric, self.answer))

    def _store(self, answer: Measurement) -> None:
        if answer.phase is self.answer.phase:
            return
        self.answer = answer
        measurement: dict[str, object] = {
            "phase": answer.phase.value,
            "message": answer.message,
            "value": answer.value,
        }
        measurement |= {"metadata": dict(answer.metadata)}
        for key, moment in (("startedAt", answer.started_at), ("finishedAt", answer.finished_at)):
            measurement |= {key: moment.isoformat()} if moment else {}
        count = int(answer.phase.completed)
        result = {"name": "chaos", "phase": "Running", "count": count, "measurements": [measurement]}
        status = {"status": {"phase": "Running", "metricResults": [result]}}
        self._gate.cluster.api.merge(resources.ANALYSIS_RUNS, NAMESPACE, "web-1", status, "status")


@asynccontextmanager
async def elsewhere(
    folder: Path, duration: str, *, ready: bool = True
) -> AsyncIterator[tuple[Served, Client, Argo]]:
    """An analysis that is asked for at one server, and a client at another one."""
    async with (
        served(folder) as bed,
        bed.server("a") as a,
        bed.server("b") as b,
        bridge(a.address) as by,
        connect(b.address) as client,
    ):
        bed.gate.deploy(annotations={} if ready else {"sandbox.chaosplugin.io/ready": "false"})
        yield bed, client, Argo(bed, by, duration)


async def told_to_the_end(client: Client, gate: Gate) -> list[GateEvent]:
    found: list[GateEvent] = []
    with anyio.fail_after(60):
        async for update in client.watch(gate.namespace, gate.id):
            found += update.events
            if found[-1].gate.stage is Stage.DONE:
                return found
    raise AssertionError


async def test_a_gate_of_an_analysis_is_listed_and_told_at_a_replica_that_does_not_work_on_it(
    tmp_path: Path,
) -> None:
    async with elsewhere(tmp_path, "2s") as (bed, client, argo), anyio.create_task_group() as tasks:
        tasks.start_soon(argo.measure)
        with anyio.fail_after(60):
            async for update in client.watch():
                if update.events:
                    break
        (listed,) = await client.list()

        told = await told_to_the_end(client, listed)

        last = told[-1].gate
        assert (last.phase, last.reason, last.owner) == (Phase.SUCCESSFUL, "Survived", "Rollout web")
        assert (last.message, last.value) == (argo.answer.message, argo.answer.value)
        assert Stage.OBSERVING in {event.gate.stage for event in told}
        assert await client.get(NAMESPACE, listed.id) == last
        assert bed.created == 1


async def test_a_gate_of_an_analysis_is_ended_at_a_replica_that_does_not_work_on_it(tmp_path: Path) -> None:
    async with elsewhere(tmp_path, "30s") as (bed, client, argo), anyio.create_task_group() as tasks:
        tasks.start_soon(argo.measure)
        await bed.gate.until(lambda: bed.gate.experiments)
        (listed,) = await client.list()

        await client.terminate(NAMESPACE, listed.id)
        last = (await told_to_the_end(client, listed))[-1].gate

        assert (last.phase, last.reason) == (Phase.INCONCLUSIVE, "Terminated")
        await bed.gate.until(lambda: not bed.gate.experiments)


async def test_a_gate_that_waits_for_its_pods_is_known_and_ended_at_the_other_replica(tmp_path: Path) -> None:
    async with elsewhere(tmp_path, "2s", ready=False) as (bed, client, argo):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(argo.measure)
            with anyio.fail_after(60):
                while not (listed := await client.list()):
                    await anyio.sleep(0.2)
            assert listed[0].stage is Stage.PROVING

            await client.terminate(NAMESPACE, listed[0].id)
            last = (await told_to_the_end(client, listed[0]))[-1].gate

        assert (last.phase, last.reason) == (Phase.INCONCLUSIVE, "Terminated")
        assert bed.created == 0


async def test_a_command_with_a_kubeconfig_lists_watches_and_stops_the_gate_of_an_analysis(
    tmp_path: Path,
) -> None:
    async with elsewhere(tmp_path, "30s") as (bed, _, argo), anyio.create_task_group() as tasks:

        async def do(*arguments: str) -> list[dict[str, str]]:
            command = [sys.executable, "-m", "chaosplugin", *arguments, "--json"]
            environ = {**os.environ, "KUBECONFIG": bed.kubeconfig}
            with anyio.fail_after(60):
                done = await anyio.run_process(command, check=False, env=environ)
            assert done.returncode == 0, done.stderr
            return [json.loads(line) for line in done.stdout.splitlines()]

        watched: list[dict[str, str]] = []

        async def watch(gate_id: str) -> None:
            watched.extend(await do("watch", gate_id))

        tasks.start_soon(argo.measure)
        await bed.gate.until(lambda: bed.gate.experiments)
        (listed,) = await do("ls")
        tasks.start_soon(watch, listed["id"])
        stopped = (await do("stop", listed["id"], "-n", NAMESPACE))[-1]
        await bed.gate.until(lambda: not bed.gate.experiments)

    assert (listed["stage"], listed["metric"]) == ("observing", "chaos")
    assert (stopped["stage"], stopped["reason"]) == ("done", "Terminated")
    assert (watched[-1]["stage"], watched[-1]["reason"]) == ("done", "Terminated")
