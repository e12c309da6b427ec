"""A cluster with a crowd of canaries of one pod each, whose Chaos Mesh does as it is told, and when."""

import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec

from bench.loads import NAME
from chaosplugin.sandbox.api.access import PLUGIN_ROLE, UPSTREAM_ROLE, User
from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    BY_KIND,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    TABLE,
    Object,
    Resource,
)
from chaosplugin.sandbox.api.server import Server
from chaosplugin.sandbox.api.store import Change
from chaosplugin.sandbox.api.verbs import Api

NETWORK_CHAOS = BY_KIND["chaos-mesh.org/v1alpha1", "NetworkChaos"]
NAMESPACE_SIZE = 100
_AT_ONCE = 50
HOLDS_S = 5
"""How long a canary must hold after the fault, by README; from the second that Chaos Mesh writes down."""
_HASH = "rollouts-pod-template-hash"
_VERDICT = "chaosplugin.io/verdict."
_STABLE = "stable"
_TEMPLATE = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: NetworkChaos
metadata: {name: crowd}
spec: {action: delay, delay: {latency: 10ms}, mode: all, duration: 1h}
"""
METRIC: Object = {
    "name": "chaos",
    "provider": {"plugin": {NAME: {"chaosExperimentCRD": _TEMPLATE, "timeout": "2h", "targetTimeout": "1h"}}},
}


@dataclass(slots=True)
class Member:
    """One gate: who it is, and when what happened to it."""

    namespace: str
    name: str
    uid: str
    owner: str
    hash: str
    experiment: str = ""
    due: float = 0.0
    """when the verdict could be known"""
    judged: float = 0.0
    """when it stood on the AnalysisRun"""
    gone: float = 0.0
    """when its experiment was"""

    @property
    def fields(self) -> Mapping[str, str]:
        """For the Go host."""
        names = ("namespace", "name", "uid", "owner", "hash")
        return {name: getattr(self, name) for name in names}


@dataclass
class Crowd:
    """The cluster, its members by name, and what Chaos Mesh has still to do."""

    api: Api
    server: Server
    members: dict[str, Member] = field(default_factory=dict)
    created: int = 0
    injected: int = 0
    marked: int = 0
    judged: int = 0
    gone: int = 0
    _fresh: deque[tuple[str, str]] = field(default_factory=deque)

    def populate(self, count: int) -> None:
        """Make the canaries, past all admission and all controllers."""
        for number in range(count):
            namespace = f"crowd-{number // NAMESPACE_SIZE}"
            if number % NAMESPACE_SIZE == 0:
                self.api.create(NAMESPACES, {"metadata": {"name": namespace}})
            self._add(namespace, f"web-{number}", f"{number:x}")
        self.api.store.listen(self._hear_experiment, NETWORK_CHAOS)
        self.api.store.listen(self._hear_run, ANALYSIS_RUNS)

    def _add(self, namespace: str, name: str, value: str) -> None:
        status = {"currentPodHash": value, "stableRS": _STABLE}
        spec = {"replicas": 2, "strategy": {"canary": {}}}
        rollout = self._write(ROLLOUTS, namespace, name, {"spec": spec, "status": status})
        for each in (value, _STABLE):
            replica_set = self._write(
                REPLICA_SETS, namespace, f"{name}-{each}", {"spec": {"replicas": 1}}, each, rollout
            )
            if each == value:
                self._write(PODS, namespace, f"{name}-{each}-pod", _pod(), value, replica_set)
        run = self._write(ANALYSIS_RUNS, namespace, name, {"spec": {"metrics": [METRIC]}}, value, rollout)
        uid, owner = run["metadata"]["uid"], rollout["metadata"]["uid"]
        self.members[f"{namespace}/{name}"] = Member(namespace, name, uid, owner, value)

    def _write(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Object,
        value: str = "",
        owner: Object | None = None,
    ) -> Object:
        metadata: Object = {
            "name": name,
            "namespace": namespace,
            "uid": secrets.token_hex(16),
            "creationTimestamp": _stamp(),
            "generation": 1,
        }
        if value:
            metadata["labels"] = {_HASH: value, "app": name, "rollout-type": "Step"}
        if owner is not None:
            kind = {key: owner[key] for key in ("apiVersion", "kind")}
            identity = {key: owner["metadata"][key] for key in ("name", "uid")}
            metadata["ownerReferences"] = [{**kind, **identity, "controller": True}]
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **body}
        return self.api.store.write(resource, obj).object

    # -- Chaos Mesh

    def _hear_experiment(self, change: Change) -> None:
        run = change.stored.metadata["annotations"]["chaosplugin.io/run"]
        if change.type == "ADDED":
            self.created += 1
            self.members[run].experiment = change.stored.name
            self._fresh.append((change.stored.namespace, change.stored.name))
        elif change.type == "DELETED":
            self.gone += 1
            self.members[run].gone = _now()

    def _hear_run(self, change: Change) -> None:
        notes = change.stored.metadata.get("annotations") or {}
        before = change.previous.metadata.get("annotations") if change.previous else None
        self.marked += bool(notes) and not before
        member = self.members.get(f"{change.stored.namespace}/{change.stored.name}")
        if member is not None and not member.judged and any(key.startswith(_VERDICT) for key in notes):
            member.judged = _now()
            self.judged += 1

    async def inject(self) -> None:
        """Hit what is new, until cancelled; some at a time, as each turn of a busy loop takes long."""
        while True:
            for _ in range(min(len(self._fresh), _AT_ONCE)):
                namespace, name = self._fresh.popleft()
                self._set(namespace, name, "Run", "Injected", [("Apply", _stamp())])
                self.injected += 1
            await anyio.sleep(0.005)

    def recover(self, member: Member) -> None:
        """End the fault of one."""
        now = _now()
        events = [("Apply", _stamp()), ("Recover", _stamp())]
        member.due = int(now) + HOLDS_S
        self._set(member.namespace, member.experiment, "Stop", "Not Injected", events)

    def _set(
        self, namespace: str, name: str, desired: str, phase: str, events: list[tuple[str, str]]
    ) -> None:
        stored = self.api.store.get(NETWORK_CHAOS, namespace, name)
        if stored is None:
            return
        experiment = stored.copy()
        pod = experiment["metadata"]["annotations"]["chaosplugin.io/run"]
        value = self.members[pod].hash
        record = {
            "id": f"{pod}-{value}-pod",
            "selectorKey": ".",
            "phase": phase,
            "injectedCount": 1,
            "recoveredCount": len(events) - 1,
            "events": [{"type": "Succeeded", "operation": o, "timestamp": t} for o, t in events],
        }
        experiment["status"] = {"experiment": {"desiredPhase": desired, "containerRecords": [record]}}
        self.api.store.write(NETWORK_CHAOS, experiment)

    def store_result(self, member: Member) -> None:
        """Do as Argo does with a verdict: the AnalysisRun has ended."""
        stored = self.api.store.get(ANALYSIS_RUNS, member.namespace, member.name)
        if stored is None:
            return
        run = stored.copy()
        result = {"name": "chaos", "phase": "Successful", "count": 1}
        run["status"] = {"phase": "Successful", "metricResults": [result]}
        self.api.store.write(ANALYSIS_RUNS, run)


def _pod() -> Object:
    now = _stamp()
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": now}
    container = {"name": "web", "ready": True, "restartCount": 0}
    status = {"phase": "Running", "conditions": [condition], "containerStatuses": [container]}
    return {"spec": {"containers": [{"name": "web", "image": "web:2"}]}, "status": status}


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[tuple[Crowd, Path]]:
    """Serve it, without any controller but `inject`; give a kubeconfig of the plugin, too."""
    api = Api(lambda: datetime.now(UTC))
    for resource in TABLE:
        if resource.custom:
            api.install(resource)
    api.create(NAMESPACES, {"metadata": {"name": "kube-system"}})
    token = secrets.token_urlsafe(24)
    api.access.tokens[token] = User("plugin", ())
    api.access.grant("plugin", (*UPSTREAM_ROLE, *PLUGIN_ROLE))
    server = Server(api)
    crowd = Crowd(api, server)
    async with server.serve(), anyio.create_task_group() as tasks:
        tasks.start_soon(crowd.inject)
        yield crowd, _kubeconfig(folder, server.url, token)
        tasks.cancel_scope.cancel()


def _kubeconfig(folder: Path, url: str, token: str) -> Path:
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "crowd",
        "clusters": [{"name": "crowd", "cluster": {"server": url}}],
        "users": [{"name": "plugin", "user": {"token": token}}],
        "contexts": [{"name": "crowd", "context": {"cluster": "crowd", "user": "plugin"}}],
    }
    path = folder / "crowd.kubeconfig"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(config))
    return path
