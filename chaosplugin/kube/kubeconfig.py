"""The way to an API server that a kubeconfig tells.

kubernetes-asyncio reads the file; it keeps nothing and connects to nothing. Its own client is not used:
it has no time-outs, a pool that blocks after 100 watches, and builds its TLS context on the event loop.
It costs 36 MB and a fifth of a second to import, which a plugin inside a cluster is spared: nothing else
imports this module.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException
from kubernetes_asyncio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from chaosplugin.kube.connection import Connection, TlsFiles, connection_to
from chaosplugin.kube.credentials import Credential, Fixed, Issued, Renewed
from chaosplugin.kube.errors import NoCluster, one_line
from chaosplugin.kube.execplugin import ExecPlugin

_RELOAD_S = 10.0  # how often the file is looked at, and a tokenFile or an OIDC token that it names
_Versions = list[tuple[int, int, int]]
# What a malformed kubeconfig makes kubernetes-asyncio raise.
_BROKEN = (
    ConfigException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    yaml.YAMLError,
    aiohttp.ClientError,
)


async def from_kubeconfig(path: str, *, clock: Callable[[], datetime]) -> Connection:
    """Use the current context of a kubeconfig; several files are separated by colons.

    Raises:
        NoCluster: a file cannot be read, or does not say how to connect.
    """
    configuration, versions = Configuration(), _versions(path)
    try:
        loader, user = await anyio.to_thread.run_sync(_open, path)
        # taken out, because kubernetes-asyncio would run the plugin at once, with no limit of time
        plugin = user.value.pop("exec", None) if user is not None else None
        with anyio.fail_after(30):  # an OIDC token may be refreshed here
            await loader.load_and_set(configuration)
    except _BROKEN as error:
        raise NoCluster(f"kubeconfig {path}: {_why(error)}") from None
    if plugin is None:
        followed = _Followed(path, versions, loader, user, configuration)
        followed.connection = await _connection(configuration, Renewed(followed.issue))
        return followed.connection
    user.value["exec"] = plugin
    issued: list[tuple[bytes, bytes]] = []
    connection = await _connection(configuration, Fixed(), lambda: issued[-1] if issued else None)

    def show(certificate: bytes, key: bytes) -> None:
        issued[:] = [(certificate, key)]
        if connection.tls is not None:
            connection.tls.forget()

    exec_plugin = ExecPlugin(user["exec"], clock=clock, on_certificate=show)
    return replace(connection, credential=Renewed(exec_plugin.issue))


def _why(error: Exception) -> str:
    if isinstance(
        error, LookupError | TypeError | AttributeError | AssertionError
    ):  # of the reader's own code
        return "it does not say how to connect; compare it with `kubectl config view`"
    return one_line(str(error)) or type(error).__name__


def _open(path: str) -> tuple[Any, Any]:
    if not _versions(path):  # the reader would complain of a key
        raise ConfigException("there is no such file")
    merged = KubeConfigMerger(path).config
    loader = KubeConfigLoader(config_dict=merged, config_base_path=None)
    name = (loader.current_context or {}).get("context", {}).get("user")
    user = merged["users"].get_with_name(name, safe=True) if merged is not None and name else None
    return loader, user["user"] if user is not None else None


class _Followed:
    """A kubeconfig that is read again when it was replaced: at a refusal, else within ten seconds.

    Its server stays the one of the start. A file that cannot be used leaves what was read last in use.
    """

    def __init__(
        self, path: str, versions: _Versions, loader: Any, user: Any, configuration: Configuration
    ) -> None:
        self._path = path
        self._versions, self._loader, self._user = versions, loader, user
        self._configuration = configuration
        self.connection: Connection | None = None

    async def issue(self) -> Issued:
        """Return the header as it is now. Raises: NoCluster."""
        try:
            versions = _versions(self._path)
            if versions != self._versions:
                await self._read_again(versions)
            elif self._user is not None and ("auth-provider" in self._user or "tokenFile" in self._user):
                await self._loader.load_and_set(self._configuration)
        except _BROKEN as error:
            raise NoCluster(f"kubeconfig {self._path}: {_why(error)}") from None
        kind, _, secret = str(self._configuration.api_key.get("BearerToken", "")).partition(" ")
        return Issued(f"{kind} {secret.strip()}" if secret.strip() else "", _RELOAD_S)

    async def _read_again(self, versions: _Versions) -> None:
        loader, user = await anyio.to_thread.run_sync(_open, self._path)
        if user is not None and "exec" in user.value:
            raise NoCluster("it names an exec plugin now; restart this plugin")
        configuration = Configuration()
        await loader.load_and_set(configuration)
        fresh = await _connection(configuration, Fixed())
        if self.connection is not None and fresh.server != self.connection.server:
            raise NoCluster(f"it names {fresh.server} now; restart this plugin")
        if self.connection is not None and self.connection.tls is not None and fresh.tls is not None:
            self.connection.tls.take(fresh.tls)
        self._versions, self._loader, self._user = versions, loader, user
        self._configuration = configuration


def _versions(path: str) -> _Versions:
    """Return what tells that a file was replaced, for each of those that there are."""
    found = (Path(each) for each in path.split(":"))
    states = (each.stat() for each in found if each.exists())
    return [(state.st_mtime_ns, state.st_ino, state.st_size) for state in states]


async def _connection(
    configuration: Any,
    credential: Credential,
    certificate: Callable[[], tuple[bytes, bytes] | None] = lambda: None,
) -> Connection:
    files = TlsFiles(
        ca_file=configuration.ssl_ca_cert or None,
        verify=bool(configuration.verify_ssl),
        cert_file=configuration.cert_file or None,
        key_file=configuration.key_file or None,
    )
    return await connection_to(
        str(configuration.host),
        files,
        credential,
        certificate=certificate,
        proxy=configuration.proxy,
        server_hostname=configuration.tls_server_name,
    )
