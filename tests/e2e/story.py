"""One canary in a namespace of its own: started, looked at, and searched for what the gate left behind."""

import json
import time
from collections.abc import Callable, Iterable

from tests.e2e import manifests
from tests.e2e.manifests import Json
from tests.realbed.api import Api, NotFound

_OURS = "chaosplugin.io/"
_HASH = "rollouts-pod-template-hash"


class Story:
    """Paths and questions. `plural` is the experiments' resource; `patience` bounds the wait for a state.

    `spawned` are the resources of what a Schedule or a Workflow creates.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        plural: str = "podchaos",
        spawned: tuple[str, ...] = (),
        patience: float = 90,
    ) -> None:
        self.api, self.namespace, self._patience = api, namespace, patience
        self.argo = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}"
        chaos = f"/apis/chaos-mesh.org/v1alpha1/namespaces/{namespace}"
        self.chaos = f"{chaos}/{plural}"
        self._spawned = [f"{chaos}/{each}" for each in spawned]
        self.paths = (self.chaos, *self._spawned)
        """of all that a gate may create"""
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._before = ""

    # -- what happens

    def begin(self, gate: Json) -> None:
        """Begin a canary that `gate` judges."""
        self.api.create(f"{self.argo}/analysistemplates", gate)
        self.begin_canary(manifests.rollout())

    def begin_canary(self, rollout: Json) -> None:
        """Deploy a first version, wait until it is healthy, then begin a canary."""
        self.api.create(f"{self.argo}/rollouts", rollout)
        self.until("the first version is healthy", lambda: self.phase() == "Healthy")
        self._before = self.api.list(self.chaos)[1]
        stable = self.canary_hash()
        self.api.patch(f"{self.argo}/rollouts/web", manifests.next_version())
        self.until("the canary begins", lambda: self.canary_hash() != stable)

    def keep_canary_down(self) -> None:
        """Let the canary's pods not come back after the fault."""
        marks = {"metadata": {"annotations": {"realbed/ready-after": "600"}}}
        for pod in self.canary_pods():
            self.api.patch(f"{self._pods}/{pod['metadata']['name']}", marks)

    def touch_analysis_run(self) -> None:
        """Let the controller look at the AnalysisRun, as any change of it does."""
        name = self.analysis_run()["metadata"]["name"]
        self.api.patch(f"{self.argo}/analysisruns/{name}", {"metadata": {"annotations": {"touched": "yes"}}})

    def touch_experiments(self) -> None:
        """Let Chaos Mesh try again: a recovery that failed before a deletion is not repeated by itself."""
        for experiment in self.api.items(self.chaos):
            path = f"{self.chaos}/{experiment['metadata']['name']}"
            self.api.patch(path, {"metadata": {"annotations": {"touched": "yes"}}})

    def until(self, what: str, check: Callable[[], object]) -> None:
        """Wait for a state. Raises: AssertionError that tells how things are."""
        end = time.monotonic() + self._patience
        while not check():
            assert time.monotonic() < end, f"{what}: not in {self._patience:.0f} s\n{self._state()}"
            time.sleep(0.05)

    def until_injected(self) -> None:
        paths = self._spawned or [self.chaos]
        self.until("the fault is on", lambda: any(_injected(e) for p in paths for e in self.api.items(p)))

    def until_promoted(self) -> None:
        self.until("the canary is promoted", self._promoted)

    def until_aborted(self) -> None:
        self.until("the canary is aborted", lambda: self.rollout()["status"].get("abort"))
        self.until("the rollout says why", lambda: self.phase() == "Degraded")

    def until_paused(self) -> None:
        """Wait until the Rollout stands still for a person, as after an inconclusive analysis."""
        self.until("the canary is paused", lambda: self.message() == "InconclusiveAnalysisRun")

    def until_clean(self) -> None:
        """Wait until nothing of ours is left: no experiment, and no word of ours at a pod."""
        self.until("the experiments are gone", lambda: not any(map(self.api.items, self.paths)))
        self.until("the pods are as they were", lambda: not self._marked(self.api.items(self._pods)))

    # -- how things are

    def rollout(self) -> Json:
        return self.api.get(f"{self.argo}/rollouts/web")

    def phase(self) -> str:
        phase: str = self.rollout().get("status", {}).get("phase", "")
        return phase

    def message(self) -> str:
        """Return what a user reads in the Rollout's status."""
        message: str = self.rollout()["status"].get("message", "")
        return message

    def canary_hash(self) -> str:
        value: str = self.rollout()["status"]["currentPodHash"]
        return value

    def canary_pods(self) -> list[Json]:
        return self.api.items(f"{self._pods}?labelSelector={_HASH}%3D{self.canary_hash()}")

    def stable_pods(self) -> list[Json]:
        return self.api.items(f"{self._pods}?labelSelector={_HASH}%21%3D{self.canary_hash()}")

    def events(self, kind: str) -> list[Json]:
        """Return the gate's Events on objects of a kind, oldest first."""
        found = self.api.items(f"/api/v1/namespaces/{self.namespace}/events")
        ours = [each for each in found if each.get("source", {}).get("component") == "chaosplugin"]
        about = [each for each in ours if each["involvedObject"]["kind"] == kind]
        return sorted(about, key=lambda each: str(each["metadata"]["name"].rpartition(".")[2]))

    def analysis_runs(self) -> list[Json]:
        return self.api.items(f"{self.argo}/analysisruns")

    def analysis_run(self) -> Json:
        """Return the only AnalysisRun."""
        (run,) = self.api.items(f"{self.argo}/analysisruns")
        return run

    def measurement(self) -> Json:
        """Return the only measurement of the only metric."""
        (result,) = self.analysis_run()["status"]["metricResults"]
        (measurement,) = result["measurements"]
        found: Json = measurement
        return found

    def last_measurement(self) -> Json:
        """Return the last measurement: Argo may have taken the death of a plugin for an Error."""
        (result,) = self.analysis_run()["status"]["metricResults"]
        found: Json = result["measurements"][-1]
        return found

    def experiments_created(self, path: str = "") -> list[Json]:
        """Return every experiment that was created since the canary began, also those that are gone."""
        events = self.api.watch(path or self.chaos, self._before, seconds=1)
        return [event["object"] for event in events if event["type"] == "ADDED"]

    def spawned(self) -> list[Json]:
        """Return everything that the experiment has created."""
        return [each for path in self._spawned for each in self.experiments_created(path)]

    def departed(self) -> list[Json]:
        """Return what the experiment has created and is gone, each as it was last."""
        events = [event for path in self._spawned for event in self.api.watch(path, self._before, seconds=1)]
        return [event["object"] for event in events if event["type"] == "DELETED"]

    def _promoted(self) -> bool:
        status = self.rollout()["status"]
        return bool(status.get("phase") == "Healthy" and status["stableRS"] == status["currentPodHash"])

    @staticmethod
    def _marked(pods: Iterable[Json]) -> list[str]:
        marks = [pod["metadata"].get("labels", {}) | pod["metadata"].get("annotations", {}) for pod in pods]
        return [key for keys in marks for key in keys if key.startswith(_OURS)]

    def _state(self) -> str:
        parts: list[Json] = []
        for path in (f"{self.argo}/rollouts", f"{self.argo}/analysisruns", *self.paths):
            try:
                parts += self.api.items(path)
            except NotFound as error:
                parts.append({"metadata": str(error)})
        return json.dumps([{key: part.get(key) for key in ("kind", "metadata", "status")} for part in parts])


def _injected(experiment: Json) -> bool:
    conditions = experiment.get("status", {}).get("conditions") or []
    return any(c["type"] == "AllInjected" and c["status"] == "True" for c in conditions)


def restarts(pods: Iterable[Json]) -> list[int]:
    return sorted(c["restartCount"] for pod in pods for c in pod["status"]["containerStatuses"])


def image_names(pods: Iterable[Json]) -> set[str]:
    return {c["image"] for pod in pods for c in pod["spec"]["containers"]}
