"""The namespace controller: a deleted namespace is emptied, pods first, custom resources later, and goes."""

from dataclasses import dataclass

from chaosplugin.sandbox.api.deletion import DeleteOptions
from chaosplugin.sandbox.api.resources import NAMESPACES, TABLE
from chaosplugin.sandbox.api.store import Change, Stored
from chaosplugin.sandbox.api.verbs import Api
from chaosplugin.sandbox.workqueue import WorkQueue


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds from the deletion to each step, as measured on the real controller."""

    built_in: float = 5.0
    custom: float = 10.0
    gone: float = 15.5
    again: float = 5.0  # between looks at what is left


class NamespaceController:
    """Follows namespaces."""

    def __init__(self, api: Api, pace: Pace) -> None:
        self._api = api
        self._pace = pace
        self._queue: WorkQueue[tuple[str, str]] = WorkQueue()
        api.store.listen(self._hear, NAMESPACES)

    async def run(self) -> None:
        await self._queue.work(self._look)

    def _hear(self, change: Change) -> None:
        if (
            change.type == "MODIFIED"
            and change.stored.deleting
            and not (change.previous or change.stored).deleting
        ):
            for step, seconds in (
                ("built-in", self._pace.built_in),
                ("custom", self._pace.custom),
                ("gone", self._pace.gone),
            ):
                self._queue.add((change.stored.name, step), seconds)

    async def _look(self, key: tuple[str, str]) -> None:
        namespace, step = key
        stored = self._api.find(NAMESPACES, "", namespace)
        if stored is None or not stored.deleting:
            return
        left = self._content(namespace)
        if step == "gone" and not left:
            self._api.finalize(namespace)
            return
        for each in left:
            if each.resource.custom <= (step != "built-in"):
                options = DeleteOptions(uid=each.uid, grace=0)
                self._api.delete(each.resource, each.namespace, each.name, options)
        if step == "gone":
            self._queue.add(key, self._pace.again)

    def _content(self, namespace: str) -> list[Stored]:
        return [each for r in TABLE if r.namespaced for each in self._api.list(r, namespace)]
