"""A yamux session on a connected socket.

The socket is read by callbacks of the loop, whatever the streams' consumers do: what they leave unread
is bounded by the windows, and pings are answered all the same. Output goes straight to the socket; while
the socket takes nothing it stays in the session, which then takes nothing from the streams' senders.

    a consumer is slow     its stream's credit is used up, its peer waits, all else goes on
    the peer reads little  `send` waits, for the stream's window or for the socket
    the socket ends        readers get what had come, then the end; senders get BrokenResourceError

What is written leaves at once, as a caller waits for each answer; but the answers to calls that have come
together leave together, where they take no longer than a moment.
"""

import asyncio
import contextlib
import socket

import anyio

from chaosplugin.transport.stream import Stream
from chaosplugin.wire import yamux
from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError

_CLOSE_TIMEOUT_S = 1.0  # for bytes that the peer does not read
_BUFFER = 256 * 1024
_TOGETHER_S = 0.005
"""Each write takes as long as a tenth of a call, and wakes the host, which then calls one by one."""


class Mux(asyncio.BufferedProtocol):
    """The session of one connection; made by `connect`."""

    def __init__(self, role: yamux.Role, config: yamux.Config) -> None:
        self.loop = asyncio.get_running_loop()
        self.error: RemoteProtocolError | None = None
        self._session = yamux.Session(role, now=self.loop.time(), config=config)
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(_BUFFER)
        self._paused = False
        self._together_until = 0.0
        self._streams: dict[yamux.StreamId, Stream] = {}
        self._offered: dict[yamux.StreamId, Stream] = {}
        self._changed: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def accept(self) -> Stream:
        """Return the next stream that the peer opens.

        Raises:
            anyio.EndOfStream: the connection is over; `error` tells if the peer broke the protocol.
        """
        while True:
            while self._offered:
                stream_id = next(iter(self._offered))
                stream = self._offered.pop(stream_id)
                with contextlib.suppress(LocalProtocolError):  # the session died in between
                    self._session.accept(stream_id)
                    self._flush()
                    return stream
            if self._lost.is_set():
                raise anyio.EndOfStream
            await self._change()

    def refuse_new_streams(self) -> None:
        """Tell the peer to open nothing more."""
        with contextlib.suppress(LocalProtocolError):  # it is over already
            self._session.go_away()
            self._flush()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed, by whomever."""
        await self._lost.wait()

    async def aclose(self) -> None:
        """Send what waits to be sent, if the peer reads it, and close the socket."""
        self._close()
        await self._lost.wait()

    # -- for Stream

    def send(self, stream: Stream, data: bytes | memoryview) -> int:
        try:
            taken = self._session.send(stream.id, data)
        except LocalProtocolError as error:
            raise anyio.BrokenResourceError(str(error)) from error
        self._flush()
        return taken

    def consumed(self, stream: Stream, length: int) -> None:
        self._session.consumed(stream.id, length)
        self._flush()

    def end(self, stream: Stream) -> None:
        if self._streams.get(stream.id) is not stream:
            return  # it was reset; the id may be another stream's by now
        with contextlib.suppress(LocalProtocolError):  # the session died: it is ended anyway
            self._session.end(stream.id, self.loop.time())
            self._flush()
        self._forget_if_over(stream)

    # -- asyncio.BufferedProtocol: a buffer of our own, since a new one for each read costs up to 14 us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  a fact of asyncio that its types do not tell
        self._transport = transport
        self._arm()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._session.receive_data(bytes(memoryview(self._buffer)[:nbytes]))
        except RemoteProtocolError as error:
            self._fail(error)
            return
        self._flush()  # answers to pings wait for nobody
        self._together_until = self.loop.time() + _TOGETHER_S
        try:
            self._dispatch()
        finally:
            self._together_until = 0.0
            self._flush()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()
        for stream in tuple(self._streams.values()):
            stream.wake_writer()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._lost.set()
        reason = f"the connection is over: {self.error or exc or 'closed'}"
        for stream in self._streams.values():
            stream.break_off(reason, keep=self.error is None)
        self._streams.clear()
        self._offered.clear()
        self._notify()

    def _dispatch(self) -> None:
        for event in self._session.events():
            if isinstance(event, yamux.DataReceived):  # nearly all; a match costs three times as much
                self._streams[event.stream_id].feed(event.data)
                continue
            match event:
                case yamux.WindowOpened(stream_id):
                    if (writer := self._streams.get(stream_id)) is not None:
                        writer.wake_writer()
                case yamux.StreamOpened(stream_id):
                    stream = self._streams[stream_id] = self._offered[stream_id] = Stream(self, stream_id)
                    self._notify()
                case yamux.StreamEnded(stream_id):
                    stream = self._streams[stream_id]
                    stream.end_by_peer()
                    self._forget_if_over(stream)
                case yamux.StreamReset(stream_id):
                    self._offered.pop(stream_id, None)
                    self._streams.pop(stream_id).break_off("the stream was reset", keep=False)
                case yamux.StreamAccepted() | yamux.GoAwayReceived():
                    pass  # we open no streams

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.over and self._streams.get(stream.id) is stream:
            del self._streams[stream.id]

    async def _change(self) -> None:
        """Wait until a stream is offered, or the connection is over."""
        if self._changed is None:
            self._changed = self.loop.create_future()
        await asyncio.shield(self._changed)

    def _notify(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
        self._changed = None

    def _flush(self) -> None:
        if self._paused or self._transport is None:
            return
        if self._together_until and self.loop.time() < self._together_until:
            return
        data = self._session.data_to_send()
        if data:
            self._transport.write(data)

    def _fail(self, error: RemoteProtocolError) -> None:
        self.error = error
        self._dispatch()
        self._close()

    def _close(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._timer is not None:
            self._timer.cancel()
        if data := self._session.data_to_send():
            self._transport.write(data)
        self._transport.close()
        self.loop.call_later(_CLOSE_TIMEOUT_S, self._transport.abort)

    def _arm(self) -> None:
        self._timer = self.loop.call_at(self._session.next_deadline(), self._tick)

    def _tick(self) -> None:
        try:
            self._session.tick(self.loop.time())
        except RemoteProtocolError as error:
            self._fail(error)
            return
        self._dispatch()
        self._flush()
        self._arm()


async def connect(sock: socket.socket, role: yamux.Role, config: yamux.Config | None = None) -> Mux:
    """Take over a connected socket."""
    loop = asyncio.get_running_loop()
    _, mux = await loop.connect_accepted_socket(lambda: Mux(role, config or yamux.Config()), sock)
    return mux
