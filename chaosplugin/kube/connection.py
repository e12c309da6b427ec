"""The way to an API server: address, TLS and credential; from inside a cluster it is the pod's own."""

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from chaosplugin.kube.credentials import Credential, Fixed, TokenFile
from chaosplugin.kube.errors import NoCluster
from chaosplugin.kube.tls import Tls, client_context, load_client_certificate

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a session needs. `server` has no slash at its end; `tls` is None for plain http."""

    server: str
    tls: Tls | None = None
    credential: Credential = field(default=Fixed(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    server_hostname: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Files (PEM) of a connection; without `ca_file` the system's authorities are trusted."""

    ca_file: str | None = None
    verify: bool = True
    cert_file: str | None = None
    key_file: str | None = None


def environment_proxy(server: str) -> str | None:
    """Return the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY give for a server, as Go reads them."""
    url, found = urlsplit(server), getproxies()
    host, proxy = url.hostname, found.get(url.scheme)
    if not host or not proxy or proxy_bypass(host) or _is_near(host, found.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_near(host: str, networks: str) -> bool:
    """Whether it is this machine, or in one of these networks: of both Python's own reader does not know."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    if address.is_loopback:
        return True
    for network in networks.split(","):
        with suppress(ValueError):  # the name of a host
            if address in ip_network(network.strip(), strict=False):
                return True
    return False


async def in_cluster(folder: Path = _SERVICE_ACCOUNT) -> Connection:
    """Use the ServiceAccount of the pod that we run in.

    Raises:
        NoCluster: this is no pod, or its files are broken.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise NoCluster(
            "no kubeconfig given, and not inside a cluster: "
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"
        )
    credential = TokenFile(folder / "token")
    await credential.header()  # what is wrong with it is told now
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return await connection_to(server, TlsFiles(ca_file=str(folder / "ca.crt")), credential)


async def connection_to(
    server: str,
    files: TlsFiles,
    credential: Credential,
    *,
    certificate: Callable[[], tuple[bytes, bytes] | None] = lambda: None,
    proxy: str | None = None,
    server_hostname: str | None = None,
) -> Connection:
    """Check the address and load the files; `certificate` gives a client's, with its key, that is in none.

    Raises:
        NoCluster: one of them is not usable.
    """
    server = server.rstrip("/")
    if not _is_address(server):
        raise NoCluster(f"API server address {server!r} is no http or https URL")

    def build() -> ssl.SSLContext:
        ca = Path(files.ca_file).read_bytes() if files.ca_file else None
        context = client_context(ca=ca, verify=files.verify)
        if files.cert_file:
            key = files.key_file or files.cert_file
            load_client_certificate(context, Path(files.cert_file).read_bytes(), Path(key).read_bytes())
        if (issued := certificate()) is not None:
            load_client_certificate(context, *issued)
        return context

    tls = None
    if urlsplit(server).scheme == "https":
        named = (files.ca_file, files.cert_file, files.key_file)
        tls = Tls(build, [Path(name) for name in named if name])
        await tls.current()
    return Connection(
        server=server,
        tls=tls,
        credential=credential,
        proxy=proxy or environment_proxy(server),
        server_hostname=server_hostname,
    )


def _is_address(server: str) -> bool:
    try:
        url = urlsplit(server)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port out of range, half an IPv6 address
        return False
