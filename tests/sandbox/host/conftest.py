"""A cluster with the host's controllers over it, and what tests put into it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.cluster import Cluster, start
from chaosplugin.sandbox.host.assessment import Rules
from chaosplugin.sandbox.host.client import Plugins
from chaosplugin.sandbox.host.controller import Settings, control
from chaosplugin.sandbox.host.requests import Login
from tests.sandbox.host.stage import Stage

QUICK = Rules(error_retry=0.05)


def clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a test stands where app does


Staging = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def staged(tmp_path: Path) -> Staging:
    """`async with staged(plugins, rules) as stage`: controllers run until the end of the block."""

    @asynccontextmanager
    async def stage(plugins: Plugins, rules: Rules = QUICK) -> AsyncIterator[Stage]:
        async with start(clock, tmp_path) as cluster:
            settings = Settings(login(cluster), rules=rules)
            async with control(settings, clock, plugins) as caches:
                yield Stage(cluster, caches)

    return stage


def login(cluster: Cluster) -> Login:
    return Login(cluster.url, cluster.token(ARGO_ROLLOUTS))
