"""The composition root: builds the plugin of its parts, and takes it down in order.

The handshake line comes first. Kubernetes and all that is heavy is imported after it, in a thread, so
that the host is answered within milliseconds and Ping is never late; the first call waits for it.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from chaosplugin.provider.late import LateProvider
from chaosplugin.provider.settings import Settings
from chaosplugin.telemetry import logs
from chaosplugin.transport import goplugin, rollouts

if TYPE_CHECKING:
    from chaosplugin.kube.clusters import KubernetesClusters
    from chaosplugin.transport.netrpc import Service
    from chaosplugin.transport.startup import Begun

log = logging.getLogger(__name__)

_RETRY_S = 5.0
"""Pause before the cluster's configuration, which was not usable, is read again."""


def now() -> datetime:
    """The one clock: everything below takes it, or what it says."""
    return datetime.now(UTC)


async def _provide(settings: Settings, late: LateProvider, clock: Callable[[], datetime]) -> None:
    """Make the provider and serve it until cancelled; without a cluster, answer why, and try again."""
    await anyio.to_thread.run_sync(_import_heavy)
    from chaosplugin.kube.clusters import open_clusters  # noqa: PLC0415 - after the handshake
    from chaosplugin.kube.errors import NoCluster  # noqa: PLC0415
    from chaosplugin.provider.unready import UnreadyProvider  # noqa: PLC0415

    while True:
        try:
            async with open_clusters(settings.kubeconfig, clock=clock) as clusters:
                await _serve(settings, late, clusters, clock)
        except NoCluster as error:
            log.error("no cluster to work with: %s", error)  # noqa: TRY400 - one line for the user
            late.set(UnreadyProvider(str(error), clock))
        await anyio.sleep(_RETRY_S)


async def _serve(
    settings: Settings,
    late: LateProvider,
    clusters: "KubernetesClusters",
    clock: Callable[[], datetime],
) -> None:
    from chaosplugin.kube.yaml import load  # noqa: PLC0415
    from chaosplugin.provider.provider import ChaosProvider  # noqa: PLC0415
    from chaosplugin.telemetry.gates import log_transition  # noqa: PLC0415

    async with anyio.create_task_group() as tasks:
        provider = ChaosProvider(
            tasks, clusters, clock=clock, policy=settings.policy, load_yaml=load, observer=log_transition
        )
        late.set(provider)
        log.info("ready")
        await provider.serve()


def _import_heavy() -> None:
    """Import what costs a third of a second; the loop stays alive, as Python switches threads between."""
    for name in ("chaosplugin.kube.clusters", "chaosplugin.provider.provider", "chaosplugin.kube.yaml"):
        importlib.import_module(name)


def run_plugin(settings: Settings, begun: "Begun") -> None:
    """Be the plugin of a host until its end."""
    with logs.for_host(settings.log_level):
        anyio.run(_serve_plugin, settings, begun, backend="asyncio")


async def _serve_plugin(settings: Settings, begun: "Begun") -> None:
    """Serve until the host says quit, or is gone. What is still to be done is left to the cluster."""
    for complaint in begun.complaints:
        log.warning("%s", complaint)
    late = LateProvider()

    async def service() -> "Service":
        return rollouts.metric_service(late)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_provide, settings, late, now)
        await goplugin.serve(begun.listener, begun.host, {rollouts.PLUGIN_NAME: service})
        tasks.cancel_scope.cancel()


def run_demo(environ: Mapping[str, str]) -> int:
    """Show a canary being gated on the embedded cluster; 0 only if all ended as it must."""
    from chaosplugin.sandbox import demo  # noqa: PLC0415

    return anyio.run(demo.run, now, environ, backend="asyncio")


def run_sandbox(folder: str, port: int) -> int:
    """Serve an embedded cluster until ctrl-C."""
    from chaosplugin.sandbox import cluster  # noqa: PLC0415

    def announce(bed: cluster.Cluster) -> None:
        sys.stdout.write(f"API server at {bed.url}, kubeconfigs in {folder}; ctrl-C ends it\n")
        sys.stdout.flush()

    async def serve() -> None:
        await cluster.serve(now, Path(folder), announce, cluster.Settings(port=port))

    anyio.run(serve, backend="asyncio")
    return 0
