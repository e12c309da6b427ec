"""HTTP to one API server: authorised, bounded in time and size, repeated where that is harmless.

Raises only the errors of provider/ports.py. Redirects are never followed, cookies never kept.
"""

import logging
import secrets
import socket
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from urllib.parse import urlencode

import aiohttp
import anyio
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from chaosplugin import __version__
from chaosplugin.core.trace import traceparent
from chaosplugin.kube.backoff import Backoff
from chaosplugin.kube.clock import ClockOffset
from chaosplugin.kube.connection import Connection
from chaosplugin.kube.errors import NoCluster, TryLater, one_line, refusal
from chaosplugin.kube.limiter import Limiter, NoTurn, Priority
from chaosplugin.provider.facts import Gate, Observer, Requested, gate
from chaosplugin.provider.ports import ClusterError, Overdue, Unavailable

_Address = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]

_log = logging.getLogger(__name__)

_MAX_BODY = 16 << 20  # bytes; etcd keeps no object above 1.5 MiB, a page holds 500
_MAX_REFUSAL = 64 << 10
_READ_BUFFER = 64 << 10
"""Bytes of a stream; with twice as many waiting the server is made to wait. After each chunk read with
fewer waiting, aiohttp's parser is asked to go on: with more than this, that is each event of a burst."""
_CLOSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds: of a connection, of one try, of all tries of an idempotent request; and of a create.

    A create leaves soon, or not at all: one of which nobody hears is looked for for a minute (core/run.py).
    """

    connect_s: float = 5.0
    try_s: float = 10.0
    total_s: float = 15.0
    create_s: float = 30.0
    create_turn_s: float = 15.0
    first_delay_s: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; `what` names it in messages, `repeat` says that to send it twice does no harm."""

    method: str
    path: str
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    priority: Priority = Priority.READ
    repeat: bool = True


@dataclass(slots=True)
class _Progress:
    """How far a try has come: whether the server may have seen anything of it."""

    sent: bool = False


@dataclass(frozen=True, slots=True)
class _Shown:
    """Who we say we are, and with which TLS context."""

    authorization: str = field(repr=False)
    context: ssl.SSLContext | None = None


