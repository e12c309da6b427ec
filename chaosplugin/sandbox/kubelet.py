"""Nodes that live only in the API: bind pods, run them, restart them, let them go.

What it plays, so that chaos shows as it would on real nodes:
- a new pod is bound, then Running, and Ready after `ready-after` seconds (default 0.2);
- `ready: "false"` keeps a pod unready, and may be set and unset at any time;
- a container whose image changed was restarted (restartCount + 1), and is unready while it is a pause image;
- a pod with a deletionTimestamp is gone `gone-after` seconds later (default 0).
The three words are annotations of the pod under `sandbox.chaosplugin.io/` or `realbed/`, so that one suite of
tests runs on the sandbox and on a bed of real components.
"""

from dataclasses import dataclass
from typing import Any

from chaosplugin.sandbox.api.deletion import DeleteOptions
from chaosplugin.sandbox.api.metadata import timestamp
from chaosplugin.sandbox.api.resources import NODES, PODS, Object
from chaosplugin.sandbox.api.store import Change, Stored
from chaosplugin.sandbox.api.verbs import Api
from chaosplugin.sandbox.workqueue import WorkQueue

PREFIXES = ("sandbox.chaosplugin.io/", "realbed/")
READY_AFTER = 0.2  # seconds
PAUSE = "pause"  # the name of the image that Chaos Mesh puts in


@dataclass(frozen=True, slots=True)
class _Key:
    """A pod, and what has become due for it: "" a look, "ready" or "gone"."""

    namespace: str
    name: str
    uid: str
    due: str = ""


class Kubelet:
    """Plays all nodes."""

    def __init__(self, api: Api, nodes: int = 2) -> None:
        self._api = api
        self._nodes = [f"node-{number}" for number in range(1, nodes + 1)]
        self._bound = 0
        self._queue: WorkQueue[_Key] = WorkQueue()
        for name in self._nodes:
            api.create(NODES, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
        api.store.listen(self._hear, PODS)

    async def run(self) -> None:
        await self._queue.work(self._look)

    def restart(self, namespace: str, name: str, container: str) -> None:
        """Restart a container, as after its death."""
        pod = self._api.get(PODS, namespace, name)
        status = pod.copy()["status"]
        for each in status.get("containerStatuses") or ():
            if each["name"] == container:
                each |= {"ready": False, "restartCount": each["restartCount"] + 1}
        self._write(pod, status)

    def _hear(self, change: Change) -> None:
        if change.type != "DELETED":
            self._queue.add(_Key(change.stored.namespace, change.stored.name, change.stored.uid))

    async def _look(self, key: _Key) -> None:
        pod = self._api.find(PODS, key.namespace, key.name)
        if pod is None or pod.uid != key.uid:
            return
        if pod.deleting:
            self._let_go(pod, key)
        elif not pod.object["spec"].get("nodeName"):
            self._bind(pod)
        elif pod.object["status"].get("phase") not in {"Succeeded", "Failed"}:
            self._sync(pod, key)

    def _let_go(self, pod: Stored, key: _Key) -> None:
        wait = _seconds(pod, "gone-after", 0.0)
        if wait and key.due != "gone":
            self._queue.add(_Key(key.namespace, key.name, key.uid, "gone"), wait)
        else:
            self._api.delete(PODS, pod.namespace, pod.name, DeleteOptions(uid=pod.uid, grace=0))

    def _bind(self, pod: Stored) -> None:
        node = self._nodes[self._bound % len(self._nodes)]
        self._bound += 1
        self._api.merge(PODS, pod.namespace, pod.name, {"spec": {"nodeName": node}})

    def _sync(self, pod: Stored, key: _Key) -> None:
        known = {each["name"]: each for each in pod.object["status"].get("containerStatuses") or ()}
        containers, changed = [], False
        for spec in pod.object["spec"]["containers"]:
            status, differs = self._container(pod, spec, known.get(spec["name"]), key)
            containers.append(status)
            changed |= differs
        if changed:
            self._write(pod, pod.copy()["status"] | {"containerStatuses": containers})

    def _container(self, pod: Stored, spec: Object, was: Object | None, key: _Key) -> tuple[Object, bool]:
        """Return a container's status, and whether it is news."""
        image = spec.get("image", "")
        if was is None or was["image"] != image:
            restarts = was["restartCount"] + 1 if was else 0
            return self._started(pod, spec["name"], image, restarts), True
        wanted = _image_name(image) != PAUSE and _mark(pod, "ready") != "false"
        if wanted == was["ready"]:
            return was, False
        if wanted and key.due != "ready":
            wait = _seconds(pod, "ready-after", READY_AFTER)
            self._queue.add(_Key(key.namespace, key.name, key.uid, "ready"), wait)
            return was, False
        return was | {"ready": wanted}, True

    def _started(self, pod: Stored, name: str, image: str, restarts: int) -> Object:
        return {
            "name": name,
            "image": image,
            "imageID": f"sandbox/{image}",
            "ready": False,
            "started": True,
            "restartCount": restarts,
            "containerID": f"containerd://{pod.uid.replace('-', '')}{restarts:032x}",
            "state": {"running": {"startedAt": timestamp(self._api.clock())}},
        }

    def _write(self, pod: Stored, status: Object) -> None:
        now = timestamp(self._api.clock())
        containers = status.get("containerStatuses") or ()
        ready = "True" if containers and all(each["ready"] for each in containers) else "False"
        before = {each["type"]: each for each in status.get("conditions") or ()}

        def condition(kind: str, value: str) -> dict[str, Any]:
            known = before.get(kind)
            same = known is not None and known["status"] == value
            since = known["lastTransitionTime"] if known is not None and same else now
            return {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": since}

        node = self._nodes.index(pod.object["spec"]["nodeName"]) + 1
        ip = status.get("podIP") or f"10.{node}.{int(pod.uid[:2], 16)}.{int(pod.uid[2:4], 16)}"
        status |= {
            "phase": "Running",
            "hostIP": f"10.254.0.{node}",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": status.get("startTime") or now,
            "conditions": [
                condition("Initialized", "True"),
                condition("PodScheduled", "True"),
                condition("ContainersReady", ready),
                condition("Ready", ready),
            ],
        }
        self._api.merge(PODS, pod.namespace, pod.name, {"status": status}, subresource="status")


def _mark(pod: Stored, word: str) -> str:
    annotations = pod.metadata.get("annotations") or {}
    return next((str(annotations[p + word]) for p in PREFIXES if p + word in annotations), "")


def _seconds(pod: Stored, word: str, default: float) -> float:
    """Read a number of seconds; what is none counts as absent, as a kubelet has nobody to complain to."""
    try:
        return float(_mark(pod, word) or default)
    except ValueError:
        return default


def _image_name(image: str) -> str:
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]
