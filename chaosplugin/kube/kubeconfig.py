"""The way to an API server that a kubeconfig tells.

kubernetes-asyncio reads the file; it keeps nothing and connects to nothing. Its own client is not used:
it has no time-outs, a pool that blocks after 100 watches, and builds its TLS context on the event loop.
It costs 36 MB and a fifth of a second to import, which a plugin inside a cluster is spared: nothing else
imports this module.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import aiohttp
import anyio
import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException
from kubernetes_asyncio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from chaosplugin import files
from chaosplugin.kube.connection import Connection, TlsFiles, connection_to
from chaosplugin.kube.credentials import Credential, Fixed, Issued, Renewed, is_token
from chaosplugin.kube.errors import NoCluster, one_line
from chaosplugin.kube.execplugin import ExecPlugin

_log = logging.getLogger(__name__)
_RELOAD_S = 10.0  # how often the file is looked at, and a tokenFile or an OIDC token that it names
# What a malformed kubeconfig makes kubernetes-asyncio raise.
_BROKEN = (
    ConfigException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RecursionError,
    yaml.YAMLError,
    aiohttp.ClientError,
)


async def from_kubeconfig(path: str, *, clock: Callable[[], datetime]) -> Connection:
    """Use the current context of a kubeconfig; several files are separated by colons.

    Raises:
        NoCluster: a file cannot be read, or does not say how to connect.
    """
    followed = _Followed(path, clock)
    try:
        followed.connection = replace(await followed.read(), credential=followed)
    except _BROKEN as error:
        raise NoCluster(f"kubeconfig {path}: {_why(error)}") from None
    return followed.connection


class _Followed:
    """The credential of a kubeconfig, which is read again when it was replaced: at a refusal, else in 10 s.

    Its server stays the one of the start. A file that cannot be used leaves what was read last in use.
    """

    origin = ""

    def __init__(self, path: str, clock: Callable[[], datetime]) -> None:
        self._path, self._paths = path, path.split(":")
        self._clock = clock
        self._version: files.Version = ()
        self._check_at = self._not_before = float("-inf")
        self._lock = anyio.Lock()
        self._credential: Credential = Fixed()
        self._shown = ""
        self.connection: Connection | None = None

    async def read(self) -> Connection:
        """Read it. Raises: NoCluster, or one of what a malformed file makes others raise."""
        self._version = files.version(self._paths)
        connection = await self._read()
        self._credential = connection.credential
        return connection

    async def header(self, refused: str | None = None) -> str:
        """Return the header as it is now. Raises: NoCluster."""
        async with self._lock:
            now = time.monotonic()
            again = refused is not None and refused == self._shown
            if now >= self._check_at or (again and now >= self._not_before):
                self._check_at = now + _RELOAD_S
                await self._follow()
        self._shown = await self._credential.header(refused)
        return self._shown

    async def _follow(self) -> None:
        try:
            version = files.version(self._paths)
            if version != self._version:
                await self._take(await self._read())
                self._version = version
        except (NoCluster, *_BROKEN) as error:
            self._not_before = self._check_at
            reason = _why(error)
            _log.warning("kubeconfig %s cannot be used, the last one is kept: %s", self._path, reason)

    async def _take(self, fresh: Connection) -> None:
        if self.connection is not None and fresh.server != self.connection.server:
            raise NoCluster(f"it names {fresh.server} now; restart this plugin")
        await fresh.credential.header()
        if self.connection is not None and self.connection.tls is not None and fresh.tls is not None:
            self.connection.tls.take(fresh.tls)
        self._credential = fresh.credential

    async def _read(self) -> Connection:
        configuration = Configuration()
        loader, user = await anyio.to_thread.run_sync(_open, self._path)
        # taken out, because kubernetes-asyncio would run the plugin at once, with no limit of time
        plugin = user.value.pop("exec", None) if user is not None else None
        with anyio.fail_after(30):  # an OIDC token may be refreshed here
            await loader.load_and_set(configuration)
        if plugin is None:
            changes = user is not None and ("auth-provider" in user or "tokenFile" in user)
            loaded = _Loaded(loader, configuration)
            source = Renewed(loaded.issue) if changes else Fixed(_header(configuration))
            return await _connection(configuration, source)
        user.value["exec"] = plugin
        issued: list[tuple[bytes, bytes]] = []

        def show(certificate: bytes, key: bytes) -> None:
            issued[:] = [(certificate, key)]
            if self.connection is not None and self.connection.tls is not None:
                self.connection.tls.forget()

        exec_plugin = ExecPlugin(user["exec"], clock=self._clock, on_certificate=show)
        credential = Renewed(exec_plugin.issue)
        return await _connection(configuration, credential, lambda: issued[-1] if issued else None)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A section that names a tokenFile, or an OIDC provider, whose token changes."""

    loader: Any
    configuration: Any

    async def issue(self) -> Issued:
        try:
            await self.loader.load_and_set(self.configuration)
        except _BROKEN as error:
            raise NoCluster(f"kubeconfig: {_why(error)}") from None
        return Issued(_header(self.configuration), _RELOAD_S)


def _header(configuration: Any) -> str:
    kind, _, secret = str(configuration.api_key.get("BearerToken", "")).partition(" ")
    secret = secret.strip()
    if not is_token(secret):
        raise NoCluster("kubeconfig: its token holds characters that no header can")
    return f"{kind} {secret}" if secret else ""


def _why(error: Exception) -> str:
    if isinstance(
        error, LookupError | TypeError | AttributeError | AssertionError | RecursionError
    ):  # of the reader's own code
        return "it does not say how to connect; compare it with `kubectl config view`"
    return one_line(str(error)) or type(error).__name__


def _open(path: str) -> tuple[Any, Any]:
    if not any(files.version(path.split(":"))):  # the reader would complain of a key
        raise ConfigException("there is no such file")
    merged = KubeConfigMerger(path).config
    loader = KubeConfigLoader(config_dict=merged, config_base_path=None)
    name = (loader.current_context or {}).get("context", {}).get("user")
    user = merged["users"].get_with_name(name, safe=True) if merged is not None and name else None
    return loader, user["user"] if user is not None else None


async def _connection(
    configuration: Any,
    credential: Credential,
    certificate: Callable[[], tuple[bytes, bytes] | None] = lambda: None,
) -> Connection:
    tls_files = TlsFiles(
        ca_file=configuration.ssl_ca_cert or None,
        verify=bool(configuration.verify_ssl),
        cert_file=configuration.cert_file or None,
        key_file=configuration.key_file or None,
    )
    return await connection_to(
        str(configuration.host),
        tls_files,
        credential,
        certificate=certificate,
        proxy=configuration.proxy,
        server_hostname=configuration.tls_server_name,
    )
