"""What a server tells of itself: metrics, readiness, and a log that a machine reads."""

import json
import re
from pathlib import Path

import pytest

from chaosplugin import cli
from chaosplugin.client import connect
from chaosplugin.core.analysis import Phase
from tests.observability.judges import free_ports
from tests.provider.gate import podchaos
from tests.serving.bed import bridge, config, served
from tests.telemetry.test_http import get


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


async def _pages(url: str) -> dict[str, str]:
    found = {}
    for path in ("/readyz", "/metrics", "/debug/runs"):
        status, _, found[path] = await get(f"{url}{path}")
        assert status == 200
    return found


def test_a_bad_metrics_address_of_a_server_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--listen", "unix:///socket", "--metrics-address", "9464"])

    assert ended.value.code == 2
    assert "wanted HOST:PORT or :PORT" in capsys.readouterr().err
