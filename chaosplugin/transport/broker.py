"""go-plugin's MuxBroker, the side that is dialled: a number brings a new stream to the one who waits for it.

Dispense answers a number; the host opens a stream and writes the number, 4 bytes little-endian; we write
it back; from then on the stream belongs to whom it was meant for.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import anyio
from anyio.abc import ByteStream

_WAIT_S: Final = 5.0  # as long as Go waits
_MAX_EXPECTED: Final = 256

T = TypeVar("T")


class BrokerFullError(Exception):
    """Too many numbers were given out that no stream came for."""


class Broker(Generic[T]):
    """The numbers of one session, from 1; each brings one stream, within 5 s of the monotonic `clock`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._expected: dict[int, tuple[float, T]] = {}
        self._last = 0

    def expect(self, what: T) -> int:
        """Return the number of a stream for `what`; the host may name it from now on."""
        now = self._clock()
        self._expected = {n: e for n, e in self._expected.items() if e[0] > now}
        if len(self._expected) >= _MAX_EXPECTED:
            raise BrokerFullError(f"{_MAX_EXPECTED} plugins were dispensed that nobody has connected to")
        self._last = self._last % (2**32 - 1) + 1
        self._expected[self._last] = (now + _WAIT_S, what)
        return self._last

    async def meet(self, stream: ByteStream) -> T | None:
        """Read the number on a new stream and acknowledge it; None if it is nobody's, or never comes.

        Raises what the stream raises.
        """
        preamble = b""
        with anyio.move_on_after(_WAIT_S):
            while len(preamble) < 4:
                preamble += await stream.receive(4 - len(preamble))
        if len(preamble) < 4:
            return None
        until, what = self._expected.pop(int.from_bytes(preamble, "little"), (0.0, None))
        if what is None or until <= self._clock():
            return None
        await stream.send(preamble)
        return what
