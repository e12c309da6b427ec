"""When each run is to be looked at again."""

import heapq
from collections.abc import Mapping
from datetime import datetime

from chaosplugin.core.run import Run

_OUTDATED = 64
"""How many entries may be outdated, beyond as many as there are runs, before they are taken out."""


class Deadlines:
    """A heap of the deadlines of `runs`, by their ids; an entry counts if it is its run's deadline still."""

    def __init__(self, runs: Mapping[str, Run]) -> None:
        self._runs = runs
        self._heap: list[tuple[datetime, str]] = []

    def set(self, run: Run, at: datetime | None) -> None:
        """Look at a run then, and not before; None: only when it is told something."""
        if at == run.deadline:
            return
        run.deadline = at
        if at is not None:
            heapq.heappush(self._heap, (at, run.spec.id))
        if len(self._heap) > 2 * len(self._runs) + _OUTDATED:
            runs = self._runs.items()
            self._heap = [(run.deadline, run_id) for run_id, run in runs if run.deadline is not None]
            heapq.heapify(self._heap)

    def next(self) -> datetime | None:
        """Return when the first run is to be looked at."""
        while self._heap:
            at, run_id = self._heap[0]
            run = self._runs.get(run_id)
            if run is not None and run.deadline == at:
                return at
            heapq.heappop(self._heap)
        return None

    def take_due(self, now: datetime) -> list[Run]:
        """Return the runs whose time has come, each once."""
        due: dict[str, Run] = {}
        while (at := self.next()) is not None and at <= now:
            _, run_id = heapq.heappop(self._heap)
            due[run_id] = self._runs[run_id]
        return list(due.values())
