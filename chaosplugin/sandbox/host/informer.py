"""A cache of one resource, filled by list and watch, that tells who wants to know.

As client-go's: a controller reads the cache only, so it may act on a copy that its own writes have outdated.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import aiohttp
import anyio

from chaosplugin.sandbox.api.resources import Object, Resource
from chaosplugin.sandbox.host.requests import RequestError, Requests

Key = tuple[str, str]
"""Namespace and name."""

Change = Literal["ADDED", "MODIFIED", "DELETED"]
Listener = Callable[[Change, Object], None]

_AGAIN = 0.2  # seconds between tries
_LATEST = 10**18  # beyond any resource version


class Informer:
    """Objects of one resource in all namespaces. Objects in the cache must not be changed.

    `lag` delays every event by so many seconds; with it the copies of a controller are surely stale.
    """

    def __init__(self, requests: Requests, resource: Resource) -> None:
        self.resource = resource
        self.synced = anyio.Event()
        self.lag = 0.0
        self._requests = requests
        self._objects: dict[Key, Object] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def __iter__(self) -> Iterator[Object]:
        return iter(tuple(self._objects.values()))

    def owned_by(self, uid: str) -> list[Object]:
        """Objects that the object with this uid controls, oldest first."""
        owned = [each for each in self if (controller(each) or {}).get("uid") == uid]
        return sorted(
            owned, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"])
        )

    def put(self, obj: Object) -> None:
        """Take what a write was answered, unless something newer is there already."""
        key = key_of(obj)
        known = self._objects.get(key)
        if known is None or _version(known) < _version(obj):
            self._objects[key] = obj

    async def run(self) -> None:
        """List and watch for ever."""
        while True:
            try:
                version = await self._list()
                await self._watch(version)
            except (aiohttp.ClientError, RequestError, TimeoutError):
                await anyio.sleep(_AGAIN)

    async def _list(self) -> str:
        listed = await self._requests.list(self.resource)
        items = {key_of(each): each for each in listed["items"]}
        for key in self._objects.keys() - items.keys():
            self._tell("DELETED", self._objects.pop(key))
        for key, each in items.items():  # what is listed replaces what was known, whatever its version
            self._objects[key] = each
            self._tell("ADDED", each)
        self.synced.set()
        return str(listed["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> None:
        async for event in self._requests.watch(self.resource, version):
            if event["type"] == "ERROR":
                return
            if event["type"] != "BOOKMARK":
                if self.lag:
                    await anyio.sleep(self.lag)
                self._take(event["type"], event["object"])

    def _take(self, change: Change, obj: Object) -> None:
        key = key_of(obj)
        known = self._objects.get(key)
        if change == "DELETED":
            self._objects.pop(key, None)
        elif known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]:
            if _version(known) > _version(obj):
                return
            self._objects[key] = obj
        else:
            self._objects[key] = obj
        self._tell(change, obj)

    def _tell(self, change: Change, obj: Object) -> None:
        for listener in self._listeners:
            listener(change, obj)


def key_of(obj: Object) -> Key:
    """Return an object's namespace and name."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def controller(obj: Object) -> Object | None:
    """Return the ownerReference that controls an object."""
    return next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)


def _version(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or _LATEST)
