"""Two sessions joined by pipes that cut anywhere: whatever is done at either end, in whatever order.

Held at every step, and named as invariants: no window is negative, none is overrun, no data or FIN follows a
FIN, what has arrived is the beginning of what was sent, output is bounded.
Held at the end: every byte has arrived, every stream has ended, both ends have forgotten all.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaosplugin.wire import yamux
from chaosplugin.wire.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from chaosplugin.wire.yamux.frames import DATA, FIN, RST, Header, Reader, StreamId
from chaosplugin.wire.yamux.session import MAX_QUEUED
from chaosplugin.wire.yamux.window import INITIAL

CLOSE_TIMEOUT_S = 300
QUIET = yamux.Config(accept_backlog=3, keep_alive_s=1e9, open_timeout_s=1e9, close_timeout_s=1e9)


@dataclass
class Side:
    """What an end has done and seen of its streams."""

    session: yamux.Session
    pipe: bytearray = field(default_factory=bytearray)  # on its way to the other end
    offered: list[StreamId] = field(default_factory=list)
    live: set[StreamId] = field(default_factory=set)  # may send
    listening: set[StreamId] = field(default_factory=set)  # the peer may still send
    sent: dict[StreamId, bytearray] = field(default_factory=dict)
    got: dict[StreamId, bytearray] = field(default_factory=dict)
    unread: dict[StreamId, int] = field(default_factory=dict)
    reset: set[StreamId] = field(default_factory=set)
    gone_away: bool = False
    closed: set[StreamId] = field(default_factory=set)
    check: Reader = field(default_factory=Reader)
    after_fin: list[Header] = field(default_factory=list)  # what must never have been sent

    def collect(self) -> None:
        data = self.session.data_to_send()
        self.pipe += data
        for piece in self.check.feed(data):
            if isinstance(piece, Header):
                if piece.kind == DATA or piece.flags & FIN:
                    self.after_fin += [piece] if piece.stream_id in self.closed else []
                if piece.flags & (FIN | RST):
                    self.closed.add(piece.stream_id)

    def take(self, data: bytes) -> None:
        self.session.receive_data(data)
        self.see()

    def see(self) -> None:
        for event in self.session.events():
            match event:
                case yamux.StreamOpened(id_):
                    assert not self.gone_away
                    self.offered.append(id_)
                    self.listening.add(id_)
                case yamux.DataReceived(id_, piece):
                    assert id_ in self.listening
                    self.got.setdefault(id_, bytearray()).extend(piece)
                    self.unread[id_] = self.unread.get(id_, 0) + len(piece)
                case yamux.StreamEnded(id_):
                    self.listening.remove(id_)
                case yamux.StreamReset(id_):
                    self.drop(id_)
                case yamux.StreamAccepted() | yamux.WindowOpened() | yamux.GoAwayReceived():
                    pass

    def drop(self, id_: StreamId) -> None:
        self.reset.add(id_)
        self.live.discard(id_)
        self.listening.discard(id_)
        if id_ in self.offered:
            self.offered.remove(id_)


class Pair(RuleBasedStateMachine):
    @initialize(windows=st.tuples(*[st.sampled_from([INITIAL, INITIAL + 1, 3 * INITIAL])] * 2))
    def join(self, windows: tuple[int, int]) -> None:
        self.now = 0.0
        self.sides = [
            Side(yamux.Session(role, now=0.0, config=self.config(window)))
            for role, window in zip((yamux.Role.CLIENT, yamux.Role.SERVER), windows, strict=True)
        ]

    def config(self, window: int) -> yamux.Config:
        """Pings go out, and are answered when they are delivered; who waits too long for an end, resets."""
        return yamux.Config(
            accept_backlog=3,
            receive_window=window,
            reply_timeout_s=1e9,
            open_timeout_s=1e9,
            close_timeout_s=CLOSE_TIMEOUT_S,
        )

    @rule(at=st.integers(0, 1))
    def open(self, at: int) -> None:
        side = self.sides[at]
        try:
            id_ = side.session.open(self.now)
        except yamux.BacklogFull:
            return
        except LocalProtocolError:
            if not self.sides[1 - at].gone_away:
                raise
            return
        side.live.add(id_)
        side.listening.add(id_)

    @precondition(lambda self: any(side.offered for side in self.sides))
    @rule(at=st.integers(0, 1))
    def accept(self, at: int) -> None:
        side = self.sides[at]
        if side.offered:
            id_ = side.offered.pop(0)
            side.session.accept(id_)
            side.live.add(id_)

    @rule(at=st.integers(0, 1), which=st.integers(0, 9), size=st.sampled_from([1, 13, 5000, INITIAL]))
    def send(self, at: int, which: int, size: int) -> None:
        side = self.sides[at]
        if side.live:
            id_ = sorted(side.live)[which % len(side.live)]
            sent = side.sent.setdefault(id_, bytearray())
            data = bytes((len(sent) + i) % 251 for i in range(min(size, 5000))) + bytes(max(size - 5000, 0))
            sent += data[: side.session.send(id_, data)]

    @rule(at=st.integers(0, 1), which=st.integers(0, 9))
    def end(self, at: int, which: int) -> None:
        side = self.sides[at]
        if side.live:
            id_ = sorted(side.live)[which % len(side.live)]
            side.session.end(id_, self.now)
            side.live.remove(id_)

    @rule(at=st.integers(0, 1), which=st.integers(0, 9))
    def reset_one(self, at: int, which: int) -> None:
        side = self.sides[at]
        known = sorted(side.live | side.listening)
        if known:
            id_ = known[which % len(known)]
            side.session.reset(id_)
            side.drop(id_)

    @rule(at=st.integers(0, 1), which=st.integers(0, 9), share=st.sampled_from([0.1, 0.5, 1.0]))
    def read(self, at: int, which: int, share: float) -> None:
        side = self.sides[at]
        if side.unread:
            id_ = sorted(side.unread)[which % len(side.unread)]
            size = -int(-side.unread[id_] * share)
            side.session.consumed(id_, size)
            side.unread[id_] -= size

    @rule(at=st.integers(0, 1))
    def go_away(self, at: int) -> None:
        self.sides[at].session.go_away()
        self.sides[at].gone_away = True

    @rule(seconds=st.sampled_from([1, 30, 299, 300]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        for side in self.sides:
            side.session.tick(self.now)
            side.see()

    @rule(at=st.integers(0, 1), size=st.integers(1, 30) | st.integers(1, 10**6))
    def deliver(self, at: int, size: int) -> None:
        side = self.sides[at]
        data = bytes(side.pipe[:size])
        del side.pipe[:size]
        self.sides[1 - at].take(data)

    @invariant()
    def no_window_is_negative(self) -> None:
        for side in self.sides:
            side.collect()
            for stream in side.session._streams._known.values():
                assert stream.sending.credit >= 0
                assert stream.receiving._credit >= 0
                assert stream.receiving._unread >= 0

    @invariant()
    def no_window_is_overrun(self) -> None:
        for side in self.sides:
            for stream in side.session._streams._known.values():
                receiving = stream.receiving
                assert receiving._credit + receiving._unread <= receiving._maximum
                assert side.unread.get(stream.id, 0) <= receiving._maximum

    @invariant()
    def nothing_follows_a_fin(self) -> None:
        assert [side.after_fin for side in self.sides] == [[], []]

    @invariant()
    def what_arrived_is_the_beginning_of_what_was_sent(self) -> None:
        for here, there in (self.sides, reversed(self.sides)):
            for id_, got in there.got.items():
                assert here.sent[id_].startswith(got)

    @invariant()
    def output_is_bounded(self) -> None:
        for side in self.sides:
            assert side.session._queued <= MAX_QUEUED

    def teardown(self) -> None:
        for side in self.sides:
            for id_ in sorted(side.live):
                side.session.end(id_, self.now)
            side.live.clear()
        while self._settle():
            pass
        a, b = self.sides
        for here, there in ((a, b), (b, a)):
            assert not here.listening
            assert len(here.session._streams) == 0
            for id_, sent in here.sent.items():
                got = there.got.get(id_, bytearray())
                assert got == sent or id_ in here.reset | there.reset

    def _settle(self) -> bool:
        """Deliver, accept, read and end all there is; return whether there was any."""
        busy = False
        for at, side in enumerate(self.sides):
            while side.offered:
                id_ = side.offered.pop(0)
                side.session.accept(id_)
                side.session.end(id_, self.now)
            for id_, size in side.unread.items():
                side.session.consumed(id_, size)
                side.unread[id_] = 0
            side.collect()
            busy = busy or bool(side.pipe)
            self.deliver(at, 10**9)
        return busy


TestPair = Pair.TestCase
TestPair.settings = settings(stateful_step_count=40, deadline=None)


@given(st.binary(max_size=400), st.lists(st.integers(1, 30)))
def test_any_bytes_give_events_or_a_protocol_error(data: bytes, cuts: list[int]) -> None:
    session = yamux.Session(yamux.Role.SERVER, now=0.0)
    try:
        for size in [*cuts, len(data)]:
            session.receive_data(data[:size])
            data = data[size:]
            for event in session.events():
                if isinstance(event, yamux.StreamOpened):
                    session.accept(event.stream_id)
    except RemoteProtocolError:
        pass
    assert len(session.data_to_send()) < 2**16


frames_of_any_kind = st.builds(
    lambda kind, flags, id_, length: (
        bytes([0, kind])
        + flags.to_bytes(2, "big")
        + id_.to_bytes(4, "big")
        + (length if kind == DATA else length * 70_000).to_bytes(4, "big")
        + (b"x" * length if kind == DATA else b"")
    ),
    st.integers(0, 2),
    st.integers(0, 15),
    st.integers(0, 4),
    st.integers(0, 20),
)


@given(st.lists(frames_of_any_kind, max_size=30), st.data())
def test_how_bytes_are_cut_makes_no_difference(frames: list[bytes], draw: st.DataObject) -> None:
    stream = b"".join(frames)
    cut = draw.draw(st.integers(0, len(stream)))
    outcomes = []
    for pieces in ([stream], [stream[:cut], stream[cut:]], [stream[i : i + 1] for i in range(len(stream))]):
        session = yamux.Session(yamux.Role.SERVER, now=0.0)
        seen: list[object] = []
        error = ""
        for piece in pieces:
            try:
                session.receive_data(piece)
            except ProtocolError as caught:
                error = error or str(caught)
                break
            finally:
                seen.extend(session.events())
        outcomes.append((joined_data(seen), error, session.data_to_send()))

    assert outcomes[0] == outcomes[1] == outcomes[2]


def joined_data(events: list[object]) -> list[object]:
    """Neighbouring pieces of one stream count as one."""
    joined: list[object] = []
    for event in events:
        last = joined[-1] if joined else None
        if (
            isinstance(event, yamux.DataReceived)
            and isinstance(last, yamux.DataReceived)
            and last.stream_id == event.stream_id
        ):
            joined[-1] = yamux.DataReceived(event.stream_id, last.data + event.data)
        else:
            joined.append(event)
    return joined


@pytest.mark.parametrize("size", [1, 4096, INITIAL // 2 - 1, INITIAL // 2, INITIAL])
def test_no_read_size_starves_a_sender(size: int) -> None:
    a, b = (yamux.Session(role, now=0.0, config=QUIET) for role in (yamux.Role.CLIENT, yamux.Role.SERVER))
    id_ = a.open(0.0)
    b.receive_data(a.data_to_send())
    b.accept(id_)
    left, unread = 4 * INITIAL, 0
    while left:
        left -= a.send(id_, bytes(left))
        b.receive_data(a.data_to_send())
        unread += sum(len(e.data) for e in b.events() if isinstance(e, yamux.DataReceived))
        assert unread > 0
        for _ in range(max(1, INITIAL // 2 // size)):
            step = min(size, unread)
            b.consumed(id_, step)
            unread -= step
        a.receive_data(b.data_to_send())
