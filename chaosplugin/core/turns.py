"""Whose turn it is on a canary.

Two faults at a time on the same pods would spoil both verdicts, so gates take turns. Of those of other
processes it is known what stands on AnalysisRuns, and on the ConfigMaps of gates without an analysis:

- a mark: the fault is on, or comes at once; over with the verdict, or when it must be over;
- a claim, made by gates without an analysis only: the turn is wanted next.

An analysis looks, marks and creates within moments, as it pays for each request. So the others are the
polite ones: who claims lets `SETTLE` go by until all have heard of it, looks again, and only then marks.
Of two that claim at the same time the one of the lower id goes first. A claim that nobody has followed up
runs out, as its owner may be dead.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from chaosplugin.core import ledger
from chaosplugin.core.interests import Watch
from chaosplugin.core.ledger import Hold
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.run import Run, Stage
from chaosplugin.core.topics import Applied, Deleted, Lost, OthersTopic, Synced, WatchEvent

CLAIM = timedelta(seconds=30)
"""How long a claim holds."""
SETTLE = timedelta(seconds=2)
"""How long a watch may take to tell of a claim or a mark."""


class Turn(NamedTuple):
    """What a gate is told of the others on its canary."""

    holder: Run | None = None
    """one of this process whose fault may be on"""
    until: datetime | None = None
    """how long those of other processes hold it at most"""
    known: bool = True
    """the others have been told"""

    @property
    def taken(self) -> bool:
        return self.holder is not None or self.until is not None


class Turns:
    """The gates of this process by their canaries, and the holds of all that the watches tell of."""

    def __init__(self) -> None:
        self._here: dict[str, dict[str, None]] = {}
        """ids of runs by their canary"""
        self._holds: dict[Watch, dict[str, Mapping[str, Hold]]] = {}
        """by watch and by the uid of the object that tells of them, then by intent"""
        self._on: dict[str, dict[str, Hold]] = {}
        """by canary, then by intent"""
        self._told: set[Watch] = set()

    def see(self, run: Run) -> None:
        """Remember a run's canary, once it is proved."""
        if run.replica_set:
            self._here.setdefault(run.replica_set, {})[run.spec.id] = None

    def drop(self, run: Run) -> None:
        """Forget a run."""
        self._here.get(run.replica_set, {}).pop(run.spec.id, None)
        if not self._here.get(run.replica_set, True):
            del self._here[run.replica_set]

    def of(self, run: Run, runs: Mapping[str, Run], watches: frozenset[Watch], now: datetime) -> Turn:
        """Tell a run of the others on its canary; asked of `runs` that are here, and what `watches` told."""
        if run.stage is Stage.PROVING:
            others = (each for each in watches if isinstance(each.topic, OthersTopic))
            return Turn(known=self._told.issuperset(others))
        if not run.replica_set or run.stage not in {Stage.QUEUED, Stage.CREATING}:
            return Turn()
        here = (runs[run_id] for run_id in self._here.get(run.replica_set, ()))
        holder = next((other for other in here if other is not run and other.holds_canary), None)
        return Turn(holder, self._held_until(run, runs, now))

    def take(self, watch: Watch, event: WatchEvent) -> None:
        """Take in an event of a watch of AnalysisRuns, or of what stands for them."""
        if type(event) is Synced or type(event) is Lost:
            self._told.add(watch)
        elif type(event) is Applied and type(event.object) is AnalysisRun:
            self._set(watch, event.object.metadata.uid, ledger.holds(event.object))
        elif type(event) is Deleted:
            self._set(watch, event.object.metadata.uid, {})

    def close(self, watch: Watch) -> None:
        """Forget what a watch has told."""
        for uid in tuple(self._holds.get(watch, ())):
            self._set(watch, uid, {})
        self._holds.pop(watch, None)
        self._told.discard(watch)

    def _set(self, watch: Watch, uid: str, holds: Mapping[str, Hold]) -> None:
        told = self._holds.setdefault(watch, {})
        before = told.pop(uid, {})
        if holds:
            told[uid] = holds
        for intent, hold in before.items():
            on = self._on[hold.canary]
            del on[intent]
            if not on:
                del self._on[hold.canary]
        for intent, hold in holds.items():
            self._on.setdefault(hold.canary, {})[intent] = hold

    def _held_until(self, run: Run, runs: Mapping[str, Run], now: datetime) -> datetime | None:
        """Return until when those of other processes hold a canary at most; None: they do not."""
        if run.marked:  # from here on it is the others who wait
            return None
        found = None
        for intent, hold in self._on.get(run.replica_set, {}).items():
            here = runs.get(intent)
            over = here is not None and here.stage in {Stage.DECIDED, Stage.DONE}
            first = hold.claim and run.claimed_at is not None and run.spec.id < intent
            if intent != run.spec.id and hold.until > now and not over and not first:
                found = max(found or hold.until, hold.until)
        return found
