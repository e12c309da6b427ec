"""Both ends of a session in one process, or one end and the bare socket of its peer."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from chaosplugin.transport import mux
from chaosplugin.transport.mux import Mux
from chaosplugin.transport.stream import Stream
from chaosplugin.wire import yamux
from chaosplugin.wire.errors import LocalProtocolError


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


async def open_stream(session: Mux) -> Stream:
    """Open a stream, as hosts do and the plugin never; wait while too many others are not accepted.

    Raises:
        anyio.BrokenResourceError: the peer accepts no more, or the connection is over.
    """
    while not session._lost.is_set():
        try:
            stream_id = session._session.open(session.loop.time())
        except yamux.BacklogFull:
            await anyio.sleep(0.001)
            continue
        except LocalProtocolError as error:
            raise anyio.BrokenResourceError(str(error)) from error
        stream = session._streams[stream_id] = Stream(session, stream_id)
        session._flush()
        return stream
    raise anyio.BrokenResourceError("the connection is over")


async def joined(client: Mux, server: Mux) -> tuple[Stream, Stream]:
    ours = await open_stream(client)
    return ours, await server.accept()
