"""yamux: many streams over one connection, as hashicorp/yamux v0.1 speaks it. Both roles."""

from chaosplugin.wire.yamux.config import Config, Role
from chaosplugin.wire.yamux.events import (
    DataReceived,
    Event,
    GoAwayReceived,
    StreamAccepted,
    StreamEnded,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from chaosplugin.wire.yamux.frames import StreamId
from chaosplugin.wire.yamux.session import BacklogFull, Session

__all__ = [
    "BacklogFull",
    "Config",
    "DataReceived",
    "Event",
    "GoAwayReceived",
    "Role",
    "Session",
    "StreamAccepted",
    "StreamEnded",
    "StreamId",
    "StreamOpened",
    "StreamReset",
    "WindowOpened",
]
