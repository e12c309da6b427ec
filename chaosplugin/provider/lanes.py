"""Lets gates begin some at a time, each all the way, however many are asked for at once.

Thousands that went side by side would each take a task that waits for its turn at the API server, and would
prove their scope long before they may create. What concerns a fault that may be on waits for nobody.
"""

import heapq
import itertools
from collections.abc import Callable, Coroutine

from anyio.abc import TaskGroup

from chaosplugin.core.commands import Command, ReadLedger, ReadScope, WriteClaim, WriteMark
from chaosplugin.core.run import BEGINNING, Run

WIDTH = 256
"""Gates of one cluster whose beginning is worked on: enough to keep as many requests under way as may be,
while some wait for Argo's first Resume."""
_ORDER: dict[type, int] = {WriteMark: 1, WriteClaim: 1, ReadScope: 2, ReadLedger: 3}
"""Who is farthest on its way goes first."""

_Waiting = list[tuple[int, int, Command]]


class Lanes:
    """One for each cluster, so that one which does not answer holds up nobody else."""

    def __init__(
        self, tasks: TaskGroup, perform: Callable[[Command], Coroutine[object, object, None]]
    ) -> None:
        self._tasks = tasks
        self._perform = perform
        self._waiting: dict[str, _Waiting] = {}
        """by endpoint: heaps, as long as somebody works on them"""
        self._working: dict[str, int] = {}
        self._numbers = itertools.count()

    def start(self, command: Command, run: Run | None) -> None:
        """Perform a command of a run in the background, now or in its turn."""
        if run is None or run.stage not in BEGINNING:
            self._tasks.start_soon(self._perform, command, name=type(command).__name__)
            return
        lane = run.spec.endpoint
        entry = (_ORDER.get(type(command), 0), next(self._numbers), command)
        heapq.heappush(self._waiting.setdefault(lane, []), entry)
        working = self._working.get(lane, 0)
        if working < WIDTH:
            self._working[lane] = working + 1
            self._tasks.start_soon(self._work, lane, name="lane")

    async def _work(self, lane: str) -> None:
        waiting = self._waiting[lane]
        while waiting:
            await self._perform(heapq.heappop(waiting)[2])
        self._working[lane] -= 1
        if not self._working[lane]:
            del self._working[lane], self._waiting[lane]
