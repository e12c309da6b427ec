"""Nodes and pods that live only in the API: binds pods, makes them Running and Ready, lets them go.

What it plays, so that chaos shows as it would on real nodes (annotations of the pod):
- a new pod is bound, then Running, and Ready after `realbed/ready-after` seconds (default 0.2);
- `realbed/ready: "false"` keeps a pod unready, and may be set and unset at any time;
- a container whose image changed was restarted (restartCount + 1), is unready while it runs a pause image,
  as in pod-failure, and then Ready again after `realbed/ready-after` seconds;
- a pod with a deletionTimestamp is gone `realbed/gone-after` seconds later (default 0).
"""

import hashlib
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from tests.realbed.api import Api, ApiError, Conflict, Json, NotFound

_CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "1000"}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _path(pod: Json) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Kubelet(threading.Thread):
    """One thread watches the pods; a timer per pod brings what is due later."""

    def __init__(self, api: Api, nodes: int = 2) -> None:
        super().__init__(daemon=True, name="kubelet")
        self.api = api
        self.nodes = [f"node-{n}" for n in range(1, nodes + 1)]
        self._bound = 0
        self._timers: dict[tuple[str, str], threading.Timer] = {}
        self._stopping = threading.Event()

    def make_nodes(self) -> None:
        for n, name in enumerate(self.nodes, 1):
            labels = {"kubernetes.io/hostname": name}
            metadata = {"name": name, "labels": labels}
            self.api.apply("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
            addresses = [
                {"type": "InternalIP", "address": f"10.254.0.{n}"},
                {"type": "Hostname", "address": name},
            ]
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
            ready |= {"lastHeartbeatTime": _now(), "lastTransitionTime": _now()}
            status = {"capacity": _CAPACITY, "allocatable": _CAPACITY, "addresses": addresses}
            self.api.patch(f"/api/v1/nodes/{name}/status", {"status": {**status, "conditions": [ready]}})

    def stop(self) -> None:
        self._stopping.set()
        for timer in list(self._timers.values()):
            timer.cancel()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (OSError, ValueError, ApiError) as error:
                if self._stopping.wait(0.2):
                    return
                sys.stderr.write(f"kubelet: {error}\n")

    def _follow(self) -> None:
        items, version = self.api.list("/api/v1/pods")
        for pod in items:
            self._sync(pod)
        for event in self.api.watch("/api/v1/pods", version):
            if event["type"] in ("ADDED", "MODIFIED"):
                self._sync(event["object"])
            elif event["type"] == "ERROR":
                return

    def _later(self, pod: Json, what: str, seconds: float) -> None:
        key = (pod["metadata"]["uid"], what)
        if key not in self._timers:
            self._timers[key] = timer = threading.Timer(seconds, self._again, [pod, key])
            timer.daemon = True
            timer.start()

    def _again(self, pod: Json, key: tuple[str, str]) -> None:
        try:
            fresh = self.api.get(_path(pod))
            if fresh["metadata"]["uid"] == key[0]:
                self._sync(fresh, due=key[1])
        except (NotFound, OSError):
            pass  # gone, as it should be, or so is the server
        finally:
            self._timers.pop(key, None)

    def _sync(self, pod: Json, due: str = "") -> None:
        with suppress(NotFound, Conflict):  # a newer event is on its way
            self._step(pod, due)

    def _step(self, pod: Json, due: str) -> None:
        meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
        if meta.get("deletionTimestamp"):
            self._let_go(pod, due)
        elif not spec.get("nodeName"):
            self._bind(pod)
        elif spec["nodeName"] in self.nodes and status.get("phase") not in ("Succeeded", "Failed"):
            self._report(pod, due)

    def _let_go(self, pod: Json, due: str) -> None:
        wait = float(pod["metadata"].get("annotations", {}).get("realbed/gone-after", 0))
        if wait and due != "gone":
            self._later(pod, "gone", wait)
            return
        uid = {"uid": pod["metadata"]["uid"]}
        self.api.delete(_path(pod), {"gracePeriodSeconds": 0, "preconditions": uid})

    def _bind(self, pod: Json) -> None:
        node = self.nodes[self._bound % len(self.nodes)]
        self._bound += 1
        metadata, target = {"name": pod["metadata"]["name"]}, {"kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        self.api.create(f"{_path(pod)}/binding", binding)

    def _report(self, pod: Json, due: str) -> None:
        before = {c["name"]: c for c in pod.get("status", {}).get("containerStatuses", [])}
        after = [self._container(pod, c, before.get(c["name"]), due) for c in pod["spec"]["containers"]]
        if after != list(before.values()):
            version = {"resourceVersion": pod["metadata"]["resourceVersion"]}
            status = self._pod_status(pod, after)
            self.api.patch(f"{_path(pod)}/status", {"metadata": version, "status": status})

    def _container(self, pod: Json, spec: Json, before: Json | None, due: str) -> Json:
        marks = pod["metadata"].get("annotations", {})
        if before is None or before["image"] != spec["image"]:
            restarts = before["restartCount"] + 1 if before else 0
            container = f"{pod['metadata']['uid'].replace('-', '')}{restarts:032x}"
            return {
                "name": spec["name"],
                "image": spec["image"],
                "imageID": f"sha256:{_digest(spec['image'])}",
                "ready": False,
                "started": True,
                "restartCount": restarts,
                "containerID": f"containerd://{container}",
                "state": {"running": {"startedAt": _now()}},
            }
        paused = spec["image"].split("@")[0].split(":")[0].rsplit("/", 1)[-1] == "pause"
        wanted = not paused and marks.get("realbed/ready") != "false"
        if wanted and not before["ready"] and due != "ready":
            self._later(pod, "ready", float(marks.get("realbed/ready-after", 0.2)))
            return before
        return {**before, "ready": wanted}

    def _pod_status(self, pod: Json, containers: list[Json]) -> Json:
        status, uid = pod.get("status", {}), _digest(pod["metadata"]["uid"])
        node = self.nodes.index(pod["spec"]["nodeName"]) + 1
        address = status.get("podIP") or f"10.{node}.{int(uid[:2], 16)}.{int(uid[2:4], 16) % 250 + 1}"
        before: dict[str, Any] = {c["type"]: c for c in status.get("conditions", [])}
        ready = "True" if all(c["ready"] for c in containers) else "False"

        def condition(kind: str, value: str) -> Json:
            same = before.get(kind, {}).get("status") == value
            since = before[kind]["lastTransitionTime"] if same else _now()
            return {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": since}

        return {
            "phase": "Running",
            "hostIP": f"10.254.0.{node}",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": status.get("startTime") or _now(),
            "conditions": [
                condition("Initialized", "True"),
                condition("PodScheduled", "True"),
                condition("ContainersReady", ready),
                condition("Ready", ready),
            ],
            "containerStatuses": containers,
        }
