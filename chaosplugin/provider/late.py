"""A provider that is there before it is made: calls wait for it, and reach whichever is set last."""

from collections.abc import Callable, Coroutine, Mapping
from typing import TypeVar

import anyio

from chaosplugin.core.analysis import Answer, Measurement, Metric, MetricProvider
from chaosplugin.core.objects import AnalysisRun

T = TypeVar("T")

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

    def _ask(self, ask: Callable[[MetricProvider], Answer[T]]) -> Answer[T]:
        return self._later(ask) if self._provider is None else ask(self._provider)

    async def _later(self, ask: Callable[[MetricProvider], Answer[T]]) -> T:
        while self._provider is None:
            await self._ready.wait()
        answer = ask(self._provider)
        return await answer if isinstance(answer, Coroutine) else answer

    def init(self) -> Answer[str]:
        return self._ask(lambda provider: provider.init())

    def run(self, run: AnalysisRun | None, metric: Metric) -> Answer[Measurement]:
        return self._ask(lambda provider: provider.run(run, metric))

    def resume(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Answer[Measurement]:
        return self._ask(lambda provider: provider.resume(run, metric, measurement))

    def terminate(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Answer[Measurement]:
        return self._ask(lambda provider: provider.terminate(run, metric, measurement))

    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> Answer[str]:
        return self._ask(lambda provider: provider.garbage_collect(run, metric, limit))

    def type(self) -> str:
        return TYPE

    def get_metadata(self, metric: Metric) -> Answer[Mapping[str, str]]:
        return self._ask(lambda provider: provider.get_metadata(metric))
