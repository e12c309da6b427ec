"""One yamux connection, either end of it: bytes in, events out; calls in, bytes out.

    session.receive_data(data)     what the socket gave
    session.events()               what that means
    session.data_to_send()         what the socket gets, after any call
    session.next_deadline()        when to call tick(now)

No clock: `now` is any monotonic number of seconds. The rules of streams are in `states`, those of credit
in `window`; here is what is common to a session. After a RemoteProtocolError it is dead: send what
`data_to_send` still gives, and close the socket.

Everything is bounded, whatever the peer sends: streams by `Config.max_streams`, unread bytes by the
windows and by MAX_UNREAD, output by MAX_QUEUED_DATA and MAX_QUEUED.
"""

from typing import Final

from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.yamux import events
from chaosplugin.wire.yamux.config import DEFAULT, Config, Role
from chaosplugin.wire.yamux.frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    GoAwayCode,
    Header,
    Reader,
    StreamId,
    encode,
)
from chaosplugin.wire.yamux.keepalive import KeepAlive
from chaosplugin.wire.yamux.states import ENDED_BY_PEER, Input, State
from chaosplugin.wire.yamux.streams import Stream, Streams

MAX_UNREAD: Final = 64 * 1024 * 1024
"""Bytes received and not yet consumed, over all streams. Stops a peer that fills a thousand windows."""

MAX_QUEUED_DATA: Final = 256 * 1024
"""Bytes of output beyond which `send` takes nothing. Stops our own writers."""

MAX_QUEUED: Final = 1024 * 1024
"""Bytes of output, answers included. Stops a peer that asks (pings, say) and never reads an answer."""

_LAST_ID: Final = 2**32 - 2
_LATE_S: Final = 1.0  # a tick that comes later than this tells that we slept, not the peer


class BacklogFull(LocalProtocolError):
    """No more streams for the moment."""


