"""Keeps exactly those watches open that the registry wants, and hands it what they tell."""

import logging
from collections.abc import Awaitable, Callable, Mapping

import anyio
from anyio.abc import TaskGroup

from chaosplugin.core.interests import Watch
from chaosplugin.core.topics import Lost, WatchEvent
from chaosplugin.provider.facts import gate
from chaosplugin.provider.ports import Cluster, ClusterError

_log = logging.getLogger(__name__)

RETRY_S = 5.0
"""Pause before a cluster that cannot be reached at all is tried again."""


class Watching:
    """One task per watch; the streams below are shared, and linger, in the cluster's own care."""

    def __init__(
        self,
        tasks: TaskGroup,
        cluster_of: Callable[[Watch], Awaitable[Cluster]],
        tell: Callable[[Watch, WatchEvent], None],
    ) -> None:
        self._tasks = tasks
        self._cluster_of = cluster_of
        self._tell = tell
        self._open: dict[Watch, anyio.CancelScope] = {}

    def follow(self, changes: Mapping[Watch, bool]) -> None:
        """Open what is wanted from now on, close what is not wanted any more."""
        for watch, wanted in changes.items():
            if not wanted:
                self._open.pop(watch).cancel()
            else:
                self._open[watch] = scope = anyio.CancelScope()
                self._tasks.start_soon(self._follow, watch, scope, name="watch")

    async def _follow(self, watch: Watch, scope: anyio.CancelScope) -> None:
        gate.set(None)  # the stream is shared, whoever was the first to want it
        with scope:
            while True:
                try:
                    cluster = await self._cluster_of(watch)
                    async with cluster.watch(watch.topic) as events:
                        async for event in events:
                            self._tell(watch, event)
                except ClusterError as error:
                    _log.warning("cannot watch %s: %s", watch.topic, error)
                    self._tell(watch, Lost(watch.topic, str(error)))
                await anyio.sleep(RETRY_S)
