"""Credentials for another cluster, from a Secret that a tenant wrote.

Only what stands in the Secret itself is used. Whatever would make us read a file, run a program, go
through a proxy or trust without looking is refused by name, and so is whatever we do not know.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from chaosplugin.kube.yaml import YAMLError, load
from chaosplugin.provider.ports import Invalid

LABEL = "chaosplugin.io/credentials"

_SECRET_KEYS = frozenset({"token", "tls.crt", "tls.key", "ca.crt", "kubeconfig"})
_CLUSTER_KEYS = frozenset({"server", "certificate-authority-data"})
_USER_KEYS = frozenset({"token", "client-certificate-data", "client-key-data"})
_CONTEXT_KEYS = frozenset({"cluster", "user", "namespace"})
_TOP_KEYS = frozenset(
    {"apiVersion", "kind", "preferences", "clusters", "users", "contexts", "current-context"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCredentials:
    """What proves who we are there (a token, a certificate with its key, or both), and whom we trust."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    ca: bytes | None = None


def parse_credentials(
    endpoint: str, labels: Mapping[str, str], data: Mapping[str, bytes]
) -> EndpointCredentials:
    """Read a Secret's data: `token`, `tls.crt` with `tls.key`, `ca.crt`; or a `kubeconfig` alone.

    Raises:
        Invalid: names the key that is missing, refused or broken; never its value.
    """
    server_address(endpoint)
    if labels.get(LABEL) != "true":
        raise Invalid(f"credentials: the Secret is not labelled {LABEL}=true, so it is not meant for us")
    _refuse_unknown(data, _SECRET_KEYS, "Secret")
    if "kubeconfig" in data:
        if len(data) > 1:
            other = min(key for key in data if key != "kubeconfig")
            raise Invalid(f"credentials: the Secret holds kubeconfig and {other}, only one of them is taken")
        found = _from_kubeconfig(endpoint, data["kubeconfig"])
    else:
        found = EndpointCredentials(
            token=_token(data.get("token", b"")),
            certificate=data.get("tls.crt", b""),
            key=data.get("tls.key", b""),
            ca=data.get("ca.crt"),
        )
    if bool(found.certificate) != bool(found.key):
        raise Invalid("credentials: a client certificate and its key are wanted together")
    if not found.token and not found.certificate:
        raise Invalid("credentials: neither a token nor a client certificate")
    return found


def server_address(endpoint: str) -> str:
    """Bring a URL into the form in which two of them are compared.

    Raises:
        Invalid: it is not https://host[:port][/path].
    """
    try:
        url = urlsplit(endpoint.strip())
        host, port = url.hostname, url.port or 443
    except ValueError:
        raise Invalid("chaosMeshEndpoint: this is no URL") from None
    if url.scheme != "https" or not host or url.query or url.fragment or "@" in url.netloc:
        raise Invalid("chaosMeshEndpoint: only https://host[:port][/path] is taken, without user or query")
    name = f"[{host}]" if ":" in host else host
    return f"https://{name}:{port}{url.path.rstrip('/')}"


def _from_kubeconfig(endpoint: str, data: bytes) -> EndpointCredentials:
    try:
        config = _mapping(load(data.decode()), "kubeconfig")
    except (YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"credentials: kubeconfig: {error}") from None
    _refuse_unknown(config, _TOP_KEYS, "kubeconfig")
    context = _entry(config, "contexts", config.get("current-context"), "context", _CONTEXT_KEYS)
    cluster = _entry(config, "clusters", context.get("cluster"), "cluster", _CLUSTER_KEYS)
    user = _entry(config, "users", context.get("user"), "user", _USER_KEYS)
    server = cluster.get("server")
    if not isinstance(server, str) or server_address(server) != server_address(endpoint):
        raise Invalid("credentials: kubeconfig: its server is not the chaosMeshEndpoint of the metric")
    return EndpointCredentials(
        token=_token(_text(user, "token").encode()),
        certificate=_inline(user, "client-certificate-data"),
        key=_inline(user, "client-key-data"),
        ca=_inline(cluster, "certificate-authority-data") or None,
    )


def _entry(
    config: Mapping[str, object], section: str, name: object, part: str, known: frozenset[str]
) -> Mapping[str, object]:
    """Find the entry of a name in a section; every entry is looked at, used or not."""
    entries = config.get(section)
    found: Mapping[str, object] | None = None
    for entry in entries if isinstance(entries, list) else ():
        item = _mapping(entry, section)
        _refuse_unknown(item, frozenset({"name", part}), section)
        value = _mapping(item.get(part), section)
        _refuse_unknown(value, known, section)
        if item.get("name") == name:
            found = value
    if found is None:
        raise Invalid(f"credentials: kubeconfig: {section} has no entry for the current context")
    return found


def _refuse_unknown(found: Mapping[str, object], known: frozenset[str], where: str) -> None:
    for key in found:
        if key not in known:
            allowed = ", ".join(sorted(known))
            raise Invalid(f"credentials: {where}: key {key[:80]!r} is refused, taken are only {allowed}")


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise Invalid(f"credentials: {where}: a map is wanted")
    return value


def _text(found: Mapping[str, object], key: str) -> str:
    value = found.get(key, "")
    if not isinstance(value, str):
        raise Invalid(f"credentials: kubeconfig: {key} is no text")
    return value


def _inline(found: Mapping[str, object], key: str) -> bytes:
    try:
        return base64.b64decode(_text(found, key), validate=True)
    except ValueError:
        raise Invalid(f"credentials: kubeconfig: {key} is not base64") from None


def _token(data: bytes) -> str:
    token = data.strip()
    if not token.isascii() or any(byte <= 0x20 or byte == 0x7F for byte in token):
        raise Invalid("credentials: token: it holds blanks or characters that no token has")
    return token.decode("ascii")
