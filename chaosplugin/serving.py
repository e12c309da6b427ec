"""The composition root of `chaosplugin serve`: one provider, reached by gRPC.

The order of the beginning: the cluster, the provider, then the sockets, so that whoever gets through gets an
answer. Of the end, by SIGTERM: nothing new begins, calls under way are answered, what runs is left to the
cluster, from which the next process, or another replica, takes it up.
"""

import gc
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from chaosplugin.app import Clock, keep_collections_short
from chaosplugin.kube.clusters import KubernetesClusters, open_clusters
from chaosplugin.kube.errors import NoCluster
from chaosplugin.kube.leases import Lease
from chaosplugin.kube.records import RecordCluster
from chaosplugin.kube.yaml import load
from chaosplugin.provider.background import keep
from chaosplugin.provider.facts import Fact, Observer
from chaosplugin.provider.gates import Gates
from chaosplugin.provider.ports import ClusterError
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.provider.settings import Settings
from chaosplugin.provider.telling import TellingProvider
from chaosplugin.provider.waking import wake_all
from chaosplugin.telemetry import logs
from chaosplugin.telemetry.observing import Observing
from chaosplugin.transport.grpc import gates, metrics, server
from chaosplugin.transport.grpc.addresses import Listening
from chaosplugin.transport.grpc.callers import Callers, parse_allowed
from chaosplugin.transport.grpc.credentials import CannotServeError
from chaosplugin.transport.grpc.dispatch import Kept, handlers
from chaosplugin.transport.grpc.status import later
from chaosplugin.transport.grpc.tokens import Tokens, reviewer_away

if TYPE_CHECKING:
    from chaosplugin.core.analysis import MetricProvider

_SWEEPER = timedelta(minutes=15)
"""How long a sweeper that was killed keeps others from sweeping; one sweeps every ten minutes."""
_GIVE_BACK_S = 2.0
_AGAIN_S = 5.0
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

log = logging.getLogger(__name__)


def run(settings: Settings, listening: Listening, log_format: str) -> int:
    """Serve until SIGTERM or SIGINT; 1 if that cannot be."""
    logs.for_person(settings.log_level, log_format)
    try:
        return anyio.run(_serve, settings, listening, backend="asyncio")
    except NoCluster as error:
        log.error("no cluster to work with: %s", error)  # noqa: TRY400 - one line for the operator
        return 1


async def _serve(settings: Settings, listening: Listening) -> int:
    clock = Clock()
    watched = Observing(settings, clock)
    opened = open_clusters(
        settings.kubeconfig,
        clock=clock,
        rate=settings.kube_api_qps,
        observer=watched.observer,
    )
    async with (
        opened as clusters,
        _turns(clusters.records, listening.lease, clock) as turn,
        anyio.create_task_group() as tasks,
    ):
        home = await clusters.home()
        hosted = host_gates(tasks, clusters, settings, clock, watched)

        def observe(fact: Fact) -> None:
            watched.observe(fact)
            hosted.tell(fact)

        provider = _provider(
            tasks, clusters, settings, observe, watched.sampled, clock=clock, step=clock.step
        )
        hosted.add(provider)
        asked: MetricProvider = provider
        if watched.wanted:
            asked = TellingProvider(
                provider, watched.observe, clock=clock, sampled=watched.sampled, rpc=metrics.RPC
            )
            tasks.start_soon(watched.serve, lambda: hosted.runs)
        tasks.start_soon(provider.serve, turn)
        tasks.start_soon(hosted.serve, turn)
        tasks.start_soon(_follow, tasks, hosted, clusters.records, listening)
        drain = Drain()
        followed = gates.GateMethods(hosted, drain.check)
        tasks.start_soon(followed.run)
        callers = server.callers(listening, _tokens(listening, clusters.records))
        kept = Kept()
        bound = [
            handlers(metrics.SERVICE, callers, metrics.MetricMethods(asked, drain.check).by_name, kept=kept),
            handlers(gates.SERVICE, callers, followed.by_name, gates.MOST),
        ]
        names = [metrics.SERVICE.full_name, gates.SERVICE.full_name]
        try:
            async with server.serving(listening, bound, names) as running:
                gc.collect()
                gc.freeze()  # as in app: to look through code for garbage stops a call
                tasks.start_soon(keep_collections_short)
                running.set_ready()
                watched.not_ready = ""
                tasks.start_soon(keep, partial(wake_all, home, secrets.token_hex(4)))
                log.info("serving at %s", ", ".join(running.targets))
                await _signalled()
                log.info("ending: nothing new begins, what runs is left to the cluster")
                drain.begin()
                watched.not_ready = "ending"
                followed.end()
                kept.end()
                running.set_ending()
                await running.stop(listening.drain_s)
            status = 0
        except CannotServeError as error:
            log.error("%s", error)  # noqa: TRY400 - one line for the operator
            status = 1
        tasks.cancel_scope.cancel()
    return status


