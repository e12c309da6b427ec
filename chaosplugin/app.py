"""The composition root: builds the plugin of its parts, and takes it down in order.

The handshake line comes before this is imported. Then comes what answers calls; what makes requests,
with HTTP's libraries and those of Kubernetes, is the heaviest, no call waits for it, and so it is imported
in a thread while calls are answered.
"""

import gc
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from chaosplugin import __version__
from chaosplugin.imports import import_modules
from chaosplugin.kube.errors import NoCluster
from chaosplugin.kube.yaml import load
from chaosplugin.provider.facts import NET_RPC, Rpc
from chaosplugin.provider.late import LateClusters
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.provider.settings import Settings
from chaosplugin.provider.telling import TellingProvider
from chaosplugin.telemetry import logs
from chaosplugin.telemetry.observing import Observing
from chaosplugin.transport import goplugin, rollouts

if TYPE_CHECKING:
    from chaosplugin.core.analysis import MetricProvider
    from chaosplugin.transport.grpc.addresses import Target
    from chaosplugin.transport.startup import Begun, Waiting

log = logging.getLogger(__name__)

_YOUNG = 5_000
"""Objects of which the youngest may be garbage, when they are looked at: some milliseconds for all."""
_BURST_S = 60.0
"""For how long after the start what is new is taken to last: thousands of gates may be taken up again."""
_LOOK_S = 600.0
"""Pause between two looks for garbage at everything there is."""
_LOOKS = 0.001
"""The part of the time that they may take, be it that they are fewer: with 10,000 gates each takes 2 s."""
_RETRY_S = 5.0
"""Pause before the cluster's configuration, which was not usable, is read again."""


def now() -> datetime:
    """What the machine's clock says."""
    return datetime.now(UTC)


