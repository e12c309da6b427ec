"""A server that answers as a test says, and the two beds on which the same claims must hold."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web

from chaosplugin.kube.reflector import Pace
from chaosplugin.sandbox import cluster as sandbox
from tests.realbed import bed as realbed
from tests.realbed import build
from tests.realbed.pki import make as make_pki

Json = dict[str, object]
T = TypeVar("T")
Step = Callable[[web.Request], Awaitable[web.StreamResponse]]

QUICK = Pace(idle_s=20, initial_s=20, first_delay_s=0.01, last_delay_s=0.05, linger_s=0.05)


def clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  # tests stand where app does


@asynccontextmanager
async def in_one_task(context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave `context` in one task, as task groups want it; pytest-asyncio's fixtures have two."""
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def hold() -> None:
        async with context as value:
            entered.set_result(value)
            await leave.wait()

    task = asyncio.create_task(hold())  # noqa: TID251  # a task group cannot reach over two tasks
    either: list[asyncio.Future[Any]] = [task, entered]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    yield entered.result()
    leave.set()
    await task


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Script:
    """An API server that follows steps: the next of a path's own ones, else of the common ones."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.steps: list[Step] = []
        self.always: Step | None = None
        self.url = ""

    def then(self, *steps: Step) -> None:
        self.steps += steps

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            Seen(
                request.method, request.path, dict(request.query), dict(request.headers), await request.read()
            )
        )
        if self.steps:
            return await self.steps.pop(0)(request)
        if self.always is not None:
            return await self.always(request)
        return web.Response(status=500, text="the script is at its end")

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    async with script.serve():
        yield script


def kubeconfig(server: str, user: Json, cluster: Json | None = None) -> str:
    """A kubeconfig, as JSON, which is YAML."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
    )


@pytest.fixture
def script_config(script: Script, tmp_path: Path) -> str:
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfig(script.url, {"token": "first-token"}))
    return str(file)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.crt, ca.key, tls.crt and tls.key."""
    folder = tmp_path_factory.mktemp("pki")
    make_pki(folder)
    return folder


@pytest.fixture
async def tls_script(pki: Path) -> AsyncIterator[Script]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki / "ca.crt")
    tls.verify_mode = ssl.CERT_OPTIONAL
    tls.load_cert_chain(pki / "tls.crt", pki / "tls.key")
    script = Script()
    async with script.serve(tls):
        yield script


@dataclass(slots=True)
class Bed:
    """A cluster with the CRDs, no controllers of theirs, and a way to change it past the code under test."""

    config: str
    url: str = field(init=False)
    _parsed: Any = field(init=False)
    _session: aiohttp.ClientSession = field(init=False)

    def __post_init__(self) -> None:
        self._parsed = json.loads(Path(self.config).read_text())

    async def __aenter__(self) -> "Bed":
        parsed = self._parsed
        cluster = parsed["clusters"][0]["cluster"]
        self.url = cluster["server"]
        ca = cluster.get("certificate-authority")
        tls = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca) if ca else True)
        token = parsed["users"][0]["user"]["token"]
        self._session = aiohttp.ClientSession(connector=tls, headers={"Authorization": f"Bearer {token}"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> dict[str, object]:
        data = None if body is None else json.dumps(body)
        async with self._session.request(
            method, self.url + path, data=data, headers={"Content-Type": kind}
        ) as r:
            answer = await r.json()
            assert r.status < 300, answer
            assert isinstance(answer, dict)
            return answer

    def get(self, path: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.get(self.url + path)

    async def status(self, path: str) -> int:
        async with self.get(path) as response:
            return response.status

    async def create(self, path: str, body: Json) -> Json:
        return await self.call("POST", path, body)

    async def patch(self, path: str, body: Json) -> Json:
        return await self.call("PATCH", path, body, "application/merge-patch+json")

    async def delete(self, path: str) -> Json:
        return await self.call("DELETE", path, {"gracePeriodSeconds": 0})


@pytest.fixture(scope="session")
def real_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[realbed.Bed]:
    cache = build.cache()
    if not (cache / "bin" / "kubebed").exists():
        pytest.fail("the real control plane has not been built: make realbed")
    with realbed.running(cache, tmp_path_factory.mktemp("realbed")) as bed:
        bed.install_crds(cache / "manifests" / "argo" / "crds")
        bed.install_crds(cache / "manifests" / "chaos")
        yield bed


@pytest.fixture(params=["sandbox", pytest.param("real", marks=pytest.mark.e2e)])
async def bed(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bed]:
    if request.param == "real":
        real: realbed.Bed = request.getfixturevalue("real_bed")
        async with Bed(str(real.kubeconfig)) as bed:
            yield bed
    else:
        async with (
            in_one_task(sandbox.start(clock, tmp_path)) as started,
            Bed(str(started.kubeconfig())) as bed,
        ):
            yield bed


def replace(config: Path, text: str) -> None:
    """Put another file in its place, as whoever rotates credentials does."""
    successor = config.with_suffix(".new")
    successor.write_text(text)
    successor.rename(config)


async def peer_name(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    shown = request.transport.get_extra_info("peercert")
    name = dict(pair[0] for pair in shown["subject"])["commonName"] if shown else "nobody"
    return web.json_response({"kind": "PodChaos", "metadata": {"name": name}})


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


MANIFEST = {"kind": "PodChaos", "metadata": {"name": "x", "namespace": "shop"}}


async def by_token(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Authorization") == "Bearer good":
        return web.json_response({"metadata": {"name": "x"}})
    return web.json_response({"code": 401, "message": "Unauthorized"}, status=401)


def tokens(seen: list[Seen]) -> list[str]:
    return [each.headers.get("Authorization", "") for each in seen]
