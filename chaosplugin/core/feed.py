"""The latest events, for any number of readers: each has a place in it, and nothing is kept for one alone.

So memory is bounded by the feed, whoever reads, and however slowly. A reader that falls behind by more than
the feed holds is told how much it has missed. A place outlives a connection as a token; it says nothing to
another feed, which is known by the epoch.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from chaosplugin.core.gates import GateEvent

SIZE = 4096
"""Events that are kept: at 100 a second more than half a minute, and about 4 MB"""


class Batch(NamedTuple):
    """What a reader gets: events, the place after them, and how many it was too late for."""

    events: Sequence[GateEvent]
    place: int
    missed: int


class Feed:
    """Events by number, from 1; a place is the number of the last event that was read."""

    def __init__(self, epoch: str, size: int = SIZE) -> None:
        self._epoch = epoch
        self._events: deque[GateEvent] = deque(maxlen=size)
        self.place = 0
        """after the last event"""

    def put(self, event: GateEvent) -> None:
        self._events.append(event)
        self.place += 1

    def read(self, place: int) -> Batch:
        """Return all that has come after a place."""
        first = self.place - len(self._events)
        missed = max(0, first - place)
        waiting = self.place - max(place, first)
        events = [self._events[index] for index in range(len(self._events) - waiting, len(self._events))]
        return Batch(events, self.place, missed)

    def token(self, place: int) -> str:
        """Return a place as text."""
        return f"{self._epoch}.{place}"

    def place_of(self, token: str) -> int | None:
        """Return the place of a token; None for one that says nothing here."""
        epoch, _, number = token.rpartition(".")
        if epoch != self._epoch or not (number.isascii() and number.isdecimal()) or len(number) > 18:
            return None
        return int(number) if int(number) <= self.place else None
