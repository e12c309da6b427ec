"""What tests of the host do with a cluster: put objects there, wait for them, read them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    EXPERIMENTS,
    REPLICA_SETS,
    ROLLOUTS,
    Object,
    Resource,
)
from chaosplugin.sandbox.cluster import Cluster
from chaosplugin.sandbox.host.caches import Caches
from tests.sandbox.bed import until

METRIC: Object = {"name": "chaos", "provider": {"plugin": {"argo/chaos": {"hash": "{{args.hash}}"}}}}
ARGS: list[Object] = [{"name": "hash", "value": "abc"}]
ANALYSIS: Object = {
    "analysis": {
        "templates": [{"templateName": "gate"}],
        "args": [{"name": "hash", "valueFrom": {"podTemplateHashValue": "Latest"}}],
    }
}


@dataclass(frozen=True)
class Stage:
    cluster: Cluster
    caches: Caches

    # -- AnalysisRuns

    def analyse(self, name: str = "run", *metrics: Object, **spec: Any) -> None:
        given = {"metrics": list(metrics) or [METRIC], "args": ARGS} | spec
        self._create(ANALYSIS_RUNS, {"metadata": {"name": name}, "spec": given})

    def run(self, name: str = "run") -> Object:
        return self.get(ANALYSIS_RUNS, name)

    def touch(self, word: str, name: str = "run") -> None:
        self.patch(ANALYSIS_RUNS, name, {"metadata": {"annotations": {"touched": word}}})

    async def ends(self, name: str = "run", phase: str = "") -> Object:
        """Wait until a run has ended (in this phase); return its status."""

        def ended() -> bool:
            status = self.run(name).get("status") or {}
            return status.get("phase") == phase if phase else "completedAt" in status

        await until(self.cluster, ended)
        return dict(self.run(name)["status"])

    async def has(self, holds: Callable[[Object], object], name: str = "run") -> None:
        """Wait for something in a run's first result."""

        def found() -> object:
            results = (self.run(name).get("status") or {}).get("metricResults")
            return results and holds(results[0])

        await until(self.cluster, found)

    # -- Rollouts

    def template(self, *metrics: Object, name: str = "gate") -> None:
        spec = {"args": [{"name": "hash"}], "metrics": list(metrics) or [METRIC]}
        self._create(ANALYSIS_TEMPLATES, {"metadata": {"name": name}, "spec": spec})

    def rollout(self, *steps: Object, replicas: int = 5, name: str = "web", **canary: Any) -> None:
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template,
            "strategy": {"canary": {"steps": list(steps)} | canary},
        }
        self._create(ROLLOUTS, {"metadata": {"name": name}, "spec": spec})

    def update(self, image: str, name: str = "web", **annotations: str) -> None:
        """Give the Rollout's pods another image."""
        template = {
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "c", "image": image}]},
        }
        self.patch(ROLLOUTS, name, {"spec": {"template": template}})

    def web(self) -> Object:
        return dict(self.get(ROLLOUTS, "web").get("status") or {})

    def status(self, change: Object, name: str = "web") -> None:
        """Patch the Rollout's status, as the kubectl plugin does."""
        self.cluster.api.merge(ROLLOUTS, "default", name, {"status": change}, subresource="status")

    async def becomes(self, phase: str, message: str | None = None) -> Object:
        """Wait for a phase of the Rollout; return its status."""

        def there() -> bool:
            status = self.web()
            return status.get("phase") == phase and message in {None, status.get("message")}

        await until(self.cluster, there)
        return self.web()

    async def healthy(self, image: str) -> Object:
        """Wait until this image is what is stable, and nothing else is left."""

        def there() -> bool:
            images = {self.image(each) for each in self.all(REPLICA_SETS)} - {image}
            left = sum(map(self.pods, images))
            return self.web().get("phase") == "Healthy" and self.pods(image) > 0 and not left

        await until(self.cluster, there)
        return self.web()

    def image(self, replica_set: Object) -> str:
        return str(replica_set["spec"]["template"]["spec"]["containers"][0]["image"])

    def pods(self, image: str) -> int:
        """Return how many pods of this image are wanted."""
        sets = [each for each in self.all(REPLICA_SETS) if self.image(each) == image]
        return sum(int(each["spec"]["replicas"]) for each in sets)

    async def gate(self, number: int = 1) -> Object:
        """Wait for so many AnalysisRuns; return the latest."""
        await until(self.cluster, lambda: len(self.all(ANALYSIS_RUNS)) >= number)
        return max(self.all(ANALYSIS_RUNS), key=lambda run: int(run["metadata"]["resourceVersion"]))

    async def experiment(self) -> Object:
        await until(self.cluster, lambda: self.all(EXPERIMENTS))
        return self.all(EXPERIMENTS)[0]

    # -- any object

    def get(self, resource: Resource, name: str) -> Object:
        return self.cluster.api.get(resource, "default", name).copy()

    def all(self, resource: Resource) -> list[Object]:
        return [each.copy() for each in self.cluster.api.list(resource, "default")]

    def patch(self, resource: Resource, name: str, change: Object) -> None:
        self.cluster.api.merge(resource, "default", name, change)

    def _create(self, resource: Resource, obj: Object) -> None:
        self.cluster.api.create(resource, obj, "default")
