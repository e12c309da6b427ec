"""The states of a stream: everything that decides which frame is legal when stands in this table.

A stream is the same thing at both ends, seen from two sides, so the table does not know who is client
and who is server. It has three questions: has the opening been acknowledged, does our side still send,
does the peer's. Go's implementation keeps one number and forgets the first answer when a FIN comes
early; here each combination has its own name, so that an ACK is sent exactly once, always.

    IDLE                   no such stream yet
    SYN_SENT               we opened; no ACK yet, data may flow both ways
    SYN_SENT_CLOSED        the same, and we have sent FIN
    SYN_RECEIVED           the peer opened, nobody here has accepted yet
    SYN_RECEIVED_ENDED     the same, and the peer's FIN has come
    OPEN                   both ends send
    LOCAL_CLOSED           we have sent FIN, the peer still sends
    REMOTE_CLOSED          the peer has sent FIN, we still send
    CLOSED                 both FINs, or an RST; the stream is forgotten at once

- A pair that is not in the table is a protocol error, by the peer if it is about a frame received, by
  our own code if it is about one to be sent.
- An ACK that is not awaited changes nothing (Go logs it). A FIN acknowledges, as Go's acceptor may
  send none before it.
- Data after FIN changes nothing either: a Go program that writes and closes at the same time can put
  the two on the wire in this order. Such data is read past.
- Frames for streams that are not known never get here: ids of forgotten streams keep coming.

Source: stream.go of hashicorp/yamux v0.1.2, and what was recorded of it.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a stream stands."""

    __hash__ = object.__hash__  # Enum's own runs Python code, several times for each frame

    IDLE = auto()
    SYN_SENT = auto()
    SYN_SENT_CLOSED = auto()
    SYN_RECEIVED = auto()
    SYN_RECEIVED_ENDED = auto()
    OPEN = auto()
    LOCAL_CLOSED = auto()
    REMOTE_CLOSED = auto()
    CLOSED = auto()


class Input(Enum):
    """What happens to a stream; a frame with several flags is several inputs, in this order."""

    __hash__ = object.__hash__

    RECEIVE_SYN = auto()
    RECEIVE_ACK = auto()
    RECEIVE_DATA = auto()
    RECEIVE_FIN = auto()
    RECEIVE_RST = auto()
    SEND_SYN = auto()
    SEND_ACK = auto()
    SEND_DATA = auto()
    SEND_FIN = auto()
    SEND_RST = auto()


_S, _I = State, Input

TRANSITIONS: Final[dict[State, dict[Input, State]]] = {
    _S.IDLE: {
        _I.RECEIVE_SYN: _S.SYN_RECEIVED,
        _I.SEND_SYN: _S.SYN_SENT,
    },
    _S.SYN_SENT: {
        _I.RECEIVE_ACK: _S.OPEN,
        _I.RECEIVE_DATA: _S.SYN_SENT,
        _I.RECEIVE_FIN: _S.REMOTE_CLOSED,
        _I.RECEIVE_RST: _S.CLOSED,
        _I.SEND_DATA: _S.SYN_SENT,
        _I.SEND_FIN: _S.SYN_SENT_CLOSED,
        _I.SEND_RST: _S.CLOSED,
    },
    _S.SYN_SENT_CLOSED: {
        _I.RECEIVE_ACK: _S.LOCAL_CLOSED,
        _I.RECEIVE_DATA: _S.SYN_SENT_CLOSED,
        _I.RECEIVE_FIN: _S.CLOSED,
        _I.RECEIVE_RST: _S.CLOSED,
        _I.SEND_RST: _S.CLOSED,
    },
    _S.SYN_RECEIVED: {
        _I.RECEIVE_ACK: _S.SYN_RECEIVED,
        _I.RECEIVE_DATA: _S.SYN_RECEIVED,
        _I.RECEIVE_FIN: _S.SYN_RECEIVED_ENDED,
        _I.RECEIVE_RST: _S.CLOSED,
        _I.SEND_ACK: _S.OPEN,
        _I.SEND_RST: _S.CLOSED,
    },
    _S.SYN_RECEIVED_ENDED: {
        _I.RECEIVE_ACK: _S.SYN_RECEIVED_ENDED,
        _I.RECEIVE_DATA: _S.SYN_RECEIVED_ENDED,
        _I.RECEIVE_RST: _S.CLOSED,
        _I.SEND_ACK: _S.REMOTE_CLOSED,
        _I.SEND_RST: _S.CLOSED,
    },
    _S.OPEN: {
        _I.RECEIVE_ACK: _S.OPEN,
        _I.RECEIVE_DATA: _S.OPEN,
        _I.RECEIVE_FIN: _S.REMOTE_CLOSED,
        _I.RECEIVE_RST: _S.CLOSED,
        _I.SEND_DATA: _S.OPEN,
        _I.SEND_FIN: _S.LOCAL_CLOSED,
        _I.SEND_RST: _S.CLOSED,
    },
    _S.LOCAL_CLOSED: {
        _I.RECEIVE_ACK: _S.LOCAL_CLOSED,
        _I.RECEIVE_DATA: _S.LOCAL_CLOSED,
        _I.RECEIVE_FIN: _S.CLOSED,
        _I.RECEIVE_RST: _S.CLOSED,
        _I.SEND_RST: _S.CLOSED,
    },
    _S.REMOTE_CLOSED: {
        _I.RECEIVE_ACK: _S.REMOTE_CLOSED,
        _I.RECEIVE_DATA: _S.REMOTE_CLOSED,
        _I.RECEIVE_RST: _S.CLOSED,
        _I.SEND_DATA: _S.REMOTE_CLOSED,
        _I.SEND_FIN: _S.CLOSED,
        _I.SEND_RST: _S.CLOSED,
    },
    _S.CLOSED: {},
}

ENDED_BY_PEER: Final = frozenset({State.SYN_RECEIVED_ENDED, State.REMOTE_CLOSED, State.CLOSED})
"""States in which the peer sends nothing more: credit would be wasted on it."""

UNACKNOWLEDGED: Final = frozenset({State.SYN_SENT, State.SYN_SENT_CLOSED})
"""States of a stream of ours that counts against the peer's backlog."""

UNACCEPTED: Final = frozenset({State.SYN_RECEIVED, State.SYN_RECEIVED_ENDED})
"""States of a stream of the peer's that counts against our backlog."""
