"""A provider that is there before it is made: calls wait for it, and reach whichever is set last."""

from collections.abc import Mapping

import anyio

from chaosplugin.core.analysis import Measurement, Metric, MetricProvider
from chaosplugin.core.objects import AnalysisRun

TYPE = "ChaosMesh"
"""What Argo's Type() answers."""


class LateProvider:
    """Stands for the provider from the handshake on, while the heavy parts are still being imported."""

    def __init__(self) -> None:
        self._provider: MetricProvider | None = None
        self._ready = anyio.Event()

    def set(self, provider: MetricProvider) -> None:
        """From now on calls reach this one."""
        self._provider = provider
        self._ready.set()

    async def _there(self) -> MetricProvider:
        while self._provider is None:
            await self._ready.wait()
        return self._provider

    async def init(self) -> str:
        return await (await self._there()).init()

    async def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        return await (await self._there()).run(run, metric)

    async def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        return await (await self._there()).resume(run, metric, measurement)

    async def terminate(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Measurement:
        return await (await self._there()).terminate(run, metric, measurement)

    async def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        return await (await self._there()).garbage_collect(run, metric, limit)

    def type(self) -> str:
        return TYPE

    async def get_metadata(self, metric: Metric) -> Mapping[str, str]:
        return await (await self._there()).get_metadata(metric)
