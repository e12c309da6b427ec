"""The ways to an API server: kubeconfig, pod, token files, exec plugins."""

import json
import os
import shutil
import stat
import sys
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from chaosplugin.kube.client import connect
from chaosplugin.kube.connection import environment_proxy, in_cluster
from chaosplugin.kube.credentials import Issued, Renewed, TokenFile
from chaosplugin.kube.errors import NoCluster
from chaosplugin.kube.kubeconfig import from_kubeconfig
from chaosplugin.provider.ports import Denied, Unavailable
from tests.kube.conftest import Script, Time, by_token, clock, kubeconfig, peer_name, replace, tokens
from tests.realbed.pki import make_client


async def test_a_token_file_is_stripped_and_read_again_when_it_changes(tmp_path: Path) -> None:
    time = Time()
    file = tmp_path / "token"
    file.write_text("first\n")
    credential = TokenFile(file, monotonic=time)

    assert await credential.header() == "Bearer first"
    file.write_text("second\n")
    os.utime(file, ns=(1, 1))
    assert await credential.header() == "Bearer first"
    time.now = 10
    assert await credential.header() == "Bearer second"
    file.write_text("third")
    assert await credential.header(refused="Bearer second") == "Bearer third"
    file.unlink()
    time.now = 20
    assert await credential.header(refused="Bearer third") == "Bearer third"


@pytest.mark.parametrize("bad", ["good\nhalf", "\x00"])
async def test_a_token_that_no_header_can_hold_is_no_credential(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "token"
    file.write_text(bad)

    with pytest.raises(NoCluster, match=r"token file .*: it holds characters that no header can"):
        await TokenFile(file).header()


async def test_an_empty_token_file_is_no_credential(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")

    with pytest.raises(NoCluster, match="empty"):
        await TokenFile(tmp_path / "token").header()


async def test_a_renewal_runs_once_for_all_who_wait() -> None:
    issued = 0

    async def issue() -> Issued:
        nonlocal issued
        issued += 1
        await anyio.lowlevel.checkpoint()
        return Issued(f"Bearer {issued}")

    credential = Renewed(issue)
    found: list[str] = []

    async def ask() -> None:
        found.append(await credential.header())

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask)
    assert found == ["Bearer 1"] * 10
    for _ in range(10):
        assert await credential.header(refused="Bearer 1") == "Bearer 2"
    assert issued == 2


async def test_a_failed_renewal_keeps_the_old_value_and_waits_before_the_next() -> None:
    time = Time()
    calls = 0

    async def issue() -> Issued:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise NoCluster("the issuer is away")
        return Issued("Bearer old", 100)

    credential = Renewed(issue, monotonic=time)
    assert await credential.header() == "Bearer old"
    time.now = 100
    for _ in range(5):
        assert await credential.header() == "Bearer old"
    assert calls == 2
    time.now = 111
    assert await credential.header() == "Bearer old"
    assert calls == 3


async def test_a_rotated_token_of_a_pod_is_taken_up_after_one_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pki: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("good\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    shutil.copy(pki / "ca.crt", tmp_path)
    connection = await in_cluster(tmp_path)
    assert connection.server == "https://127.0.0.1:443"
    assert connection.tls is not None
    assert await connection.credential.header() == "Bearer good"

    token.write_text("better")

    assert await connection.credential.header(refused="Bearer good") == "Bearer better"


async def test_outside_of_a_pod_and_without_kubeconfig_there_is_no_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(NoCluster, match="not inside a cluster"):
        await in_cluster()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "token"),
        ({"token": "good"}, "ca.crt"),
        ({"token": "", "ca.crt": "x"}, "empty"),
        ({"token": "good", "ca.crt": ""}, "CA certificate"),
        ({"token": "good", "ca.crt": "x"}, "CA certificate"),
    ],
)
async def test_broken_files_of_a_pod_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], says: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(NoCluster, match=says):
        await in_cluster(tmp_path)


async def test_a_pod_of_an_ipv6_cluster_finds_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pki: Path
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("good")
    shutil.copy(pki / "ca.crt", tmp_path)

    assert (await in_cluster(tmp_path)).server == "https://[fd00::1]:443"


@pytest.mark.parametrize(
    ("server", "wanted"),
    [
        ("https://10.96.0.1:443", None),
        ("https://[fd00::1]:443", None),
        ("https://10.0.0.7", None),
        ("https://kubernetes.default.svc", None),
        ("https://127.0.0.2:6443", None),
        ("https://[::1]:6443", None),
        ("https://localhost:6443", None),
        ("https://10.112.0.1", "http://proxy.corp:3128"),
        ("https://elsewhere.example", "http://proxy.corp:3128"),
    ],
)
def test_proxies_of_the_environment_are_read_as_the_controller_reads_them(
    monkeypatch: pytest.MonkeyPatch, server: str, wanted: str | None
) -> None:
    """Go takes networks in NO_PROXY, as clusters have there, a proxy without a scheme, and none at home."""
    for name in ("https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "proxy.corp:3128")
    monkeypatch.setenv("NO_PROXY", "10.96.0.0/12, fd00::/8,10.0.0.7,.svc,nonsense/99")

    assert environment_proxy(server) == wanted


async def test_a_plugin_inside_a_cluster_never_imports_kubernetes_asyncio() -> None:
    program = "import sys, chaosplugin.kube.clusters; sys.exit('kubernetes_asyncio' in sys.modules)"

    assert (await anyio.run_process([sys.executable, "-c", program], check=False)).returncode == 0


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
        "an exec plugin": kubeconfig(script.url, exec_plugin(tmp_path, "")),
    }

    replace(config, texts.get(bad, bad))

    assert await connection.credential.header("Bearer good") == "Bearer good"
    assert "the last one is kept" in caplog.text


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

    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


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
