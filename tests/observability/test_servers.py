"""What a server, and a command that does the work itself, tell Prometheus and Jaeger."""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import msgspec
import pytest

from chaosplugin.client import connect
from chaosplugin.core.analysis import Phase
from tests.observability import judges
from tests.observability.judges import Json
from tests.observability.queries import FOLDER
from tests.provider.gate import podchaos
from tests.serving.bed import bridge, config, served
from tests.serving.test_gates import ended

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]  # the first test of a machine brings the judges


async def _play(folder: Path, environment: Mapping[str, str], address: str) -> None:
    """Play three gates one after the other: of an analysis by a bridge, of a client, and of a command."""
    template = folder / "experiment.yaml"
    template.write_bytes(msgspec.json.encode(podchaos()))
    async with AsyncExitStack() as stack:
        bed = await stack.enter_async_context(served(folder))
        options = ("--metrics-address", address)
        server = await stack.enter_async_context(bed.server(options=options))
        by = await stack.enter_async_context(bridge(server.address))
        client = await stack.enter_async_context(connect(server.address))
        bed.gate.deploy()
        answer = await bed.gate.judge(bed.gate.analysis_run(), config(), by=by)
        gate, _ = await ended(client, await client.start("default", "web", config()))
        await anyio.sleep(2)  # a scrape after the last gate
        await server.end()  # with its last spans: it would work on the gate of the command, too
        command = [sys.executable, "-m", "chaosplugin", "run", str(template), "--rollout", "web"]
        ran = await anyio.run_process(
            [*command, "--set", "timeout=60s", "--kubeconfig", bed.kubeconfig], env=environment, check=False
        )

    assert (answer.phase, gate.phase) == (Phase.SUCCESSFUL, Phase.SUCCESSFUL)
    assert (ran.returncode, ran.stderr) == (0, b"")


def _names(spans: list[Json]) -> set[str]:
    return {span["operationName"] for span in spans}


def _connected(spans: list[Json]) -> bool:
    """Tell whether all spans hang together under one root."""
    ids = {span["spanID"] for span in spans}
    parents = [each["spanID"] for span in spans for each in span["references"]]
    return set(parents) <= ids and sum(not span["references"] for span in spans) == 1


def test_gates_by_a_bridge_a_client_and_a_command_are_counted_and_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = judges.free_ports(1)
    address = f"127.0.0.1:{port}"
    began = time.time()  # noqa: TID251 - Prometheus's own clock
    with (
        judges.jaeger(tmp_path / "jaeger") as jaeger,
        judges.prometheus(tmp_path / "prometheus", address, FOLDER / "rules.yaml") as prometheus,
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.otlp)
        bed = tmp_path / "bed"
        bed.mkdir()
        anyio.run(_play, bed, {**os.environ, "KUBECONFIG": ""}, address)
        counted = prometheus.over("sum(rollouts_chaos_gates_total)", began, time.time())  # noqa: TID251
        judges.wait_for("the traces of three gates", lambda: len(_gates(jaeger.traces())) >= 3, 20)
        traces = _gates(jaeger.traces())

    assert max(float(value) for series in counted for _, value in series["values"]) == 2
    assert len(traces) == 3
    for spans in traces:
        assert _connected(spans), sorted(_names(spans))
        assert {"chaos_gate PodChaos", "proof", "create podchaos", "recover"} <= _names(spans)
    called = [{name for name in _names(spans) if "MetricProviderService/" in name} for spans in traces]
    assert sorted(map(len, called)) == [0, 0, 2], "Run and Resume of the one that came by the bridge"


def _gates(traces: list[Json]) -> list[list[Json]]:
    found = [trace["spans"] for trace in traces]
    return [spans for spans in found if any(name.startswith("chaos_gate") for name in _names(spans))]
