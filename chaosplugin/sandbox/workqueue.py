"""The queue of a controller: keys that want a look, now or later, with back-off for those that fail.

As client-go's: a key waits once, however often it is added; failures of a key double its delay.
"""

import heapq
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from chaosplugin.sandbox.api.errors import ApiError

BASE_DELAY = 0.005  # seconds; client-go's default exponential limiter
MAX_DELAY = 1000.0

Key = TypeVar("Key")


class Unfinished(Exception):
    """Raised by a look that is to be repeated after a back-off."""


class WorkQueue(Generic[Key]):
    """Keys in order of the time at which they are due. One worker takes them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._number = 0
        self._woken = anyio.Event()

    def add(self, key: Key, after: float = 0.0) -> None:
        """Want a look at `key` after so many seconds, unless one is due earlier."""
        due = anyio.current_time() + after
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._number += 1
        heapq.heappush(self._heap, (due, self._number, key))
        self._woken.set()

    def retry(self, key: Key) -> None:
        """Want another look after a failure."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add(key, min(BASE_DELAY * 2.0 ** min(failures, 60), MAX_DELAY))

    def forget(self, key: Key) -> None:
        """Count failures of `key` from zero again."""
        self._failures.pop(key, None)

    def forget_all(self) -> None:
        self._failures.clear()

    async def take(self) -> Key:
        """Wait for the next key that is due."""
        while True:
            now = anyio.current_time()
            while self._heap and self._heap[0][0] <= now:
                due, _, key = heapq.heappop(self._heap)
                if self._due.get(key) == due:
                    del self._due[key]
                    return key
            self._woken = anyio.Event()
            left = self._heap[0][0] - now if self._heap else float("inf")
            with anyio.move_on_after(left):
                await self._woken.wait()

    async def work(self, look: Callable[[Key], Awaitable[None]]) -> None:
        """Take keys for ever, one after another; one refused by the API or unfinished is repeated."""
        while True:
            key = await self.take()
            try:
                await look(key)
            except (ApiError, Unfinished):
                self.retry(key)
            else:
                self.forget(key)
