"""net/rpc calls over one stream, as many at a time as one likes."""

import anyio

from chaosplugin.sandbox.host.client import CallFailed
from chaosplugin.sandbox.host.mux import ConnectionLost, Stream
from chaosplugin.wire.errors import ProtocolError
from chaosplugin.wire.gob.gotypes import GoType
from chaosplugin.wire.gob.shapes import Shape
from chaosplugin.wire.netrpc import NEED_DATA, Client, Reply


class _Waiting:
    """A call under way."""

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.reply: Reply | None = None


class Caller:
    """The asking end of a stream. A reply that cannot be read ends it for good, as in Go."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._client = Client()
        self._sending = anyio.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._over = ""

    async def call(self, method: str, argument: GoType, value: object, reply: Shape) -> object:
        """Call and return the answer, without a time limit, as Argo does.

        Raises CallFailed, with the text that Go's client would give.
        """
        waiting = _Waiting()
        async with self._sending:
            if self._over:
                raise CallFailed("connection is shut down")
            seq, data = self._client.call(method, argument, value, reply=reply)
            self._waiting[seq] = waiting
            try:
                await self._stream.send(data)
            except ConnectionLost as error:
                self._waiting.pop(seq, None)  # unless the reader has noticed first
                raise CallFailed(str(error)) from error
        await waiting.answered.wait()
        if waiting.reply is None:
            raise CallFailed(self._over)
        if waiting.reply.error:
            raise CallFailed(waiting.reply.error)
        return waiting.reply.value

    async def read(self) -> None:
        """Take replies until the stream ends."""
        try:
            while data := await self._stream.receive():
                self._client.receive_data(data)
                while (event := self._client.next_event()) is not NEED_DATA:
                    waiting = self._waiting.pop(event.seq)
                    waiting.reply = event
                    waiting.answered.set()
        except ProtocolError as error:
            self._over = f"reading body {error}"
        self._over = self._over or "unexpected EOF"
        for waiting in self._waiting.values():
            waiting.answered.set()
        self._waiting.clear()
