"""The server of go-plugin's net/rpc mode: connections, sessions, control, dispense, and the end of all that.

    stream 1      control: Control.Ping, Control.Quit, Dispenser.Dispense
    stream 3, 5   what the plugin prints to stdout (see `prints`) and stderr (nothing: logs go to fd 2)
    others        brought by the broker to the plugin that was dispensed

There may be several connections at a time, and one that says nothing is no event: a host that reattaches
looks first whether somebody listens. The process ends by Quit, by SIGTERM or SIGHUP, or when the host that
started it is gone and no session is left; SIGINT is for the host alone, as in Go.

Source: server.go, rpc_server.go and mux_broker.go of hashicorp/go-plugin v1.6.3. A Go plugin outlives its
host; ours does not.
"""

import asyncio
import logging
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from enum import Enum
from functools import partial

import anyio
from anyio.abc import TaskGroup

from chaosplugin.transport import mux, netrpc, signals
from chaosplugin.transport.broker import Broker, BrokerFullError
from chaosplugin.transport.listener import Host, Listener
from chaosplugin.transport.netrpc import CallError, Endpoint, Room, Service
from chaosplugin.transport.prints import Prints
from chaosplugin.transport.stream import Stream
from chaosplugin.wire import yamux
from chaosplugin.wire.gob import gotypes, shapes
from chaosplugin.wire.netrpc import Method

_MAX_CONNECTIONS = 16
_MAX_STREAMS = 32
"""Streams of a session; a host needs four. Each may fill its window, its table of types and its memory of
values: stops a peer that does so with a thousand."""
_ROOM = 64 << 20
"""Bytes of calls that have not come whole, over all streams of a session: two of the largest. Stops a peer
that begins a call on each stream, and ends none."""
_HANG_UP_S = 1.0  # after Quit was answered; a host kills us 2 s after it
_HOST_CHECK_S = 0.5  # only while there is no session
_ACCEPT_AGAIN_S = 0.1  # out of file descriptors, say

log = logging.getLogger(__name__)


class End(Enum):
    """Why the server ended."""

    QUIT = "the host said quit"
    SIGNAL = "a signal came"
    HOST_GONE = "the host is gone"


async def serve(listener: Listener, host: Host, plugins: Mapping[str, Service]) -> End:
    """Serve until the end; then nothing listens, no session is open, no folder is left."""
    server = _Server(listener, host, plugins)
    try:
        async with anyio.create_task_group() as tasks:
            await server.run(tasks)
            tasks.cancel_scope.cancel()
    finally:
        listener.close()
    return server.reason


