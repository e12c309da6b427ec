"""Tells what is seen in the cluster: each change once, in words, from the objects themselves."""

from collections.abc import Callable, Iterable

from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, POD_CHAOS, PODS, ROLLOUTS, Object
from chaosplugin.sandbox.host.informer import Informer
from chaosplugin.sandbox.host.objects import COMPLETED, HASH_LABEL
from chaosplugin.sandbox.host.requests import Requests
from chaosplugin.sandbox.terminal import Ink, Terminal

_INKS = {"Successful": Ink.GREEN, "Failed": Ink.RED, "Error": Ink.RED, "Inconclusive": Ink.YELLOW}


class Scene:
    """What an onlooker knows of the cluster, by watches of his own; `wake` is called after each change."""

    def __init__(self, requests: Requests) -> None:
        self.requests = requests
        self.rollouts = Informer(requests, ROLLOUTS)
        self.runs = Informer(requests, ANALYSIS_RUNS)
        self.experiments = Informer(requests, POD_CHAOS)
        self.pods = Informer(requests, PODS)
        self.wake: Callable[[], None] = lambda: None
        for informer in self.informers:
            informer.listen(lambda *_: self.wake())

    @property
    def informers(self) -> tuple[Informer, ...]:
        return self.rollouts, self.runs, self.experiments, self.pods

    def rollout(self, name: str) -> Object:
        return self.rollouts.get(("default", name)) or {"metadata": {}, "spec": {}, "status": {}}

    def status(self, name: str) -> Object:
        return dict(self.rollout(name).get("status") or {})

    def serving(self, hash_: str) -> list[Object]:
        """Return the Ready pods of a version."""
        return [each for each in self.pods if _hash(each) == hash_ and is_ready(each)]


class Narrator:
    """Listens to a scene with the Rollout `app`. `version` names a hash of pods for people."""

    def __init__(self, scene: Scene, terminal: Terminal, app: str, version: Callable[[str], str]) -> None:
        self._scene = scene
        self._app = app
        self._terminal = terminal
        self._version = version
        self._told: set[tuple[str, str]] = set()
        self._owners: dict[str, str] = {}  # versions of pods by name, also of those that are gone
        self._ready = (0, 0)
        for pod in scene.pods:
            self._owners[pod["metadata"]["name"]] = _hash(pod)
        scene.pods.listen(lambda _, pod: self._pod(pod))
        scene.rollouts.listen(lambda _, rollout: self._rollout(rollout))
        scene.runs.listen(lambda _, run: self._run(run))
        scene.experiments.listen(lambda change, obj: self._experiment(obj, gone=change == "DELETED"))

    def _once(self, about: str, what: str, subject: str, text: str, ink: Ink = Ink.NONE) -> None:
        if (about, what) not in self._told:
            self._told.add((about, what))
            self._terminal.say(subject, text, ink)

    def _rollout(self, rollout: Object) -> None:
        status = rollout.get("status") or {}
        hash_ = status.get("currentPodHash", "")
        if status.get("stableRS") in {None, hash_} or status.get("abort"):
            return
        index = int(status.get("currentStepIndex") or 0)
        steps = rollout["spec"]["strategy"]["canary"]["steps"]
        done = [step["setWeight"] for step in steps[:index] if "setWeight" in step]
        if done:
            canary = self._scene.serving(hash_)
            count = rollout["spec"]["replicas"]
            text = f"canary at {done[-1]} %: {len(canary)} of {count} pods are {self._version(hash_)}"
            self._once(hash_, f"weight {done[-1]}", "rollout", text, Ink.CYAN)

    def _run(self, run: Object) -> None:
        name = run["metadata"]["name"]
        status = run.get("status") or {}
        index = run["metadata"].get("labels", {}).get("step-index", "")
        self._once(name, "began", "gate", f"step {index}: AnalysisRun {name} asks the plugin")
        for result in status.get("metricResults") or ():
            for measurement in result.get("measurements") or ():
                phase = measurement["phase"]
                if phase in COMPLETED:
                    text = f"{phase}: {measurement.get('message', '')}"
                    self._once(name, "verdict", "verdict", text, _INKS[phase])

    def _experiment(self, obj: Object, *, gone: bool) -> None:
        name = obj["metadata"]["name"]
        action, seconds = obj["spec"]["action"], obj["spec"].get("duration")
        lasting = f" for {seconds}" if seconds else ""
        self._once(name, "created", "experiment", f"PodChaos {name} created: {action}{lasting}")
        status = obj.get("status") or {}
        true = {each["type"] for each in status.get("conditions") or () if each["status"] == "True"}
        records = (status.get("experiment") or {}).get("containerRecords") or ()
        hit = sorted({each["id"].split("/")[1] for each in records})
        if hit:
            self._once(name, "selected", "experiment", f"selected {', '.join(hit)}, {self._whose(hit)}")
        if "AllInjected" in true:
            self._once(name, "injected", "experiment", f"injected: {action}", Ink.YELLOW)
        if "AllRecovered" in true and seconds:
            self._once(name, "recovered", "experiment", "recovered: the fault is gone")
        if gone:
            self._once(name, "gone", "experiment", f"{name} deleted")

    def _whose(self, pods: Iterable[str]) -> str:
        """Say of which versions these pods are."""
        versions = {self._version(self._owners.get(name, "")) for name in pods}
        return "of " + " and ".join(sorted(versions))

    def _pod(self, pod: Object) -> None:
        """While an experiment is there, tell how many of the canary's pods are ready."""
        hash_ = _hash(pod)
        self._owners[pod["metadata"]["name"]] = hash_
        status = self._scene.status(self._app)
        if hash_ != status.get("currentPodHash") or not list(self._scene.experiments):
            return
        now = len(self._scene.serving(hash_)), int(status.get("updatedReplicas") or 0)
        if now != self._ready:
            self._ready = now
            text = f"{now[0]} of {now[1]} pods of {self._version(hash_)} ready"
            self._terminal.say("pods", text, Ink.NONE if now[0] == now[1] else Ink.YELLOW)


def is_ready(pod: Object) -> bool:
    """Say whether a pod would get traffic."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _hash(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL, ""))
