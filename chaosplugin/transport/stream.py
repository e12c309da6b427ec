"""One stream of a yamux session, read by a task or by callbacks.

    receive, send          for a task: an anyio ByteStream
    attach, write, full    for who answers within the callback that has read the socket: a `Sink`

A switch to another task costs more than most calls, so calls are served by a sink. What it does not take
waits here, bounded by the stream's window, because bytes are given back to the window as they are handed on.
"""

import asyncio
import contextlib
from collections import deque
from typing import Protocol

import anyio
from anyio.abc import ByteStream

from chaosplugin.wire import yamux

_BUFFER = 256 * 1024
_SMALL = 4096  # a window full of one-byte frames must not become a window full of objects


class Sink(Protocol):
    """Takes what a stream brings. Its methods are called by the loop; they must not wait, nor raise."""

    def receive(self, data: bytes) -> None:
        """Take bytes."""

    def drained(self) -> None:
        """All is sent that was written: the stream is not `full` any more."""

    def ended(self, broken: str) -> None:
        """Nothing more comes: in good order, or by what `broken` says."""


class Session(Protocol):
    """What a stream needs of its session."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    def send(self, stream: "Stream", data: bytes | memoryview) -> int:
        """Take what goes at once; raises BrokenResourceError."""
        ...

    def consumed(self, stream: "Stream", length: int) -> None: ...
    def end(self, stream: "Stream") -> None: ...


class Stream(ByteStream):
    """One task may receive and one may send at a time, or one sink is attached."""

    def __init__(self, session: Session, stream_id: yamux.StreamId) -> None:
        self.id = stream_id
        self._session = session
        self._chunks: deque[bytes] = deque()
        self._unsent: deque[bytes | memoryview] = deque()
        self._sink: Sink | None = None
        self._held = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._ended_by_peer = False
        self._ended_by_us = False
        self._broken = ""
        self._closed = False

    async def receive(self, max_bytes: int = _BUFFER) -> bytes:
        """Return at least one byte.

        It does not let other tasks run while there is something to return: the windows bound how often that
        can happen in a row.

        Raises:
            anyio.EndOfStream: the peer has ended its side, or its socket.
            anyio.BrokenResourceError: the stream was reset, or the session broke.
        """
        if self._reader is not None:
            raise anyio.BusyResourceError("receiving from")
        while not self._chunks:
            if self._closed:
                raise anyio.ClosedResourceError
            if self._ended_by_peer:
                raise anyio.EndOfStream
            if self._broken:
                raise anyio.BrokenResourceError(self._broken)
            self._reader = self._session.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self._session.consumed(self, len(chunk))
        return chunk

    async def send(self, item: bytes) -> None:
        """Send all of it, as fast as the peer takes it; cancelled, drop what has not gone.

        Raises:
            anyio.BrokenResourceError: the stream was reset, or the session is over.
            anyio.ClosedResourceError: our side is closed.
        """
        if self._unsent:
            raise anyio.BusyResourceError("sending to")
        self.write(item)
        try:
            await self.drain()
        finally:
            self._unsent.clear()

    def write(self, data: bytes) -> None:
        """Send all of it as fast as the peer takes it, without waiting; raises as `send` does."""
        if not self._unsent:
            taken = self._take(data)
            if taken == len(data):
                return
            self._unsent.append(memoryview(data)[taken:])
        else:
            self._unsent.append(data)
        self._push()

    @property
    def full(self) -> bool:
        """The peer does not take what was written: better write no more."""
        return bool(self._unsent)

    async def drain(self) -> None:
        """Wait until all is sent; raises as `send` does."""
        while self._unsent:
            self._check_writable()
            self._writer = self._session.loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    def offer(self, data: bytes) -> None:
        """Send what goes at once, and drop the rest; also if nobody is there any more."""
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            if not self._unsent:
                self._take(data)

    async def send_eof(self) -> None:
        """End our side; the peer may go on."""
        if not self._ended_by_us:
            self._ended_by_us = True
            self._session.end(self)

    async def aclose(self) -> None:
        """End our side, and drop whatever the peer still sends. Nothing is lost that was sent before."""
        if self._closed:
            return
        self._closed = True
        self._drop()
        self.wake()
        await self.send_eof()

    # -- for a sink

    def attach(self, sink: Sink) -> None:
        """Hand to `sink` what has come and what comes, until the end, instead of to `receive`."""
        self._sink = sink
        self._pour()

    def hold(self) -> None:
        """Hand on nothing more for the time being; the peer's window fills up."""
        self._held = True

    def resume(self) -> None:
        if self._held:
            self._held = False
            self._pour()

    def _pour(self) -> None:
        sink = self._sink
        if sink is None:
            return
        while self._chunks and not self._held:
            chunk = self._chunks.popleft()
            self._session.consumed(self, len(chunk))
            sink.receive(chunk)
        if not self._chunks and (self._ended_by_peer or self._broken or self._closed):
            self._sink = None
            sink.ended("" if self._ended_by_peer else self._broken or "closed")

    # -- for the session

    def feed(self, data: bytes) -> None:
        if self._closed:
            self._session.consumed(self, len(data))
        elif self._sink is not None and not self._chunks and not self._held:
            self._sink.receive(data)  # first, as somebody waits for the answer
            self._session.consumed(self, len(data))
        else:
            if self._chunks and len(self._chunks[-1]) + len(data) <= _SMALL:
                self._chunks[-1] += data
            else:
                self._chunks.append(data)
            _wake(self._reader)

    def end_by_peer(self) -> None:
        self._ended_by_peer = True
        self.wake()

    def break_off(self, reason: str, *, keep: bool) -> None:
        """Nothing goes in or out any more; `keep` leaves to the reader what has come, and a clean end."""
        self._broken = reason
        if keep:
            self._ended_by_peer = True
        else:
            self._drop()
        self.wake()

    def wake(self) -> None:
        _wake(self._reader)
        _wake(self._writer)
        self._pour()

    def wake_writer(self) -> None:
        """The peer, or the socket, takes more."""
        if self._unsent and not self._broken and not self._ended_by_us:
            self._push()

    @property
    def over(self) -> bool:
        """No frame of this stream is awaited any more."""
        return self._ended_by_peer and self._ended_by_us

    # -- inside

    def _take(self, data: bytes | memoryview) -> int:
        self._check_writable()
        return self._session.send(self, data)

    def _check_writable(self) -> None:
        if self._ended_by_us:
            raise anyio.ClosedResourceError
        if self._broken:
            raise anyio.BrokenResourceError(self._broken)

    def _push(self) -> None:
        """Send of what waits as much as goes."""
        while self._unsent:
            data = self._unsent[0]
            taken = self._take(data)
            if taken == len(data):
                self._unsent.popleft()
            elif taken:
                self._unsent[0] = memoryview(data)[taken:]
            else:
                return
        _wake(self._writer)
        if self._sink is not None:
            self._sink.drained()

    def _drop(self) -> None:
        unread = sum(map(len, self._chunks))
        self._chunks.clear()
        self._session.consumed(self, unread)


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
