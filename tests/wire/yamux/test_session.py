"""Rules of a session one by one; whole conversations are in test_golden and test_pair."""

import pytest

from chaosplugin.wire import yamux
from chaosplugin.wire.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from chaosplugin.wire.yamux import frames
from chaosplugin.wire.yamux.frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    StreamId,
    encode,
)
from chaosplugin.wire.yamux.session import MAX_QUEUED_DATA
from chaosplugin.wire.yamux.window import INITIAL

ONE, TWO, THREE = StreamId(1), StreamId(2), StreamId(3)


def server(config: yamux.Config | None = None) -> yamux.Session:
    return yamux.Session(yamux.Role.SERVER, now=0.0, config=config or yamux.Config())


def client(config: yamux.Config | None = None) -> yamux.Session:
    return yamux.Session(yamux.Role.CLIENT, now=0.0, config=config or yamux.Config())


def syn(stream_id: int, delta: int = 0) -> bytes:
    return encode(WINDOW_UPDATE, SYN, stream_id, delta)


def data(stream_id: int, body: bytes, flags: int = 0) -> bytes:
    return encode(DATA, flags, stream_id, len(body)) + body


def with_stream(session: yamux.Session) -> yamux.Session:
    session.receive_data(syn(1))
    session.accept(ONE)
    session.events()
    session.data_to_send()
    return session


def joined(config: yamux.Config | None = None) -> tuple[yamux.Session, yamux.Session]:
    a, b = client(config), server(config)
    return a, b


def exchange(a: yamux.Session, b: yamux.Session) -> None:
    while (there := a.data_to_send()) + (back := b.data_to_send()):
        b.receive_data(there)
        a.receive_data(back)


# -- streams


def test_each_end_counts_its_own_ids() -> None:
    assert [client().open(0), server().open(0)] == [1, 2]
    a = client()
    assert [a.open(0), a.open(0), a.open(0)] == [1, 3, 5]


def test_a_stream_is_acknowledged_once() -> None:
    session = server()
    session.receive_data(syn(1))
    session.accept(ONE)
    assert session.data_to_send() == encode(WINDOW_UPDATE, ACK, 1, 0)

    with pytest.raises(LocalProtocolError, match="SEND_ACK on stream 1 in state OPEN"):
        session.accept(ONE)


def test_nothing_is_sent_on_a_stream_that_is_not_accepted() -> None:
    session = server()
    session.receive_data(syn(1))
    with pytest.raises(LocalProtocolError, match="SYN_RECEIVED"):
        session.send(ONE, b"x")
    with pytest.raises(LocalProtocolError, match="SYN_RECEIVED"):
        session.end(ONE, 0)
    assert session.data_to_send() == b""


def test_data_may_follow_a_syn_at_once() -> None:
    session = client()
    session.send(session.open(0), b"early")
    assert session.data_to_send() == syn(1) + data(1, b"early")


def test_an_acknowledgement_nobody_waits_for_means_nothing() -> None:
    session = with_stream(server())
    session.receive_data(encode(WINDOW_UPDATE, ACK, 1, 0))
    session.receive_data(encode(WINDOW_UPDATE, ACK, 7, 0))
    assert session.events() == []


def test_a_fin_acknowledges_as_go_may_send_nothing_before_it() -> None:
    session = client(yamux.Config(accept_backlog=1))
    session.end(session.open(0), 0)
    session.receive_data(encode(WINDOW_UPDATE, FIN, 1, 0))

    assert session.events() == [yamux.StreamAccepted(ONE), yamux.StreamEnded(ONE)]
    assert session.open(0) == 3


@pytest.mark.parametrize("flags", [ACK, FIN, RST, ACK | FIN])
def test_streams_closed_before_they_were_acknowledged_give_their_place_back(flags: int) -> None:
    session = client(yamux.Config(accept_backlog=8))
    for _ in range(8):
        session.end(session.open(0), 0)
    with pytest.raises(yamux.BacklogFull, match="8 streams, 8 of them wait"):
        session.open(0)
    session.receive_data(encode(WINDOW_UPDATE, flags, 1, 0))

    assert session.open(0) == 17


def test_a_stream_that_both_have_closed_is_forgotten() -> None:
    a, b = joined(yamux.Config(max_streams=1))
    for number in range(1000):
        id_ = StreamId(2 * number + 1)
        assert a.open(0) == id_
        exchange(a, b)
        b.accept(id_)
        a.send(id_, b"ping")
        a.end(id_, 0)
        exchange(a, b)
        b.consumed(id_, 4)
        b.end(id_, 0)
        exchange(a, b)
        a.events()
        assert b.events()[-1] == yamux.StreamEnded(id_)
    with pytest.raises(LocalProtocolError, match="gone"):
        a.end(ONE, 0)


def test_a_second_end_of_ours_is_refused_before_it_breaks_the_session() -> None:
    session = with_stream(server())
    session.end(ONE, 0)
    session.data_to_send()
    with pytest.raises(LocalProtocolError, match="SEND_FIN on stream 1 in state LOCAL_CLOSED"):
        session.end(ONE, 0)
    assert session.data_to_send() == b""


