"""The streams of a session: which exist, where each stands, and which of them somebody waits for."""

from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.yamux.config import Config
from chaosplugin.wire.yamux.frames import GoAwayCode, StreamId
from chaosplugin.wire.yamux.states import TRANSITIONS, UNACCEPTED, UNACKNOWLEDGED, Input, State
from chaosplugin.wire.yamux.window import ReceiveWindow, SendWindow


class Stream:
    """One stream as the session sees it."""

    __slots__ = ("id", "receiving", "sending", "state")

    def __init__(self, id_: StreamId, receive_window: int) -> None:
        self.id = id_
        self.state = State.IDLE
        self.receiving = ReceiveWindow(receive_window)
        self.sending = SendWindow()


class Streams:
    """All streams that are not closed, moved along `states.TRANSITIONS`.

    `unacknowledged` and `half_closed` hold deadlines. Within one of them all delays are the same,
    so the first entry is the earliest.
    """

    def __init__(self, config: Config) -> None:
        self._receive_window = config.receive_window
        self._known: dict[StreamId, Stream] = {}
        self.unaccepted: set[StreamId] = set()
        self.unacknowledged: dict[StreamId, float] = {}
        self.half_closed: dict[StreamId, float] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, stream_id: StreamId) -> Stream | None:
        return self._known.get(stream_id)

    def add(self, stream_id: StreamId) -> Stream:
        stream = self._known[stream_id] = Stream(stream_id, self._receive_window)
        return stream

    def received(self, stream: Stream, what: Input) -> bool:
        """Take what a frame says; return whether it accepts a stream of ours.

        Raises:
            RemoteProtocolError: the table has no such transition.
        """
        before = stream.state
        after = TRANSITIONS[before].get(what)
        if after is None:
            raise RemoteProtocolError(
                f"stream {stream.id} in state {before.name} got {what.name}",
                go_away=GoAwayCode.PROTOCOL_ERROR,
            )
        if after is before:
            return False
        self._move(stream, after)
        return before in UNACKNOWLEDGED and what is not Input.RECEIVE_RST

    def sent(self, stream: Stream, what: Input) -> None:
        """Take what we are about to send.

        Raises:
            LocalProtocolError: the table has no such transition; nothing may be sent.
        """
        after = TRANSITIONS[stream.state].get(what)
        if after is None:
            raise LocalProtocolError(f"{what.name} on stream {stream.id} in state {stream.state.name}")
        if after is not stream.state:
            self._move(stream, after)

    def _move(self, stream: Stream, after: State) -> None:
        stream.state = after
        if after in UNACCEPTED:
            self.unaccepted.add(stream.id)
            return
        self.unaccepted.discard(stream.id)
        if after not in UNACKNOWLEDGED:
            self.unacknowledged.pop(stream.id, None)
        if after is State.CLOSED:
            self.half_closed.pop(stream.id, None)
            self._known.pop(stream.id, None)
