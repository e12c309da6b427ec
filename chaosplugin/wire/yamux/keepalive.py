"""The keep-alive of a session: one ping at a time, answered in time or the peer is dead."""

from chaosplugin.wire.errors import RemoteProtocolError


class KeepAlive:
    """Says when to ping, and with which opaque id.

    Go pings every 30 s and waits 10 s for the answer; times are seconds of any monotonic clock.
    """

    def __init__(self, *, now: float, interval_s: float, reply_timeout_s: float) -> None:
        self._interval_s = interval_s
        self._reply_timeout_s = reply_timeout_s
        self._ping_at = now + interval_s
        self._pong_by: float | None = None
        self._id = 0

    @property
    def deadline(self) -> float:
        return self._ping_at if self._pong_by is None else self._pong_by

    def tick(self, now: float) -> int | None:
        """Return the id of a ping that is to be sent now.

        Raises:
            RemoteProtocolError: the last one was not answered in time.
        """
        if now < self.deadline:
            return None
        if self._pong_by is not None:
            raise RemoteProtocolError(f"no answer to a ping within {self._reply_timeout_s:g} s")
        self._ping_at = now + self._interval_s
        self._pong_by = now + self._reply_timeout_s
        return self._id

    def receive_pong(self, id_: int) -> None:
        """Take an answer; one that nobody asked for means nothing."""
        if self._pong_by is not None and id_ == self._id:
            self._pong_by = None
            self._id = (self._id + 1) % 2**32

    def forgive(self, now: float) -> None:
        """Wait for the answer anew."""
        if self._pong_by is not None:
            self._pong_by = now + self._reply_timeout_s
