"""Before there is a way to the cluster: calls are answered, requests wait."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import msgspec

from chaosplugin.core.analysis import Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.policy import Policy
from chaosplugin.kube.clusters import open_clusters
from chaosplugin.kube.errors import NoCluster
from chaosplugin.kube.yaml import load
from chaosplugin.provider.late import LateClusters
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.cluster import start
from tests.provider.gate import HASH, LABEL, Gate, clock, config

RUN = msgspec.convert(
    {"metadata": {"name": "web-1", "namespace": "default", "uid": "1", "labels": {LABEL: HASH}}}, AnalysisRun
)
METRIC = Gate.metric(config())


def hasty() -> datetime:
    """A clock that shows a minute in 15 seconds: any faster, and each pause were slept through."""
    return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=4 * time.monotonic())


def ignore(_: object) -> None:
    pass


async def test_without_a_usable_configuration_a_call_is_answered_and_the_gate_ends_in_error() -> None:
    clusters = LateClusters()
    async with anyio.create_task_group() as tasks:
        provider = ChaosProvider(
            tasks, clusters, clock=hasty, policy=Policy(), load_yaml=load, observer=ignore
        )
        tasks.start_soon(provider.serve)
        measurement = provider.run(RUN, METRIC)
        assert measurement.phase is Phase.RUNNING

        clusters.missing(NoCluster("kubeconfig nowhere: no such file"))
        with anyio.fail_after(60):
            while not measurement.phase.completed:
                await anyio.sleep(0.02)
                measurement = provider.resume(RUN, METRIC, measurement)

        assert measurement.phase is Phase.ERROR
        assert "Unavailable" in measurement.message
        assert "kubeconfig nowhere: no such file" in measurement.message
        tasks.cancel_scope.cancel()


async def test_what_was_asked_before_the_cluster_was_found_is_done_then(tmp_path: Path) -> None:
    clusters = LateClusters()
    told = anyio.Event()
    async with start(clock, tmp_path) as cluster, anyio.create_task_group() as tasks:
        provider = ChaosProvider(
            tasks, clusters, clock=clock, policy=Policy(), load_yaml=load, observer=lambda _: told.set()
        )
        tasks.start_soon(provider.serve)
        assert provider.run(RUN, METRIC).phase is Phase.RUNNING
        clusters.missing(NoCluster("not yet"))
        async with open_clusters(str(cluster.kubeconfig(ARGO_ROLLOUTS)), clock=clock) as found:
            clusters.found(found)

            with anyio.fail_after(30):
                await told.wait()  # the ledger was read: there is no such AnalysisRun
            tasks.cancel_scope.cancel()
