"""The way to an API server: address, TLS and credential, from a kubeconfig or from inside a cluster.

kubernetes-asyncio reads the files; it keeps nothing and connects to nothing. Its own client is not used:
it has no time-outs, a pool that blocks after 100 watches, and builds its TLS context on the event loop.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import anyio
import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException
from kubernetes_asyncio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)
from kubernetes_asyncio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from chaosplugin.kube.credentials import Credential, Fixed, Issued, Renewed, TokenFile
from chaosplugin.kube.errors import NoCluster, one_line
from chaosplugin.kube.execplugin import ExecPlugin
from chaosplugin.kube.tls import client_context, load_client_certificate

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a session needs. `server` has no slash at its end; `context` is None for plain http."""

    server: str
    context: ssl.SSLContext | None = None
    credential: Credential = field(default=Fixed(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    server_hostname: str | None = None


def environment_proxy(server: str) -> str | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY give for a server."""
    url = urlsplit(server)
    return None if url.hostname is None or proxy_bypass(url.hostname) else getproxies().get(url.scheme)


async def in_cluster(
    *,
    token_file: str = SERVICE_TOKEN_FILENAME,
    ca_file: str = SERVICE_CERT_FILENAME,
) -> Connection:
    """Use the ServiceAccount of the pod that we run in.

    Raises:
        NoCluster: this is no pod, or its files are broken.
    """
    configuration = Configuration()
    try:
        InClusterConfigLoader(token_file, ca_file, try_refresh_token=False).load_and_set(configuration)
    except _BROKEN as error:
        raise NoCluster(f"no kubeconfig given, and not inside a cluster: {error}") from None
    return await _connection(configuration, TokenFile(Path(token_file)))


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
    connection = await _connection(configuration, Fixed())

    def show(certificate: bytes, key: bytes) -> None:
        if connection.context is not None:
            load_client_certificate(connection.context, certificate, key)

    exec_plugin = ExecPlugin(user["exec"], clock=clock, on_certificate=show)
    return Connection(
        server=connection.server,
        context=connection.context,
        credential=Renewed(exec_plugin.issue),
        proxy=connection.proxy,
        server_hostname=connection.server_hostname,
    )


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


async def _connection(configuration: Any, credential: Credential) -> Connection:
    server = str(configuration.host).rstrip("/")
    url = urlsplit(server)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise NoCluster(f"API server address {server!r} is no http or https URL")

    def build() -> ssl.SSLContext | None:
        if url.scheme == "http":
            return None
        ca = Path(configuration.ssl_ca_cert).read_bytes() if configuration.ssl_ca_cert else None
        context = client_context(ca=ca, verify=bool(configuration.verify_ssl))
        if configuration.cert_file:
            key = configuration.key_file or configuration.cert_file
            load_client_certificate(
                context, Path(configuration.cert_file).read_bytes(), Path(key).read_bytes()
            )
        return context

    try:
        context = await anyio.to_thread.run_sync(build)
    except OSError as error:
        raise NoCluster(f"certificate files: {error}") from None
    return Connection(
        server=server,
        context=context,
        credential=credential,
        proxy=configuration.proxy or environment_proxy(server),
        server_hostname=configuration.tls_server_name,
    )
