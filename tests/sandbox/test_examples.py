"""Every file in examples/ goes the whole way: Argo's host, the plugin's process, Chaos Mesh's admission."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from chaosplugin.sandbox import cluster
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    BY_KIND,
    REPLICA_SETS,
    ROLLOUTS,
    SCHEDULES,
    Object,
)
from chaosplugin.sandbox.demo import PLUGIN, manifest
from chaosplugin.sandbox.host import controller
from chaosplugin.sandbox.host.objects import HASH_LABEL
from chaosplugin.sandbox.host.process import Command
from chaosplugin.sandbox.host.requests import Login
from tests.sandbox.bed import until
from tests.sandbox.conftest import clock

EXAMPLES = Path(__file__).parents[2] / "examples"
ROLLOUT_FILES = sorted(path.name for path in EXAMPLES.glob("rollout-*.yaml"))
SPECS = sorted(
    path.name for kind in ("*chaos", "schedule", "workflow") for path in EXAMPLES.glob(f"{kind}-*.yaml")
)
MADE = {"rollout-analysis-step.yaml": "PodChaos", "rollout-experiment-step.yaml": "Schedule"}
TEMPLATE = "analysis-template.yaml"


def load(name: str) -> Object:
    loaded: Object = yaml.safe_load((EXAMPLES / name).read_text())
    return loaded


@asynccontextmanager
async def deployed(folder: Path, rollout: Object) -> AsyncIterator[cluster.Cluster]:
    """Play the Rollout up to the canary, with the real plugin."""
    async with cluster.start(clock, folder) as bed:
        environment = dict(os.environ) | {
            "KUBECONFIG": str(bed.kubeconfig(ARGO_ROLLOUTS, "argo-rollouts")),
            "TMPDIR": str(folder),
        }
        command = Command([sys.executable, "-m", "chaosplugin"], environment)
        settings = controller.Settings(Login(bed.url, bed.token(ARGO_ROLLOUTS)), {PLUGIN: command})
        async with controller.start(settings, clock, lambda _: None):
            bed.api.create(ANALYSIS_TEMPLATES, load(TEMPLATE), "default")
            bed.api.create(ROLLOUTS, rollout, "default")

            def status() -> Object:
                return dict(bed.api.get(ROLLOUTS, "default", "my-app").object.get("status") or {})

            await until(bed, lambda: status().get("phase") == "Healthy")
            change = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
            bed.api.merge(ROLLOUTS, "default", "my-app", change)
            yield bed


async def created(bed: cluster.Cluster, kind: str) -> Object:
    """Wait for an experiment of this kind, or for the end of its AnalysisRun."""
    resource = BY_KIND[("chaos-mesh.org/v1alpha1", kind)]
    refused: list[str] = []

    def there() -> object:
        runs = [each.object.get("status") or {} for each in bed.api.list(ANALYSIS_RUNS, "default")]
        refused.extend(str(run.get("message")) for run in runs if "completedAt" in run)
        return bed.api.list(resource, "default") or refused

    await until(bed, there, 30)
    assert not refused
    return bed.api.list(resource, "default")[0].copy()


@pytest.mark.parametrize("name", ROLLOUT_FILES)
async def test_a_rollout_gets_as_far_as_its_experiment(tmp_path: Path, name: str) -> None:
    async with deployed(tmp_path, load(name)) as bed:
        experiment = await created(bed, MADE[name])

        spec = experiment["spec"]
        expressions = spec.get("podChaos", spec)["selector"]["expressionSelectors"]
        (expression,) = [each for each in expressions if each["operator"] == "In"]
        run = bed.api.list(ANALYSIS_RUNS, "default")[0].object
        (owner,) = run["metadata"]["ownerReferences"]
        hit = [
            each.object
            for each in bed.api.list(REPLICA_SETS, "default")
            if each.object["metadata"]["labels"][HASH_LABEL] in expression["values"]
        ]
        assert expression["key"] == HASH_LABEL
        assert [each["metadata"]["ownerReferences"][0]["kind"] for each in hit] == [owner["kind"]]


@pytest.mark.parametrize("name", SPECS)
async def test_an_experiment_is_accepted_as_a_gate(tmp_path: Path, name: str) -> None:
    rollout = load("rollout-analysis-step.yaml")
    analysis = next(s["analysis"] for s in rollout["spec"]["strategy"]["canary"]["steps"] if "analysis" in s)
    spec = next(each for each in analysis["args"] if each["name"] == "chaos-spec")
    spec["value"] = (EXAMPLES / name).read_text()
    async with deployed(tmp_path, rollout) as bed:
        experiment = await created(bed, load(name)["kind"])

        assert experiment["metadata"]["name"].startswith(load(name)["metadata"]["name"])


async def test_the_original_s_main_example_is_survived_again_and_again(tmp_path: Path) -> None:
    rollout = load("rollout-experiment-step.yaml")
    step = next(s["experiment"] for s in rollout["spec"]["strategy"]["canary"]["steps"] if "experiment" in s)
    spec = next(each for each in step["analyses"][0]["args"] if each["name"] == "chaos-spec")
    shorter = {'cron: "@every 30s"': 'cron: "@every 4s"', 'duration: "2m"': 'duration: "10s"'}
    for old, new in shorter.items():
        assert old in spec["value"]
        spec["value"] = spec["value"].replace(old, new)
    async with deployed(tmp_path, rollout) as bed:
        await until(bed, lambda: bed.api.list(SCHEDULES, "default"), 30)

        def message() -> str:
            runs = [each.object.get("status") or {} for each in bed.api.list(ANALYSIS_RUNS, "default")]
            results = [result for run in runs for result in run.get("metricResults") or ()]
            ended = [m for result in results for m in result["measurements"] if "finishedAt" in m]
            return str(ended[0].get("message")) if ended else ""

        await until(bed, message, 60)
        assert message().startswith("Survived: ")
        assert "2 firings, 2 targets hit" in message()


def test_every_file_is_tried() -> None:
    files = {path.name for path in EXAMPLES.iterdir()}

    assert files == {TEMPLATE, "README.md", *ROLLOUT_FILES, *SPECS}


def test_the_demo_ships_the_same_template() -> None:
    assert manifest(TEMPLATE) == load(TEMPLATE)
    packaged = Path(cluster.__file__).parent / "manifests" / TEMPLATE
    assert packaged.read_text() == (EXAMPLES / TEMPLATE).read_text()
