"""The pages: who gets them, in which format, and what happens where they cannot be served."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web

from chaosplugin import cli
from chaosplugin.provider.settings import Metrics as Address
from chaosplugin.telemetry import http
from chaosplugin.telemetry.metrics import Metrics
from chaosplugin.transport.startup import CannotStartError
from tests.core.given import START
from tests.core.world import World
from tests.observability.judges import free_ports
from tests.realbed.pki import make as make_pki

TEXT = "text/plain"
OPEN_METRICS = "application/openmetrics-text"


@asynccontextmanager
async def served(
    world: World | None = None, token: str = "", certificate: str | None = None, key: str | None = None
) -> AsyncIterator[tuple[str, list[str]]]:
    why = ["starting"]
    (port,) = free_ports(1)
    address = Address("127.0.0.1", port, certificate, key, None)
    runs = world.registry.runs if world is not None else {}
    pages = http.Pages(Metrics(lambda: START, lambda: 0.0, lambda: runs), token, lambda: why[0])
    url = f"{'https' if address.certificate else 'http'}://127.0.0.1:{port}"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(http.serve, address, pages)
        await _open(port)
        yield url, why
        tasks.cancel_scope.cancel()


async def _open(port: int) -> None:
    with anyio.fail_after(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await anyio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return


async def get(url: str, ca: Path | None = None, **headers: str) -> tuple[int, str, str]:
    tls = ssl.create_default_context(cafile=ca) if ca else True
    connector = aiohttp.TCPConnector(ssl=tls)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, headers=headers) as answer,
    ):
        return answer.status, answer.content_type, await answer.text()


@pytest.mark.parametrize(
    ("accept", "content"),
    [("", TEXT), ("text/plain;version=0.0.4", TEXT), (f"{OPEN_METRICS};version=1.0.0", OPEN_METRICS)],
)
async def test_metrics_come_in_the_format_that_is_asked_for(accept: str, content: str) -> None:
    async with served() as (url, _):
        status, got, text = await get(f"{url}/metrics", Accept=accept or "*/*")

    assert (status, got) == (200, content)
    assert "rollouts_chaos_build_info" in text
    assert text.endswith("# EOF\n") is (content == OPEN_METRICS)


@pytest.mark.parametrize("page", ["metrics", "debug/runs"])
async def test_with_a_token_nobody_else_reads_what_is_not_public(page: str) -> None:
    async with served(None, "opensesame") as (url, _):
        statuses = [
            (await get(f"{url}/{page}"))[0],
            (await get(f"{url}/{page}", Authorization="Bearer wrong"))[0],
            (await get(f"{url}/{page}", Authorization="Basic opensesame"))[0],
            (await get(f"{url}/{page}", Authorization="Bearer opensesame"))[0],
        ]
        health, _, _ = await get(f"{url}/healthz")

    assert statuses == [401, 401, 401, 200]
    assert health == 200


async def test_readiness_says_why_not() -> None:
    async with served() as (url, why):
        before = await get(f"{url}/readyz")
        why[0] = "the kubeconfig has no context"
        without = await get(f"{url}/readyz")
        why[0] = ""
        after = await get(f"{url}/readyz")

    assert before[0] == 503
    assert without == (503, TEXT, "the kubeconfig has no context\n")
    assert after == (200, TEXT, "ok\n")


async def test_the_list_of_runs_holds_no_secret() -> None:
    world = World(secrets=("hunter2",))
    world.start()
    (run,) = world.registry.runs.values()
    run.waiting_for = "denied: hunter2 is not known"
    world.terminate()
    async with served(world) as (url, _):
        _, content, text = await get(f"{url}/debug/runs")
    (listed,) = json.loads(text)["runs"]

    assert content == "application/json"
    assert "hunter2" not in text
    assert listed["waitingFor"] == "denied: ***** is not known"
    assert listed["verdict"]["reason"] == "Terminated"
    assert listed["analysisRun"] == "default/web-1"


async def test_over_tls(tmp_path: Path) -> None:
    make_pki(tmp_path)
    certificate, key = str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")
    async with served(certificate=certificate, key=key) as (url, _):
        status, _, _ = await get(f"{url}/metrics", ca=tmp_path / "ca.crt")

    assert status == 200


async def test_a_renewed_certificate_is_shown_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "_RELOAD_S", 0.02)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        make_pki(folder)
    certificate, key = first / "tls.crt", first / "tls.key"
    async with served(certificate=str(certificate), key=str(key)) as (url, _):
        certificate.write_bytes((second / "tls.crt").read_bytes())
        with anyio.fail_after(20):
            while "cannot be used" not in caplog.text:  # it is not this key's
                await anyio.sleep(0.02)
        half_way, _, _ = await get(f"{url}/healthz", ca=first / "ca.crt")
        key.write_bytes((second / "tls.key").read_bytes())
        with anyio.fail_after(20):
            while not await _is_shown(url, second / "ca.crt"):
                await anyio.sleep(0.02)

    assert half_way == 200


async def _is_shown(url: str, ca: Path) -> bool:
    try:
        status, _, _ = await get(f"{url}/healthz", ca=ca)
    except aiohttp.ClientConnectorCertificateError:
        return False
    return status == 200


async def test_a_changed_token_is_asked_for_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_RELOAD_S", 0.02)
    file = tmp_path / "token"
    file.write_text("opensesame")
    (port,) = free_ports(1)
    address = Address("127.0.0.1", port, None, None, str(file))
    pages = http.Pages(Metrics(lambda: START, lambda: 0.0, dict), http.token_of(address), str)
    url = f"http://127.0.0.1:{port}/metrics"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(http.serve, address, pages)
        await _open(port)
        file.write_text("")  # of which nobody can be the bearer
        file.write_text("abracadabra")
        with anyio.fail_after(20):
            while (await get(url, Authorization="Bearer abracadabra"))[0] != 200:
                await anyio.sleep(0.02)
        old, _, _ = await get(url, Authorization="Bearer opensesame")
        tasks.cancel_scope.cancel()

    assert old == 401


async def test_a_certificate_that_cannot_be_read_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = Address("127.0.0.1", free_ports(1)[0], str(tmp_path / "none"), None, None)
    with anyio.fail_after(10):
        await http.serve(address, http.Pages(Metrics(lambda: START, lambda: 0.0, dict), "", str))

    assert f"no metrics: {tmp_path}/none: No such file or directory" in caplog.text


async def test_tries_for_a_port_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "_RETRY_S", 0.01)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    address = Address("127.0.0.1", taken.sockets[0].getsockname()[1], None, None, None)
    async with taken, anyio.create_task_group() as tasks:
        tasks.start_soon(http._listen, runner, address, None)
        with anyio.fail_after(10):
            while "no metrics for now" not in caplog.text:
                await anyio.sleep(0.01)
        await anyio.sleep(0.1)  # some tries more
        left = len(runner.sites)
        tasks.cancel_scope.cancel()
    await runner.cleanup()

    assert left <= 1


async def test_a_port_that_is_taken_is_a_warning_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "_RETRY_S", 0.05)
    taken = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with anyio.create_task_group() as tasks:
        address = Address("127.0.0.1", port, None, None, None)
        tasks.start_soon(http.serve, address, http.Pages(Metrics(lambda: START, lambda: 0.0, dict), "", str))
        with anyio.fail_after(10):
            while "no metrics for now" not in caplog.text:
                await anyio.sleep(0.02)
        await anyio.sleep(0.2)  # some tries more
        taken.close()
        await taken.wait_closed()
        await _open(port)
        status, _, _ = await get(f"http://127.0.0.1:{port}/healthz")
        tasks.cancel_scope.cancel()

    assert status == 200
    assert caplog.text.count("no metrics for now") == 1
    assert f"no metrics for now: 127.0.0.1:{port}: " in caplog.text


def test_the_controllers_own_ports_are_not_taken_from_it() -> None:
    assert "8090" in http.conflict(Address("", 8090, None, None, None))
    assert http.conflict(Address("", 9464, None, None, None)) == ""


def test_a_token_file_without_a_token_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" \n")

    with pytest.raises(ValueError, match="is empty"):
        http.token_of(Address("", 1, None, None, str(file)))
    file.write_text("opensesame\n")
    assert http.token_of(Address("", 1, None, None, str(file))) == "opensesame"


async def test_a_loop_that_stands_still_is_noticed() -> None:
    metrics = Metrics(lambda: START + timedelta(seconds=1), lambda: 0.0, dict)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(http.beat, metrics)
        await anyio.sleep(0.1)
        blocked = asyncio.get_running_loop().time() + 0.8
        while asyncio.get_running_loop().time() < blocked:
            pass
        await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()
    metrics.collect()
    lag = metrics.families.registry.get_sample_value("rollouts_chaos_event_loop_lag_seconds")

    assert lag is not None
    assert lag > 0.2


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [(":9464", "", 9464), ("127.0.0.1:9464", "127.0.0.1", 9464), ("[::1]:9464", "::1", 9464)],
)
def test_an_address_is_host_and_port(given: str, host: str, port: int) -> None:
    settings = cli._settings(["--metrics-address", given, "--metrics-token-file", "/token"])

    assert settings.metrics == Address(host, port, None, None, "/token")


@pytest.mark.parametrize("given", ["9464", "localhost", ":http", ":0", ":65536", ""])
def test_what_is_no_address_is_refused_in_one_line(given: str) -> None:
    with pytest.raises(CannotStartError, match=r"--metrics-address: met .*, wanted HOST:PORT or :PORT$"):
        cli._settings(["--metrics-address", given])


def test_without_an_address_there_are_no_metrics() -> None:
    assert cli._settings(["--log-level", "debug"]).metrics is None
