"""Kubeconfigs: broken ones are named in one line, replaced ones read again."""

from pathlib import Path

import pytest
from aiohttp import web

from chaosplugin.kube.client import connect
from chaosplugin.kube.errors import NoCluster
from chaosplugin.kube.kubeconfig import from_kubeconfig
from tests.kube.conftest import Script, by_token, clock, kubeconfig, replace, tokens

EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "true"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "kubeconfig"),
        ("[1, 2]", "kubeconfig"),
        ("a: [", "kubeconfig"),
        ("{current-context: nope, contexts: [], clusters: [], users: []}", "nope"),
        (kubeconfig("ftp://example", {}), "no http or https URL"),
        (kubeconfig("https://example:99999", {}), "no http or https URL"),
        (kubeconfig("https://[::1", {}), "no http or https URL"),
        (kubeconfig("https://x", {"client-certificate-data": "AAAA", "client-key-data": "AAAA"}), "certif"),
        (kubeconfig("https://x", {}, {"certificate-authority-data": "AAAA"}), "CA certificate"),
        (kubeconfig("https://x", {"exec": {"args": []}}), "command"),
        (kubeconfig("https://x", {"token": "a\nb"}), "characters that no header can"),
        (kubeconfig("https://x", {"exec": {**EXEC, "args": "token"}}), "kubeconfig: "),
        (
            kubeconfig("https://x", {"exec": {**EXEC, "env": [{"name": "A", "value": 7}]}}),
            "cannot be started",
        ),
        (kubeconfig("https://x", {"exec": {**EXEC, "command": "a\0b"}}), "cannot be started"),
        ("- " * 3000, "it does not say how to connect"),
    ],
)
async def test_a_broken_kubeconfig_is_named_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)

    with pytest.raises(NoCluster) as caught:
        await (await from_kubeconfig(str(file), clock=clock)).credential.header()

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoCluster, match="nowhere"):
        await from_kubeconfig(str(tmp_path / "nowhere"), clock=clock)


async def test_a_token_file_of_a_kubeconfig_is_read_again_after_a_refusal(
    script: Script, tmp_path: Path
) -> None:
    script.always = by_token
    token = tmp_path / "token"
    token.write_text("good\n")
    config = tmp_path / "config"
    config.write_text(kubeconfig(script.url, {"tokenFile": str(token)}))

    async with connect(str(config), clock=clock) as cluster:
        await cluster.read_rollout("shop", "x")
        token.write_text("bad")
        await cluster.read_rollout("shop", "x")

    assert tokens(script.seen) == ["Bearer good", "Bearer good"]


async def test_a_kubeconfig_that_was_replaced_is_read_again_after_a_refusal(
    script: Script, tmp_path: Path
) -> None:
    good = "old"

    async def by_good(request: web.Request) -> web.StreamResponse:
        told = request.headers.get("Authorization") == f"Bearer {good}"
        answer = {"metadata": {"name": "x"}} if told else {"code": 401, "message": "Unauthorized"}
        return web.json_response(answer, status=200 if told else 401)

    script.always = by_good
    config = tmp_path / "config"
    config.write_text(kubeconfig(script.url, {"token": "old"}))

    async with connect(str(config), clock=clock) as cluster:
        await cluster.read_rollout("shop", "x")
        good = "new"
        replace(config, kubeconfig(script.url, {"token": "new"}))
        await cluster.read_rollout("shop", "x")

    assert tokens(script.seen) == ["Bearer old", "Bearer old", "Bearer new"]


@pytest.mark.parametrize("bad", ["a: [", "another server", "an exec plugin"])
async def test_a_kubeconfig_that_cannot_be_used_leaves_the_last_one_in_use(
    script: Script, tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    script.always = by_token
    config = tmp_path / "config"
    config.write_text(kubeconfig(script.url, {"token": "good"}))
    connection = await from_kubeconfig(str(config), clock=clock)
    assert await connection.credential.header() == "Bearer good"
    texts = {
        "another server": kubeconfig("http://example", {"token": "stolen"}),
        "an exec plugin": kubeconfig(script.url, {"exec": EXEC}),
    }

    replace(config, texts.get(bad, bad))

    assert await connection.credential.header("Bearer good") == "Bearer good"
    assert "the last one is kept" in caplog.text
