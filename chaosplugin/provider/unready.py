"""Answers for a provider that cannot be made, as there is no usable way to a cluster."""

from collections.abc import Callable, Mapping
from datetime import datetime

from chaosplugin import __version__
from chaosplugin.core.analysis import Measurement, Metric
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.verdict import Reason
from chaosplugin.provider.late import TYPE


class UnreadyProvider:
    """Argo's MetricProvider without a cluster: every answer says why.

    Run ends in Error, as certainly nothing was injected; what an earlier process began is unobserved.
    """

    def __init__(self, why: str, clock: Callable[[], datetime]) -> None:
        self._why = why
        self._clock = clock

    def init(self) -> str:
        return ""

    def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        del run, metric
        return self._answer(Reason.UNAVAILABLE, None)

    def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        del run, metric
        return self._answer(Reason.UNOBSERVED, measurement)

    def terminate(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        del run, metric
        return self._answer(Reason.TERMINATED, measurement)

    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        del run, metric, limit
        return ""

    def type(self) -> str:
        return TYPE

    def get_metadata(self, metric: Metric) -> Mapping[str, str]:
        del metric
        return {"chaosplugin": __version__}

    def _answer(self, reason: Reason, given: Measurement | None) -> Measurement:
        now = self._clock().replace(microsecond=0)
        return Measurement(
            phase=reason.phase,
            message=f"{reason}: {self._why}",
            started_at=(given.started_at if given else None) or now,
            finished_at=now,
        )
