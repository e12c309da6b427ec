"""Metrics, health and the list of runs over HTTP.

    /metrics     OpenMetrics with exemplars, or Prometheus's text, as is asked for
    /healthz     the process answers
    /readyz      there is a usable way to a cluster
    /debug/runs  what this process knows of its gates, as JSON, without secrets

With a token, /metrics and /debug/runs want it. A port that is taken is a warning, and tried again: a gate
does not fail for want of metrics. Certificate, key and token are read again when their files change.
"""

import hmac
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

import anyio
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from chaosplugin import certificates, files
from chaosplugin.certificates import BadCertificate
from chaosplugin.provider.settings import Metrics as Address
from chaosplugin.telemetry.metrics import Metrics
from chaosplugin.telemetry.runs import listed

_log = logging.getLogger(__name__)

_RETRY_S = 10.0
_RELOAD_S = 10.0  # how often the files are looked at
_BEAT_S = 0.5
_MAX_TOKEN = 4096  # bytes
_MAX_LISTED = 1000  # runs
_CONTROLLER_PORTS = frozenset({8080, 8090})

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """What is served; `not_ready` says why there is no way to a cluster, "" while there is one."""

    def __init__(self, metrics: Metrics, token: str, not_ready: Callable[[], str]) -> None:
        self._not_ready = not_ready
        self._metrics = metrics
        self._token = token.encode()

    def want(self, token: str) -> None:
        """Ask for this token from now on."""
        self._token = token.encode()

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/metrics", self._guarded(self._show_metrics)),
            web.get("/healthz", self._health),
            web.get("/readyz", self._readiness),
            web.get("/debug/runs", self._guarded(self._show_runs)),
        ]

    def _guarded(self, handler: _Handler) -> _Handler:
        async def ask(request: web.Request) -> web.StreamResponse:
            if self._token:
                scheme, _, given = request.headers.get("Authorization", "").partition(" ")
                right = hmac.compare_digest(given.encode("utf-8", "replace"), self._token)
                if scheme.lower() != "bearer" or not right:
                    return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
            return await handler(request)

        return ask

    async def _show_metrics(self, request: web.Request) -> web.StreamResponse:
        self._metrics.collect()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = await anyio.to_thread.run_sync(encode, self._metrics.families.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _health(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n")

    async def _readiness(self, _: web.Request) -> web.StreamResponse:
        why = self._not_ready()
        return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200)

    async def _show_runs(self, _: web.Request) -> web.StreamResponse:
        body = listed(self._metrics.runs(), _MAX_LISTED)
        return web.Response(body=body, content_type="application/json")


async def serve(address: Address, pages: Pages) -> None:
    """Serve until cancelled."""
    application = web.Application(client_max_size=1024)
    application.add_routes(pages.routes())
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        seen = _version(address)
        context = tls(address) if address.certificate else None
        await _listen(runner, address, context)
        await _follow(address, seen, context, pages)
    except BadCertificate as error:
        _log.warning("no metrics: %s", error)
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


async def _listen(runner: web.AppRunner, address: Address, context: ssl.SSLContext | None) -> None:
    """Listen, however long the port is taken; told once."""
    told = False
    while True:
        site = web.TCPSite(runner, address.host or None, address.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            await site.stop()  # the runner keeps it otherwise, each time one more
            if not told:
                at, why = f"{address.host}:{address.port}", error.strerror or error
                _log.warning("no metrics for now: %s: %s; tried again every %g s", at, why, _RETRY_S)
            told = True
        else:
            _log.info("metrics at port %d%s", address.port, " over TLS" if context else "")
            return
        await anyio.sleep(_RETRY_S)


async def _follow(
    address: Address, seen: files.Version, context: ssl.SSLContext | None, pages: Pages
) -> None:
    """Show a renewed certificate to new connections, ask for a changed token; what is half written waits."""
    while True:
        await anyio.sleep(_RELOAD_S)
        found = _version(address)
        if found == seen:
            continue
        seen = found
        try:
            if context is not None:
                certificates.load_pair(context, *_pair(address))
            if address.token is not None:
                pages.want(token_of(address))
        except (OSError, ValueError) as error:
            _log.warning("the new certificate or token cannot be used, the old one stays: %s", error)


def _version(address: Address) -> files.Version:
    return files.version(file for file in (address.certificate, address.key, address.token) if file)


def tls(address: Address) -> ssl.SSLContext:
    """Raises: BadCertificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificates.load_pair(context, *_pair(address))
    return context


def _pair(address: Address) -> tuple[bytes, bytes]:
    """Read them; one that does not belong together would leave the context with neither."""
    certificate = address.certificate or ""
    return certificates.read_pair(certificate, address.key or certificate)


def token_of(address: Address) -> str:
    """Raises: OSError, or ValueError for a file that holds no token."""
    if address.token is None:
        return ""
    with Path(address.token).open("rb") as file:
        text = file.read(_MAX_TOKEN).decode("ascii", "replace").strip()
    if not text:
        raise ValueError(f"{address.token} is empty")
    return text


def conflict(address: Address) -> str:
    """Say why an address will not do beside the controller, or ""."""
    if address.port in _CONTROLLER_PORTS:
        return f"port {address.port} is the controller's own"
    return ""


async def beat(metrics: Metrics) -> None:
    """Measure how late the loop wakes whom it should."""
    while True:
        began = monotonic()
        await anyio.sleep(_BEAT_S)
        metrics.stalled(max(0.0, monotonic() - began - _BEAT_S))
