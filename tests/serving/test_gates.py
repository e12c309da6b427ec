"""Gates that no analysis asks for, started and followed by the typed client."""

import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from chaosplugin.client import Client, ClientError, connect
from chaosplugin.core.analysis import Phase
from chaosplugin.core.gates import Gate
from chaosplugin.core.run import Stage
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, PLUGIN_ROLE, UPSTREAM_ROLE, rule
from tests.provider.gate import HASH, podchaos
from tests.serving.bed import Served, bridge, config, served

NO_CONFIG_MAPS = [each for each in UPSTREAM_ROLE if "configmaps" not in each.resources]


async def ended(client: Client, gate: Gate) -> tuple[Gate, list[Stage]]:
    """Follow a gate to its end; return it, and its stages on the way."""
    stages: list[Stage] = []
    with anyio.fail_after(60):
        async for update in client.watch(gate.namespace, gate.id):
            for event in update.events:
                stages.append(event.gate.stage)
                if event.gate.stage is Stage.DONE:
                    return event.gate, stages
    raise AssertionError


def records(bed: Served) -> list[dict[str, object]]:
    found = (each.copy() for each in bed.gate.cluster.api.list(resources.CONFIG_MAPS, "default"))
    return [each for each in found if "asked" in each.get("data", {})]


async def test_a_gate_is_started_and_followed_to_its_end(tmp_path: Path) -> None:
    async with served(tmp_path) as bed, bed.server() as server, connect(server.address) as client:
        bed.gate.deploy()

        begun = await client.start("default", "web", config())
        gate, stages = await ended(client, begun)

        assert (gate.phase, gate.reason) == (Phase.SUCCESSFUL, "Survived"), gate.message
        assert gate.owner == "Rollout web"
        assert [stage for stage in Stage if stage in stages][-3:] == [
            Stage.RECOVERING,
            Stage.DECIDED,
            Stage.DONE,
        ]
        assert bed.created == 1
        await bed.gate.until(lambda: not bed.gate.experiments)
        assert (await client.get("default", gate.id)).phase is Phase.SUCCESSFUL
        assert [each.id for each in await client.list()] == [gate.id]


