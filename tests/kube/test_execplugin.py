"""Exec plugins of a kubeconfig: asked as seldom as may be, and named where they fail."""

import json
import os
import stat
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from chaosplugin.kube.client import connect
from chaosplugin.kube.kubeconfig import from_kubeconfig
from chaosplugin.provider.ports import Denied, Unavailable
from tests.kube.conftest import Script, by_token, clock, kubeconfig, peer_name, replace, tokens
from tests.realbed.pki import make_client


def exec_plugin(folder: Path, body: str) -> dict[str, object]:
    program = folder / "plugin.py"
    program.write_text(f"#!{sys.executable}\nimport json, os, pathlib, sys, time\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(program),
            "args": ["token"],
            "env": [{"name": "FOLDER", "value": str(folder)}],
        }
    }


ANSWER = """
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
folder = pathlib.Path(os.environ["FOLDER"])
with (folder / "calls").open("a") as calls:
    calls.write("x")
status = json.loads((folder / "status").read_text())
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


async def test_an_exec_plugin_is_asked_once_and_again_after_a_refusal(script: Script, tmp_path: Path) -> None:
    script.always = by_token
    (tmp_path / "status").write_text('{"token": "stale"}')
    config = tmp_path / "config"
    then_good = ANSWER + "\n(folder / 'status').write_text('{\"token\": \"good\"}')"
    config.write_text(kubeconfig(script.url, exec_plugin(tmp_path, then_good)))

    async with connect(str(config), clock=clock) as cluster:
        for _ in range(3):
            await cluster.read_rollout("shop", "x")

    assert (tmp_path / "calls").read_text() == "xx"
    assert tokens(script.seen) == ["Bearer stale"] + ["Bearer good"] * 3


async def test_a_kubeconfig_with_an_exec_plugin_is_read_again_when_it_was_replaced(
    script: Script, tmp_path: Path
) -> None:
    script.always = by_token
    config = tmp_path / "config"
    for name, token in (("one", "stale"), ("two", "good")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "status").write_text(json.dumps({"token": token}))
    config.write_text(kubeconfig(script.url, exec_plugin(tmp_path / "one", ANSWER)))

    async with connect(str(config), clock=clock) as cluster:
        with pytest.raises(Denied):
            await cluster.read_rollout("shop", "x")
        replace(config, kubeconfig(script.url, exec_plugin(tmp_path / "two", ANSWER)))
        for _ in range(2):
            await cluster.read_rollout("shop", "x")
        replace(config, kubeconfig(script.url, {"token": "good too"}))
        connection = await from_kubeconfig(str(config), clock=clock)
        assert await connection.credential.header() == "Bearer good too"
        replace(config, kubeconfig(script.url, exec_plugin(tmp_path / "two", ANSWER)))
        assert await connection.credential.header("Bearer good too") == "Bearer good"

    assert (tmp_path / "two" / "calls").read_text() == "xx"


async def test_an_exec_plugin_that_has_no_better_token_is_not_asked_for_every_request(
    script: Script, tmp_path: Path
) -> None:
    script.always = by_token
    (tmp_path / "status").write_text('{"token": "stale"}')
    config = tmp_path / "config"
    config.write_text(kubeconfig(script.url, exec_plugin(tmp_path, ANSWER)))

    async with connect(str(config), clock=clock) as cluster:
        for _ in range(5):
            with pytest.raises(Denied):
                await cluster.read_rollout("shop", "x")

    assert (tmp_path / "calls").read_text() == "xx"
    assert len(script.seen) == 5


async def test_a_credential_near_its_end_is_renewed_before_it(script: Script, tmp_path: Path) -> None:
    script.always = by_token
    expiry = (clock() + timedelta(seconds=0.5)).isoformat()
    (tmp_path / "status").write_text(json.dumps({"token": "good", "expirationTimestamp": expiry}))
    config = tmp_path / "config"
    config.write_text(kubeconfig(script.url, exec_plugin(tmp_path, ANSWER)))

    async with connect(str(config), clock=clock) as cluster:
        with anyio.fail_after(20):
            while not (tmp_path / "calls").exists() or (tmp_path / "calls").read_text() == "x":
                await cluster.read_rollout("shop", "x")

    assert set(tokens(script.seen)) == {"Bearer good"}


ANSWER_OF = (
    "(lambda status: print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'status': status})))"
)


ZONELESS = f"{ANSWER_OF}({{'token': 'x', 'expirationTimestamp': '2026-01-01T00:00:00'}})"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("sys.exit('log in first')", "ended with 1: log in first"),
        ("print('hello')", "its answer"),
        ("print(json.dumps({'apiVersion': 'v0', 'status': {'token': 'x'}}))", "answers v0"),
        (
            "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'status': {}}))",
            "neither a token nor a certificate",
        ),
        (ZONELESS, "its answer"),
        ('sys.stdout.buffer.write(b\'{"apiVersion": "\\xff"}\')', "its answer"),
        (f"{ANSWER_OF}({{'token': 'a\\nb'}})", "characters that no header can"),
    ],
)
async def test_a_failing_exec_plugin_is_named_and_nothing_is_sent(
    script: Script, tmp_path: Path, body: str, says: str
) -> None:
    config = tmp_path / "config"
    config.write_text(kubeconfig(script.url, exec_plugin(tmp_path, body)))

    async with connect(str(config), clock=clock) as cluster:
        with pytest.raises(Unavailable) as caught:
            await cluster.read_rollout("shop", "x")

    assert says in str(caught.value)
    assert not caught.value.sent
    assert script.seen == []


async def test_an_exec_plugin_that_hangs_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "config"
    body = (
        "pathlib.Path(os.environ['FOLDER'], 'pid').write_text(str(os.getpid()))\n"
        "print('x' * 5_000_000, flush=True)\ntime.sleep(600)"
    )
    config.write_text(kubeconfig("http://127.0.0.1:1", exec_plugin(tmp_path, body)))
    connection = await from_kubeconfig(str(config), clock=clock)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(connection.credential.header)
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    # cancelled while its pipes are still being connected, it is killed, and reaped a moment later
    with anyio.fail_after(30), suppress(ProcessLookupError):
        while True:
            os.kill(int((tmp_path / "pid").read_text()), 0)
            await anyio.sleep(0.01)


async def test_a_client_certificate_of_an_exec_plugin_is_shown_and_renewed(
    tls_script: Script, tmp_path: Path, pki: Path
) -> None:
    tls_script.always = peer_name

    def put(name: str) -> None:
        crt, key = make_client(pki, name)
        status = {"clientCertificateData": crt.decode(), "clientKeyData": key.decode()}
        expiry = (clock() + timedelta(seconds=3)).isoformat()
        (tmp_path / "status").write_text(json.dumps({**status, "expirationTimestamp": expiry}))

    put("anna")
    config = tmp_path / "config"
    cluster_section: dict[str, object] = {"certificate-authority": str(pki / "ca.crt")}
    config.write_text(kubeconfig(tls_script.url, exec_plugin(tmp_path, ANSWER), cluster_section))

    manifest = {"kind": "PodChaos", "metadata": {"name": "x", "namespace": "shop"}}
    async with connect(str(config), clock=clock) as cluster:
        for _ in range(3):
            assert (await cluster.create_chaos(manifest)).metadata.name == "anna"
        assert (tmp_path / "calls").read_text() == "x"
        put("ben")
        with anyio.fail_after(20):
            while (await cluster.create_chaos(manifest)).metadata.name != "ben":
                await anyio.sleep(0.01)
