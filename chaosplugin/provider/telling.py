"""Tells of Argo's calls: how long each took in this process, how it was answered, and for which gate."""

from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from time import perf_counter
from typing import TypeVar

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Answer, Measurement, Metric, MetricProvider
from chaosplugin.core.objects import AnalysisRun, secrets_of
from chaosplugin.core.trace import ROOT, trace_of
from chaosplugin.provider.facts import NET_RPC, Called, Gate, Observer, Rpc, gate

T = TypeVar("T")
_KEPT = 1024


class TellingProvider:
    """A provider whose calls are told to an observer; without one, serve the provider itself."""

    def __init__(
        self,
        provider: MetricProvider,
        observer: Observer,
        *,
        clock: Callable[[], datetime],
        sampled: Callable[[str], bool],
        rpc: Rpc = NET_RPC,
    ) -> None:
        self._provider = provider
        self._observer = observer
        self._clock = clock
        self._sampled = sampled
        self._rpc = rpc
        self._gates: dict[tuple[str, str, int, int], Gate] = {}
        """of the latest calls: a gate has many"""

    def init(self) -> Answer[str]:
        return self._provider.init()

    def run(self, run: AnalysisRun | None, metric: Metric) -> Answer[Measurement]:
        return self._tell("Run", run, metric, lambda: self._provider.run(run, metric))

    def resume(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Answer[Measurement]:
        return self._tell("Resume", run, metric, lambda: self._provider.resume(run, metric, measurement))

    def terminate(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Answer[Measurement]:
        return self._tell(
            "Terminate", run, metric, lambda: self._provider.terminate(run, metric, measurement)
        )

    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> Answer[str]:
        call = lambda: self._provider.garbage_collect(run, metric, limit)  # noqa: E731
        return self._tell("GarbageCollect", None, metric, call)

    def type(self) -> str:
        return self._provider.type()

    def get_metadata(self, metric: Metric) -> Answer[Mapping[str, str]]:
        return self._provider.get_metadata(metric)

    def _tell(
        self, method: str, run: AnalysisRun | None, metric: Metric, call: Callable[[], Answer[T]]
    ) -> Answer[T]:
        """Call within the gate's context, which the tasks that the call starts take along."""
        at, began = self._clock(), perf_counter()
        asked = self._gate(run, metric)
        token = gate.set(asked)
        try:
            answer = call()
        finally:
            gate.reset(token)
        if isinstance(answer, Coroutine):
            return self._later(method, asked, at, began, answer)
        self._told(method, asked, at, began, answer)
        return answer

    async def _later(
        self,
        method: str,
        asked: Gate | None,
        at: datetime,
        began: float,
        answer: Coroutine[object, object, T],
    ) -> T:
        value = await answer
        self._told(method, asked, at, began, value)
        return value

    def _told(self, method: str, asked: Gate | None, at: datetime, began: float, answer: object) -> None:
        phase = answer.phase if isinstance(answer, Measurement) else None
        self._observer(Called(method, asked, at, perf_counter() - began, phase, self._rpc))

    def _gate(self, run: AnalysisRun | None, metric: Metric) -> Gate | None:
        if run is None or not run.metadata.uid:
            return None
        result = run.result(metric.name)
        key = (run.metadata.uid, metric.name, result.count if result else 0, result.error if result else 0)
        known = self._gates.get(key)
        if known is not None:
            return known
        identity = ledger.identify(run, metric.name)
        trace = trace_of(identity, ledger.errors(run, metric.name))
        made = Gate(identity.digest, trace, ROOT, self._sampled(trace.id), secrets_of(run))
        if len(self._gates) >= _KEPT:
            self._gates.clear()
        self._gates[key] = made
        return made
