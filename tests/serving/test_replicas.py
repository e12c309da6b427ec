"""Two servers for one cluster, as a Deployment has them."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from chaosplugin import serving
from chaosplugin.client import connect
from chaosplugin.core.analysis import Phase
from chaosplugin.core.run import Stage
from chaosplugin.kube.records import RecordCluster
from chaosplugin.provider.ports import Cluster
from chaosplugin.provider.sweeping import sweep_for_ever
from chaosplugin.sandbox.api import resources
from tests.provider.gate import clock, podchaos
from tests.serving.bed import Served, Server, bridge, config, one_address, served

NAME = "default/chaosplugin"
A_WHILE = timedelta(minutes=15)


@pytest.mark.parametrize("killed", [0, 1])
async def test_of_two_servers_either_may_die_and_the_fault_comes_once(tmp_path: Path, killed: int) -> None:
    lease = ("--lease", NAME)
    async with (
        served(tmp_path) as bed,
        bed.server("a", lease) as a,
        bed.server("b", lease) as b,
        bridge(a.address) as by_a,
        bridge(b.address) as by_b,
    ):
        bed.gate.deploy()
        run, metric = bed.gate.analysis_run(), bed.gate.metric(config(podchaos(duration="2s")))
        answer = await by_a.run(run, metric)
        answer = await by_b.resume(run, metric, answer)  # both work on it from here on
        await bed.gate.until(lambda: bed.gate.experiments)

        await (a, b)[killed].kill()
        left = (by_b, by_a)[killed]
        with anyio.fail_after(60):
            while not answer.phase.completed:
                answer = await left.resume(run, metric, answer)
                await anyio.sleep(0.05)
        await bed.gate.until(lambda: not bed.gate.experiments)

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        assert bed.created == 1
        assert len([key for key in bed.gate.annotations() if "verdict" in key]) == 1


def _state(bed: Served) -> str:
    """Return how far the only gate's fault is."""
    found = [each.get("status", {}).get("conditions") or [] for each in bed.gate.experiments]
    conditions = {each["type"] for each in found[0] if each["status"] == "True"} if found else set()
    return "on" if "AllInjected" in conditions else "over" if "AllRecovered" in conditions else ""


@asynccontextmanager
async def _two(folder: Path) -> AsyncIterator[tuple[Served, tuple[Server, Server], str]]:
    """Two servers behind one address, and a canary."""
    lease = ("--lease", NAME)
    async with (
        served(folder) as bed,
        bed.server("a", lease) as a,
        bed.server("b", lease) as b,
        one_address(a, b) as address,
    ):
        bed.gate.deploy()
        yield bed, (a, b), address


async def _kill_in_turn(bed: Served, servers: tuple[Server, Server]) -> None:
    """Kill one, then the other, at each point of a gate's way; each is back before the next point."""
    first, second = servers
    for point in (
        lambda: bed.gate.experiments,
        lambda: _state(bed) == "on",
        lambda: _state(bed) == "over" or not bed.gate.experiments,
        lambda: not bed.gate.experiments,
    ):
        await bed.gate.until(point, 60)
        await first.kill()
        await first.start()
        first, second = second, first


async def test_of_a_clients_gate_nothing_is_lost_whichever_is_killed_and_when(tmp_path: Path) -> None:
    async with (
        _two(tmp_path) as (bed, servers, address),
        connect(address) as client,
        anyio.create_task_group() as tasks,
    ):
        begun = await client.start("default", "web", config(podchaos(duration="8s")))
        tasks.start_soon(_kill_in_turn, bed, servers)
        verdicts = set()
        with anyio.fail_after(90):
            async for update in client.watch(begun.namespace, begun.id):
                told = [event.gate for event in update.events]
                verdicts |= {(gate.phase, gate.value) for gate in told if gate.phase.completed}
                if any(gate.stage is Stage.DONE for gate in told):
                    break

    assert [phase for phase, _ in verdicts] == [Phase.SUCCESSFUL], verdicts
    assert bed.created == 1


async def test_of_an_analysis_nothing_is_lost_whichever_is_killed_and_when(tmp_path: Path) -> None:
    async with (
        _two(tmp_path) as (bed, servers, address),
        bridge(address) as by,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_kill_in_turn, bed, servers)
        run, metric = bed.gate.analysis_run(), bed.gate.metric(config(podchaos(duration="8s")))
        answer = await by.run(run, metric)
        with anyio.fail_after(90):
            while not answer.phase.completed:
                await anyio.sleep(0.2)
                answer = await by.resume(run, metric, answer)

        assert answer.phase is Phase.SUCCESSFUL, answer.message
    assert bed.created == 1
    assert len([key for key in bed.gate.annotations() if "verdict" in key]) == 1


