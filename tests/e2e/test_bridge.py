"""The controller starts a bridge; the work is done by a server, a process of its own."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e import deployed
from tests.e2e.conftest import GROUNDS, Ground, grounds
from tests.e2e.manifests import CANARY_REPLICAS, POD_FAILURE, gate
from tests.e2e.servers import Server
from tests.e2e.story import Story


@pytest.fixture(scope="module", params=grounds("v1.10"))
def bridged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ground, Server]]:
    """Give a bed whose controller has a bridge for a plugin, and the server that it asks."""
    folder = tmp_path_factory.mktemp("bridged")
    socket = folder / "socket"
    with GROUNDS[request.param](folder, ("bridge", "--target", f"unix://{socket}")) as ground:
        deployed.apply(ground.api, "cluster")
        server = Server(ground.kubeconfig, socket, folder / "server.log")
        try:
            yield ground, server
        finally:
            server.kill()


def test_a_server_that_comes_late_and_dies_in_mid_fault_gates_a_canary(
    bridged: tuple[Ground, Server],
) -> None:
    ground, server = bridged
    ground.make_namespace("bridged")
    story = Story(ground.api, "bridged")

    story.begin(gate(POD_FAILURE.format(duration="4s"), timeout="60s"))
    story.until("the measurement waits", lambda: "does not answer" in _message(story))
    assert story.measurement()["phase"] == "Running"
    server.start()
    story.until_injected()
    server.kill()
    server.start()
    story.until_promoted()
    story.until_clean()

    measurement = story.measurement()
    assert measurement["phase"] == "Successful"
    assert json.loads(measurement["value"])["injected"] == CANARY_REPLICAS
    assert len(story.experiments_created()) == 1


def _message(story: Story) -> str:
    """Return what the measurement says, "" as long as there is none."""
    runs = story.api.items(f"{story.argo}/analysisruns")
    results = [result for run in runs for result in run.get("status", {}).get("metricResults") or ()]
    measurements = [each for result in results for each in result.get("measurements") or ()]
    return str(measurements[0].get("message", "")) if measurements else ""
