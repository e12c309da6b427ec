"""The sandbox as a bed: cluster and controllers on a loop of their own, in a thread; met over HTTP."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from chaosplugin.sandbox import cluster
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, UPSTREAM_ROLE
from chaosplugin.sandbox.host import controller
from chaosplugin.sandbox.host.assessment import Rules
from chaosplugin.sandbox.host.logs import LogRecord
from chaosplugin.sandbox.host.process import Command
from chaosplugin.sandbox.host.requests import Login
from tests.e2e.manifests import PLUGIN
from tests.realbed.api import Api


def _clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a bed stands where app does


@contextmanager
def running(rules: Rules, plugin: Path, folder: Path) -> Iterator[Api]:
    """Give an administrator's access to a sandbox whose controller has upstream's rights only."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_running(rules, plugin, folder)) as api,
    ):
        yield api


@asynccontextmanager
async def _running(rules: Rules, plugin: Path, folder: Path) -> AsyncIterator[Api]:
    async with cluster.start(_clock, folder) as bed:
        bed.access.revoke(ARGO_ROLLOUTS)
        bed.access.grant(ARGO_ROLLOUTS, UPSTREAM_ROLE)
        environment = {**os.environ, "KUBECONFIG": str(bed.kubeconfig(ARGO_ROLLOUTS, "argo-rollouts"))}
        with (folder / "plugin.log").open("w") as log:

            def write(record: LogRecord) -> None:
                log.write(f"{record.level}: {record.message} {record.fields or ''}\n")

            settings = controller.Settings(
                Login(bed.url, bed.token(ARGO_ROLLOUTS)), {PLUGIN: Command([str(plugin)], environment)}, rules
            )
            async with controller.start(settings, _clock, write):
                yield Api(bed.url, token=bed.token())