class Clock:
    """The one clock: everything below takes it, or what it says.

    It says what the machine's clock said at first, plus the time that has really gone by. The machine's may
    be set meanwhile, and an hour that it is put forward is no hour in which a canary has not recovered.
    """

    def __init__(
        self, wall: Callable[[], datetime] = now, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._began, self._began_at = wall(), monotonic()

    def __call__(self) -> datetime:
        return self._began + timedelta(seconds=self._monotonic() - self._began_at)

    def step(self) -> timedelta:
        """Return by how much the machine's clock has been set, for what others compare with it."""
        step = self._wall() - self()
        return step if abs(step) >= timedelta(seconds=1) else timedelta()


async def _connect(
    settings: Settings, clusters: LateClusters, clock: Callable[[], datetime], watched: Observing
) -> None:
    """Let `clusters` find the home cluster, until cancelled; where there is none, say why, and look again."""
    await import_modules("chaosplugin.kube.clusters")
    from chaosplugin.kube.clusters import open_clusters  # noqa: PLC0415 - it has been imported

    while True:
        try:
            async with open_clusters(
                settings.kubeconfig, clock=clock, rate=settings.kube_api_qps, observer=watched.observer
            ) as found:
                clusters.found(found)
                watched.not_ready = ""
                gc.collect()
                gc.freeze()  # code stays: to look through it for garbage stops a call for 40 ms, now and then
                log.info("ready", extra={"version": __version__})
                await keep_collections_short()
        except NoCluster as error:
            log.error("no cluster to work with: %s", error)  # noqa: TRY400 - one line for the user
            clusters.missing(error)
            watched.not_ready = str(error)
        await anyio.sleep(_RETRY_S)


async def keep_collections_short(pause_s: float = _LOOK_S, burst_s: float = _BURST_S) -> None:
    """Let the garbage collector look only at what is new since its last full look, until cancelled.

    With 10,000 gates it stopped all calls for up to two seconds, again and again. What is not part of a
    cycle is freed as ever; cycles that a full look has met alive, as of connections, are found after a pause.
    And what is young is looked at less often, as most of it is gone by then. While gates are taken up again
    after a restart nearly all of it stays, so at first one look at it is enough.
    """
    lasting_until = time.monotonic() + burst_s

    def spare(phase: str, info: Mapping[str, int]) -> None:
        if phase == "stop" and (info["generation"] == 2 or time.monotonic() < lasting_until):
            gc.freeze()

    gc.callbacks.append(spare)
    often = gc.get_threshold()
    gc.set_threshold(_YOUNG, *often[1:])
    pause = pause_s
    try:
        while True:
            await anyio.sleep(pause)
            gc.unfreeze()
            began = time.perf_counter()
            gc.collect()
            pause = max(pause_s, (time.perf_counter() - began) / _LOOKS)
    finally:
        gc.callbacks.remove(spare)
        gc.set_threshold(*often)


def run_plugin(settings: Settings, begun: "Begun") -> None:
    """Be the plugin of a host until its end."""
    _run_for_host(settings.log_level, partial(_serve_plugin, settings, begun))


def _run_for_host(log_level: str, serve: Callable[[], Awaitable[None]]) -> None:
    """Run until the end, which is not to take long: a host kills whoever takes two seconds."""
    with logs.for_host(log_level):
        anyio.run(serve, backend="asyncio")
    gc.freeze()  # else the interpreter looks through all there is for garbage before it ends


async def _serve_plugin(settings: Settings, begun: "Begun") -> None:
    """Serve until the host says quit, or is gone. What is still to be done is left to the cluster."""
    for complaint in begun.complaints:
        log.warning("%s", complaint)
    async with _providing(settings, NET_RPC) as provider:
        await goplugin.serve(
            begun.listener, begun.host, {rollouts.PLUGIN_NAME: rollouts.metric_service(provider)}
        )


@asynccontextmanager
async def _providing(settings: Settings, rpc: Rpc) -> AsyncIterator["MetricProvider"]:
    """Give a provider that is there before the cluster is found."""
    clusters = LateClusters()
    clock = Clock()
    watched = Observing(settings, clock)
    async with anyio.create_task_group() as tasks:
        provider = ChaosProvider(
            tasks,
            clusters,
            clock=clock,
            step=clock.step,
            policy=settings.policy,
            load_yaml=load,
            observer=watched.observe,
            sampled=watched.sampled,
        )
        asked: MetricProvider = provider
        if watched.wanted:
            asked = TellingProvider(provider, watched.observe, clock=clock, sampled=watched.sampled, rpc=rpc)
            tasks.start_soon(watched.serve, lambda: provider.runs)
        tasks.start_soon(_connect, settings, clusters, clock, watched)
        tasks.start_soon(provider.serve)
        yield asked
        tasks.cancel_scope.cancel()


def run_grpc_plugin(settings: Settings, waiting: "Waiting") -> None:
    """Be the plugin of a host that speaks go-plugin's gRPC mode, until its end.

    Raises:
        CannotStartError: the host's certificate is none.
    """
    _run_for_host(settings.log_level, partial(_serve_grpc_plugin, settings, waiting))


async def _serve_grpc_plugin(settings: Settings, waiting: "Waiting") -> None:
    from chaosplugin.transport.grpc import metrics  # noqa: PLC0415 - only in this mode
    from chaosplugin.transport.grpc.goplugin import Plugin  # noqa: PLC0415

    async with _providing(settings, metrics.RPC) as provider:
        await Plugin(waiting).serve(provider, now)


def run_bridge(target: "Target", log_level: str, begun: "Begun") -> None:
    """Be the plugin of a host until its end, and let a server do the work."""
    _run_for_host(log_level, partial(_serve_bridge, target, begun))


async def _serve_bridge(target: "Target", begun: "Begun") -> None:
    from chaosplugin.transport.bridge import BridgeProvider  # noqa: PLC0415 - only in this mode
    from chaosplugin.transport.grpc.channel import Channel  # noqa: PLC0415

    channel = Channel(target)
    log.info("bridging to %s", target.address.target)
    try:
        service = rollouts.metric_service(BridgeProvider(channel, now))
        await goplugin.serve(begun.listener, begun.host, {rollouts.PLUGIN_NAME: service})
    finally:
        with anyio.CancelScope(shield=True):
            await channel.close()


def run_demo(environ: Mapping[str, str], plugin: Sequence[str], *, stay: bool) -> int:
    """Show a canary being gated on the embedded cluster; 0 only if all ended as it must."""
    from chaosplugin.sandbox import demo  # noqa: PLC0415

    return anyio.run(partial(demo.run, now, environ, plugin, stay=stay), backend="asyncio")


def run_sandbox(folder: str, port: int) -> int:
    """Serve an embedded cluster until ctrl-C, with kubeconfigs in `folder`; 1 if that cannot be."""
    from chaosplugin.sandbox import cluster  # noqa: PLC0415

    def announce(bed: cluster.Cluster) -> None:
        sys.stdout.write(f"API server at {bed.url}, kubeconfigs in {folder}; ctrl-C ends it\n")
        sys.stdout.flush()

    async def serve() -> None:
        await cluster.serve(now, Path(folder), announce, port)

    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        anyio.run(serve, backend="asyncio")
    except* OSError as group:
        sys.stderr.write(f"chaosplugin: {_in_words(group.exceptions[0])}\n")
    return 1  # it runs until ctrl-C, which does not come here


def _in_words(error: BaseException) -> str:
    """Say what an error of the system is, without its number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
