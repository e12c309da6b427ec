"""yamux: any bytes are frames or the end of the session; what we hold and what we owe stays bounded."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from chaosplugin.wire import yamux
from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.yamux import frames
from chaosplugin.wire.yamux.config import Config, Role
from chaosplugin.wire.yamux.session import MAX_QUEUED, Session

_CONFIG = Config(accept_backlog=4, max_streams=8)
_GRACE = 64 * 1024
"""What one call may add to the output before its bound is looked at."""
_MOST_READS = 32
"""of one input: what its user does after each is nearly all of an execution"""


def check(data: bytes) -> None:
    """The first byte chooses the role and how its user behaves, the second the least size of the reads."""
    if len(data) < 2:
        return
    user = _User(Role.SERVER if data[0] & 1 else Role.CLIENT, data[0] >> 1)
    piece = max(data[1] * 8 + 7, len(data) // _MOST_READS)
    try:
        for start in range(2, len(data), piece):
            user.session.receive_data(data[start : start + piece])
            user.react(float(start))
    except RemoteProtocolError:
        user.react(0.0)
    user.read_output()


@dataclass
class _Stream:
    unread: int = 0
    waits: bool = False
    ended_by_peer: bool = False
    ended_by_us: bool = False

    @property
    def over(self) -> bool:
        return self.ended_by_peer and self.ended_by_us


class _User:
    """Takes all events, and then does what a user may do; each bit of `habits` is one thing that it does."""

    def __init__(self, role: Role, habits: int) -> None:
        self.session = Session(role, now=0.0, config=_CONFIG)
        self._habits = habits
        self._open: dict[yamux.StreamId, _Stream] = {}
        self._reader = frames.Reader()
        if role is Role.CLIENT:
            for _ in range(_CONFIG.accept_backlog):
                self._open[self.session.open(0.0)] = _Stream()

    def react(self, now: float) -> None:
        for event in self.session.events():
            self._take(event)
        assert len(self._open) <= _CONFIG.max_streams
        for stream_id, stream in tuple(self._open.items()):
            with contextlib.suppress(LocalProtocolError):  # not now, or the session is dead
                self._use(stream_id, stream, now)
        if self._habits & 1:
            self.read_output()
        if self._habits & 2:
            with contextlib.suppress(LocalProtocolError):
                self.session.tick(now)
        assert self.session.next_deadline() >= 0

    def _take(self, event: yamux.Event) -> None:
        match event:
            case yamux.StreamOpened(stream_id):
                assert stream_id not in self._open
                self._open[stream_id] = _Stream(waits=True)
            case yamux.DataReceived(stream_id, data):
                assert data
                self._open[stream_id].unread += len(data)
                assert self._open[stream_id].unread <= _CONFIG.receive_window
            case yamux.StreamEnded(stream_id):
                self._open[stream_id].ended_by_peer = True
                self._forget_if_over(stream_id)
            case yamux.StreamReset(stream_id):
                self.session.consumed(stream_id, self._open.pop(stream_id).unread)
            case yamux.StreamAccepted(stream_id):
                assert stream_id in self._open
            case yamux.WindowOpened() | yamux.GoAwayReceived():
                pass

    def _use(self, stream_id: yamux.StreamId, stream: _Stream, now: float) -> None:
        if self._habits & 4 and stream.waits:
            stream.waits = False
            self.session.accept(stream_id)
        if self._habits & 8:
            self.session.consumed(stream_id, stream.unread)
            stream.unread = 0
        if self._habits & 16 and not stream.waits and not stream.ended_by_us:
            assert 0 <= self.session.send(stream_id, b"an answer") <= 9
        if self._habits & 32 and not stream.waits and stream.ended_by_peer and not stream.ended_by_us:
            self.session.end(stream_id, now)
            stream.ended_by_us = True
            self._forget_if_over(stream_id)

    def _forget_if_over(self, stream_id: yamux.StreamId) -> None:
        if self._open[stream_id].over:
            self.session.consumed(stream_id, self._open.pop(stream_id).unread)

    def read_output(self) -> None:
        """What we send is whole frames of yamux."""
        output = self.session.data_to_send()
        assert len(output) <= MAX_QUEUED + _GRACE
        for piece in self._reader.feed(output):
            assert isinstance(piece, bytes) or piece.flags < 16


def seeds() -> Iterator[bytes]:
    syn, ack, fin, rst = 1, 2, 4, 8
    for first in (0xFF, 0xFE, 0x3D, 0x00, 0x15):
        peer = 1 if first & 1 else 2
        ours = 3 - peer
        head = bytes((first, 255))
        data = frames.encode(frames.DATA, 0, peer, 5) + b"hello"
        opened = frames.encode(frames.WINDOW_UPDATE, syn, peer, 0)
        yield head + opened + data + frames.encode(frames.WINDOW_UPDATE, fin, peer, 0)
        yield head + opened + frames.encode(frames.DATA, fin, peer, 1) + b"x"
        yield head + frames.encode(frames.DATA, syn | fin, peer, 2) + b"ab" + data
        yield head + frames.encode(frames.PING, syn, 0, 7) + frames.encode(frames.PING, ack, 0, 0)
        yield head + opened + frames.encode(frames.WINDOW_UPDATE, rst, peer, 0) + opened
        yield (
            head + frames.encode(frames.GO_AWAY, 0, 0, 0) + frames.encode(frames.WINDOW_UPDATE, ack, ours, 9)
        )
        yield head + b"".join(frames.encode(frames.WINDOW_UPDATE, syn, peer + 2 * n, 0) for n in range(9))
        yield head + frames.encode(frames.DATA, ack, ours, 3) + b"abc" + frames.encode(1, fin | ack, ours, 0)
        yield head + frames.encode(frames.WINDOW_UPDATE, 0, peer, 2**32 - 1)