async def test_a_start_that_is_repeated_starts_nothing_and_another_content_is_refused(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as bed, bed.server() as server, connect(server.address) as client:
        bed.gate.deploy()

        first = await client.start("default", "web", config(), name="ci-1")
        again = await client.start("default", "web", config(), name="ci-1")
        with pytest.raises(ClientError) as other:
            await client.start("default", "web", config(timeout="30s"), name="ci-1")

        assert again.id == first.id
        assert other.value.code == "ALREADY_EXISTS"
        assert len(records(bed)) == 1


@pytest.mark.parametrize(
    ("rollout", "changes", "code", "field"),
    [
        ("web", {"timeOut": "20s"}, "INVALID_ARGUMENT", "config"),
        ("web", {"timeout": "1s"}, "INVALID_ARGUMENT", "config.timeout"),
        ("missing", {}, "NOT_FOUND", ""),
        ("", {}, "INVALID_ARGUMENT", "rollout"),
        (
            "web",
            {"chaosMeshEndpoint": "https://elsewhere", "credentials": {"secretName": "x"}},
            "FAILED_PRECONDITION",
            "",
        ),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, rollout: str, changes: dict[str, object], code: str, field: str
) -> None:
    async with served(tmp_path) as bed, bed.server() as server, connect(server.address) as client:
        bed.gate.deploy()

        with pytest.raises(ClientError) as refused:
            await client.start("default", rollout, config(**changes))

        assert refused.value.code == code, str(refused.value)
        assert list(refused.value.fields) == ([field] if field else [])
        assert records(bed) == []
        assert bed.created == 0


async def test_scope_is_proved_for_a_named_rollout_too(tmp_path: Path) -> None:
    async with served(tmp_path) as bed, bed.server() as server, connect(server.address) as client:
        bed.gate.deploy()
        promoted = {"status": {"stableRS": HASH}}
        bed.gate.cluster.api.merge(resources.ROLLOUTS, "default", "web", promoted, "status")

        gate, _ = await ended(client, await client.start("default", "web", config()))

        assert (gate.phase, gate.reason) == (Phase.ERROR, "ScopeRefused")
        assert "stable version" in gate.message
        assert bed.created == 0


async def test_a_gate_that_is_terminated_undoes_its_fault(tmp_path: Path) -> None:
    async with served(tmp_path) as bed, bed.server() as server, connect(server.address) as client:
        bed.gate.deploy()
        gate = await client.start("default", "web", config(podchaos(duration="8s")))
        await bed.gate.until(lambda: bed.gate.experiments)

        await client.terminate("default", gate.id)
        gate, _ = await ended(client, gate)

        assert (gate.phase, gate.reason) == (Phase.INCONCLUSIVE, "Terminated")
        await bed.gate.until(lambda: not bed.gate.experiments)


async def test_a_gate_outlives_its_server_and_its_watch_goes_on(tmp_path: Path) -> None:
    async with served(tmp_path) as bed, bed.server() as server, connect(server.address) as client:
        bed.gate.deploy()
        gate = await client.start("default", "web", config(podchaos(duration="3s")))

        async def interrupt() -> None:
            await bed.gate.until(lambda: bed.gate.experiments)
            await server.kill()
            await server.start()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(interrupt)
            gate, _ = await ended(client, gate)

        assert gate.phase is Phase.SUCCESSFUL, gate.message
        assert bed.created == 1


async def test_two_servers_work_on_a_gate_and_the_death_of_one_is_not_felt(tmp_path: Path) -> None:
    async with (
        served(tmp_path) as bed,
        bed.server("a", ("--lease", "default/x")) as a,
        bed.server("b", ("--lease", "default/x")) as b,
        connect(a.address) as at_a,
        connect(b.address) as at_b,
    ):
        bed.gate.deploy()
        gate = await at_a.start("default", "web", config(podchaos(duration="3s")))
        await bed.gate.until(lambda: bed.gate.experiments)
        await a.kill()

        gate, _ = await ended(at_b, gate)

        assert gate.phase is Phase.SUCCESSFUL, gate.message
        assert bed.created == 1
        assert len(records(bed)) == 1


async def test_a_server_without_rights_on_configmaps_serves_argo_alone_and_says_so(tmp_path: Path) -> None:
    async with served(tmp_path) as bed:
        bed.gate.cluster.access.revoke(ARGO_ROLLOUTS)
        bed.gate.cluster.access.grant(ARGO_ROLLOUTS, (*NO_CONFIG_MAPS, *PLUGIN_ROLE))
        async with bed.server() as server, connect(server.address) as client, bridge(server.address) as by:
            await server.said("only AnalysisRuns are gated")
            bed.gate.deploy()
            run, metric = bed.gate.analysis_run(), bed.gate.metric(config())
            answer = await by.run(run, metric)

            (listed,) = await client.list()
            with pytest.raises(ClientError) as refused:
                await client.start("default", "web", config())

            assert listed.id == answer.metadata["chaosplugin.io/run"]
            assert refused.value.code == "FAILED_PRECONDITION"
            assert "configmaps" in str(refused.value)


async def test_a_gate_that_ended_before_its_server_began_can_be_watched(tmp_path: Path) -> None:
    async with served(tmp_path) as bed, bed.server() as server, connect(server.address) as client:
        bed.gate.deploy()
        gate, _ = await ended(client, await client.start("default", "web", config()))
        await server.kill()
        await server.start()

        again, _ = await ended(client, gate)

        assert (again.id, again.phase, again.value) == (gate.id, gate.phase, gate.value)


async def test_a_server_that_follows_no_namespaces_takes_up_a_gate_that_is_asked_for(tmp_path: Path) -> None:
    async with served(tmp_path) as bed:
        bed.gate.cluster.access.revoke(ARGO_ROLLOUTS)
        here = rule("get list watch create update patch delete", "", "configmaps", namespace="default")
        bed.gate.cluster.access.grant(ARGO_ROLLOUTS, (*NO_CONFIG_MAPS, *PLUGIN_ROLE, here))
        async with bed.server() as server, connect(server.address) as client:
            bed.gate.deploy()
            gate = await client.start("default", "web", config(podchaos(duration="4s")))
            await bed.gate.until(lambda: bed.gate.experiments)
            await server.kill()
            await server.start()

            gate, _ = await ended(client, gate)

        assert gate.phase is Phase.SUCCESSFUL, gate.message
        assert bed.created == 1


async def test_the_example_of_the_manual_tells_whether_a_canary_survives(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", manual, re.DOTALL | re.MULTILINE)
    async with served(tmp_path) as bed, bed.server() as server:
        bed.gate.deploy()
        names: dict[str, Any] = {}
        exec(example.replace("unix:///run/chaosplugin/socket", server.address), names)  # noqa: S102
        with anyio.fail_after(60):
            assert await names["survives"](json.dumps(podchaos()))