class Session:
    """One end of a connection. Not safe for threads."""

    def __init__(self, role: Role, *, now: float, config: Config = DEFAULT) -> None:
        self._config = config
        self._next_id: int = role
        self._reader = Reader()
        self._body_of: Stream | None = None
        self._body_left = 0
        self._body_ends = False
        self._events: list[events.Event] = []
        self._output: list[bytes] = []
        self._queued = 0
        self._unread = 0
        self._streams = Streams(config)
        self._keep_alive = KeepAlive(
            now=now, interval_s=config.keep_alive_s, reply_timeout_s=config.reply_timeout_s
        )
        self._going_away = False
        self._peer_going_away = False
        self._dead = ""

    # -- what the peer says

    def receive_data(self, data: bytes) -> None:
        """Take bytes, cut anywhere.

        Raises:
            RemoteProtocolError: the session is dead; what came before the error is still in `events`.
        """
        self._check_alive()
        try:
            for piece in self._reader.feed(data):
                if isinstance(piece, bytes):
                    self._receive_body(piece)
                elif piece.kind <= WINDOW_UPDATE:
                    self._receive_stream_frame(piece)
                else:
                    self._receive_session_frame(piece)
            self._check_output()
        except RemoteProtocolError as error:
            self._die(error)
            raise

    def events(self) -> list[events.Event]:
        """Return what happened since the last call."""
        happened, self._events = self._events, []
        return happened

    def _receive_session_frame(self, header: Header) -> None:
        if header.kind == PING:
            if header.flags & SYN:
                self._queue(PING, ACK, 0, header.length)
            else:
                self._keep_alive.receive_pong(header.length)
        elif header.length == GoAwayCode.NORMAL:
            self._peer_going_away = True
            self._events.append(events.GoAwayReceived())
        else:
            raise RemoteProtocolError(f"the peer ended the session, go-away code {header.length}")

    def _receive_stream_frame(self, header: Header) -> None:
        kind, flags, stream_id, length = header
        stream = self._streams.get(stream_id)
        if flags & SYN:
            stream = self._receive_syn(stream, stream_id)
        if kind == DATA:
            self._body_of, self._body_left, self._body_ends = None, length, False
        if stream is None:
            return  # refused or forgotten; its frames may keep coming
        listening = stream.state not in ENDED_BY_PEER and not flags & RST
        if flags & ACK:
            self._receive(stream, Input.RECEIVE_ACK)
        if length:
            self._receive_length(stream, header, listening=listening)
        if flags & FIN:
            self._receive(stream, Input.RECEIVE_FIN)
            if self._body_of is stream and kind == DATA:
                self._body_ends = True
            else:
                self._events.append(events.StreamEnded(stream_id))
        if flags & RST and stream.state is not State.CLOSED:
            self._receive(stream, Input.RECEIVE_RST)
            self._events.append(events.StreamReset(stream_id))

    def _receive_length(self, stream: Stream, header: Header, *, listening: bool) -> None:
        if header.kind == WINDOW_UPDATE:
            stream.sending.grow(header.length)
            self._events.append(events.WindowOpened(stream.id))
            return
        self._receive(stream, Input.RECEIVE_DATA)
        stream.receiving.receive(header.length)
        if listening:
            self._body_of = stream

    def _receive_syn(self, known: Stream | None, stream_id: StreamId) -> Stream | None:
        if known is not None:
            self._receive(known, Input.RECEIVE_SYN)
        if not stream_id:
            raise RemoteProtocolError("stream 0 opened, 0 is the session", go_away=GoAwayCode.PROTOCOL_ERROR)
        if (
            self._going_away
            or len(self._streams.unaccepted) >= self._config.accept_backlog
            or len(self._streams) >= self._config.max_streams
        ):
            self._queue(WINDOW_UPDATE, RST, stream_id, 0)
            return None
        stream = self._streams.add(stream_id)
        self._receive(stream, Input.RECEIVE_SYN)
        self._events.append(events.StreamOpened(stream_id))
        return stream

    def _receive(self, stream: Stream, what: Input) -> None:
        if self._streams.received(stream, what):
            self._events.append(events.StreamAccepted(stream.id))

    def _receive_body(self, piece: bytes) -> None:
        self._body_left -= len(piece)
        stream = self._body_of
        if stream is None:
            return
        self._unread += len(piece)
        if self._unread > MAX_UNREAD:
            raise RemoteProtocolError(
                f"more than {MAX_UNREAD} bytes wait unread in this session", go_away=GoAwayCode.INTERNAL_ERROR
            )
        self._events.append(events.DataReceived(stream.id, piece))
        if self._body_ends and not self._body_left:
            self._events.append(events.StreamEnded(stream.id))

    # -- what we say

    def open(self, now: float) -> StreamId:
        """Open a stream; data may follow at once.

        Raises:
            BacklogFull: not now; again after StreamAccepted or the end of a stream.
            LocalProtocolError: never again.
        """
        self._check_alive()
        if self._peer_going_away:
            raise LocalProtocolError("the peer accepts no more streams")
        if self._next_id > _LAST_ID:
            raise LocalProtocolError("all stream ids of this session are used up")
        waiting = len(self._streams.unacknowledged)
        if waiting >= self._config.accept_backlog or len(self._streams) >= self._config.max_streams:
            raise BacklogFull(
                f"{len(self._streams)} streams, {waiting} of them wait for the peer to accept them"
            )
        stream_id = StreamId(self._next_id)
        self._next_id += 2
        if self._streams.get(stream_id) is not None:
            raise LocalProtocolError(f"the peer has taken stream {stream_id}, an id of ours")
        stream = self._streams.add(stream_id)
        self._streams.sent(stream, Input.SEND_SYN)
        self._streams.unacknowledged[stream.id] = now + self._config.open_timeout_s
        self._queue(WINDOW_UPDATE, SYN, stream.id, stream.receiving.announce())
        return stream.id

    def accept(self, stream_id: StreamId) -> None:
        """Accept a stream of the peer's; only now may we send on it.

        Raises:
            LocalProtocolError: there is no such stream that waits for it (any more).
        """
        stream = self._stream(stream_id)
        self._streams.sent(stream, Input.SEND_ACK)
        self._queue(WINDOW_UPDATE, ACK, stream_id, stream.receiving.announce())

    def send(self, stream_id: StreamId, data: bytes | memoryview) -> int:
        """Take as many bytes as the peer's window and our output have room for; return how many.

        None taken: WindowOpened, or room after `data_to_send`, is the time to try again.

        Raises:
            LocalProtocolError: the stream is closed on our side, or gone.
        """
        stream = self._stream(stream_id)
        self._streams.sent(stream, Input.SEND_DATA)
        size = min(len(data), stream.sending.credit, MAX_QUEUED_DATA - self._queued)
        if size <= 0:
            return 0
        stream.sending.credit -= size
        self._queue(DATA, 0, stream_id, size)
        self._output.append(bytes(data[:size]))
        self._queued += size
        return size

    def end(self, stream_id: StreamId, now: float) -> None:
        """Close our side. The peer may go on for `close_timeout_s`, then the stream is reset.

        Raises:
            LocalProtocolError: it is closed already, or gone.
        """
        stream = self._stream(stream_id)
        self._streams.sent(stream, Input.SEND_FIN)
        self._queue(WINDOW_UPDATE, FIN, stream_id, 0)
        if stream.state is not State.CLOSED:
            self._streams.half_closed[stream_id] = now + self._config.close_timeout_s

    def reset(self, stream_id: StreamId) -> None:
        """Drop the stream in both directions, at once. Of a stream that is gone already: nothing."""
        stream = self._streams.get(stream_id)
        if stream is None or self._dead:
            return
        self._streams.sent(stream, Input.SEND_RST)
        self._queue(WINDOW_UPDATE, RST, stream_id, 0)
        if self._body_of is stream:
            self._body_of = None

    def consumed(self, stream_id: StreamId, length: int) -> None:
        """Give back the room of bytes that are used, also of those of a stream that is gone."""
        self._unread -= length
        stream = self._streams.get(stream_id)
        if stream is None or self._dead or stream.state in ENDED_BY_PEER:
            return
        delta = stream.receiving.consume(length)
        if delta:
            self._queue(WINDOW_UPDATE, 0, stream_id, delta)

    def go_away(self) -> None:
        """Refuse all streams that the peer opens from now on."""
        self._check_alive()
        self._going_away = True
        self._queue(GO_AWAY, 0, 0, GoAwayCode.NORMAL)

    def data_to_send(self) -> bytes:
        """Return all output. Call it only when the socket takes it: what stays here is bounded."""
        data = b"".join(self._output)
        self._output.clear()
        self._queued = 0
        return data

    # -- time

    def next_deadline(self) -> float:
        """When to call `tick`."""
        deadlines = [self._keep_alive.deadline]
        deadlines.extend(
            next(iter(d.values())) for d in (self._streams.unacknowledged, self._streams.half_closed) if d
        )
        return min(deadlines)

    def tick(self, now: float) -> None:
        """Ping when it is time; end what has waited for too long.

        Raises:
            RemoteProtocolError: the peer answers no ping, or accepts no stream; the session is dead.
        """
        self._check_alive()
        if now - self.next_deadline() > _LATE_S:
            # What we wait for may lie unread in the socket.
            self._keep_alive.forgive(now)
            self._streams.unacknowledged = dict.fromkeys(
                self._streams.unacknowledged, now + self._config.open_timeout_s
            )
        try:
            ping = self._keep_alive.tick(now)
            self._check_unacknowledged(now)
        except RemoteProtocolError as error:
            self._die(error)
            raise
        if ping is not None:
            self._queue(PING, SYN, 0, ping)
        for stream_id, deadline in tuple(self._streams.half_closed.items()):
            if now < deadline:
                break
            self.reset(stream_id)
            self._events.append(events.StreamReset(stream_id))

    def _check_unacknowledged(self, now: float) -> None:
        for stream_id, deadline in self._streams.unacknowledged.items():
            if now >= deadline:
                raise RemoteProtocolError(
                    f"stream {stream_id} was not accepted within {self._config.open_timeout_s:g} s"
                )
            return

    def _stream(self, stream_id: StreamId) -> Stream:
        self._check_alive()
        stream = self._streams.get(stream_id)
        if stream is None:
            raise LocalProtocolError(f"stream {stream_id} is gone")
        return stream

    def _queue(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        self._output.append(encode(kind, flags, stream_id, length))
        self._queued += 12

    def _check_alive(self) -> None:
        if self._dead:
            raise LocalProtocolError(f"the session is dead: {self._dead}")

    def _check_output(self) -> None:
        if self._queued > MAX_QUEUED:
            raise RemoteProtocolError(f"{self._queued} bytes wait for a peer that reads nothing")

    def _die(self, error: RemoteProtocolError) -> None:
        self._dead = str(error)
        if error.go_away is not None:
            self._queue(GO_AWAY, 0, 0, error.go_away)
