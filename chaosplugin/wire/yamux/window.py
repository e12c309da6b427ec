"""Flow control of one stream, one object for each direction. Only bodies of Data frames count.

Receiving:
1. The peer starts with INITIAL bytes of credit; an acceptor that wants more says so in its ACK.
2. A Data frame takes its whole length off the credit when its header comes. A frame longer than the
   credit breaks the session.
3. Bytes become free when they are consumed, not when a message is whole: a host waits for credit in
   the middle of a message.
4. Freed bytes are given back together once they are at least half of the maximum, as Go does: one
   WindowUpdate for each 128 KiB, and never a deadlock, because half of the credit is still out.

Sending: deltas of the peer add up, capped at what the field can say.
"""

from typing import Final

from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.yamux.frames import GoAwayCode

INITIAL: Final = 256 * 1024
_LARGEST: Final = 2**32 - 1


class ReceiveWindow:
    """What the peer may send, and what of it waits to be consumed: together at most `maximum` bytes."""

    __slots__ = ("_credit", "_maximum", "_unread")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._credit = INITIAL
        self._unread = 0

    def announce(self) -> int:
        """Return the bytes of credit beyond INITIAL that the ACK gives to the peer."""
        extra = self._maximum - self._unread - self._credit
        self._credit += extra
        return extra

    def receive(self, length: int) -> None:
        """Charge a frame.

        Raises:
            RemoteProtocolError: it is longer than the credit.
        """
        if length > self._credit:
            raise RemoteProtocolError(
                f"data frame of {length} bytes, the window has room for {self._credit}",
                go_away=GoAwayCode.PROTOCOL_ERROR,
            )
        self._credit -= length
        self._unread += length

    def consume(self, length: int) -> int:
        """Free bytes; return the delta for a WindowUpdate, 0 if none is due.

        More than was received is taken for all of it: a peer may open a stream under the id of one
        that has ended, while bytes of that one are still unread.
        """
        self._unread -= min(length, self._unread)
        delta = self._maximum - self._unread - self._credit
        if delta < self._maximum // 2:
            return 0
        self._credit += delta
        return delta


class SendWindow:
    """What we may send."""

    __slots__ = ("credit",)

    def __init__(self) -> None:
        self.credit = INITIAL

    def grow(self, delta: int) -> None:
        self.credit = min(self.credit + delta, _LARGEST)
