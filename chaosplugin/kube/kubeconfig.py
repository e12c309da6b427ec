"""The way to an API server that a kubeconfig tells.

kubernetes-asyncio reads the file; it keeps nothing and connects to nothing. Its own client is not used:
it has no time-outs, a pool that blocks after 100 watches, and builds its TLS context on the event loop.
It costs 36 MB and a fifth of a second to import, which a plugin inside a cluster is spared: nothing else
imports this module.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
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

_RELOAD_S = 10.0  # how often a tokenFile or an OIDC token of a kubeconfig is looked at
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
    configuration = Configuration()
    try:
        loader, user = await anyio.to_thread.run_sync(_open, path)
        # taken out, because kubernetes-asyncio would run the plugin at once, with no limit of time
        plugin = user.value.pop("exec", None) if user is not None else None
        with anyio.fail_after(30):  # an OIDC token may be refreshed here
            await loader.load_and_set(configuration)
    except _BROKEN as error:
        raise NoCluster(f"kubeconfig {path}: {one_line(str(error)) or type(error).__name__}") from None
    if plugin is None:
        return await _connection(configuration, _credential(loader, user, configuration))
    user.value["exec"] = plugin
    issued: list[tuple[bytes, bytes]] = []
    connection = await _connection(configuration, Fixed(), lambda: issued[-1] if issued else None)

    def show(certificate: bytes, key: bytes) -> None:
        issued[:] = [(certificate, key)]
        if connection.tls is not None:
            connection.tls.forget()

    exec_plugin = ExecPlugin(user["exec"], clock=clock, on_certificate=show)
    return replace(connection, credential=Renewed(exec_plugin.issue))


def _open(path: str) -> tuple[Any, Any]:
    merged = KubeConfigMerger(path).config
    loader = KubeConfigLoader(config_dict=merged, config_base_path=None)
    name = (loader.current_context or {}).get("context", {}).get("user")
    user = merged["users"].get_with_name(name, safe=True) if merged is not None and name else None
    return loader, user["user"] if user is not None else None


def _credential(loader: Any, user: Any, configuration: Any) -> Credential:
    def value() -> str:
        kind, _, secret = str(configuration.api_key.get("BearerToken", "")).partition(" ")
        return f"{kind} {secret.strip()}" if secret.strip() else ""

    if user is None or not ("auth-provider" in user or "tokenFile" in user):
        return Fixed(value())

    async def reload() -> Issued:
        try:
            await loader.load_and_set(configuration)
        except _BROKEN as error:
            raise NoCluster(f"kubeconfig: {one_line(str(error))}") from None
        return Issued(value(), _RELOAD_S)

    return Renewed(reload)


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
