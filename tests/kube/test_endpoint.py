import base64
import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from aiohttp import web

from chaosplugin.kube import client
from chaosplugin.kube.client import KubernetesCluster, connect
from chaosplugin.kube.endpoint import parse_credentials
from chaosplugin.kube.secret import SecretCredential
from chaosplugin.kube.session import Limits
from chaosplugin.provider.ports import ClusterError, Invalid
from tests.kube.conftest import Script, clock, kubeconfig, peer_name, tokens
from tests.realbed.pki import make_client

LABELS = {"chaosplugin.io/credentials": "true"}
URL = "https://far.example:6443"


def connect_endpoint(
    url: str, labels: dict[str, str], data: dict[str, bytes], limits: Limits | None = None
) -> AbstractAsyncContextManager[KubernetesCluster]:
    async def read() -> tuple[dict[str, str], dict[str, bytes]]:
        return labels, data

    return client.connect_endpoint(SecretCredential(url, "shop/far", read), clock=clock, limits=limits)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def secret(user: dict[str, object], cluster: dict[str, object] | None = None, server: str = URL) -> bytes:
    return kubeconfig(server, user, cluster).encode()


def test_a_token_is_stripped_and_kept_out_of_any_repr() -> None:
    found = parse_credentials(URL, LABELS, {"token": b"top-secret\n", "ca.crt": b"pem"})

    assert (found.token, found.ca) == ("top-secret", b"pem")
    assert "top-secret" not in repr(found)


