"""Gates that another process has begun: a restart may bring thousands of them at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from chaosplugin.core.analysis import Phase
from chaosplugin.core.policy import Policy
from chaosplugin.core.topics import AnalysisRunsTopic, ChaosTopic
from chaosplugin.kube.clusters import KubernetesClusters, open_clusters
from chaosplugin.kube.yaml import load
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from tests.provider.gate import NAMESPACE, Gate, clock, config, gate, into, podchaos

LONG = config(podchaos(duration="30s"), timeout="5m")


@asynccontextmanager
async def _successor(bed: Gate, stages: list[str]) -> AsyncIterator[tuple[ChaosProvider, KubernetesClusters]]:
    """Begin another process's provider, with connections of its own, which appends its stages."""
    async with (
        open_clusters(str(bed.cluster.kubeconfig(ARGO_ROLLOUTS)), clock=clock) as clusters,
        anyio.create_task_group() as tasks,
    ):
        yield (
            ChaosProvider(
                tasks, clusters, clock=clock, policy=Policy(), load_yaml=load, observer=into(stages)
            ),
            clusters,
        )
        tasks.cancel_scope.cancel()


async def test_restored_gates_are_found_in_two_lists(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()
        begun = await bed.inject(run, LONG)
        await bed.until(lambda: any("mark" in key for key in bed.annotations()))
        bed.cluster.server.seen.clear()
        stages: list[str] = []
        async with _successor(bed, stages) as (successor, _):
            successor.resume(run, Gate.metric(LONG), begun)
            await bed.heard(lambda: "observing" in stages)
            read = [(seen.verb, seen.resource) for seen in bed.cluster.server.seen if seen.verb == "get"]

    assert not {("get", "analysisruns"), ("get", "podchaos")} & set(read)


async def test_what_the_watches_tell_already_is_answered_by_the_first_resume(tmp_path: Path) -> None:
    """Of thousands that come back after a restart only the first have to wait for lists."""
    async with gate(tmp_path) as bed:
        bed.deploy()
        first, second = bed.analysis_run(), bed.analysis_run("web-2")
        begun = await bed.inject(first, LONG)
        await bed.until(lambda: any("mark" in key for key in bed.annotations()))
        stages: list[str] = []
        async with _successor(bed, stages) as (successor, clusters):
            home = await clusters.home()
            spec = next(iter(bed.provider.runs.values())).spec
            topics = (AnalysisRunsTopic(NAMESPACE), ChaosTopic(spec.kind, spec.namespace))
            for topic in topics:
                await home.settled(topic)
            bed.cluster.server.seen.clear()
            answer = successor.resume(first, Gate.metric(LONG), begun)
            unknown = successor.resume(second, Gate.metric(LONG), begun)

    assert stages == ["observing"]
    assert answer.message.endswith("is running against the canary")
    assert unknown.message.startswith("waiting for Ready canary pods")


async def test_what_a_restored_backup_has_lost_is_not_begun_anew(tmp_path: Path) -> None:
    """Its versions are lower than the mark's, so that it knows nothing of the time since."""
    async with gate(tmp_path) as bed:
        bed.cluster.store.revision += 1000
        bed.deploy()
        run = bed.analysis_run()
        metric = Gate.metric(LONG)
        async with _successor(bed, []) as (first, _):
            begun = first.run(run, metric)
            await bed.heard(lambda: bool(first.resume(run, metric, begun)) and bed.injected)
        (experiment,) = bed.experiments
        bed.cluster.api.delete(resources.POD_CHAOS, NAMESPACE, experiment["metadata"]["name"])
        await bed.until(lambda: not bed.experiments)
        bed.cluster.faults.restore_backup()
        bed.cluster.server.seen.clear()
        async with _successor(bed, []) as (successor, _):
            await bed.heard(lambda: successor.resume(run, metric, begun).phase.completed)
            verdict = successor.resume(run, metric, begun)

    assert verdict.phase is Phase.INCONCLUSIVE
    assert verdict.message.startswith("Unknown: PodChaos default/")
    assert "whether it ran is not known any more" in verdict.message
    assert "create" not in {seen.verb for seen in bed.cluster.server.seen if seen.resource == "podchaos"}
