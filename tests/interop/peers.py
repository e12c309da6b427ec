"""One yamux session between our mux and a Go program."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from chaosplugin.transport import mux
from chaosplugin.transport.mux import Mux
from chaosplugin.transport.stream import Stream
from chaosplugin.wire import yamux
from tests.interop.hosts import Answer, Host
from tests.transport.pairs import open_stream

OTHER = {"client": yamux.Role.SERVER, "server": yamux.Role.CLIENT}


Join = Callable[..., AbstractAsyncContextManager[tuple["GoEnd", Mux]]]


class GoError(Exception):
    """What Go says of a request that failed."""


class GoEnd:
    """Go's end of one session."""

    def __init__(self, program: Host, number: int) -> None:
        self._program = program
        self._number = number
        self._asked: set[asyncio.Future[Answer]] = set()

    def begin(self, op: str, **fields: object) -> "asyncio.Future[Answer]":
        """Send a request that may take its time; its answer is awaited at the end of the session at last."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._asked.add(future)

        def take(answer: Answer | BaseException) -> None:
            if isinstance(answer, Answer):
                future.set_result(answer)
            else:
                future.set_exception(answer)

        self._program.send(op, session=self._number, **fields).add_done_callback(
            lambda done: loop.call_soon_threadsafe(take, done.exception() or done.result())
        )
        return future

    def start(self, op: str, **fields: object) -> None:
        """Send a request whose answer nobody wants; an error of it means nothing."""
        _ = self.begin(op, **fields)

    async def ask(self, op: str, **fields: object) -> Any:
        return result(await asyncio.shield(self.begin(op, **fields)))

    async def end(self) -> None:
        await self.ask("go_on_reading")
        await self.ask("close_session")
        for future in self._asked:
            await future

    async def logged(self, *texts: str) -> None:
        """Wait until Go has logged one of these."""
        while True:
            log = await self.ask("log")
            if any(text in log for text in texts):
                return
            await asyncio.sleep(0.005)


def result(answer: Answer) -> Any:
    if answer.error:
        raise GoError(answer.error)
    return answer.result


@asynccontextmanager
async def joined(
    program: Host,
    folder: Path,
    role: str,
    ours: yamux.Config | None = None,
    *,
    seconds: float = 30,
    **config: float,
) -> AsyncIterator[tuple[GoEnd, Mux]]:
    """Join Go in this role, with these fields of its configuration, to our mux in the other."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        asked = program.ask("dial", path=str(folder / "s"), role=role, config=config)
        sock, _ = listener.accept()
    (folder / "s").unlink()
    go = GoEnd(program, result(asked))
    session = await mux.connect(sock, OTHER[role], ours)
    try:
        with anyio.fail_after(seconds):
            yield go, session
    finally:
        with anyio.CancelScope(shield=True):
            await session.aclose()
            await go.end()


async def opened_by_us(go: GoEnd, session: Mux) -> Stream:
    stream = await open_stream(session)
    assert await go.ask("accept") == stream.id
    return stream


async def opened_by_go(go: GoEnd, session: Mux) -> Stream:
    opened = go.begin("open")
    stream = await session.accept()
    assert result(await opened) == stream.id
    return stream


async def read(stream: Stream, size: int) -> bytes:
    """Read so many bytes, and not one more."""
    got = bytearray()
    while len(got) < size:
        got += await stream.receive(size - len(got))
    return bytes(got)


async def read_all(stream: Stream) -> bytes:
    return b"".join([chunk async for chunk in stream])
