"""The controller of deleted CRDs: the objects of the kind go first, then its path and its watches."""

import anyio

from chaosplugin.sandbox.api.faults import Faults
from chaosplugin.sandbox.api.resources import CRDS, TABLE
from chaosplugin.sandbox.api.store import Change
from chaosplugin.sandbox.api.verbs import Api
from chaosplugin.sandbox.workqueue import WorkQueue

_LOOKS_EACH_S = 0.2  # whether the objects are gone; the real one looks every five seconds
_WATCHES_END_S = 1.0  # after the path is gone, as measured on the real one
_BY_NAME = {resource.qualified: resource for resource in TABLE if resource.custom}


class CrdController:
    """Follows CustomResourceDefinitions."""

    def __init__(self, api: Api, faults: Faults) -> None:
        self._api = api
        self._faults = faults
        self._queue: WorkQueue[str] = WorkQueue()
        api.store.listen(self._hear, CRDS)

    async def run(self) -> None:
        await self._queue.work(self._look)

    def _hear(self, change: Change) -> None:
        if change.stored.deleting and change.stored.name in _BY_NAME:
            self._queue.add(change.stored.name)

    async def _look(self, name: str) -> None:
        stored = self._api.find(CRDS, "", name)
        if stored is None or not stored.deleting:
            return
        resource = _BY_NAME[name]
        for each in self._api.list(resource):
            if not each.deleting:
                self._api.delete(resource, each.namespace, each.name)
        if self._api.list(resource):
            self._queue.add(name, _LOOKS_EACH_S)
            return
        self._api.merge(CRDS, "", name, {"metadata": {"finalizers": None}})
        await anyio.sleep(_WATCHES_END_S)
        self._faults.drop_kind(resource)