def test_data_after_fin_is_read_past() -> None:
    session = with_stream(server())
    session.receive_data(encode(WINDOW_UPDATE, FIN, 1, 0) + data(1, b"late") + encode(PING, SYN, 0, 1))

    assert session.events() == [yamux.StreamEnded(ONE)]
    assert session.data_to_send() == encode(PING, ACK, 0, 1)


def test_fin_and_rst_at_once_end_the_stream() -> None:
    session = with_stream(server())
    session.end(ONE, 0)
    session.receive_data(encode(WINDOW_UPDATE, FIN | RST, 1, 0))
    assert session.events() == [yamux.StreamEnded(ONE)]


def test_bytes_that_come_after_our_reset_are_read_past() -> None:
    session = with_stream(server())
    session.receive_data(encode(DATA, FIN, 1, 10) + b"12345")
    session.reset(ONE)
    session.receive_data(b"67890" + syn(3))

    assert session.events() == [yamux.DataReceived(ONE, b"12345"), yamux.StreamOpened(THREE)]
    assert session.data_to_send() == encode(WINDOW_UPDATE, RST, 1, 0)
    session.reset(ONE)
    assert session.data_to_send() == b""


def test_an_id_may_be_used_again_while_its_former_bytes_are_unread() -> None:
    session = with_stream(server())
    session.receive_data(data(1, b"x" * 1000) + encode(WINDOW_UPDATE, RST, 1, 0) + syn(1))
    session.consumed(ONE, 1000)
    session.receive_data(data(1, b"y" * INITIAL))

    with pytest.raises(RemoteProtocolError, match="the window has room for 0"):
        session.receive_data(data(1, b"y"))


def test_the_session_itself_is_no_stream() -> None:
    with pytest.raises(RemoteProtocolError, match="0 is the session"):
        server().receive_data(syn(0))


def test_an_id_of_ours_that_the_peer_has_taken_is_passed_over() -> None:
    session = server()
    session.receive_data(syn(2))
    with pytest.raises(LocalProtocolError, match="the peer has taken stream 2"):
        session.open(0)
    assert session.open(0) == 4


def test_ids_run_out() -> None:
    session = client()
    session._next_id = 2**32 - 3
    assert session.open(0) == 2**32 - 3
    with pytest.raises(LocalProtocolError, match="used up"):
        session.open(0)


# -- limits


def test_more_streams_than_the_limit_are_reset_and_their_bodies_read_past() -> None:
    session = server(yamux.Config(max_streams=1))
    session.receive_data(syn(1) + data(3, b"body", SYN) + encode(PING, SYN, 0, 9))

    assert session.events() == [yamux.StreamOpened(ONE)]
    assert session.data_to_send() == encode(WINDOW_UPDATE, RST, 3, 0) + encode(PING, ACK, 0, 9)


def test_after_go_away_new_streams_are_reset_and_old_ones_live() -> None:
    session = with_stream(server())
    session.go_away()
    session.receive_data(syn(3) + data(1, b"x"))

    assert session.events() == [yamux.DataReceived(ONE, b"x")]
    assert session.data_to_send() == encode(GO_AWAY, 0, 0, 0) + encode(WINDOW_UPDATE, RST, 3, 0)


def test_windows_that_the_peer_opens_too_far_are_capped() -> None:
    session = with_stream(server())
    session.receive_data(encode(WINDOW_UPDATE, 0, 1, 2**32 - 1) * 3)
    assert session._streams.get(ONE).sending.credit == 2**32 - 1  # type: ignore[union-attr]


def test_a_sender_is_given_no_more_room_than_the_window_and_the_output() -> None:
    session = with_stream(server())
    assert session.send(ONE, b"x" * (INITIAL + 1)) == INITIAL
    assert session.send(ONE, b"x") == 0
    session.receive_data(encode(WINDOW_UPDATE, 0, 1, 10 * INITIAL))
    assert session.send(ONE, b"x") == 0
    session.data_to_send()

    assert session.send(ONE, b"x" * (10 * INITIAL)) == MAX_QUEUED_DATA


def test_unread_bytes_are_bounded_over_all_streams() -> None:
    session = server()
    for number in range(256):
        session.receive_data(data(2 * number + 1, b"x" * INITIAL, SYN))
        session.accept(StreamId(2 * number + 1))
    with pytest.raises(RemoteProtocolError, match="unread in this session"):
        session.receive_data(data(999, b"x", SYN))


def test_questions_without_end_are_not_answered_without_end() -> None:
    session = server()
    with pytest.raises(RemoteProtocolError, match="a peer that reads nothing"):
        session.receive_data(encode(PING, SYN, 0, 1) * 100_000)
    assert len(session.data_to_send()) < 2**21


def test_a_window_smaller_than_the_protocols_is_no_configuration() -> None:
    with pytest.raises(ValueError, match="yamux starts with 262144"):
        yamux.Config(receive_window=INITIAL - 1)


