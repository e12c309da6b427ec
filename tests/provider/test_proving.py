"""What the proof of scope rests on is read anew before it is held against a gate."""

from pathlib import Path

import anyio

from chaosplugin.core.analysis import Phase
from chaosplugin.sandbox.api import resources
from tests.provider.gate import LABEL, NAMESPACE, STABLE, config, gate


async def test_a_stable_replica_set_of_which_a_silent_watch_does_not_tell_is_read(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        assert await bed.home.list_replica_sets(NAMESPACE, f"{LABEL}={STABLE}")
        bed.cluster.api.delete(resources.REPLICA_SETS, NAMESPACE, f"web-{STABLE}")
        with anyio.fail_after(10):
            while await bed.home.list_replica_sets(NAMESPACE, f"{LABEL}={STABLE}"):
                await anyio.sleep(0.01)
        bed.cluster.faults.freeze_watches(resources.REPLICA_SETS.plural)
        rollout = bed.cluster.api.get(resources.ROLLOUTS, NAMESPACE, "web")
        bed.replica_set(STABLE, rollout.object, 2)

        answer = await bed.judge(bed.analysis_run(), config())

        assert answer.phase is Phase.SUCCESSFUL, answer.message
