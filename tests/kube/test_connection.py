"""The ways to an API server: a pod's own, token files, what is issued, proxies."""

import os
import shutil
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from chaosplugin.kube.connection import environment_proxy, in_cluster
from chaosplugin.kube.credentials import Issued, Renewed, TokenFile
from chaosplugin.kube.errors import NoCluster
from tests.kube.conftest import Time


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
