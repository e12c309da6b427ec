"""What goes wrong on a wire, and whose fault it is.

    ProtocolError
    ├── LocalProtocolError   our own code asked for something the protocol does not allow
    └── RemoteProtocolError  the peer sent something the protocol does not allow

After a RemoteProtocolError the connection or stream that raised it is dead.
Any other exception out of `chaosplugin.wire` is a bug.
"""


class ProtocolError(Exception):
    """A rule of the protocol was broken; `str()` is one line: what was met, what was wanted."""


class LocalProtocolError(ProtocolError):
    """We broke it: nothing was sent, the connection lives on."""


class RemoteProtocolError(ProtocolError):
    """The peer broke it.

    `go_away` is the yamux GoAway code owed to the peer before its connection is closed;
    None where it would not be understood, or where the peer itself has ended the session.
    """

    def __init__(self, message: str, *, go_away: int | None = None) -> None:
        super().__init__(message)
        self.go_away = go_away
