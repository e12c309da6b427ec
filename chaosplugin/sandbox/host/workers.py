"""Workers of a controller: so many at a time, a key with one of them only, failures later again.

A key that is touched while a worker has it is looked at again right after, as in client-go's queue; this is
why a reconcile may start from a copy that the one before it has just made stale.
"""

from collections.abc import Awaitable, Callable

import aiohttp
import anyio

from chaosplugin.sandbox.host.informer import Key
from chaosplugin.sandbox.host.requests import RequestError
from chaosplugin.sandbox.workqueue import WorkQueue


class Workers:
    """`count` workers that call `reconcile`, which may return after how many seconds to call it again."""

    def __init__(self, reconcile: Callable[[Key], Awaitable[float | None]], count: int) -> None:
        self._reconcile = reconcile
        self._count = count
        self._queue: WorkQueue[Key] = WorkQueue()
        self._busy: set[Key] = set()
        self._touched: set[Key] = set()

    def add(self, key: Key) -> None:
        """Want a look at this key as soon as a worker is free."""
        if key in self._busy:
            self._touched.add(key)
        else:
            self._queue.add(key)

    async def run(self) -> None:
        free = anyio.Semaphore(self._count)
        async with anyio.create_task_group() as tasks:
            while True:
                await free.acquire()
                key = await self._queue.take()
                if key in self._busy:
                    self._touched.add(key)
                    free.release()
                    continue
                self._busy.add(key)
                tasks.start_soon(self._work, key, free)

    async def _work(self, key: Key, free: anyio.Semaphore) -> None:
        try:
            again = await self._reconcile(key)
        except (RequestError, aiohttp.ClientError):
            self._queue.retry(key)
        else:
            self._queue.forget(key)
            if again is not None:
                self._queue.add(key, max(0.0, again))
        finally:
            self._busy.discard(key)
            free.release()
        if key in self._touched:
            self._touched.discard(key)
            self._queue.add(key)