def test_of_a_kubeconfig_only_what_stands_in_it_is_read() -> None:
    user = {"token": "t", "client-certificate-data": b64(b"crt"), "client-key-data": b64(b"key")}
    cluster: dict[str, object] = {"certificate-authority-data": b64(b"ca")}
    found = parse_credentials(URL, LABELS, {"kubeconfig": secret(dict(user), cluster, URL + "/")})

    assert (found.token, found.certificate, found.key, found.ca) == ("t", b"crt", b"key", b"ca")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://far.example",
        "far.example",
        "https://",
        "https://u:p@far.example",
        "https://far.example?x=1",
        "https://far.example#x",
        "https://far.example:port",
        "https://[::1",
        "file:///etc/passwd",
    ],
)
def test_only_a_plain_https_address_is_an_endpoint(endpoint: str) -> None:
    with pytest.raises(Invalid, match="chaosMeshEndpoint"):
        parse_credentials(endpoint, LABELS, {"token": b"t"})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "neither a token nor a client certificate"),
        ({"token": b"  "}, "neither a token nor a client certificate"),
        ({"token": b"a b"}, "token"),
        ({"token": "ü".encode()}, "token"),
        ({"tls.crt": b"crt"}, "together"),
        ({"password": b"x"}, "'password' is refused"),
        ({"kubeconfig": b"{}", "token": b"t"}, "kubeconfig and token"),
        ({"kubeconfig": b"[]"}, "a map is wanted"),
        ({"kubeconfig": b"a: &x 1\nb: *x"}, "alias"),
        ({"kubeconfig": b"\xff"}, "kubeconfig"),
        ({"kubeconfig": b"{current-context: c}"}, "no entry"),
        ({"kubeconfig": secret({"token": "t"}, server="https://other.example")}, "its server is not"),
        ({"kubeconfig": secret({"token": "t"}, server="http://far.example:6443")}, "https"),
        ({"kubeconfig": secret({"exec": {"command": "sh"}})}, "'exec' is refused"),
        ({"kubeconfig": secret({"auth-provider": {"name": "gcp"}})}, "'auth-provider' is refused"),
        ({"kubeconfig": secret({"tokenFile": "/var/run/token"})}, "'tokenFile' is refused"),
        ({"kubeconfig": secret({"client-certificate": "/x"})}, "'client-certificate' is refused"),
        ({"kubeconfig": secret({"client-key": "/x"})}, "'client-key' is refused"),
        ({"kubeconfig": secret({"username": "u", "password": "p"})}, "'username' is refused"),
        ({"kubeconfig": secret({"as": "admin"})}, "'as' is refused"),
        ({"kubeconfig": secret({"token": 5})}, "token is no text"),
        ({"kubeconfig": secret({"token": "t"}, {"certificate-authority": "/x"})}, "'certificate-authority'"),
        ({"kubeconfig": secret({"token": "t"}, {"proxy-url": "http://x"})}, "'proxy-url' is refused"),
        ({"kubeconfig": secret({"token": "t"}, {"insecure-skip-tls-verify": True})}, "'insecure-skip-tls"),
        ({"kubeconfig": secret({"token": "t"}, {"certificate-authority-data": "!"})}, "is not base64"),
    ],
    ids=str,
)
def test_whatever_else_a_secret_asks_for_is_refused_by_name(data: dict[str, bytes], says: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_credentials(URL, LABELS, data)

    assert says in str(caught.value)
    assert str(caught.value).startswith(("credentials: ", "chaosMeshEndpoint: "))


def test_a_user_that_is_not_the_current_one_is_looked_at_too() -> None:
    config = json.loads(secret({"token": "t"}))
    config["users"].append({"name": "other", "user": {"exec": {"command": "sh"}}})

    with pytest.raises(Invalid, match="'exec' is refused"):
        parse_credentials(URL, LABELS, {"kubeconfig": json.dumps(config).encode()})


@pytest.mark.parametrize("labels", [{}, {"chaosplugin.io/credentials": "yes"}])
def test_a_secret_that_is_not_meant_for_us_is_not_read(labels: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="not labelled"):
        parse_credentials(URL, labels, {"token": b"t"})


async def test_broken_certificates_are_named(pki: Path) -> None:
    for data in (
        {"token": b"t", "ca.crt": b"rubbish"},
        {"token": b"t", "ca.crt": b""},
        {"tls.crt": b"rubbish", "tls.key": b"rubbish", "ca.crt": (pki / "ca.crt").read_bytes()},
    ):
        with pytest.raises(Invalid, match="certificate"):
            async with connect_endpoint(URL, LABELS, data):
                pass


async def test_an_encrypted_key_is_refused_instead_of_asked_for(pki: Path) -> None:
    crt, _ = make_client(pki, "anna")
    key = (
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + base64.b64encode(b"x" * 60) + b"\n-----END ENCRYPTED "
        b"PRIVATE KEY-----\n"
    )

    with pytest.raises(Invalid, match="client certificate"):
        async with connect_endpoint(URL, LABELS, {"tls.crt": crt, "tls.key": key}):
            pass


async def test_the_endpoint_sees_its_own_credentials_and_never_ours(
    script: Script, script_config: str, tls_script: Script, pki: Path
) -> None:
    async def read(_: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"name": "x"}})

    script.always = tls_script.always = read
    data = {"token": b"theirs", "ca.crt": (pki / "ca.crt").read_bytes()}
    async with (
        connect(script_config, clock=clock) as home,
        connect_endpoint(tls_script.url, LABELS, data) as far,
    ):
        await home.read_rollout("shop", "x")
        await far.read_rollout("shop", "x")

    assert tokens(script.seen) == ["Bearer first-token"]
    assert tokens(tls_script.seen) == ["Bearer theirs"]


async def test_the_endpoint_is_shown_the_client_certificate_of_the_secret(
    tls_script: Script, pki: Path
) -> None:
    tls_script.always = peer_name
    crt, key = make_client(pki, "anna")
    data = {"tls.crt": crt, "tls.key": key, "ca.crt": (pki / "ca.crt").read_bytes()}

    async with connect_endpoint(tls_script.url, LABELS, data) as far:
        assert (await far.read_rollout("shop", "x")).metadata.name == "anna"
    assert tokens(tls_script.seen) == [""]


async def test_a_redirect_of_the_endpoint_is_not_followed(
    tls_script: Script, script: Script, pki: Path
) -> None:
    async def away(_: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": script.url + "/steal"})

    tls_script.always = away
    data = {"token": b"theirs", "ca.crt": (pki / "ca.crt").read_bytes()}

    async with connect_endpoint(tls_script.url, LABELS, data) as far:
        with pytest.raises(ClusterError, match="redirect"):
            await far.read_rollout("shop", "x")
    assert script.seen == []
