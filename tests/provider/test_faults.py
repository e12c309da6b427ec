"""Whole gates while the API server, the network or the clock misbehave: one experiment, the right verdict."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from chaosplugin.app import Clock
from chaosplugin.core.policy import Policy
from chaosplugin.kube.client import connect
from chaosplugin.kube.clusters import KubernetesClusters
from chaosplugin.kube.reflector import Pace
from chaosplugin.kube.yaml import load
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.sandbox.api import errors
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.api.faults import where
from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, CRDS, POD_CHAOS, PODS
from chaosplugin.sandbox.api.store import Change
from chaosplugin.sandbox.cluster import Settings, start
from tests.kube.gatekeeper import Gatekeeper, gatekeeper
from tests.provider.gate import NAMESPACE, Gate, clock, config, into, podchaos
from tests.realbed.pki import make as make_pki

PACE = Pace(idle_s=1.5, initial_s=5, first_delay_s=0.05, last_delay_s=0.5)
WATCHES = where("watch")
STREAMS = ("podchaos", "pods", "analysisruns")


class Wall:
    """The machine's clock, which can be set."""

    def __init__(self) -> None:
        self.set_by = timedelta()

    def __call__(self) -> datetime:
        return clock() + self.set_by


@dataclass
class World(Gate):
    """A gate, and what else can go wrong around it."""

    wall: Wall = field(default_factory=Wall)
    server_ahead: timedelta = timedelta()
    folder: Path = Path()
    tls: ssl.SSLContext | None = None
    keeper: Gatekeeper | None = None


Trouble = Callable[[World], Coroutine[Any, Any, None]]


async def observing(bed: World) -> None:
    """Wait until the fault is on."""
    with anyio.fail_after(60):
        while "observing" not in bed.stages:
            await anyio.sleep(0.01)


async def expired(bed: World) -> None:
    await observing(bed)
    for _ in range(3):
        bed.cluster.faults.expire()
        await anyio.sleep(0.2)


async def expired_at_connect(bed: World) -> None:
    await observing(bed)
    bed.cluster.faults.refuse(errors.too_old(1, 2), WATCHES, times=4)
    bed.cluster.faults.cut_watches()


async def throttled(bed: World) -> None:
    await observing(bed)
    bed.cluster.faults.refuse(errors.too_many_requests(1), times=8)
    bed.cluster.faults.cut_watches()


async def stormy(bed: World) -> None:
    await observing(bed)
    for _ in range(5):
        bed.cluster.faults.refuse(errors.internal("etcdserver: request timed out"), times=4)
        bed.cluster.faults.answer(503, "upstream connect error", times=4)
        bed.cluster.faults.fail_watches(errors.internal("storage is reinitializing"))
        await anyio.sleep(0.3)


async def behind_a_proxy(bed: World) -> None:
    await observing(bed)
    bed.cluster.faults.answer(200, "<html>please sign in</html>\n", WATCHES, times=4)
    bed.cluster.faults.cut_watches()


async def frozen(bed: World) -> None:
    await observing(bed)
    bed.cluster.faults.freeze_watches()


async def half_open(bed: World) -> None:
    """Connections are dead, and nobody is told: the watches are silent, and requests are not answered."""
    await observing(bed)
    assert bed.keeper is not None
    assert bed.keeper.forget()


async def huge(bed: World) -> None:
    """More is told of each object than etcd takes in most clusters, 5 MB, again and again."""
    await observing(bed)
    for note in "abc":
        said = note * 5_000_000
        noted = {"conditions": [{"type": "Noted", "status": "True", "reason": said}]}
        for resource, status in ((POD_CHAOS, noted), (PODS, {"message": said}), (ANALYSIS_RUNS, noted)):
            for each in bed.cluster.api.list(resource, NAMESPACE):
                change = {"status": status}
                told = bed.cluster.api.merge(
                    resource, NAMESPACE, each.name, change, "status" if resource.status else ""
                )
                assert len(told.raw) > len(said)
        await anyio.sleep(0.2)


async def trickling(bed: World) -> None:
    await observing(bed)
    bed.cluster.faults.trickle(0.05, WATCHES, times=3)
    bed.cluster.faults.cut_watches()


async def broken_lines(bed: World) -> None:
    for after in (50, 700, 3000, 300, 900, 1500):
        for resource in STREAMS:
            bed.cluster.faults.break_stream(after, where("watch", resource))
    await observing(bed)
    for _ in range(4):
        bed.cluster.faults.cut_watches()
        await anyio.sleep(0.3)


async def restored(bed: World) -> None:
    await observing(bed)
    bed.cluster.faults.restore_backup()


async def lost_create(bed: World) -> None:
    bed.cluster.faults.lose_answer(where("create", "podchaos"))


async def lost_patches(bed: World) -> None:
    bed.cluster.faults.lose_answer(where("patch", "analysisruns"), times=3)
    await observing(bed)
    bed.cluster.faults.lose_answer(where("patch", "analysisruns"), times=3)


async def lost_delete(bed: World) -> None:
    bed.cluster.faults.lose_answer(where("delete", "podchaos"), times=2)


