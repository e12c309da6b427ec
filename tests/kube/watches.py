"""Answers to a watch, written by hand, and what is told of it, in short."""

import json
from collections.abc import AsyncIterator

import anyio
from aiohttp import web

from chaosplugin.core.objects import Metadata, Pod
from chaosplugin.core.topics import Applied, Deleted, Lost, PodsTopic, Synced, WatchEvent
from tests.kube.conftest import Step

TOPIC = PodsTopic("shop", "hash", "new")


def pod(name: str, version: int, uid: str = "", **extra: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": "shop", "uid": uid or name, "resourceVersion": str(version)}
    return {"metadata": metadata, **extra}


def line(type_: str, found: dict[str, object]) -> bytes:
    return json.dumps({"type": type_, "object": found}).encode() + b"\n"


def added(name: str, version: int, uid: str = "") -> bytes:
    return line("ADDED", pod(name, version, uid))


def bookmark(version: int, *, ends: bool = False) -> bytes:
    annotations = {"k8s.io/initial-events-end": "true"} if ends else {}
    return line("BOOKMARK", {"metadata": {"resourceVersion": str(version), "annotations": annotations}})


def error(code: int, message: str) -> bytes:
    return line("ERROR", {"kind": "Status", "status": "Failure", "code": code, "message": message})


def stream(*parts: bytes, then: str = "end") -> Step:
    """Send the parts; then end the answer, cut the connection, or hang until the client leaves."""

    async def step(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if then == "hang":
            await anyio.sleep_forever()
        if then == "cut" and request.transport is not None:
            request.transport.abort()
        return response

    return step


def page(version: int, *found: dict[str, object], after: str = "") -> Step:
    async def step(_: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version), "continue": after}
        return web.json_response({"metadata": metadata, "items": list(found)})

    return step


hang = stream(then="hang")


def text(event: WatchEvent) -> str:
    match event:
        case Applied(_, found):
            return f"+{found.metadata.name}@{found.metadata.resource_version}"
        case Deleted(_, found):
            return f"-{found.metadata.name}@{found.metadata.resource_version}"
        case Synced():
            return "synced"
        case Lost():
            return "lost"


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[str]:
    found: list[str] = []
    with anyio.move_on_after(20):
        while len(found) < count:
            found.append(text(await anext(events)))
    return found


def known(name: str, version: int, uid: str = "", namespace: str = "shop") -> Pod:
    """Return a Pod as it is read."""
    labels = {"version": str(version)}
    return Pod(
        metadata=Metadata(
            name=name, namespace=namespace, uid=uid or name, resource_version=str(version), labels=labels
        )
    )
