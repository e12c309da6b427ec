"""Connections to endpoints: shared while somebody uses them, closed when nobody does."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from chaosplugin.core.topics import PodsTopic
from chaosplugin.kube.client import connect
from chaosplugin.kube.clusters import KubernetesClusters
from chaosplugin.provider.facts import Fact, Requested
from tests.kube.answers import answer
from tests.kube.conftest import Script, by_token, clock
from tests.kube.watches import bookmark, stream

KEPT_S = 0.2


@pytest.fixture
def secret(script: Script, pki: Path) -> Script:
    """Return the home cluster, which has the Secret."""
    data = {"token": b"good", "ca.crt": (pki / "ca.crt").read_bytes()}
    body = {
        "metadata": {"name": "far", "labels": {"chaosplugin.io/credentials": "true"}},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }
    script.always = answer(body)
    return script


@asynccontextmanager
async def opened(
    config: str, told: Callable[[Fact], None] | None = None
) -> AsyncIterator[KubernetesClusters]:
    async with connect(config, clock=clock) as home, anyio.create_task_group() as tasks:
        yield KubernetesClusters(home, tasks, clock, observer=told, kept_s=KEPT_S)
        tasks.cancel_scope.cancel()


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not holds():
            await anyio.sleep(0.01)


async def test_an_endpoint_that_nobody_uses_is_closed_and_opened_for_the_next_gate(
    secret: Script, script_config: str, tls_script: Script
) -> None:
    tls_script.always = by_token
    async with opened(script_config) as clusters:
        first = await clusters.endpoint(tls_script.url, "shop", "far", begins=True)
        assert await clusters.endpoint(tls_script.url, "shop", "far") is first
        await first.read_rollout("shop", "x")

        await until(lambda: not clusters._endpoints and first._session._kept.closed)

        second = await clusters.endpoint(tls_script.url, "shop", "far", begins=True)
        assert (await second.read_rollout("shop", "x")).metadata.name == "x"
    assert [seen.path for seen in secret.seen] == ["/api/v1/namespaces/shop/secrets/far"] * 2


async def test_an_endpoint_at_which_a_gate_follows_its_experiment_stays_open(
    secret: Script, script_config: str, tls_script: Script
) -> None:
    """Also if its Secret is gone by now: what was begun is undone with it."""
    tls_script.always = stream(bookmark(7, ends=True), then="hang")
    async with opened(script_config) as clusters:
        far = await clusters.endpoint(tls_script.url, "shop", "far", begins=True)
        leave = await far.follow(PodsTopic("shop", "hash", "new"), lambda *_: None)
        await anyio.sleep(3 * KEPT_S)

        assert await clusters.endpoint(tls_script.url, "shop", "far") is far
        leave()
    assert len(secret.seen) == 1


async def test_gates_that_begin_while_no_secret_can_be_read_hold_up_nobody_who_undoes_a_fault(
    secret: Script, script_config: str, tls_script: Script
) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await anyio.sleep_forever()
        raise AssertionError

    async with opened(script_config) as clusters, anyio.create_task_group() as tasks:
        far = await clusters.endpoint(tls_script.url, "shop", "far", begins=True)
        secret.always = never
        for name in ("far", "other"):
            tasks.start_soon(partial(clusters.endpoint, tls_script.url, "shop", name, begins=True))
        await until(lambda: len(secret.seen) == 3)

        with anyio.fail_after(10):
            assert await clusters.endpoint(tls_script.url, "shop", "far") is far
        tasks.cancel_scope.cancel()


async def test_an_endpoint_is_opened_once_for_all_gates_that_begin_at_once(
    secret: Script, script_config: str, tls_script: Script
) -> None:
    found = []

    async def begin(clusters: KubernetesClusters) -> None:
        found.append(await clusters.endpoint(tls_script.url, "shop", "far", begins=True))

    async with opened(script_config) as clusters:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(begin, clusters)

        assert {*found} == {found[0]}
        assert len(secret.seen) == 3  # each gate that begins wants the Secret as it is
        await until(lambda: not clusters._endpoints)


async def test_requests_of_gates_without_an_analysis_to_an_endpoint_are_told_as_others_are(
    secret: Script, script_config: str, tls_script: Script
) -> None:
    tls_script.always = by_token
    told: list[Fact] = []
    async with opened(script_config, told.append) as clusters:
        far = await clusters.of_records().endpoint(tls_script.url, "shop", "far", begins=True)
        await far.read_rollout("shop", "x")

    assert [fact.server for fact in told if isinstance(fact, Requested)] == [tls_script.url]