class Session:
    """Two pools on one connection: kept ones, and for creates a fresh one each.

    The server may close a kept connection just as a request goes out, and then nobody knows whether that
    request was carried out. Reads are sent again; for a create that would cost the verdict.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        clock: Callable[[], datetime],
        limiter: Limiter,
        limits: Limits,
        observer: Observer | None = None,
    ) -> None:
        self._connection = connection
        self._observer = observer
        self._clock = clock
        self._limiter = limiter
        self._limits = limits
        self._offset = ClockOffset()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._kept = self._pool(fresh=False)
        self._fresh = self._pool(fresh=True)

    @property
    def clock_offset(self) -> timedelta:
        return self._offset.value

    @property
    def ample(self) -> bool:
        """Whether the budget of requests has room for what may be left undone."""
        return self._limiter.ample

    @property
    def idle(self) -> bool:
        """No request is under way, beside streams."""
        return self._limiter.idle

    async def aclose(self) -> None:
        await self._kept.close()
        await self._fresh.close()
        with anyio.move_on_after(_CLOSE_S):  # TLS says goodbye in the background
            while any(each.fileno() >= 0 for each in self._sockets):  # noqa: ASYNC110  # nobody is told
                await anyio.sleep(0.01)

    async def send(self, request: Request) -> bytes:
        """Return the body of a successful answer; an idempotent request is repeated for a bounded time."""
        backoff = Backoff(first=self._limits.first_delay_s, last=4.0)
        end = float("inf")  # until the first turn has come
        turn_s = end if request.repeat else self._limits.create_turn_s
        while True:
            try:
                async with self._limiter.turn(request.priority, turn_s):
                    end = min(end, anyio.current_time() + self._limits.total_s)
                    left = max(1.0, end - anyio.current_time())
                    total = min(left, self._limits.try_s) if request.repeat else self._limits.create_s
                    within = aiohttp.ClientTimeout(total=total, sock_connect=self._limits.connect_s)
                    async with self._exchange(request, within, total) as response:
                        return await self._read(response, request.what)
            except NoCluster:
                raise
            except NoTurn:
                raise Overdue(f"{request.what}: other requests went first for {turn_s:g} s") from None
            except Unavailable as error:
                wait = backoff.delay(error.retry_after if isinstance(error, TryLater) else 0.0)
                # What was turned away with 429, or never left, has done nothing: even a create may go again.
                harmless = request.repeat or (not error.sent and error.status in {0, 429})
                if not harmless or anyio.current_time() + wait >= end:
                    raise
                _log.debug("again in %.1f s: %s", wait, error)
                await anyio.sleep(wait)

    @asynccontextmanager
    async def stream(self, request: Request, *, total_s: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open an answer that goes on and on, sent once; its body comes in pieces of any size."""
        await self._limiter.acquire(request.priority)
        within = aiohttp.ClientTimeout(total=total_s, sock_connect=self._limits.connect_s)
        async with self._exchange(request, within, self._limits.try_s) as response:
            try:
                yield response.content.iter_any()
            finally:
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()  # it has no end to be polite about

    @asynccontextmanager
    async def _exchange(
        self, request: Request, within: aiohttp.ClientTimeout, begins_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give a successful answer, whose body is still to come; it begins within `begins_s` seconds."""
        shown, renewed = await self._show(None), False
        while True:
            try:
                response = await self._try(request, within, begins_s, shown)
            except Unavailable as error:
                if renewed or not isinstance(error.__cause__, aiohttp.ClientSSLError):
                    raise
                trouble: ClusterError = error
            else:
                with self._translated(request.what, _Progress(sent=True)):
                    async with response:
                        if response.status < 300:
                            yield response
                            return
                        trouble = await self._refusal(response, request.what, shown.authorization)
                if response.status != 401:
                    raise trouble
                if renewed:
                    raise self._explained(trouble)
            refused, shown, renewed = shown, await self._show(shown), True
            if shown == refused:
                raise self._explained(trouble)

    def _explained(self, trouble: ClusterError) -> ClusterError:
        """Add to a refusal where that comes from which was refused."""
        origin = self._connection.credential.origin
        if origin:
            trouble.args = (f"{trouble}; {origin}",)
        return trouble

    async def _show(self, refused: _Shown | None) -> _Shown:
        """Return what the next request shows; where it was refused, something newer if there is."""
        connection = self._connection
        authorization = await connection.credential.header(refused.authorization if refused else None)
        if connection.tls is None:
            return _Shown(authorization)
        return _Shown(authorization, await connection.tls.current(refused.context if refused else None))

    async def _try(
        self, request: Request, within: aiohttp.ClientTimeout, begins_s: float, shown: _Shown
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if shown.authorization:
            headers["Authorization"] = shown.authorization
        asker = gate.get()
        span_id = secrets.token_hex(8) if asker is not None and asker.sampled else ""
        if asker is not None and span_id:
            headers["traceparent"] = traceparent(asker.trace.id, span_id, sampled=True)
        query = f"?{urlencode(request.query)}" if request.query else ""
        progress = _Progress()
        told = self._told(request, asker, span_id)
        with told as tell, self._translated(request.what, progress), anyio.fail_after(begins_s):
            response = await (self._kept if request.repeat else self._fresh).request(
                request.method,
                URL(self._connection.server + request.path + query, encoded=True),
                data=request.body,
                headers=headers,
                timeout=within,
                allow_redirects=False,
                ssl=shown.context or True,
                proxy=self._connection.proxy,
                server_hostname=self._connection.server_hostname,
                trace_request_ctx=progress,
            )
            tell(response.status)
        self._offset.observe(response.headers.get("Date", ""), self._clock())
        return response

    @contextmanager
    def _told(self, request: Request, asker: Gate | None, span_id: str) -> Iterator[Callable[[int], None]]:
        """Tell the observer of a request and how it was answered, or not answered."""
        if self._observer is None:
            yield lambda _: None
            return
        at, began = self._clock(), time.monotonic()
        status, error = 0, ""

        def answered(code: int) -> None:
            nonlocal status
            status = code

        try:
            yield answered
        except ClusterError as failure:
            error = str(failure)
            raise
        finally:
            fact = Requested(
                method=request.method,
                path=request.path,
                watch="watch" in request.query,
                what=request.what,
                server=self._connection.server,
                status=status,
                error=error,
                gate=asker,
                span_id=span_id,
                at=at,
                seconds=time.monotonic() - began,
            )
            self._observer(fact)

    @contextmanager
    def _translated(self, what: str, progress: _Progress) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError) as error:
            words = one_line(_said(error)) or type(error).__name__
            message = f"{what}: no answer from {self._connection.server}: {words}"
            raise Unavailable(message, sent=progress.sent) from error

    async def _read(self, response: aiohttp.ClientResponse, what: str) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > _MAX_BODY:
                raise ClusterError(
                    f"{what}: an answer of more than {_MAX_BODY} bytes", status=response.status
                )
        if not body.startswith(b"{"):  # a proxy's page, to be taken neither for an object nor for success
            raise Unavailable(f"{what}: an answer that is no object", status=response.status, sent=True)
        return bytes(body)

    async def _refusal(self, response: aiohttp.ClientResponse, what: str, authorization: str) -> ClusterError:
        if response.status < 400:
            place = one_line(response.headers.get("Location", "nowhere"), 100)
            return ClusterError(
                f"{what}: a redirect to {place}, which is never followed", status=response.status
            )
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > _MAX_REFUSAL:
                break
        text = bytes(body[:_MAX_REFUSAL])
        if secret := authorization.partition(" ")[2].encode():  # a proxy's page may repeat our headers
            text = text.replace(secret, b"(credential)")
        return refusal(response.status, text, what, response.headers.get("Retry-After", ""))

    def _pool(self, *, fresh: bool) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_note_sent)
        connector = aiohttp.TCPConnector(
            limit=0,
            force_close=fresh,
            socket_factory=self._socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"chaosplugin/{__version__}"},
            read_bufsize=_READ_BUFFER,
            trace_configs=[trace],
        )

    def _socket(self, address: _Address) -> socket.socket:
        made = keepalive_socket(address)
        self._sockets.add(made)
        return made


async def _note_sent(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    progress: _Progress = context.trace_request_ctx
    progress.sent = True


def keepalive_socket(address: _Address) -> socket.socket:
    """Make a socket that finds out within half a minute that its peer has vanished."""
    made = socket.socket(family=address[0], type=address[1], proto=address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    return made


def _said(error: Exception) -> str:
    """Return why there is no connection: aiohttp's own text shows its TLS context, by address."""
    return error.strerror or "" if isinstance(error, aiohttp.ClientConnectorError) else str(error)
