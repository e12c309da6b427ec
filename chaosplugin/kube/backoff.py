"""How long to wait before the next try."""

import random
import time
from collections.abc import Callable

_random = random.SystemRandom()


class Backoff:
    """Delays that double from `first` to `last` seconds, each with up to as much again at random.

    Calm for `calm` seconds, it begins anew. Source: the back-off of client-go's reflector
    (tools/cache/reflector.go): 0.8 s to 30 s, factor 2, reset after 2 minutes, jitter 1.0.
    """

    def __init__(
        self,
        *,
        first: float = 0.8,
        last: float = 30.0,
        calm: float = 120.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._last = last
        self._calm = calm
        self._monotonic = monotonic
        self._next = first
        self._asked_at = float("-inf")

    def reset(self) -> None:
        """Begin anew: it has worked meanwhile."""
        self._next = self._first

    def delay(self, at_least: float = 0.0) -> float:
        """Return seconds to wait; a server's Retry-After comes as `at_least`, and was told to many."""
        now = self._monotonic()
        if now - self._asked_at > self._calm:
            self._next = self._first
        step = self._next
        self._next = min(self._last, step * 2)
        delay = max(at_least * (1 + 0.2 * _random.random()), min(self._last, step * (1 + _random.random())))
        self._asked_at = now + delay
        return delay