# -- the end


@pytest.mark.parametrize(
    ("sent", "said", "answer"),
    [
        (syn(1) * 2, "SYN_RECEIVED got RECEIVE_SYN", encode(GO_AWAY, 0, 0, 1)),
        (syn(1) + encode(WINDOW_UPDATE, FIN, 1, 0) * 2, "got RECEIVE_FIN", encode(GO_AWAY, 0, 0, 1)),
        (syn(1) + encode(DATA, 0, 1, INITIAL + 1), "room for 262144", encode(GO_AWAY, 0, 0, 1)),
        (b"\1" + bytes(11), "yamux version 1, only 0 is spoken", b""),
        (b"\0\4" + bytes(10), "kind 4, only 0 to 3 exist", b""),
        (encode(GO_AWAY, 0, 0, 1), "go-away code 1", b""),
        (encode(GO_AWAY, 0, 0, 77), "go-away code 77", b""),
    ],
)
def test_a_broken_rule_ends_the_session(sent: bytes, said: str, answer: bytes) -> None:
    session = server()
    with pytest.raises(RemoteProtocolError) as caught:
        session.receive_data(sent)
    assert said in str(caught.value)
    assert session.data_to_send() == answer

    calls = (
        lambda: session.receive_data(b"x"),
        lambda: session.open(0),
        lambda: session.accept(ONE),
        lambda: session.send(ONE, b"x"),
        lambda: session.tick(0),
        session.go_away,
    )
    for call in calls:
        with pytest.raises(LocalProtocolError, match="the session is dead"):
            call()
    session.reset(ONE)
    session.consumed(ONE, 0)
    assert session.data_to_send() == b""


def test_what_came_before_the_broken_rule_is_not_lost() -> None:
    session = server()
    with pytest.raises(RemoteProtocolError):
        session.receive_data(data(1, b"last words", SYN) + b"\xff" * 12)
    assert session.events() == [yamux.StreamOpened(ONE), yamux.DataReceived(ONE, b"last words")]


def test_a_peer_that_goes_away_is_offered_nothing_new() -> None:
    session = client()
    session.receive_data(encode(GO_AWAY, 0, 0, 0))
    assert session.events() == [yamux.GoAwayReceived()]
    with pytest.raises(LocalProtocolError, match="accepts no more streams"):
        session.open(0)


# -- time


def test_pings_go_out_every_half_minute_while_they_are_answered() -> None:
    session = client()
    for number in range(3):
        assert session.next_deadline() == 30 * (number + 1)
        session.tick(30 * number + 29.9)
        assert session.data_to_send() == b""
        session.tick(30 * (number + 1))
        assert session.data_to_send() == encode(PING, SYN, 0, number)
        session.receive_data(encode(PING, ACK, 0, 12345))
        session.receive_data(encode(PING, ACK, 0, number))


def test_an_unanswered_ping_ends_the_session_after_ten_seconds() -> None:
    session = client()
    session.tick(30)
    assert session.next_deadline() == 40
    session.tick(39.9)
    with pytest.raises(RemoteProtocolError, match="no answer to a ping within 10 s"):
        session.tick(40)


def test_whoever_slept_himself_waits_for_the_answer_anew() -> None:
    session = client()
    session.open(0)
    session.tick(30)
    session.tick(4000)
    assert session.next_deadline() == 4010
    session.receive_data(encode(PING, ACK, 0, 0) + encode(WINDOW_UPDATE, ACK, 1, 0))
    session.tick(4010)
    assert session.next_deadline() > 4010


def test_a_stream_that_the_peer_never_closes_is_reset_after_five_minutes() -> None:
    session = with_stream(server(yamux.Config(keep_alive_s=10_000)))
    session.end(ONE, 0)
    session.data_to_send()
    assert session.next_deadline() == 300
    session.tick(299)
    session.tick(300)

    assert session.events() == [yamux.StreamReset(ONE)]
    assert session.data_to_send() == encode(WINDOW_UPDATE, RST, 1, 0)
    assert session.next_deadline() == 10_000


@pytest.mark.parametrize("flags", [FIN, RST])
def test_a_stream_that_the_peer_closes_in_time_is_not(flags: int) -> None:
    session = with_stream(server(yamux.Config(keep_alive_s=10_000)))
    session.end(ONE, 0)
    session.receive_data(encode(WINDOW_UPDATE, flags, 1, 0))
    session.events()
    session.tick(300)
    assert session.events() == []


def test_an_open_that_the_peer_accepts_in_time_is_forgotten() -> None:
    session = client(yamux.Config(keep_alive_s=10_000))
    session.open(0)
    assert session.next_deadline() == 75
    session.receive_data(encode(WINDOW_UPDATE, ACK, 1, 0))
    session.tick(76)
    assert session.next_deadline() == 10_000


def test_every_error_is_a_protocol_error() -> None:
    assert issubclass(yamux.BacklogFull, ProtocolError)
    assert frames.HEADER_SIZE == 12
