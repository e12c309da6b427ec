"""The HTTP face of the API: authentication, answers, streams, and the faults done to them."""

import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from chaosplugin.sandbox.api import errors, paths
from chaosplugin.sandbox.api.access import User
from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.faults import Fault, Faults, Seen
from chaosplugin.sandbox.api.paths import Target
from chaosplugin.sandbox.api.requests import REVIEWS, Body, Call, authorize, perform, perform_other
from chaosplugin.sandbox.api.verbs import Api
from chaosplugin.sandbox.api.watch import Watch

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

BODY_BYTES = 3 * 1024 * 1024  # kube-apiserver's limit of a request body
SEEN = 10_000  # requests remembered

_JSON = "application/json"


class Server:
    """Serves one `Api`. `seen` holds the latest requests, `faults` the commands to misbehave."""

    def __init__(self, api: Api, *, bookmark_every: float = 60.0) -> None:
        self.api = api
        self.url = ""
        self.watch_list = True  # whether sendInitialEvents is understood, as by default since 1.32
        self.bookmark_every = bookmark_every
        self.watches: set[Watch] = set()
        self.faults = Faults(api.store, self.watches)
        self.seen: deque[Seen] = deque(maxlen=SEEN)
        self._under_way: TaskGroup

    @asynccontextmanager
    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[None]:
        """Listen until the end of the block. Port 0 picks a free one; `url` tells which."""
        application = web.Application(client_max_size=BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._handle)
        application.on_shutdown.append(self._cut)
        runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.2,
            keepalive_timeout=600,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
            address = runner.addresses[0]
            self.url = f"{'https' if tls else 'http'}://{address[0]}:{address[1]}"
            async with anyio.create_task_group() as self._under_way:
                yield
                self._under_way.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()

    async def _cut(self, _: web.Application) -> None:
        self.faults.clear()
        for watch in list(self.watches):
            watch.cut()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            user, target, seen = self._look(request)
            self.seen.append(seen)
            fault = self.faults.take(seen)
            if fault is not None:
                await _wait(fault)
                if fault.status:
                    return self._answer(fault.body, fault.status, fault.headers, fault.content_type)
            if user is None:
                raise errors.unauthorized()
            body = Body(await _read(request), request.content_type)
            if target is None:
                status, raw = perform_other(self.api, user, request.method, request.path, body)
            else:
                call = Call(user, target, seen.verb, seen.query, body)
                authorize(self.api, call)
                if seen.verb == "watch":
                    return await self._watch(request, call, fault)
                status, raw = await self._perform(fault, call)
        except ApiError as error:
            return self._answer(error.body, error.code, error.headers, error.media)
        if fault is not None and fault.drop and request.transport is not None:
            request.transport.abort()
        return self._answer(raw, status)

    async def _perform(self, fault: Fault | None, call: Call) -> tuple[int, bytes]:
        """Do what is asked; what is late arrives on its own, be its client gone by then."""
        if fault is None or not fault.late:
            return perform(self.api, call)
        answer: list[tuple[int, bytes] | ApiError] = []
        answered = anyio.Event()

        async def arrive(seconds: float) -> None:
            await anyio.sleep(seconds)
            try:
                answer.append(perform(self.api, call))
            except ApiError as error:
                answer.append(error)
            answered.set()

        self._under_way.start_soon(arrive, fault.late)
        await answered.wait()
        if isinstance(answer[0], ApiError):
            raise answer[0]
        return answer[0]

    def _look(self, request: web.Request) -> tuple[User | None, Target | None, Seen]:
        user = self.api.access.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        name = user.name if user else ""
        query = dict(request.query)
        review = REVIEWS.get(request.path)
        target = None if review else paths.parse(request.path)
        if target is None:
            verb = "create" if review else request.method.lower()
            return user, None, Seen(verb, request.path, name, resource=review or "", query=query)
        if target.resource.custom and not self.api.installed(target.resource):
            raise errors.NoPathError
        verb = target.verb(request.method, query)
        resource = target.resource.plural
        where = (target.resource.group, resource, target.subresource, target.namespace, target.name)
        return user, target, Seen(verb, request.path, name, *where, query)

    async def _watch(self, request: web.Request, call: Call, fault: Fault | None) -> web.StreamResponse:
        options = call.watch_options()
        options.check(watch_list=self.watch_list)
        watch = Watch(self.api.store, options, self.bookmark_every)
        self.watches.add(watch)
        response = web.StreamResponse(headers={"Date": self._date(), "Content-Type": _JSON})
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            if fault is not None and (fault.trickles or fault.breaks_after is not None):
                await _send_badly(response, watch, fault)
                if request.transport is not None:
                    request.transport.abort()
                return response
            async for chunk in watch.lines():
                await response.write(chunk)
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client went away; there is nobody to tell
        finally:
            self.watches.discard(watch)
            watch.close()
        return response

    def _answer(
        self, body: bytes, status: int, headers: Mapping[str, str] | None = None, content_type: str = _JSON
    ) -> web.Response:
        headers = {"Date": self._date(), **(headers or {})}
        return web.Response(body=body, status=status, content_type=content_type, headers=headers)

    def _date(self) -> str:
        return format_datetime(self.api.clock(), usegmt=True)


async def _send_badly(response: web.StreamResponse, watch: Watch, fault: Fault) -> None:
    sent = 0
    async for chunk in watch.lines():
        left = len(chunk) if fault.breaks_after is None else fault.breaks_after - sent
        for byte in chunk[:left] if fault.trickles else b"":
            await response.write(bytes([byte]))
            await anyio.sleep(fault.trickles)
        if not fault.trickles:
            await response.write(chunk[:left])
        sent += len(chunk)
        if fault.breaks_after is not None and sent >= fault.breaks_after:
            return


async def _wait(fault: Fault) -> None:
    if fault.wait is not None:
        await fault.wait.wait()
    if fault.seconds:
        await anyio.sleep(fault.seconds)


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        message = f"Request entity too large: limit is {BODY_BYTES}"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", message) from error