class _Server:
    def __init__(self, listener: Listener, host: Host, plugins: Mapping[str, Service]) -> None:
        self.reason = End.QUIT
        self._listener = listener
        self._host = host
        self._plugins = plugins
        self._prints = Prints(host.prints)
        self._connections = 0
        self._sessions: set[mux.Mux] = set()
        self._alone = asyncio.Event()
        self._alone.set()
        self._ending = anyio.Event()
        self._quitting: mux.Mux | None = None

    async def run(self, tasks: TaskGroup) -> None:
        await tasks.start(partial(signals.obey, partial(self._end, End.SIGNAL)))
        tasks.start_soon(self._accept, tasks)
        tasks.start_soon(self._watch_host)
        removed = await anyio.to_thread.run_sync(self._listener.remove_stale_neighbours)
        if removed:
            log.info("removed %d folders that dead plugins had left", removed)
        await self._ending.wait()
        log.info("ending: %s", self.reason.value)
        self._listener.close()
        for session in self._sessions:
            session.refuse_new_streams()
        if self._quitting is not None:
            with anyio.move_on_after(_HANG_UP_S):
                await self._quitting.wait_closed()

    def _end(self, reason: End) -> None:
        if not self._ending.is_set():
            self.reason = reason
            self._ending.set()

    async def _watch_host(self) -> None:
        while True:
            await self._alone.wait()
            if self._host.is_gone():
                self._end(End.HOST_GONE)
                return
            await anyio.sleep(_HOST_CHECK_S)

    async def _accept(self, tasks: TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while not self._ending.is_set():
            try:
                sock, _ = await loop.sock_accept(self._listener.socket)
            except OSError as error:
                log.warning("cannot accept a connection: %s", error)
                await anyio.sleep(_ACCEPT_AGAIN_S)
                continue
            if self._is_welcome(sock):
                self._connections += 1
                self._alone.clear()
                tasks.start_soon(self._serve_connection, sock)
            else:
                sock.close()

    def _is_welcome(self, sock: socket.socket) -> bool:
        if self._connections >= _MAX_CONNECTIONS:
            log.warning("a connection was refused: there are %d already", _MAX_CONNECTIONS)
            return False
        uid = _peer_uid(sock)
        if uid in {None, 0, os.geteuid()}:
            return True
        log.warning("a connection of user %s was refused", uid)
        return False

    async def _serve_connection(self, sock: socket.socket) -> None:
        try:
            async with self._session(sock) as session, anyio.create_task_group() as tasks:
                with suppress(anyio.EndOfStream):
                    await self._serve_session(session, tasks)
                tasks.cancel_scope.cancel()
        finally:
            self._connections -= 1
            if not self._connections:
                self._alone.set()

    @asynccontextmanager
    async def _session(self, sock: socket.socket) -> AsyncIterator[mux.Mux]:
        session = await mux.connect(sock, yamux.Role.SERVER, yamux.Config(max_streams=_MAX_STREAMS))
        self._sessions.add(session)
        try:
            yield session
        finally:
            self._sessions.remove(session)
            with anyio.CancelScope(shield=True):
                await session.aclose()
            if session.error is not None:
                log.warning("a session was given up: %s", session.error)

    async def _serve_session(self, session: mux.Mux, tasks: TaskGroup) -> None:
        broker: Broker[Service] = Broker(time.monotonic)
        room = Room(_ROOM)
        control = await session.accept()
        tasks.start_soon(_serve_calls, control, self._control(session, broker), room)
        stdout = await session.accept()
        self._prints.add(stdout)
        try:
            await session.accept()  # stderr
            while True:
                tasks.start_soon(self._serve_plugin, broker, await session.accept(), room)
        finally:
            self._prints.remove(stdout)

    async def _serve_plugin(self, broker: Broker[Service], stream: Stream, room: Room) -> None:
        async with stream:
            try:
                service = await broker.meet(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                service = None
            if service is None:
                log.warning("stream %d names no plugin that was dispensed", stream.id)
                return
            await _serve_calls(stream, service, room)

    def _control(self, session: mux.Mux, broker: Broker[Service]) -> Service:
        done: dict[str, object] = {}

        def ping(_: object) -> object:
            return done

        def quit_(_: object) -> object:
            self._quitting = self._quitting or session
            self._end(End.QUIT)
            return done

        def dispense(name: object) -> object:
            service = self._plugins.get(str(name))
            if service is None:
                raise CallError(f"unknown plugin type: {name}")
            try:
                return broker.expect(service)
            except BrokerFullError as error:
                raise CallError(str(error)) from error

        flag = Method(argument=shapes.BOOL, reply=gotypes.EMPTY)
        return {
            "Control.Ping": Endpoint(flag, ping),
            "Control.Quit": Endpoint(flag, quit_),
            "Dispenser.Dispense": Endpoint(Method(argument=shapes.STRING, reply=gotypes.UINT), dispense),
        }


async def _serve_calls(stream: Stream, service: Service, room: Room) -> None:
    await netrpc.serve(stream, service, room, log=log)


def _peer_uid(sock: socket.socket) -> int | None:
    """Who is at the other end; None where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid, _ = struct.unpack(
        "3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    )
    return int(uid)