def _command(name: str, at: Server, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "chaosplugin", name, *arguments, "--server", at.address, "--json"]


async def _do(name: str, at: Server, *arguments: str) -> list[dict[str, str]]:
    with anyio.fail_after(60):
        done = await anyio.run_process(_command(name, at, *arguments), check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("asked", [0, 1])
async def test_a_gate_is_listed_followed_and_stopped_at_the_replica_that_did_not_start_it(
    tmp_path: Path, asked: int
) -> None:
    template = tmp_path / "template.json"
    template.write_text(json.dumps(podchaos(duration="20s")))
    codes: list[int] = []
    told: list[dict[str, str]] = []
    async with _two(tmp_path) as (bed, servers, _):
        other, at = servers[1 - asked], servers[asked]

        async def run() -> None:
            begin = _command("run", other, str(template), "--rollout", "web", "--set", "timeout=60s")
            codes.append((await anyio.run_process(begin, check=False)).returncode)

        async def follow(gate_id: str) -> None:
            told.extend(await _do("watch", at, gate_id))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await bed.gate.until(lambda: bed.gate.experiments)
            (listed,) = await _do("ls", at)
            tasks.start_soon(follow, listed["id"])
            await bed.gate.until(lambda: _state(bed) == "on")
            (*_, stopped) = await _do("stop", at, listed["id"])

    assert (codes, stopped["reason"]) == ([2], "Terminated")
    assert (told[-1]["stage"], told[-1]["reason"]) == ("done", "Terminated")


async def test_a_token_of_another_replica_begins_a_watch_anew(tmp_path: Path) -> None:
    async with _two(tmp_path) as (_, (a, b), _), connect(a.address) as at_a, connect(b.address) as at_b:
        gate = await at_a.start("default", "web", config())
        first = await anext(at_a.watch(gate.namespace, gate.id))

        with anyio.fail_after(60):
            async for update in at_b.watch(gate.namespace, gate.id, resume_token=first.resume_token):
                assert update.missed == 0
                if any(event.gate.stage is Stage.DONE for event in update.events):
                    break

        assert update.events[-1].gate.phase is Phase.SUCCESSFUL


async def test_one_of_two_servers_holds_the_lease_and_gives_it_back(tmp_path: Path) -> None:
    async with served(tmp_path) as bed, bed.server("a", ("--lease", NAME)) as a:

        def holder() -> str:
            found = bed.gate.cluster.store.get(resources.LEASES, *NAME.split("/"))
            return str(found.copy()["spec"]["holderIdentity"]) if found else ""

        await bed.gate.until(holder)
        first = holder()
        async with bed.server("b", ("--lease", NAME)):
            assert holder() == first
            await a.end()
            assert holder() == ""


async def test_a_lease_is_one_holders_until_it_runs_out(tmp_path: Path) -> None:
    async with served(tmp_path) as bed:
        home = RecordCluster.beside(bed.gate.home)
        one, two = (home.lease("default", "x", holder) for holder in ("one", "two"))

        assert await one.take(clock(), A_WHILE)
        assert not await two.take(clock(), A_WHILE)
        assert await one.take(clock(), A_WHILE), "it is renewed"
        assert not await two.take(clock() + A_WHILE / 2, A_WHILE)
        assert await two.take(clock() + 2 * A_WHILE, A_WHILE), "the holder is dead"
        assert not await one.take(clock(), A_WHILE)
        await one.give_back(clock())
        assert not await one.take(clock(), A_WHILE), "it was not one's to give back"
        await two.give_back(clock())
        assert await one.take(clock(), A_WHILE)


async def test_a_lease_is_taken_by_the_clock_that_is_compared_with_the_api_servers(tmp_path: Path) -> None:
    """The machine's may be set meanwhile: by an hour, and nobody would sweep for that long after a death."""
    async with served(tmp_path) as bed:
        home = RecordCluster.beside(bed.gate.home)
        async with serving._turns(home, NAME, lambda: clock() - timedelta(hours=1)) as turn:
            assert turn is not None
            assert await turn()

            assert await home.lease("default", "chaosplugin", "another").take(clock(), A_WHILE)


async def test_who_has_no_turn_does_not_sweep() -> None:
    asked = anyio.Event()

    async def turn() -> bool:
        asked.set()
        return False

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sweep_for_ever, untouched, bool, lambda _: None, None, turn)
        await asked.wait()
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def untouched() -> Cluster:
    raise AssertionError("the cluster was looked at")
