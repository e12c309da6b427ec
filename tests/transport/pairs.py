"""Both ends of a session in one process, or one end and the bare socket of its peer."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from chaosplugin.transport import mux
from chaosplugin.transport.mux import Mux
from chaosplugin.transport.stream import Stream
from chaosplugin.wire import yamux


@asynccontextmanager
async def pair(
    *, client: yamux.Config | None = None, server: yamux.Config | None = None
) -> AsyncIterator[tuple[Mux, Mux]]:
    a, b = socket.socketpair()
    ours = await mux.connect(a, yamux.Role.CLIENT, client)
    theirs = await mux.connect(b, yamux.Role.SERVER, server)
    try:
        with anyio.fail_after(20):
            yield ours, theirs
    finally:
        await ours.aclose()
        await theirs.aclose()


@asynccontextmanager
async def hand_made() -> AsyncIterator[tuple[socket.socket, Mux]]:
    """A server's mux, and the bare socket of its peer."""
    a, b = socket.socketpair()
    a.setblocking(False)
    theirs = await mux.connect(b, yamux.Role.SERVER)
    try:
        with a, anyio.fail_after(20):
            yield a, theirs
    finally:
        await theirs.aclose()


async def joined(client: Mux, server: Mux) -> tuple[Stream, Stream]:
    ours = await client.open_stream()
    return ours, await server.accept()
