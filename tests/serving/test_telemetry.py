"""What a server tells of itself: metrics, readiness, and a log that a machine reads."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest

from chaosplugin import cli
from chaosplugin.client import Client, connect
from chaosplugin.core.analysis import Phase
from chaosplugin.core.gates import Gate
from chaosplugin.sandbox.api import resources
from chaosplugin.transport.grpc.addresses import Address, Target
from tests.observability.judges import free_ports
from tests.provider.gate import HASH, podchaos
from tests.serving.bed import bridge, config, served
from tests.serving.test_gates import ended
from tests.telemetry.test_http import get
from tests.transport.grpc.bed import Authority
from tests.transport.grpc.test_callers import code


async def test_a_server_counts_and_logs_as_the_plugin_does(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    options = ["--metrics-address", f"127.0.0.1:{port}", "--log-format", "json"]
    url = f"http://127.0.0.1:{port}"
    async with (
        served(tmp_path) as bed,
        bed.server(options=options) as server,
        bridge(server.address) as by,
        connect(server.address) as client,
    ):
        await server.said('"serving at')
        bed.gate.deploy()
        answer = await bed.gate.judge(bed.gate.analysis_run(), config(), by=by)
        assert answer.phase is Phase.SUCCESSFUL
        own = await client.start("default", "web", config(podchaos(duration="40s")), name="own")
        pages = await _pages(url)

        assert re.search(
            r'rollouts_chaos_rpc_duration_seconds_count\{.*method="Run".*\} 1\.0', pages["/metrics"]
        )
        assert re.search(r"rollouts_chaos_gates_total\{.*\} 1\.0", pages["/metrics"])
        assert own.id in pages["/debug/runs"]
        for line in server.log.read_text().splitlines():
            assert {"@level", "@message", "@timestamp"} <= json.loads(line).keys()


async def test_a_stranger_leaves_no_line_in_the_log_that_is_none_of_ours(tmp_path: Path) -> None:
    """As gRPC's own are, of each handshake that fails."""
    (port,) = free_ports(1)
    authority = Authority(tmp_path / "pki")
    files = ("--tls-cert", authority.server["certificate"], "--tls-key", authority.server["key"])
    who = ("--client-ca", authority.ca, "--allow-client", "bob")
    options = ("--listen", f"127.0.0.1:{port}", *files, *who, "--log-format", "json")
    async with served(tmp_path) as bed, bed.server(options=options) as server:
        nobody = Target(Address(host="127.0.0.1", port=port), ca=authority.ca)
        assert await code(nobody) is grpc.StatusCode.UNAVAILABLE
        await server.end()

        for line in server.log.read_text().splitlines():
            assert {"@level", "@message", "@timestamp"} <= json.loads(line).keys()


async def _pages(url: str) -> dict[str, str]:
    found = {}
    for path in ("/readyz", "/metrics", "/debug/runs"):
        status, _, found[path] = await get(f"{url}{path}")
        assert status == 200
    return found


async def counted(address: str) -> Counter[str]:
    """Return how many gates a process has counted, by the reason of their end."""
    _, _, page = await get(f"http://{address}/metrics")
    found: Counter[str] = Counter()
    for reason, number in re.findall(
        r'^rollouts_chaos_gates_total\{.*reason="(\w+)".*\} (\S+)$', page, re.MULTILINE
    ):
        found[reason] += round(float(number))
    return +found


async def test_a_gate_that_two_servers_work_on_is_counted_and_logged_by_one(tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    async with (
        served(tmp_path) as bed,
        bed.server("a", ("--metrics-address", addresses[0])) as a,
        bed.server("b", ("--metrics-address", addresses[1])) as b,
        connect(a.address) as at_a,
        connect(b.address) as at_b,
    ):
        bed.gate.deploy()
        for _ in range(3):
            await _seen_by(at_b, await _ended(at_a, config()))
        promoted = {"status": {"stableRS": HASH}}
        bed.gate.cluster.api.merge(resources.ROLLOUTS, "default", "web", promoted, "status")
        refused = await _ended(at_a, config())
        await _seen_by(at_b, refused)
        found = [await counted(address) for address in addresses]
        logged = "".join(server.log.read_text() for server in (a, b))

    assert refused.reason == "ScopeRefused"
    assert sum(found, Counter()) == {"Survived": 3, "ScopeRefused": 1}, found
    assert [logged.count(f"gate ended: {reason}") for reason in ("Survived", "ScopeRefused")] == [3, 1]


async def _ended(client: Client, asked: Mapping[str, object]) -> Gate:
    return (await ended(client, await client.start("default", "web", asked)))[0]


async def _seen_by(client: Client, gate: Gate) -> None:
    """Wait until a server is done with a gate, too."""
    again, _ = await ended(client, gate)
    assert (again.phase, again.message) == (gate.phase, gate.message)


def test_a_bad_metrics_address_of_a_server_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--listen", "unix:///socket", "--metrics-address", "9464"])

    assert ended.value.code == 2
    assert "wanted HOST:PORT or :PORT" in capsys.readouterr().err
