"""What the proof of scope rests on is read anew before it is held against a gate."""

from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from chaosplugin.core.analysis import Phase
from chaosplugin.core.topics import PodsTopic, Synced
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.faults import where
from tests.provider.gate import HASH, LABEL, NAMESPACE, STABLE, Gate, config, gate
from tests.provider.test_steady_state import canary, ready


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


async def test_restarts_that_a_watch_which_was_cut_has_still_to_tell_are_not_the_fault_s(
    tmp_path: Path,
) -> None:
    """A healthy canary was judged by how it had been before the cut."""
    async with gate(tmp_path) as bed, AsyncExitStack() as stack:
        bed.deploy()
        await bed.until(lambda: ready(bed) == 2)
        told = await stack.enter_async_context(bed.home.watch(PodsTopic(NAMESPACE, LABEL, HASH)))
        while not isinstance(await anext(told), Synced):
            pass
        listed = bed.cluster.faults.delay(0.0, where("list", "pods"))
        held = bed.cluster.faults.hold(where("watch", "pods"))
        bed.cluster.faults.cut_watches("pods")
        name = canary(bed)[0]["metadata"]["name"]
        bed.cluster.kubelet.restart(NAMESPACE, name, "web")
        await bed.until(lambda: restarts(bed) == 1 and ready(bed) == 2)

        async def catch_up() -> None:
            await bed.heard(lambda: not listed.left or bed.injected)
            assert held.wait is not None
            held.wait.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(catch_up)
            answer = await bed.judge(bed.analysis_run(), config())

        assert answer.phase is Phase.SUCCESSFUL, answer.message


def restarts(bed: Gate) -> int:
    return sum(each["restartCount"] for pod in canary(bed) for each in pod["status"]["containerStatuses"])
