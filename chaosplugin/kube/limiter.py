"""A client-side limit on requests, which lets the urgent ones pass first."""

import asyncio
import heapq
import itertools
from enum import IntEnum

import anyio


class Priority(IntEnum):
    """Who goes first when requests must wait: undoing a fault before anything that may start one."""

    CLEAN_UP = 0
    VERDICT = 1
    READ = 2
    CREATE = 3
    EVENT = 4


class Limiter:
    """A token bucket: `rate` requests per second, after a pause up to `burst` at once."""

    def __init__(self, rate: float = 50.0, burst: int = 50) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at: float | None = None
        self._waiting: list[tuple[Priority, int, anyio.Event]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, priority: Priority) -> None:
        """Wait for a turn: by priority, then first come, first served."""
        self._fill()
        if not self._waiting and self._tokens >= 1:
            self._tokens -= 1
            return
        ticket = (priority, next(self._order), anyio.Event())
        heapq.heappush(self._waiting, ticket)
        self._arm()
        try:
            await ticket[2].wait()
        except BaseException:
            ticket[2].set()  # it is passed over when its turn comes
            raise

    @property
    def ample(self) -> bool:
        """Nobody waits, and half of the burst is left: time for what may be left undone."""
        self._fill()
        return not self._waiting and 2 * self._tokens >= self._burst

    def _fill(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            wait = max(0.0, (1 - self._tokens) / self._rate)
            self._timer = asyncio.get_running_loop().call_later(wait, self._release)

    def _release(self) -> None:
        self._timer = None
        self._fill()
        while self._waiting and (self._tokens >= 1 or self._waiting[0][2].is_set()):
            turn = heapq.heappop(self._waiting)[2]
            if not turn.is_set():
                self._tokens -= 1
                turn.set()
        self._arm()
