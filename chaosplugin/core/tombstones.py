"""How long a run is remembered that is done: whoever asks again is answered the same."""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from chaosplugin.core.run import Run, Stage

_STALE = timedelta(seconds=60)
"""How long a run outlives its AnalysisRun: a copy from before that end may still come, and what it is
answered may be written over what is stored."""
_UNSEEN = timedelta(hours=1)
"""How long a run is remembered after its verdict whose AnalysisRun's end is never seen."""


class Tombstones:
    """The finished among `runs`, in the order in which they may be forgotten."""

    def __init__(self, runs: Mapping[str, Run]) -> None:
        self._runs = runs
        self._over: deque[tuple[datetime, Run]] = deque()
        """whose AnalysisRun has ended, by the time when they are forgotten"""
        self._finished: deque[tuple[datetime, str]] = deque()
        """all, by the time of their verdict"""

    def add(self, run: Run) -> None:
        """Remember a run from its end on."""
        if run.verdict is not None:
            self._finished.append((run.verdict.finished_at, run.spec.id))

    def see(self, run: Run, now: datetime) -> None:
        """Look whether the AnalysisRun of a run has ended by now."""
        if run.stage is Stage.DONE and run.run_over and run.forget_at is None:
            run.forget_at = now + _STALE
            self._over.append((run.forget_at, run))

    def take_old(self, now: datetime) -> Iterator[Run]:
        """Yield the runs that nobody will ask for any more."""
        while self._over and self._over[0][0] <= now:
            _, over = self._over.popleft()
            if self._runs.get(over.spec.id) is over:
                yield over
        while self._finished and self._finished[0][0] + _UNSEEN < now:
            finished_at, run_id = self._finished.popleft()
            old = self._runs.get(run_id)
            if old and old.stage is Stage.DONE and old.verdict and old.verdict.finished_at == finished_at:
                yield old
