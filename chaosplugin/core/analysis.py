"""The vocabulary of Argo Rollouts' metric providers: what is asked, and what is answered.

Source: argo-rollouts pkg/apis/rollouts/v1alpha1/analysis_types.go and metricproviders/plugin/rpc.
"""

from collections.abc import Coroutine, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias, TypeVar

from msgspec import Struct

from chaosplugin.core.objects import AnalysisRun


class Phase(StrEnum):
    """Phase of a measurement. Error is retried by Argo, the other completed ones are not."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"
    ERROR = "Error"
    INCONCLUSIVE = "Inconclusive"

    @property
    def completed(self) -> bool:
        return self not in {Phase.PENDING, Phase.RUNNING}


class Metric(Struct, frozen=True, kw_only=True, gc=False):
    """The metric of a call, with its arguments resolved by the controller.

    `plugin` is `provider.plugin`: JSON by registered plugin name, exactly one in practice.
    """

    name: str
    plugin: Mapping[str, bytes] = {}
    success_condition: str = ""
    failure_condition: str = ""


class Measurement(Struct, frozen=True, kw_only=True, gc=False):
    """One measurement. The controller stores it as answered; `resume_at` None waits for an event."""

    phase: Phase
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    value: str = ""
    metadata: Mapping[str, str] = {}
    resume_at: datetime | None = None


T = TypeVar("T")
Answer: TypeAlias = T | Coroutine[object, object, T]
"""What a method returns: the answer, or what has to be waited for."""


class MetricProvider(Protocol):
    """What answers Argo's calls; a text of `init` or `garbage_collect` is an error, "" is none.

    Calls that are answered from memory are most of them, so a method need not be a coroutine function.
    """

    def init(self) -> Answer[str]: ...
    def run(self, run: AnalysisRun | None, metric: Metric) -> Answer[Measurement]: ...
    def resume(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Answer[Measurement]: ...
    def terminate(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Answer[Measurement]: ...
    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> Answer[str]: ...
    def type(self) -> str: ...
    def get_metadata(self, metric: Metric) -> Answer[Mapping[str, str]]: ...
