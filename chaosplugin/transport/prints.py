"""What Python code and child processes write to fd 1: for the host's stdout streams, if it reads them.

A thread empties the pipe all the time, because whoever prints may be the loop itself: nobody ever waits for
a host here. What the host does not take at once is dropped.
"""

import asyncio
import os
import threading
from contextlib import suppress
from typing import Protocol

_CHUNK = 64 * 1024
_MAX_WAITING = 16  # chunks on their way to the loop


class Sink(Protocol):
    """What takes prints: at once, or not at all."""

    def offer(self, data: bytes) -> object: ...


class Prints:
    """Feeds what comes out of the pipe `fd` to all streams that were added."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._streams: set[Sink] = set()
        self._room = threading.BoundedSemaphore(_MAX_WAITING)
        threading.Thread(target=self._read, name="prints", daemon=True).start()

    def add(self, stream: Sink) -> None:
        self._streams.add(stream)

    def remove(self, stream: Sink) -> None:
        self._streams.discard(stream)

    def _read(self) -> None:
        while data := os.read(self._fd, _CHUNK):
            if self._room.acquire(blocking=False):
                # the loop may have ended; go on, so that nobody hangs who prints at exit
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._offer, data)

    def _offer(self, data: bytes) -> None:
        self._room.release()
        for stream in self._streams:
            stream.offer(data)
