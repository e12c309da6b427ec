"""The cluster of a measurement: the sandbox, in a thread of this process."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from bench.loads import ANALYSIS_RUN
from chaosplugin.sandbox import cluster
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS
from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS


@dataclass(frozen=True, slots=True)
class Bed:
    """What is there: the kubeconfig of Argo's ServiceAccount, and a live AnalysisRun."""

    kubeconfig: Path
    analysis_run: Mapping[str, Any]


@contextmanager
def cluster_with_run(folder: Path) -> Iterator[Bed]:
    """Run it until the end of the block."""

    @asynccontextmanager
    async def running() -> AsyncIterator[Bed]:
        async with cluster.start(lambda: datetime.now(UTC), folder) as sandbox:
            created = sandbox.api.create(ANALYSIS_RUNS, ANALYSIS_RUN).copy()
            yield Bed(sandbox.kubeconfig(ARGO_ROLLOUTS), created)

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running()) as bed:
        yield bed