async def put_forward(bed: World) -> None:
    await observing(bed)
    bed.wall.set_by = timedelta(hours=1)


async def put_back(bed: World) -> None:
    await observing(bed)
    bed.wall.set_by = timedelta(hours=-1)


async def server_ahead(bed: World) -> None:
    bed.server_ahead = timedelta(hours=1)


async def server_behind(bed: World) -> None:
    bed.server_ahead = timedelta(hours=-1)


async def rotated(bed: World) -> None:
    """Another token, another authority; the files follow a moment later."""
    await observing(bed)
    access, successor = bed.cluster.access, bed.folder / "successor"
    successor.mkdir()
    make_pki(successor)
    assert bed.tls is not None
    bed.tls.load_cert_chain(successor / "tls.crt", successor / "tls.key")
    access.tokens["rotated"] = access.tokens.pop(bed.cluster.token(ARGO_ROLLOUTS))
    bed.cluster.faults.cut_watches()
    await anyio.sleep(0.5)
    (bed.folder / "ca.crt").write_bytes((successor / "ca.crt").read_bytes())
    (bed.folder / "token").write_text("rotated\n")


async def deleted_kind(bed: World) -> None:
    await observing(bed)
    bed.cluster.api.delete(CRDS, "", POD_CHAOS.qualified)
    await bed.until(lambda: not bed.cluster.api.installed(POD_CHAOS))
    bed.cluster.api.install(POD_CHAOS)


SURVIVED: tuple[Trouble, ...] = (
    expired,
    expired_at_connect,
    throttled,
    stormy,
    behind_a_proxy,
    frozen,
    half_open,
    huge,
    trickling,
    broken_lines,
    restored,
    lost_create,
    lost_patches,
    lost_delete,
    put_forward,
    put_back,
    server_ahead,
    server_behind,
    rotated,
)
TROUBLES = dict.fromkeys(SURVIVED, "Survived") | {deleted_kind: "Deleted"}


@asynccontextmanager
async def world(folder: Path, trouble: Trouble) -> AsyncIterator[World]:
    """A gate whose watches find out soon that they are told nothing; its trouble has begun."""
    made: list[World] = []

    def server_clock() -> datetime:
        return clock() + (made[0].server_ahead if made else timedelta())

    wall, tls = Wall(), None
    settings = Settings(bookmark_every=0.5)
    if trouble is rotated:
        make_pki(folder)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        settings = replace(settings, tls=tls, ca=folder / "ca.crt")
    steady = Clock(wall)
    async with (
        start(server_clock, folder, settings) as cluster,
        anyio.create_task_group() as tasks,
        AsyncExitStack() as holds,
    ):
        config_file = cluster.kubeconfig(ARGO_ROLLOUTS)
        parsed = json.loads(config_file.read_text())
        if trouble is rotated:
            (folder / "token").write_text(parsed["users"][0]["user"].pop("token"))
            parsed["users"][0]["user"]["tokenFile"] = str(folder / "token")
        keeper = None
        if trouble is half_open:
            keeper, url = await holds.enter_async_context(gatekeeper(cluster.url))
            parsed["clusters"][0]["cluster"]["server"] = url
        config_file.write_text(json.dumps(parsed))
        async with connect(str(config_file), clock=steady, pace=PACE) as home:
            stages: list[str] = []
            provider = ChaosProvider(
                tasks,
                KubernetesClusters(home, tasks, steady),
                clock=steady,
                step=steady.step,
                policy=Policy(),
                load_yaml=load,
                observer=into(stages),
            )
            made.append(
                World(cluster, provider, home, stages, wall=wall, folder=folder, tls=tls, keeper=keeper)
            )
            tasks.start_soon(trouble, made[0])
            tasks.start_soon(provider.serve)
            await anyio.lowlevel.checkpoint()
            yield made[0]
            tasks.cancel_scope.cancel()


async def judge(folder: Path, trouble: Trouble) -> tuple[str, int]:
    """Return the verdict, and how many experiments there were; none may be left."""
    created: list[str] = []

    def hear(change: Change) -> None:
        if change.type == "ADDED":
            created.append(change.stored.uid)

    folder.mkdir()
    async with world(folder, trouble) as bed:
        bed.deploy()
        bed.cluster.store.listen(hear, POD_CHAOS)
        answer = await bed.judge(
            bed.analysis_run(), config(podchaos(duration="3s"), timeout="40s"), seconds=90
        )
        # one whose create might have come to nothing stays for a minute, so that its name is taken
        await bed.until(lambda: not bed.experiments, seconds=150)
    return answer.message, len(created)


async def test_a_gate_is_judged_rightly_whatever_the_api_server_does(tmp_path: Path) -> None:
    wrong: dict[str, tuple[str, int]] = {}

    async def one(trouble: Trouble, reason: str) -> None:
        message, experiments = await judge(tmp_path / trouble.__name__, trouble)
        if message.partition(":")[0] != reason or experiments != 1:
            wrong[trouble.__name__] = message, experiments

    async with anyio.create_task_group() as tasks:
        for trouble, reason in TROUBLES.items():
            tasks.start_soon(one, trouble, reason)

    assert wrong == {}
