"""A way to an API server on which the network fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream, SocketAttribute


class Gatekeeper:
    """A way to a server that can be shut: what is open is cut, what comes waits at the door."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._opened = anyio.Event()
        self._opened.set()
        self._connections: set[anyio.CancelScope] = set()
        self._passing: set[anyio.CancelScope] = set()

    def shut(self) -> None:
        self._opened = anyio.Event()
        for scope in self._connections:
            scope.cancel()

    def open(self) -> None:
        self._opened.set()

    def forget(self) -> int:
        """Pass on nothing more of what is open, and tell neither side; returns how many these are."""
        forgotten, self._passing = self._passing, set()
        return len(forgotten)

    async def carry(self, client: ByteStream) -> None:
        async with client:
            await self._opened.wait()
            with anyio.CancelScope() as scope:
                self._connections.add(scope)
                self._passing.add(scope)
                async with (
                    await anyio.connect_tcp("127.0.0.1", self._port) as server,
                    anyio.create_task_group() as tasks,
                ):
                    tasks.start_soon(self._pump, client, server, scope)
                    tasks.start_soon(self._pump, server, client, scope)
            self._connections.discard(scope)
            self._passing.discard(scope)

    async def _pump(self, source: ByteStream, sink: ByteStream, scope: anyio.CancelScope) -> None:
        try:
            async for piece in source:
                if scope in self._passing:
                    await sink.send(piece)
            if scope in self._passing:
                await sink.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass


@asynccontextmanager
async def gatekeeper(server: str) -> AsyncIterator[tuple[Gatekeeper, str]]:
    """Stand before a server; yields the address at which it is to be reached."""
    at = urlsplit(server)
    keeper = Gatekeeper(at.port or 443)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, keeper.carry)
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - anyio's, not Django's
        yield keeper, f"{at.scheme}://127.0.0.1:{port}"
        tasks.cancel_scope.cancel()
