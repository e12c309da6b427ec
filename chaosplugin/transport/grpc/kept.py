"""Calls over streams that are kept for the next one: most of what a call costs is to set it up.

Each stream serves one call at a time, so a call has a deadline, can be cancelled, and is answered by its own
answer just as if it were alone. What goes wrong with a stream is no error of the call: it is made alone then.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
Metadata = Sequence[tuple[str, str | bytes]]

_MOST = 64
"""Streams that wait for a call; a controller has 30 workers by default"""
_AGAIN_S = 60.0
"""How long none is tried after a new one was not answered: the server may not know the method"""


class Streams(Generic[Q, A]):
    """Streams of one method of one channel. All bear the same metadata."""

    def __init__(
        self, channel: grpc.aio.Channel, path: str, request: type[Q], answer: Callable[[bytes], A]
    ) -> None:
        self._open: grpc.aio.StreamStreamMultiCallable[Q, bytes] = channel.stream_stream(
            path, request_serializer=request.SerializeToString
        )
        self._read = answer
        self._idle: list[grpc.aio.StreamStreamCall[Q, bytes]] = []
        self._shown: Metadata = ()
        self._none_until = 0.0

    async def call(self, request: Q, metadata: Metadata, *, within_s: float) -> A | None:
        """Return the answer, or None if a stream has ended without one.

        Raises: grpc.aio.AioRpcError, DEADLINE_EXCEEDED.
        """
        loop = asyncio.get_running_loop()
        if metadata != self._shown:  # a token was replaced
            self._drop()
            self._shown = metadata
        stream = self._waiting()
        if new := stream is None:
            if loop.time() < self._none_until:
                return None
            stream = self._open(metadata=metadata)
        answer = await self._ask(stream, request, within_s)
        if answer is None:
            if new:
                self._none_until = loop.time() + _AGAIN_S
        elif len(self._idle) < _MOST and metadata == self._shown:
            self._idle.append(stream)
        else:
            stream.cancel()
        return answer

    async def _ask(
        self, stream: grpc.aio.StreamStreamCall[Q, bytes], request: Q, within_s: float
    ) -> A | None:
        answer: A | None = None
        try:
            async with asyncio.timeout(within_s):
                await stream.write(request)
                found = await stream.read()
            if isinstance(found, bytes):
                answer = self._read(found)
        except TimeoutError:
            raise _late() from None
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, DecodeError):
            pass  # it is over, or was before, or is good for nothing
        finally:
            if answer is None:
                stream.cancel()
        return answer

    def _waiting(self) -> grpc.aio.StreamStreamCall[Q, bytes] | None:
        while self._idle:
            stream = self._idle.pop()
            if not stream.done():
                return stream
        return None

    def _drop(self) -> None:
        for stream in self._idle:
            stream.cancel()
        self._idle.clear()


def _late() -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, nothing, nothing, "Deadline Exceeded")
