"""Certificates of an API server and of a client, and how they are rotated."""

import base64
import json
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from chaosplugin.kube.client import connect
from chaosplugin.kube.session import Limits
from chaosplugin.kube.tls import Tls, client_context
from chaosplugin.provider.ports import Denied, Unavailable
from tests.kube.conftest import MANIFEST, Script, Time, clock, kubeconfig, peer_name, replace
from tests.realbed.pki import make as make_pki
from tests.realbed.pki import make_client


async def test_a_server_of_another_authority_is_not_spoken_to(
    tls_script: Script, tmp_path: Path, pki: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(kubeconfig(tls_script.url, {"token": "t"}))

    async with connect(str(config), clock=clock, limits=Limits(total_s=0.5, first_delay_s=0.01)) as cluster:
        with pytest.raises(
            Unavailable, match=rf"no answer from {tls_script.url}: \[SSL: CERT.* verify failed"
        ) as caught:
            await cluster.read_rollout("shop", "x")

    assert not caught.value.sent
    assert tls_script.seen == []


def test_an_authority_may_be_commented_in_any_language(pki: Path) -> None:
    ca = (pki / "ca.crt").read_bytes()

    context = client_context(ca="# Főtanúsítvány\n".encode() + ca + "# für alle\n".encode("latin-1"))

    assert len(context.get_ca_certs()) == 1


@pytest.fixture
async def rotating(tmp_path: Path) -> AsyncIterator[tuple[Script, ssl.SSLContext]]:
    """A server in a folder's name, and the context by which it can be given another certificate."""
    make_pki(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.crt")
    tls.verify_mode = ssl.CERT_OPTIONAL
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    script = Script()
    async with script.serve(tls):
        yield script, tls


async def test_a_rotated_authority_is_trusted_as_soon_as_its_file_is_there(
    rotating: tuple[Script, ssl.SSLContext], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script, tls = rotating
    script.always = peer_name
    config = tmp_path / "config"
    config.write_text(
        kubeconfig(script.url, {"token": "t"}, {"certificate-authority": str(tmp_path / "ca.crt")})
    )
    limits = Limits(total_s=0.5, first_delay_s=0.01)

    async with connect(str(config), clock=clock, limits=limits) as cluster:
        await cluster.read_rollout("shop", "x")
        successor = tmp_path_factory.mktemp("successor")
        make_pki(successor)
        tls.load_cert_chain(successor / "tls.crt", successor / "tls.key")
        with pytest.raises(Unavailable, match="certificate verify failed") as caught:
            await cluster.create_chaos(MANIFEST)
        assert not caught.value.sent

        (tmp_path / "ca.crt").write_bytes((successor / "ca.crt").read_bytes())

        assert (await cluster.create_chaos(MANIFEST)).metadata.name == "nobody"


async def test_an_authority_and_a_client_within_a_kubeconfig_are_rotated_with_it(
    rotating: tuple[Script, ssl.SSLContext], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script, tls = rotating
    script.always = peer_name

    def text(folder: Path, name: str) -> str:
        certificate, key = make_client(tmp_path, name)  # which the server knows by the first authority
        user: dict[str, object] = {
            "client-certificate-data": encoded(certificate),
            "client-key-data": encoded(key),
        }
        authority: dict[str, object] = {
            "certificate-authority-data": encoded((folder / "ca.crt").read_bytes())
        }
        return kubeconfig(script.url, user, authority)

    config = tmp_path / "config"
    config.write_text(text(tmp_path, "anna"))

    async with connect(str(config), clock=clock) as cluster:
        assert (await cluster.create_chaos(MANIFEST)).metadata.name == "anna"
        successor = tmp_path_factory.mktemp("successor")
        make_pki(successor)
        tls.load_cert_chain(successor / "tls.crt", successor / "tls.key")
        replace(config, text(successor, "ben"))

        assert (await cluster.create_chaos(MANIFEST)).metadata.name == "ben"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def test_a_rotated_client_certificate_is_shown_once_both_of_its_files_are_there(
    rotating: tuple[Script, ssl.SSLContext], tmp_path: Path
) -> None:
    script, _ = rotating
    good = "anna"

    async def by_name(request: web.Request) -> web.StreamResponse:
        answer = await peer_name(request)
        assert isinstance(answer, web.Response)
        if json.loads(answer.text or "")["metadata"]["name"] == good:
            return answer
        return web.json_response({"code": 401, "message": "Unauthorized"}, status=401)

    def put(name: str, *files: str) -> None:
        for file, content in zip(("user.crt", "user.key"), make_client(tmp_path, name), strict=True):
            if file in files:
                (tmp_path / file).write_bytes(content)

    script.always = by_name
    put("anna", "user.crt", "user.key")
    user: dict[str, object] = {
        "client-certificate": str(tmp_path / "user.crt"),
        "client-key": str(tmp_path / "user.key"),
    }
    config = tmp_path / "config"
    config.write_text(kubeconfig(script.url, user, {"certificate-authority": str(tmp_path / "ca.crt")}))

    async with connect(str(config), clock=clock) as cluster:
        assert (await cluster.create_chaos(MANIFEST)).metadata.name == "anna"
        good = "ben"
        put("ben", "user.crt")
        with pytest.raises(Denied):
            await cluster.create_chaos(MANIFEST)

        put("ben", "user.crt", "user.key")

        assert (await cluster.create_chaos(MANIFEST)).metadata.name == "ben"


async def test_certificate_files_are_looked_at_every_ten_seconds(tmp_path: Path) -> None:
    time, built = Time(), 0
    file = tmp_path / "ca.crt"
    file.write_text("first")

    def build() -> ssl.SSLContext:
        nonlocal built
        file.read_bytes()
        built += 1
        return ssl.create_default_context()

    tls = Tls(build, [file], monotonic=time)
    first = await tls.current()
    file.write_text("second")
    os.utime(file, ns=(1, 1))
    assert await tls.current() is first
    time.now = 10
    second = await tls.current()
    assert second is not first
    assert await tls.current(refused=first) is second
    assert await tls.current(refused=second) is second
    file.unlink()
    time.now = 20
    assert await tls.current() is second
    assert built == 2
