"""What the tests of the sandbox do with a cluster: ask, watch, wait, deploy, and tell its story."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import msgspec

from chaosplugin.sandbox.api.access import SYSTEM
from chaosplugin.sandbox.api.resources import PODS, REPLICA_SETS, Object, Resource
from chaosplugin.sandbox.api.store import Change
from chaosplugin.sandbox.cluster import Cluster
from chaosplugin.sandbox.replicasets import ready


class Client:
    """HTTP to a cluster as one user; an answer is (status, JSON or text)."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(
        self, method: str, path: str, body: object = None, media: str = "application/json"
    ) -> tuple[int, Any]:
        headers = {} if body is None else {"Content-Type": media}
        data = None if body is None else msgspec.json.encode(body)
        async with self.session.request(method, path, data=data, headers=headers) as response:
            raw = await response.read()
            return response.status, msgspec.json.decode(
                raw
            ) if "json" in response.content_type else raw.decode()

    async def patch(self, path: str, change: object) -> tuple[int, Any]:
        return await self.ask("PATCH", path, change, "application/merge-patch+json")

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator["Stream"]:
        async with self.session.get(path, params={"watch": "true", **query}) as response:
            yield Stream(response)


class Stream:
    """The events of a watch, one by one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> tuple[str, Object]:
        """Return the next event; ("EOF", {}) at the end."""
        with anyio.fail_after(10):
            line = await self.response.content.readline()
        if not line:
            return "EOF", {}
        event = msgspec.json.decode(line)
        return event["type"], event["object"]

    async def names(self, count: int) -> list[str]:
        """Return the next events as `TYPE name`."""
        events = [await self.next() for _ in range(count)]
        return [f"{kind} {obj['metadata'].get('name', '')}" for kind, obj in events]


@asynccontextmanager
async def connect(cluster: Cluster, user: str = SYSTEM.name) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {cluster.token(user)}"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        yield Client(session)


async def until(cluster: Cluster, holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait until `holds`, looking after every change in the cluster."""
    changed = anyio.Event()

    def hear(_: Change) -> None:
        changed.set()

    unlisten = cluster.store.listen(hear)
    try:
        with anyio.fail_after(seconds):
            while not holds():
                await changed.wait()
                changed = anyio.Event()
    finally:
        unlisten()


async def deploy(
    cluster: Cluster, name: str = "web", replicas: int = 3, annotations: dict[str, str] | None = None
) -> Object:
    """Make a ReplicaSet of two containers a pod, and wait for its pods to be Ready."""
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    made = cluster.api.create(REPLICA_SETS, {"metadata": {"name": name}, "spec": spec}, "default")
    await until(cluster, lambda: ready_pods(cluster) >= replicas)
    return made.copy()


def ready_pods(cluster: Cluster) -> int:
    return sum(map(ready, cluster.api.list(PODS, "default")))


def story(cluster: Cluster, resource: Resource) -> list[str]:
    """Return a list that grows with each change of the resource, in the words of the measurements."""
    lines: list[str] = []
    cluster.store.listen(lambda change: lines.append(tell(change)), resource)
    return lines


def tell(change: Change) -> str:
    obj = change.stored.object
    status = obj.get("status") or {}
    experiment = status.get("experiment") or {}
    words: list[str] = [change.type]
    if obj["metadata"].get("finalizers"):
        words.append("finalizer")
    if "deletionTimestamp" in obj["metadata"]:
        words.append("deleting")
    if "desiredPhase" in experiment:
        words.append(experiment["desiredPhase"])
    if "conditions" in status:
        true = sorted(each["type"] for each in status["conditions"] if each["status"] == "True")
        words.append(f"true={','.join(true)}")
    if "containerRecords" in experiment:
        told = {
            f"{r['selectorKey']} {r['phase']} {r['injectedCount']}/{r['recoveredCount']}"
            for r in experiment["containerRecords"]
        }
        words.append(str(sorted(told)))
    words.append(f"gen{obj['metadata']['generation']}")
    return " ".join(words)


CHAOS = "/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos"
RUNS = "/apis/argoproj.io/v1alpha1/namespaces/default/analysisruns"
MAPS = "/api/v1/namespaces/default/configmaps"


def pod_chaos(name: str, **more: Any) -> Object:
    """Return a PodChaos that the server takes, with a spec changed by `more`."""
    spec = {"action": "pod-failure", "mode": "all", "selector": {"namespaces": ["default"]}} | more
    kind = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "PodChaos"}
    return {**kind, "metadata": {"name": name}, "spec": spec}
