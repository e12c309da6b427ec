"""Gates of an analysis and gates without one on the same canary: they take turns, whoever works on them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from chaosplugin.client import Client, connect
from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.core.gates import Gate
from chaosplugin.core.run import Stage
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.store import Change
from tests.serving.bed import Served, config, served


class Faults:
    """How many experiments have a fault on at a time."""

    def __init__(self, bed: Served) -> None:
        self._live: set[str] = set()
        self.most = 0
        for resource in resources.TABLE:
            if resource.kind in {"PodChaos", "NetworkChaos"}:
                bed.gate.cluster.store.listen(self._hear, resource)

    def _hear(self, change: Change) -> None:
        experiment = change.stored.object
        conditions = experiment.get("status", {}).get("conditions") or ()
        over = change.type == "DELETED" or {"type": "AllRecovered", "status": "True"} in conditions
        (self._live.discard if over else self._live.add)(experiment["metadata"]["uid"])
        self.most = max(self.most, len(self._live))


@asynccontextmanager
async def at_a_server(folder: Path) -> AsyncIterator[tuple[Served, Client, Faults]]:
    """Argo's gates are the plugin's, in this process, the others a server's."""
    async with served(folder) as bed, bed.server() as server, connect(server.address) as client:
        bed.gate.deploy()
        yield bed, client, Faults(bed)


def delay(duration: str) -> dict[str, object]:
    """Return an experiment of another kind than `podchaos`."""
    spec = {"action": "delay", "mode": "all", "delay": {"latency": "10ms"}, "duration": duration}
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "NetworkChaos",
        "metadata": {"name": "slow"},
        "spec": spec,
    }


async def ended(client: Client, gate: Gate) -> Gate:
    with anyio.fail_after(60):
        async for update in client.watch(gate.namespace, gate.id):
            for event in update.events:
                if event.gate.stage is Stage.DONE:
                    return event.gate
    raise AssertionError("the watch ended")


async def test_a_gate_of_a_client_waits_for_the_analysis(tmp_path: Path) -> None:
    async with at_a_server(tmp_path) as (bed, client, faults), anyio.create_task_group() as tasks:
        answers: list[Measurement] = []

        async def judge() -> None:
            answers.append(await bed.gate.judge(bed.gate.analysis_run(), config(delay("2s"))))

        tasks.start_soon(judge)
        await bed.gate.until(lambda: faults.most)
        begun = await client.start("default", "web", config())
        gate = await ended(client, begun)

        assert [answer.phase for answer in answers] == [Phase.SUCCESSFUL], "it was the first"
        assert gate.phase is Phase.SUCCESSFUL, gate.message
        assert faults.most == 1


async def test_an_analysis_waits_for_the_gate_of_a_client(tmp_path: Path) -> None:
    async with at_a_server(tmp_path) as (bed, client, faults):
        begun = await client.start("default", "web", config(delay("2s")))
        await bed.gate.until(lambda: faults.most)

        answer = await bed.gate.judge(bed.gate.analysis_run(), config())
        gate = await client.get("default", begun.id)

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        assert gate.phase is Phase.SUCCESSFUL, gate.message
        assert faults.most == 1


async def test_gates_that_begin_at_the_same_time_take_turns(tmp_path: Path) -> None:
    async with (
        at_a_server(tmp_path) as (bed, client, faults),
        bed.server("b") as other,
        connect(other.address) as at_b,
    ):
        answers: list[Measurement] = []

        async def judge() -> None:
            answers.append(await bed.gate.judge(bed.gate.analysis_run(), config(), seconds=180))

        gates: list[Gate] = []

        async def run(by: Client, name: str) -> None:
            gates.append(await ended(by, await by.start("default", "web", config(delay("3s")), name=name)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(judge)
            tasks.start_soon(run, client, "one")
            tasks.start_soon(run, at_b, "two")

        phases = [each.phase for each in answers] + [gate.phase for gate in gates]
        assert phases == [Phase.SUCCESSFUL] * 3
        assert faults.most == 1
