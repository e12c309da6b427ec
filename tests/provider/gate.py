"""A provider in the test's own loop, a sandbox over real HTTP, and a caller that does as Argo does."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec

from chaosplugin.core.analysis import Answer, Measurement, Metric, MetricProvider
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.policy import Policy
from chaosplugin.core.progress import Transition
from chaosplugin.kube.client import KubernetesCluster
from chaosplugin.kube.clusters import open_clusters
from chaosplugin.kube.yaml import load
from chaosplugin.provider.facts import Fact, Observer
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.api.metadata import owner_reference
from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.cluster import Cluster, Settings, start
from tests.sandbox.bed import until

HASH, STABLE = "5d4f7c9b6d", "7f6b5c4d8e"
LABEL = "rollouts-pod-template-hash"
NAMESPACE = "default"


FAIL = {"action": "pod-failure", "mode": "all", "selector": {}}


def clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a test stands where app does


def podchaos(action: str = "pod-failure", **spec: object) -> Object:
    given: Object = {"action": action, "mode": "all", "selector": {}, "duration": "2s", **spec}
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "PodChaos",
        "metadata": {"name": "kill"},
        "spec": {key: value for key, value in given.items() if value is not None},
    }


def schedule(every: str = "3s", duration: str = "1s") -> Object:
    spec = {"schedule": f"@every {every}", "type": "PodChaos", "podChaos": {**FAIL, "duration": duration}}
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "Schedule",
        "metadata": {"name": "again"},
        "spec": spec,
    }


def config(experiment: object = None, **settings: object) -> Object:
    given = {"chaosExperimentCRD": experiment or podchaos(), "timeout": "20s", **settings}
    return {key: value for key, value in given.items() if value is not None}


@dataclass
class Gate:
    cluster: Cluster
    provider: ChaosProvider
    home: KubernetesCluster
    stages: list[str] = field(default_factory=list)
    ahead: timedelta = timedelta()
    """the provider's clock, of the true time; the next event lets it see"""
    touches: int = 0

    # -- the Rollout

    def deploy(self, replicas: int = 2, annotations: dict[str, str] | None = None) -> None:
        rollout = self.cluster.api.create(
            resources.ROLLOUTS,
            {"metadata": {"name": "web"}, "spec": {"replicas": 4, "strategy": {"canary": {}}}},
            NAMESPACE,
        )
        status = {"status": {"currentPodHash": HASH, "stableRS": STABLE}}
        self.cluster.api.merge(resources.ROLLOUTS, NAMESPACE, "web", status, "status")
        for value in (HASH, STABLE):
            self.replica_set(value, rollout.object, replicas, annotations if value == HASH else None)

    def replica_set(
        self, value: str, owner: Object, replicas: int, annotations: dict[str, str] | None = None
    ) -> None:
        labels = {"app": "web", LABEL: value}
        template = {
            "metadata": {"labels": labels, "annotations": annotations or {}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        self.cluster.api.create(
            resources.REPLICA_SETS,
            {
                "metadata": {
                    "name": f"web-{value}",
                    "labels": labels,
                    "ownerReferences": [owner_reference(owner)],
                },
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
            },
            NAMESPACE,
        )

    def analysis_run(self, name: str = "web-1", labels: dict[str, str] | None = None) -> AnalysisRun:
        rollout = self.cluster.api.get(resources.ROLLOUTS, NAMESPACE, "web")
        metadata = {
            "name": name,
            "labels": {LABEL: HASH} if labels is None else labels,
            "ownerReferences": [owner_reference(rollout.object)],
        }
        made = self.cluster.api.create(
            resources.ANALYSIS_RUNS, {"metadata": metadata, "spec": {"metrics": []}}, NAMESPACE
        )
        return msgspec.convert(made.copy(), AnalysisRun)

    # -- calls

    @staticmethod
    def metric(configuration: object) -> Metric:
        return Metric(name="chaos", plugin={"chaosplugin/chaos-mesh": json.dumps(configuration).encode()})

    async def judge(
        self, run: AnalysisRun, configuration: object, seconds: float = 60, by: MetricProvider | None = None
    ) -> Measurement:
        """Run, then Resume at every event of the AnalysisRun, as Argo's controller does."""
        provider = by or self.provider
        metric = self.metric(configuration)
        changed = anyio.Event()

        def hear(_: object) -> None:
            changed.set()

        unlisten = self.cluster.store.listen(hear, resources.ANALYSIS_RUNS)
        try:
            with anyio.fail_after(seconds):
                measurement = await answered(provider.run(run, metric))
                changed.set()  # the status write after Run is an event itself
                while not measurement.phase.completed:
                    pause = None
                    if measurement.resume_at is not None:
                        pause = max(0.0, (measurement.resume_at - clock()).total_seconds())
                        await anyio.sleep(pause)
                    else:
                        await changed.wait()
                    changed = anyio.Event()
                    measurement = await answered(provider.resume(run, metric, measurement))
        finally:
            unlisten()
        return measurement

    async def inject(self, run: AnalysisRun, configuration: object) -> Measurement:
        """Run, and Resume until the fault is on; return what is Running."""
        metric = self.metric(configuration)
        measurement = self.provider.run(run, metric)
        with anyio.fail_after(30):
            while not self.injected or measurement.resume_at is not None:
                await anyio.sleep(0.01)
                measurement = self.provider.resume(run, metric, measurement)
        return measurement

    def touch(self) -> None:
        """Let everybody look at the experiment again, as any change of it does."""
        self.touches += 1
        note = {"metadata": {"annotations": {"touched": str(self.touches)}}}
        for each in self.experiments:
            self.cluster.api.merge(resources.POD_CHAOS, NAMESPACE, each["metadata"]["name"], note)

    # -- looking

    @property
    def injected(self) -> bool:
        status = [(each.get("status") or {}).get("experiment") or {} for each in self.experiments]
        records = [record for each in status for record in each.get("containerRecords") or ()]
        return bool(records) and all(record["phase"] == "Injected" for record in records)

    @property
    def experiments(self) -> list[Object]:
        return [each.copy() for each in self.cluster.api.list(resources.POD_CHAOS, NAMESPACE)]

    @property
    def pods(self) -> list[Object]:
        return [each.copy() for each in self.cluster.api.list(resources.PODS, NAMESPACE)]

    def annotations(self, name: str = "web-1") -> dict[str, str]:
        found: Any = self.cluster.api.get(resources.ANALYSIS_RUNS, NAMESPACE, name).copy()
        return found["metadata"].get("annotations") or {}

    @staticmethod
    async def heard(holds: Callable[[], bool], seconds: float = 30) -> None:
        """Wait for what is no change of the cluster, such as a line of the log."""
        with anyio.fail_after(seconds):
            while not holds():
                await anyio.sleep(0.01)

    async def until(self, holds: Any, seconds: float = 30) -> None:
        await until(self.cluster, holds, seconds)


async def answered(answer: Answer[Measurement]) -> Measurement:
    return await answer if isinstance(answer, Coroutine) else answer


def into(stages: list[str]) -> Observer:
    """Return an observer that notes the stages of gates."""

    def observe(fact: Fact) -> None:
        if isinstance(fact, Transition):
            stages.append(fact.after.value)

    return observe


@asynccontextmanager
async def gate(folder: Path, policy: Policy | None = None, **settings: Any) -> AsyncIterator[Gate]:
    async with (
        start(clock, folder, Settings(**settings)) as cluster,
        open_clusters(str(cluster.kubeconfig(ARGO_ROLLOUTS)), clock=clock) as clusters,
        anyio.create_task_group() as tasks,
    ):
        stages: list[str] = []

        provider = ChaosProvider(
            tasks,
            clusters,
            clock=lambda: clock() + bed.ahead,
            policy=policy or Policy(),
            load_yaml=load,
            observer=into(stages),
        )
        bed = Gate(cluster, provider, await clusters.home(), stages)
        tasks.start_soon(provider.serve)
        yield bed
        tasks.cancel_scope.cancel()
