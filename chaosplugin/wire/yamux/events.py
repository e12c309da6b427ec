"""What a session tells its user. A stream's events come in the order of the peer's frames."""

from dataclasses import dataclass
from typing import NamedTuple

from chaosplugin.wire.yamux.frames import StreamId


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream: answer by `accept` or `reset`. Its data may come before that."""

    stream_id: StreamId


@dataclass(frozen=True, slots=True)
class StreamAccepted:
    """The peer accepted a stream of ours; one more may be opened where the backlog was full."""

    stream_id: StreamId


class DataReceived(NamedTuple):
    """Bytes, never empty. Each is owed to `Session.consumed` once it is used."""

    stream_id: StreamId
    data: bytes


@dataclass(frozen=True, slots=True)
class WindowOpened:
    """The peer takes more bytes of this stream."""

    stream_id: StreamId


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The peer sends nothing more on this stream; it may still read."""

    stream_id: StreamId


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The stream is gone in both directions, by the peer, or because it never closed its side."""

    stream_id: StreamId


@dataclass(frozen=True, slots=True)
class GoAwayReceived:
    """The peer accepts no more streams; those that are open live on."""


Event = (
    StreamOpened | StreamAccepted | DataReceived | WindowOpened | StreamEnded | StreamReset | GoAwayReceived
)
