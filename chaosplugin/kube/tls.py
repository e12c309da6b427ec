"""TLS contexts for API servers. Building one takes about 40 ms: it is done in a thread."""

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from chaosplugin import certificates, files
from chaosplugin.certificates import BadCertificate
from chaosplugin.kube.errors import NoCluster

_log = logging.getLogger(__name__)

_CHECK_S = 10.0


class Tls:
    """The context of a connection, built anew when one of its files was replaced.

    Connections that are open stay as they are; whoever asks gets the context for the next one. Files that
    cannot be used, such as a new certificate before its key, leave the last context in use.
    """

    def __init__(
        self,
        build: Callable[[], ssl.SSLContext],
        paths: Sequence[Path] = (),
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._build = build
        self._paths = paths
        self._monotonic = monotonic
        self._context: ssl.SSLContext | None = None
        self._version: files.Version | None = None
        self._check_at = float("-inf")
        self._lock = anyio.Lock()

    async def current(self, refused: ssl.SSLContext | None = None) -> ssl.SSLContext:
        """Return the context; `refused` is one that the server refused, or that refused the server.

        Raises:
            NoCluster: it cannot be built, and there is no older one.
        """
        now = self._monotonic()
        if self._context is None or refused is self._context or now >= self._check_at:
            async with self._lock:
                if self._context is None or refused is self._context or now >= self._check_at:
                    self._check_at = now + _CHECK_S
                    await self._renew()
        assert self._context is not None  # noqa: S101 - else the renewal has raised
        return self._context

    def forget(self) -> None:
        """Build it anew for the next connection: something that stands in no file has changed."""
        self._version, self._check_at = None, float("-inf")

    def take(self, other: "Tls") -> None:
        """Be built from now on as another one is, as the files are others."""
        self._build, self._paths = other._build, other._paths  # noqa: SLF001 - of its own kind
        self._context, self._version = other._context, other._version  # noqa: SLF001

    async def _renew(self) -> None:
        try:
            version = files.version(self._paths)
            if self._context is None or version != self._version:
                self._context = await anyio.to_thread.run_sync(self._build)
                self._version = version
        except (OSError, NoCluster) as error:
            if self._context is None:
                raise NoCluster(f"certificate files: {error}") from None
            _log.warning("the certificate files cannot be used, the last ones are kept: %s", error)


def client_context(*, ca: bytes | None, verify: bool = True) -> ssl.SSLContext:
    """Trust the certificates of `ca` (PEM), or the system's if it is None.

    Raises:
        NoCluster: `ca` holds no certificate.
    """
    try:
        text = certificates.text_of(ca, "CA certificate: it") if ca is not None else None
    except BadCertificate as error:
        raise NoCluster(str(error)) from None
    context = ssl.create_default_context(cadata=text)
    # Newer Pythons ask for extensions which many clusters' own CAs lack, and which Go does not ask for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Let new connections show this certificate (PEM, key unencrypted); the key never touches a disk.

    Raises:
        NoCluster: the two are not a certificate and its key.
    """
    try:
        certificates.load_pair(context, certificate, key)
    except BadCertificate as error:
        raise NoCluster(f"client certificate: {error}") from None
