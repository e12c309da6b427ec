"""What we show an endpoint, as its Secret says now.

The Secret is read when a gate begins, and when the endpoint refuses what it was shown or cannot be
trusted with it; never just because time goes by, and not again within ten seconds where it says the same.
If it is gone or broken then, gates that run go on with the last credentials as long as these are accepted,
to undo what they did.
"""

import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping

import anyio

from chaosplugin.kube.connection import Connection, environment_proxy
from chaosplugin.kube.endpoint import EndpointCredentials, parse_credentials, server_address
from chaosplugin.kube.errors import NoCluster
from chaosplugin.kube.tls import Tls, client_context, load_client_certificate
from chaosplugin.provider.ports import ClusterError, Invalid

_log = logging.getLogger(__name__)

_AGAIN_S = 10.0

ReadSecret = Callable[[], Awaitable[tuple[Mapping[str, str], Mapping[str, bytes]]]]
"""Returns labels and data. Raises ClusterError."""


class SecretCredential:
    """A `Credential` for one endpoint; `name` is the Secret's, with its namespace."""

    def __init__(
        self,
        endpoint: str,
        name: str,
        read: ReadSecret,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._name = name
        self._read = read
        self._monotonic = monotonic
        self._found = EndpointCredentials()
        self._not_before = float("-inf")
        self._error: ClusterError | None = None
        self._lock = anyio.Lock()
        self._tls = Tls(self._build)

    async def connection(self) -> Connection:
        """Return the way to the endpoint; nothing of our own credentials goes into it.

        Raises:
            ClusterError: the Secret cannot be read, or what it holds is refused.
        """
        await self.refresh()
        server = server_address(self._endpoint)
        return Connection(server=server, tls=self._tls, credential=self, proxy=environment_proxy(server))

    async def refresh(self) -> bool:
        """Read the Secret; return whether it holds something else than before.

        Raises:
            ClusterError: as `connection`. What was read before stays in use.
        """
        async with self._lock:
            self._error = None
            try:
                return await self._take(parse_credentials(self._endpoint, *await self._read()))
            except ClusterError as error:
                self._error = error
                raise

    async def header(self, refused: str | None = None) -> str:
        if refused == self._value and self._monotonic() >= self._not_before:
            changed = False
            try:
                changed = await self.refresh()
            except ClusterError as error:
                _log.warning("the last credentials are kept: %s", error)
            if not changed:
                self._not_before = self._monotonic() + _AGAIN_S
        return self._value

    @property
    def _value(self) -> str:
        return f"Bearer {self._found.token}" if self._found.token else ""

    @property
    def origin(self) -> str:
        gone = f", and now: {self._error}" if self._error is not None else ""
        return f"shown were the credentials of Secret {self._name}{gone}"

    async def _take(self, found: EndpointCredentials) -> bool:
        before, self._found = self._found, found
        if found == before:
            return False
        try:
            await anyio.to_thread.run_sync(self._build)
        except NoCluster as error:
            self._found = before
            raise Invalid(f"credentials: {error}") from None
        self._tls.forget()
        return True

    def _build(self) -> ssl.SSLContext:
        found = self._found
        context = client_context(ca=found.ca)
        if found.certificate:
            load_client_certificate(context, found.certificate, found.key)
        return context
