"""Keeps exactly those watches open that the registry wants, and hands it what they tell."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from chaosplugin.core.interests import Watch
from chaosplugin.core.topics import Lost, WatchEvent
from chaosplugin.provider.facts import gate
from chaosplugin.provider.ports import Cluster, ClusterError

_log = logging.getLogger(__name__)

RETRY_S = 5.0
"""Pause before a cluster that cannot be reached at all is tried again."""


class TellOf(Protocol):
    """Is told events of a watch, in their order."""

    def __call__(self, watch: Watch, /, *events: WatchEvent) -> None: ...


class Watching:
    """The streams are shared, and linger, in the cluster's own care; to begin with one may take a task."""

    def __init__(
        self,
        tasks: TaskGroup,
        home_now: Callable[[], Cluster | None],
        cluster_of: Callable[[Watch], Awaitable[Cluster]],
        tell: TellOf,
    ) -> None:
        self._tasks = tasks
        self._home_now = home_now
        self._cluster_of = cluster_of
        self._tell = tell
        self._ends: dict[Watch, Callable[[], None]] = {}
        """of each watch that is wanted: what ends it"""

    def follow(self, changes: Mapping[Watch, bool]) -> None:
        """Open what is wanted from now on, close what is not wanted any more."""
        begun: list[_Wish] = []
        for watch, wanted in changes.items():
            if not wanted:
                self._ends.pop(watch)()
            else:
                wish = _Wish(watch)
                self._ends[watch] = wish.end
                begun.append(wish)
        for wish in begun:  # what one is told at once may end another
            if not wish.over and not self._follow_now(wish):
                wish.scope = anyio.CancelScope()
                self._tasks.start_soon(self._follow, wish, wish.scope, name="watch")

    def close(self) -> None:
        """End all: whoever is told cannot act any more."""
        ends, self._ends = self._ends, {}
        for end in ends.values():
            end()

    def _follow_now(self, wish: "_Wish") -> bool:
        """Begin without a task, which costs more than most of what a watch of one canary tells."""
        watch = wish.watch
        cluster = None if watch.endpoint else self._home_now()
        before = gate.set(None)
        try:
            end = cluster.follow_now(watch.topic, partial(self._tell, watch)) if cluster else None
        finally:
            gate.reset(before)
        if end:
            self._begun(wish, end)
        return bool(end)

    def _begun(self, wish: "_Wish", end: Callable[[], None]) -> None:
        if wish.over:  # it was told what ended it
            end()
        else:
            self._ends[wish.watch] = end

    async def _follow(self, wish: "_Wish", scope: anyio.CancelScope) -> None:
        watch = wish.watch
        gate.set(None)  # the stream is shared, whoever was the first to want it
        with scope:
            while True:
                try:
                    cluster = await self._cluster_of(watch)
                    end = await cluster.follow(watch.topic, partial(self._tell, watch))
                except ClusterError as error:
                    _log.warning("cannot watch %s: %s", watch.topic, error)
                    why = str(error)
                except Exception as error:  # noqa: BLE001  the boundary: other watches go on
                    _log.exception("an error of chaosplugin itself; please report it")
                    why = f"an error of chaosplugin itself: {error}"
                else:
                    self._begun(wish, end)
                    return
                self._tell(watch, Lost(watch.topic, why))
                await anyio.sleep(RETRY_S)


@dataclass(slots=True)
class _Wish:
    """A watch that is wanted, until it is open; a scope costs as much as to open most of them."""

    watch: Watch
    over: bool = False
    scope: anyio.CancelScope | None = None

    def end(self) -> None:
        self.over = True
        if self.scope is not None:
            self.scope.cancel()
