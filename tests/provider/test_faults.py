"""Whole gates while the API server, the network or the clock misbehave: one experiment, the right verdict."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from chaosplugin.core.policy import Policy
from chaosplugin.kube.client import connect
from chaosplugin.kube.clusters import KubernetesClusters
from chaosplugin.kube.reflector import Pace
from chaosplugin.kube.yaml import load
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.sandbox.api import errors
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.api.faults import where
from chaosplugin.sandbox.api.resources import CRDS, POD_CHAOS
from chaosplugin.sandbox.api.store import Change
from chaosplugin.sandbox.cluster import Settings, start
from tests.provider.gate import Gate, clock, config, podchaos

PACE = Pace(idle_s=1.5, initial_s=5, first_delay_s=0.05, last_delay_s=0.5)
WATCHES = where("watch")
STREAMS = ("podchaos", "pods", "analysisruns")

Trouble = Callable[[Gate], Coroutine[Any, Any, None]]


async def observing(bed: Gate) -> None:
    """Wait until the fault is on."""
    with anyio.fail_after(60):
        while "observing" not in bed.stages:
            await anyio.sleep(0.01)


async def expired(bed: Gate) -> None:
    await observing(bed)
    for _ in range(3):
        bed.cluster.faults.expire()
        await anyio.sleep(0.2)


async def expired_at_connect(bed: Gate) -> None:
    await observing(bed)
    bed.cluster.faults.refuse(errors.too_old(1, 2), WATCHES, times=4)
    bed.cluster.faults.cut_watches()


async def throttled(bed: Gate) -> None:
    await observing(bed)
    bed.cluster.faults.refuse(errors.too_many_requests(1), times=8)
    bed.cluster.faults.cut_watches()


async def stormy(bed: Gate) -> None:
    await observing(bed)
    for _ in range(5):
        bed.cluster.faults.refuse(errors.internal("etcdserver: request timed out"), times=4)
        bed.cluster.faults.answer(503, "upstream connect error", times=4)
        bed.cluster.faults.fail_watches(errors.internal("storage is reinitializing"))
        await anyio.sleep(0.3)


async def behind_a_proxy(bed: Gate) -> None:
    await observing(bed)
    bed.cluster.faults.answer(200, "<html>please sign in</html>\n", WATCHES, times=4)
    bed.cluster.faults.cut_watches()


async def frozen(bed: Gate) -> None:
    await observing(bed)
    bed.cluster.faults.freeze_watches()


async def trickling(bed: Gate) -> None:
    await observing(bed)
    bed.cluster.faults.trickle(0.05, WATCHES, times=3)
    bed.cluster.faults.cut_watches()


async def broken_lines(bed: Gate) -> None:
    for after in (50, 700, 3000, 300, 900, 1500):
        for resource in STREAMS:
            bed.cluster.faults.break_stream(after, where("watch", resource))
    await observing(bed)
    for _ in range(4):
        bed.cluster.faults.cut_watches()
        await anyio.sleep(0.3)


async def restored(bed: Gate) -> None:
    await observing(bed)
    bed.cluster.faults.restore_backup()


async def lost_create(bed: Gate) -> None:
    bed.cluster.faults.lose_answer(where("create", "podchaos"))


async def lost_patches(bed: Gate) -> None:
    bed.cluster.faults.lose_answer(where("patch", "analysisruns"), times=3)
    await observing(bed)
    bed.cluster.faults.lose_answer(where("patch", "analysisruns"), times=3)


async def lost_delete(bed: Gate) -> None:
    bed.cluster.faults.lose_answer(where("delete", "podchaos"), times=2)


TROUBLES: dict[str, tuple[Trouble, str]] = {
    trouble.__name__: (trouble, "Survived")
    for trouble in (
        expired,
        expired_at_connect,
        throttled,
        stormy,
        behind_a_proxy,
        frozen,
        trickling,
        broken_lines,
        restored,
        lost_create,
        lost_patches,
        lost_delete,
    )
}


async def deleted_kind(bed: Gate) -> None:
    await observing(bed)
    bed.cluster.api.delete(CRDS, "", POD_CHAOS.qualified)
    await bed.until(lambda: not bed.cluster.api.installed(POD_CHAOS))
    bed.cluster.api.install(POD_CHAOS)


TROUBLES["deleted_kind"] = (deleted_kind, "Deleted")


@asynccontextmanager
async def quick_gate(folder: Path) -> AsyncIterator[Gate]:
    """A gate whose watches find out soon that they are told nothing."""
    async with (
        start(clock, folder, Settings(bookmark_every=0.5)) as cluster,
        connect(str(cluster.kubeconfig(ARGO_ROLLOUTS)), clock=clock, pace=PACE) as home,
        anyio.create_task_group() as tasks,
    ):
        stages: list[str] = []
        provider = ChaosProvider(
            tasks,
            KubernetesClusters(home, tasks, clock),
            clock=clock,
            policy=Policy(),
            load_yaml=load,
            observer=lambda transition: stages.append(transition.after.value),
        )
        tasks.start_soon(provider.serve)
        yield Gate(cluster, provider, home, stages)
        tasks.cancel_scope.cancel()


async def judge(folder: Path, trouble: Trouble) -> tuple[str, int]:
    """Return the verdict, and how many experiments there were; none may be left."""
    created: list[str] = []

    def hear(change: Change) -> None:
        if change.type == "ADDED":
            created.append(change.stored.uid)

    folder.mkdir()
    async with quick_gate(folder) as bed, anyio.create_task_group() as tasks:
        bed.deploy()
        bed.cluster.store.listen(hear, POD_CHAOS)
        tasks.start_soon(trouble, bed)
        answer = await bed.judge(
            bed.analysis_run(), config(podchaos(duration="3s"), timeout="40s"), seconds=90
        )
        await bed.until(lambda: not bed.experiments)
    return answer.message, len(created)


async def test_a_gate_is_judged_rightly_whatever_the_api_server_does(tmp_path: Path) -> None:
    wrong: dict[str, tuple[str, int]] = {}

    async def one(name: str, trouble: Trouble, reason: str) -> None:
        message, experiments = await judge(tmp_path / name, trouble)
        if message.partition(":")[0] != reason or experiments != 1:
            wrong[name] = message, experiments

    async with anyio.create_task_group() as tasks:
        for name, (trouble, reason) in TROUBLES.items():
            tasks.start_soon(one, name, trouble, reason)

    assert wrong == {}
