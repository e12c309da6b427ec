"""Gates of Schedules and Workflows against the sandbox, also where the provider dies in between."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.policy import Policy
from chaosplugin.kube.yaml import load
from chaosplugin.provider.ports import Cluster
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.resources import Object
from tests.provider.gate import FAIL, NAMESPACE, Gate, clock, config, gate, into, schedule


def workflow(deadline: str) -> Object:
    spec = {
        "entry": "all",
        "templates": [
            {"name": "all", "templateType": "Serial", "children": ["fail", "rest", "fail"]},
            {"name": "fail", "templateType": "PodChaos", "deadline": deadline, "podChaos": FAIL},
            {"name": "rest", "templateType": "Suspend", "deadline": "4s"},
        ],
    }
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "flow"},
        "spec": spec,
    }


def there(bed: Gate, resource: resources.Resource) -> list[Object]:
    return [each.object for each in bed.cluster.api.list(resource, NAMESPACE)]


def left(bed: Gate) -> bool:
    kinds = (resources.SCHEDULES, resources.WORKFLOWS, resources.WORKFLOW_NODES, resources.POD_CHAOS)
    return any(there(bed, kind) for kind in kinds)


async def test_a_schedule_is_kept_paused_where_the_template_wants_it(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()

        answer = await bed.judge(run, config(schedule(), scheduleFor="4s", cleanupOnFinish=False))
        bed.cluster.api.merge(
            resources.ANALYSIS_RUNS, NAMESPACE, run.metadata.name, {"status": {"phase": "Successful"}}
        )
        await bed.until(
            lambda: "chaosplugin.io/keep" in there(bed, resources.SCHEDULES)[0]["metadata"]["labels"]
        )

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        (kept,) = there(bed, resources.SCHEDULES)
        assert kept["metadata"]["annotations"]["experiment.chaos-mesh.org/pause"] == "true"
        assert len(bed.experiments) == 1


@asynccontextmanager
async def another(bed: Gate) -> AsyncIterator[ChaosProvider]:
    """Give a provider that dies at the end of the block, with all that it knew."""
    async with anyio.create_task_group() as tasks:
        provider = ChaosProvider(
            tasks,
            OneCluster(bed.home),
            clock=clock,
            policy=Policy(),
            load_yaml=load,
            observer=into(bed.stages),
        )
        tasks.start_soon(provider.serve)
        yield provider
        tasks.cancel_scope.cancel()


@dataclass
class OneCluster:
    """A process that reaches one cluster only."""

    cluster: Cluster

    async def home(self) -> Cluster:
        return self.cluster

    def home_now(self) -> Cluster:
        return self.cluster

    async def endpoint(self, url: str, namespace: str, secret: str, *, begins: bool = False) -> Cluster:
        raise NotImplementedError


async def judge(
    bed: Gate, run: AnalysisRun, configuration: object, dies: Callable[[], bool], seconds: float = 120
) -> Measurement:
    """Let one provider begin, and another one resume after its death."""
    metric = bed.metric(configuration)
    async with another(bed) as first:
        measurement = first.run(run, metric)
        measurement = first.resume(run, metric, measurement)
        await bed.until(dies, seconds)
    async with another(bed) as second:
        with anyio.fail_after(seconds):
            while not measurement.phase.completed:
                measurement = second.resume(run, metric, measurement)
                await anyio.sleep(0.1)
        await bed.until(lambda: not left(bed))
    return measurement


def injected(bed: Gate, firings: int = 1) -> bool:
    """Whether so many experiments have hit something, and the last one's fault is on."""
    records = [
        record
        for each in bed.experiments
        for record in ((each.get("status") or {}).get("experiment") or {}).get("containerRecords") or ()
    ]
    on = [record for record in records if record["phase"] == "Injected"]
    return len(bed.experiments) >= firings and bool(on)


async def all_at_once(
    folder: Path, configuration: Object, points: Mapping[str, Callable[[Gate], object]], said: str
) -> None:
    """Let the provider die at each point, each time in a cluster of its own."""

    async def one(point: str) -> None:
        (folder / point).mkdir()
        async with gate(folder / point) as bed:
            bed.deploy()
            answer = await judge(bed, bed.analysis_run(), configuration, lambda: bool(points[point](bed)))

            assert answer.phase is Phase.SUCCESSFUL, f"{point}: {answer.message}"
            assert said in answer.message, point

    async with anyio.create_task_group() as tasks:
        for point in points:
            tasks.start_soon(one, point)


async def test_a_schedule_is_judged_by_whoever_comes_after(tmp_path: Path) -> None:
    points: dict[str, Callable[[Gate], object]] = {
        "created": lambda bed: there(bed, resources.SCHEDULES),
        "first firing": injected,
        "second firing": lambda bed: injected(bed, 2),
        "paused": lambda bed: "experiment.chaos-mesh.org/pause" in str(there(bed, resources.SCHEDULES)),
        "recovering": lambda bed: "recovering" in bed.stages,
        "decided": lambda bed: "decided" in bed.stages,
    }

    # faults that are not over before a busy machine has injected them, and time to stop before the third
    asked = config(schedule("6s", "4s"), scheduleFor="14s", timeout="60s")
    await all_at_once(tmp_path, asked, points, "2 firings, 4 targets hit")


async def test_a_workflow_is_judged_by_whoever_comes_after(tmp_path: Path) -> None:
    points: dict[str, Callable[[Gate], object]] = {
        "created": lambda bed: there(bed, resources.WORKFLOWS),
        "injected": injected,
        "between": lambda bed: not bed.experiments and len(there(bed, resources.WORKFLOW_NODES)) > 2,
        "over": lambda bed: "endTime" in str(there(bed, resources.WORKFLOWS)),
    }

    await all_at_once(tmp_path, config(workflow("4s"), timeout="60s"), points, "2 faults, 4 targets hit")
