"""The host's end of a yamux session: streams over the plugin's socket.

One task reads the socket; whoever sends waits for the stream's window and for the socket.
"""

import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import SocketAttribute, SocketStream

from chaosplugin.wire import yamux
from chaosplugin.wire.errors import LocalProtocolError, ProtocolError

_READ = 65536  # bytes


class ConnectionLost(Exception):
    """The session is over; `str()` says by what."""


class Stream:
    """One stream of ours. One task receives, any number of tasks send whole messages."""

    def __init__(self, connection: "Connection", stream_id: yamux.StreamId) -> None:
        self.id = stream_id
        self.chunks: deque[bytes] = deque()
        self.ended = False
        self._readable = anyio.Event()
        self._writable = anyio.Event()
        self._connection = connection
        self._sending = anyio.Lock()

    async def receive(self) -> bytes:
        """Return at least one byte, or b"" at the end of the peer's side or of the session."""
        while not self.chunks:
            if self.ended or self._connection.lost:
                return b""
            self._readable = anyio.Event()
            await self._readable.wait()
        chunk = self.chunks.popleft()
        await self._connection.consumed(self, len(chunk))
        return chunk

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            ConnectionLost: the session or this stream is over.
        """
        async with self._sending:
            rest = memoryview(data)
            while rest:
                self._writable = anyio.Event()
                taken = await self._connection.send(self, rest)
                rest = rest[taken:]
                if not taken:
                    await self._writable.wait()

    async def end(self) -> None:
        """Close our side, if there is still something to close."""
        await self._connection.end(self)

    def wake(self) -> None:
        self._readable.set()
        self._writable.set()


class Connection:
    """A session with a plugin."""

    def __init__(self, stream: SocketStream) -> None:
        self.lost = ""
        self._socket = stream
        self._session = yamux.Session(yamux.Role.CLIENT, now=anyio.current_time())
        self._streams: dict[yamux.StreamId, Stream] = {}
        self._flushing = anyio.Lock()

    async def open(self) -> Stream:
        """Open a stream.

        Raises ConnectionLost.
        """
        self._check()
        try:
            stream_id = self._session.open(anyio.current_time())
        except LocalProtocolError as error:
            raise ConnectionLost(str(error)) from error
        stream = self._streams[stream_id] = Stream(self, stream_id)
        await self._flush()
        return stream

    async def send(self, stream: Stream, data: memoryview) -> int:
        self._check()
        try:
            taken = self._session.send(stream.id, data)
        except LocalProtocolError as error:
            raise ConnectionLost(str(error)) from error
        await self._flush()
        self._check()
        return taken

    async def consumed(self, stream: Stream, length: int) -> None:
        self._session.consumed(stream.id, length)
        await self._flush()

    async def end(self, stream: Stream) -> None:
        if self.lost:
            return
        try:
            self._session.end(stream.id, anyio.current_time())
        except LocalProtocolError:
            return  # ended already, or reset by the peer
        await self._flush()

    async def read(self) -> None:
        """Take what the peer sends until the session is over."""
        try:
            while True:
                self._session.receive_data(await self._socket.receive(_READ))
                self._dispatch()
                await self._flush()
        except anyio.EndOfStream:
            self._lose("unexpected EOF")
        except anyio.ClosedResourceError:
            self._lose("connection is shut down")
        except (anyio.BrokenResourceError, ProtocolError) as error:
            self._dispatch()
            self._lose(str(error.__cause__ or error))

    async def keep_alive(self) -> None:
        """Ping the peer now and then; a peer that does not answer ends the session."""
        try:
            while not self.lost:
                await anyio.sleep(max(0.0, self._session.next_deadline() - anyio.current_time()))
                self._session.tick(anyio.current_time())
                await self._flush()
        except ProtocolError as error:
            self._lose(str(error))
            self._shut_down()

    def close(self) -> None:
        """End the session; the socket is closed at the end of the block that holds it."""
        self._lose("connection is shut down")
        self._shut_down()

    def _shut_down(self) -> None:
        """Let whoever reads or writes come to an end: closed under them, the loop would go on watching it."""
        with suppress(OSError):  # the peer was first
            raw = self._socket.extra(SocketAttribute.raw_socket)  # noqa: S610  anyio's, not Django's
            raw.shutdown(socket.SHUT_RDWR)

    def _dispatch(self) -> None:
        for event in self._session.events():
            match event:
                case yamux.DataReceived(stream_id, data):
                    self._streams[stream_id].chunks.append(data)
                    self._streams[stream_id].wake()
                case yamux.StreamEnded(stream_id) | yamux.StreamReset(stream_id):
                    self._streams[stream_id].ended = True
                    self._streams[stream_id].wake()
                case yamux.WindowOpened(stream_id):
                    if stream_id in self._streams:
                        self._streams[stream_id].wake()
                case yamux.StreamOpened(stream_id):
                    self._session.reset(stream_id)  # go-plugin's server opens none with net/rpc
                case yamux.StreamAccepted() | yamux.GoAwayReceived():
                    pass

    async def _flush(self) -> None:
        async with self._flushing:
            data = self._session.data_to_send()
            if data:
                try:
                    await self._socket.send(data)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                    self._lose(str(error.__cause__ or "connection is shut down"))

    def _check(self) -> None:
        if self.lost:
            raise ConnectionLost("connection is shut down")

    def _lose(self, why: str) -> None:
        self.lost = self.lost or why
        for stream in self._streams.values():
            stream.wake()


@asynccontextmanager
async def connect(path: str) -> AsyncIterator[Connection]:
    """Hold a session with the plugin that listens at `path` until the end of the block."""
    stream = await anyio.connect_unix(path)
    connection = Connection(stream)
    try:
        async with anyio.create_task_group() as reading:
            reading.start_soon(connection.read)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connection.keep_alive)
                yield connection
                tasks.cancel_scope.cancel()
            connection.close()
    finally:
        with anyio.CancelScope(shield=True):
            await stream.aclose()
