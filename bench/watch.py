"""What a watch event costs the plugin: from the bytes on a socket to whoever has subscribed."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from bench.figures import Figure, percentile
from chaosplugin.core.topics import Applied, ChaosTopic
from chaosplugin.kube.client import connect

Json = dict[str, Any]
OBJECTS, EVENTS, ROUNDS = 200, 10_000, 5
_TOPIC = ChaosTopic("PodChaos", "shop")


def figures(folder: Path) -> list[Figure]:
    """Measure changes, and writes of others that change nothing of what is read."""
    changes = [_event(number, phase=f"Injected {number}") for number in range(EVENTS)]
    touches = [_event(number, heartbeat=number) for number in range(EVENTS)]
    costs: dict[str, list[float]] = {"watch event": [], "watch event, no change": []}
    for _ in range(ROUNDS):
        costs["watch event"].append(_cost(folder, changes))
        costs["watch event, no change"].append(_cost(folder, touches))
    bounds = zip(costs.items(), (15.0, 16.0), strict=True)
    return [_figure(name, percentile(each, 0), most) for (name, each), most in bounds]


def _figure(name: str, value: float, most: float) -> Figure:
    return Figure(name, round(value, 3), "us", 0.0, None, most, value <= most)


def _cost(folder: Path, events: Sequence[Json]) -> float:
    """Return microseconds of this thread for each event."""
    first = [_line("ADDED", _object(number)) for number in range(OBJECTS)]
    end = {"metadata": {"resourceVersion": "1000", "annotations": {"k8s.io/initial-events-end": "true"}}}
    last = _line("ADDED", _object(OBJECTS))
    parts = b"".join(first) + _line("BOOKMARK", end), b"".join(_line("MODIFIED", e) for e in events) + last
    with _server(*parts) as (port, go):
        config = folder / "watch.kubeconfig"
        config.write_text(_kubeconfig(port))
        return anyio.run(_follow, str(config), go, len(events), backend="asyncio")


async def _follow(config: str, go: threading.Event, count: int) -> float:
    async with (
        connect(config, clock=lambda: datetime.now(UTC)) as cluster,
        cluster.watch(_TOPIC) as told,
    ):
        for _ in range(OBJECTS + 1):
            await anext(told)
        began = time.thread_time()
        go.set()
        async for event in told:
            if isinstance(event, Applied) and event.object.metadata.name == _name(OBJECTS):
                break
        return (time.thread_time() - began) / count * 1e6


@contextmanager
def _server(initial: bytes, then: bytes) -> Iterator[tuple[int, threading.Event]]:
    """Serve access reviews, then one watch that is sent as fast as it is taken."""
    go, end = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk(connection: socket.socket) -> None:
            with connection, connection.makefile("rb") as lines:
                while request := lines.readline():
                    length = 0
                    while (header := lines.readline().strip().lower()) != b"":
                        if header.startswith(b"content-length:"):
                            length = int(header.partition(b":")[2])
                    lines.read(length)
                    if b"watch=true" not in request:
                        body = b'{"status":{"allowed":true}}'
                        head = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body)
                        connection.sendall(head + body)
                        continue
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    connection.sendall(_chunk(initial))
                    go.wait()
                    connection.sendall(b"".join(_chunk(line) for line in then.splitlines(keepends=True)))
                    end.wait()
                    return

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listener.getsockname()[1], go
        finally:
            go.set()
            end.set()
            listener.shutdown(socket.SHUT_RDWR)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _line(type_: str, found: Json) -> bytes:
    return json.dumps({"type": type_, "object": found}, separators=(",", ":")).encode() + b"\n"


def _event(number: int, phase: str = "", heartbeat: int = 0) -> Json:
    return _object(number % OBJECTS, version=2000 + number, phase=phase, heartbeat=heartbeat)


def _name(number: int) -> str:
    return f"survives-pod-failure-{number:010x}"


def _object(number: int, version: int = 1, phase: str = "", heartbeat: int = 0) -> Json:
    """About 4 kB, as an experiment of three pods is with the field managers of its controllers."""
    records = [
        {
            "id": f"shop/web-5d4f7c9b6d-{number:05x}{pod}",
            "selectorKey": ".",
            "phase": phase or "Not Injected/Wait",
            "injectedCount": 1,
            "recoveredCount": 0,
            "events": [
                {"type": "Succeeded", "operation": "Apply", "timestamp": "2026-11-23T12:00:03Z"},
            ],
        }
        for pod in range(3)
    ]
    paths: Json = {f"f:field{each}": {".": {}, "f:value": {}, "f:type": {}} for each in range(28)}
    managers = [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "chaos-mesh.org/v1alpha1",
            "time": f"2026-11-23T12:00:{heartbeat % 60:02}Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": paths,
        }
        for manager in ("chaosplugin", "chaos-controller-manager")
    ]
    metadata = {
        "name": _name(number),
        "namespace": "shop",
        "uid": f"c0ffee00-0000-4000-8000-{number:012x}",
        "resourceVersion": str(version),
        "generation": 3 + heartbeat,
        "creationTimestamp": "2026-11-23T12:00:01Z",
        "finalizers": ["chaos-mesh/records"],
        "labels": {"app.kubernetes.io/managed-by": "chaosplugin", "chaosplugin.io/run": f"{number:010x}"},
        "annotations": {"chaosplugin.io/analysisrun": "shop/web-7-2", "chaosplugin.io/metric": "chaos"},
        "managedFields": managers,
    }
    spec = {
        "action": "pod-failure",
        "mode": "all",
        "duration": "30s",
        "selector": {
            "namespaces": ["shop"],
            "expressionSelectors": [
                {"key": "rollouts-pod-template-hash", "operator": "In", "values": ["5d4f7c9b6d"]}
            ],
            "podPhaseSelectors": ["Running"],
        },
    }
    conditions = [{"type": each, "status": "True"} for each in ("Selected", "AllInjected")]
    status = {
        "conditions": conditions,
        "experiment": {"desiredPhase": "Run", "containerRecords": records},
    }
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "PodChaos",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def _kubeconfig(port: int) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
    )