def host_gates(
    tasks: TaskGroup,
    clusters: KubernetesClusters,
    settings: Settings,
    clock: Clock,
    watched: Observing,
) -> Gates:
    """Make a host of gates that have no AnalysisRun."""
    of_records = clusters.of_records()
    polite = settings._replace(policy=settings.policy._replace(claims=True))

    def provide(tell: Observer) -> ChaosProvider:
        def observe(fact: Fact) -> None:
            watched.observe(fact)
            tell(fact)

        return _provider(tasks, of_records, polite, observe, watched.sampled, clock=clock)

    return Gates(
        tasks,
        clusters.records,
        home=clusters.home_now(),
        clock=clock,
        epoch=secrets.token_hex(4),
        provide=provide,
    )


def _provider(
    tasks: TaskGroup,
    clusters: KubernetesClusters,
    settings: Settings,
    observer: Observer,
    sampled: Callable[[str], bool],
    *,
    clock: Clock,
    step: Callable[[], timedelta] = timedelta,
) -> ChaosProvider:
    return ChaosProvider(
        tasks,
        clusters,
        clock=clock,
        step=step,
        policy=settings.policy,
        load_yaml=load,
        observer=observer,
        sampled=sampled,
    )


async def _follow(tasks: TaskGroup, hosted: Gates, records: RecordCluster, listening: Listening) -> None:
    """Work on records, and show gates of analyses, where they may be watched."""
    allowed = parse_allowed(listening.allowed).values()
    named = {namespace for namespaces in allowed for namespace in namespaces or ()}
    own = await anyio.to_thread.run_sync(_own_namespace)
    known = sorted({own, *named} - {""})
    for namespace in await _watched(hosted.analyses.may_follow, known):
        hosted.analyses.follow(namespace)
    namespaces = await _watched(records.may_follow, known)
    if not namespaces:
        log.info("only AnalysisRuns are gated: rights on ConfigMaps would let others start gates")
    for namespace in namespaces:
        tasks.start_soon(keep, partial(hosted.follow, namespace))
        tasks.start_soon(keep, partial(hosted.expire_for_ever, namespace))


async def _watched(may: Callable[[str], Awaitable[bool]], known: Sequence[str]) -> Sequence[str]:
    """Return where we may watch: everywhere (""), or in our own namespace and those of callers."""
    while True:
        try:
            return [""] if await may("") else [namespace for namespace in known if await may(namespace)]
        except ClusterError as error:
            log.warning("gates of others cannot be followed yet: %s", error)
            await anyio.sleep(_AGAIN_S)


class Drain:
    """Whether new gates may begin."""

    def __init__(self) -> None:
        self._begun = False

    def begin(self) -> None:
        self._begun = True

    def check(self) -> None:
        """Raises: Rejected, from the begin of the end on."""
        if self._begun:
            raise later("this server is ending; another one takes over", 1.0)


async def _signalled() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return


def _tokens(listening: Listening, home: RecordCluster) -> Callers | None:
    if not listening.review_tokens:
        return None

    reviews = home.tokens(listening.audiences)

    async def review(token: str) -> str:
        try:
            return await reviews.user(token)
        except ClusterError as error:
            raise reviewer_away(str(error)) from None

    return Tokens(parse_allowed(listening.allowed), review)


@asynccontextmanager
async def _turns(
    home: RecordCluster, name: str, clock: Callable[[], datetime]
) -> AsyncIterator[Callable[[], Awaitable[bool]] | None]:
    """Sweep in turns under a Lease; where none is named, and no namespace is ours, there is nobody else."""
    namespace, _, lease_name = name.rpartition("/")
    namespace = namespace or await anyio.to_thread.run_sync(_own_namespace)
    if not namespace:
        yield None
        return
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    lease = home.lease(namespace, lease_name or "chaosplugin", holder)

    async def turn() -> bool:
        return await lease.take(clock(), _SWEEPER)

    try:
        yield turn
    finally:
        with anyio.move_on_after(_GIVE_BACK_S, shield=True):
            await _give_back(lease, clock)


async def _give_back(lease: Lease, clock: Callable[[], datetime]) -> None:
    try:
        await lease.give_back(clock())
    except ClusterError as error:
        log.info("the Lease of the sweep was not given back: %s", error)


def _own_namespace() -> str:
    try:
        return _NAMESPACE_FILE.read_text().strip()
    except OSError:
        return ""
