"""A client-side limit on requests, which lets the urgent ones pass first."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import IntEnum

import anyio

IN_FLIGHT = 100
"""Requests that wait for their answers at a time, as many as kube-apiserver takes of one HTTP/2 connection.
More would be answered no sooner, but each slower, until they time out together and are sent again."""
SPARED = 25
"""of them only for clean-up and verdicts: creates may hang for long"""


class NoTurn(Exception):
    """One that waits has not had its turn in time."""


class Priority(IntEnum):
    """Who goes first when requests must wait: undoing a fault before anything that may start one."""

    CLEAN_UP = 0
    VERDICT = 1
    READ = 2
    CREATE = 3
    MARK = 4
    """of what is about to be created: what was marked before is created first"""
    EVENT = 5


@dataclass(slots=True, order=True)
class _Ticket:
    """One that waits; they are served in their order."""

    priority: Priority
    number: int
    holds: bool = field(compare=False)
    called: anyio.Event = field(compare=False, default_factory=anyio.Event)
    left: bool = field(compare=False, default=False)


class Limiter:
    """A token bucket: `rate` requests per second, after a pause up to `burst` at once.

    Of those that hold their turn until they are answered there are at most IN_FLIGHT.
    """

    def __init__(self, rate: float = 50.0, burst: int = 50) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at: float | None = None
        self._in_flight = 0
        self._waiting: list[_Ticket] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, priority: Priority) -> None:
        """Wait for a turn: by priority, then first come, first served."""
        await self._wait(priority, holds=False)

    @asynccontextmanager
    async def turn(self, priority: Priority, within_s: float = float("inf")) -> AsyncIterator[None]:
        """Wait for a turn, and hold it during the block.

        Raises:
            NoTurn: it has not come within so many seconds.
        """
        with anyio.move_on_after(within_s) as waiting:
            await self._wait(priority, holds=True)
        if waiting.cancelled_caught:
            raise NoTurn
        try:
            yield
        finally:
            self._give_back()

    @property
    def ample(self) -> bool:
        """Nobody waits, and half of the burst is left: time for what may be left undone."""
        self._fill()
        return not self._waiting and 2 * self._tokens >= self._burst

    @property
    def idle(self) -> bool:
        """Nobody has a turn, or waits for one."""
        return not self._in_flight and not self._waiting

    async def _wait(self, priority: Priority, *, holds: bool) -> None:
        self._fill()
        if self._may_go(priority) and (not self._waiting or priority < self._waiting[0].priority):
            self._go(holds=holds)
            return
        ticket = _Ticket(priority, next(self._numbers), holds)
        heapq.heappush(self._waiting, ticket)
        self._arm()
        try:
            await ticket.called.wait()
        except BaseException:
            ticket.left = True  # it is passed over when its turn comes
            if ticket.called.is_set() and holds:
                self._give_back()
            raise

    def _may_go(self, priority: Priority) -> bool:
        most = IN_FLIGHT if priority <= Priority.VERDICT else IN_FLIGHT - SPARED
        return self._tokens >= 1 and self._in_flight < most

    def _go(self, *, holds: bool) -> None:
        self._tokens -= 1
        self._in_flight += holds

    def _give_back(self) -> None:
        self._in_flight -= 1
        if self._waiting:
            self._call()

    def _fill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now

    def _arm(self) -> None:
        """Let the next token call; where a request must be answered first, that calls."""
        if self._timer is None and self._waiting and self._tokens < 1:
            wait = (1 - self._tokens) / self._rate
            self._timer = asyncio.get_running_loop().call_later(wait, self._rung)

    def _rung(self) -> None:
        self._timer = None
        self._call()

    def _call(self) -> None:
        self._fill()
        while self._waiting and (self._waiting[0].left or self._may_go(self._waiting[0].priority)):
            ticket = heapq.heappop(self._waiting)
            if not ticket.left:
                self._go(holds=ticket.holds)
                ticket.called.set()
        self._arm()
