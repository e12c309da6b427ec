"""Gates by the Go client that is generated of proto/, as another program would start and follow them."""

import json
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.interop.hosts import Host
from tests.provider.gate import podchaos
from tests.serving.bed import config, served

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the host


@pytest.mark.parametrize("plugin", ["installed"], indirect=True)
async def test_gates_are_started_followed_across_watches_ended_and_listed(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "bed"
    folder.mkdir()
    async with served(folder) as bed, bed.server() as server:
        bed.gate.deploy()
        wanted = json.dumps(config(podchaos(duration="3s")))

        def play() -> Any:
            return host.ask("grpc_gates", address=str(server.socket), run_json=wanted)

        answer = await to_thread.run_sync(play)

    assert answer.error == ""
    told = answer.result
    assert told["field"] == "rollout"
    assert told["first"][0] == "KIND_SNAPSHOT"
    assert "KIND_SNAPSHOT" not in told["rest"], "the token said where the first watch was left"
    assert told["stages"] == ["STAGE_RECOVERING", "STAGE_DECIDED", "STAGE_DONE"]
    assert (told["phase"], json.loads(told["value"])["injected"]) == ("PHASE_SUCCESSFUL", 2)
    assert told["ended"] == "Terminated"
    assert told["listed"] == [True, True, True]
