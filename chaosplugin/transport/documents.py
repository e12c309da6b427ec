"""The objects of a call as JSON of their Kubernetes types, which is how the gRPC API carries them.

As in `rollouts`, only what the provider's vocabulary holds is read; what is left out counts as empty.
"""

from datetime import datetime
from typing import TypeVar

import msgspec

from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun

T = TypeVar("T")


class InvalidDocument(Exception):
    """Bytes that are no such object. `field` names the request's field, `str()` what is wrong with it."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


class _Provider(msgspec.Struct, frozen=True):
    plugin: dict[str, msgspec.Raw] = {}


class _Metric(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    name: str = ""
    success_condition: str = ""
    failure_condition: str = ""
    provider: _Provider = _Provider()


class _Measurement(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    phase: Phase = Phase.PENDING
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    value: str = ""
    metadata: dict[str, str] | None = None
    resume_at: datetime | None = None


_analysis_runs = msgspec.json.Decoder(AnalysisRun)
_metrics = msgspec.json.Decoder(_Metric)
_measurements = msgspec.json.Decoder(_Measurement)
_anything = msgspec.json.Decoder(msgspec.Raw)


def _decode(decoder: msgspec.json.Decoder[T], field: str, data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidDocument(field, f"no such JSON: {error}") from None


def read_analysis_run(data: bytes) -> AnalysisRun | None:
    """Read an AnalysisRun; no bytes are none, which Argo's interface allows.

    Raises: InvalidDocument, as all that reads here.
    """
    return _decode(_analysis_runs, "analysis_run", data) if data else None


def read_metric(data: bytes) -> Metric:
    """Read a Metric, and leave the plugin's configuration as it is."""
    found = _decode(_metrics, "metric", data)
    return Metric(
        name=found.name,
        plugin={name: bytes(config) for name, config in found.provider.plugin.items()},
        success_condition=found.success_condition,
        failure_condition=found.failure_condition,
    )


def read_measurement(data: bytes) -> Measurement:
    """Read a Measurement."""
    found = _decode(_measurements, "measurement", data)
    return Measurement(
        phase=found.phase,
        message=found.message,
        started_at=found.started_at,
        finished_at=found.finished_at,
        value=found.value,
        metadata=found.metadata or {},
        resume_at=found.resume_at,
    )


def write_analysis_run(run: AnalysisRun | None) -> bytes:
    """Write what is known of an AnalysisRun."""
    return b"" if run is None else msgspec.json.encode(run)


def write_metric(metric: Metric) -> bytes:
    """Write a metric; its configuration is JSON already.

    Raises: InvalidDocument, if that is not so.
    """
    for name, config in metric.plugin.items():
        _decode(_anything, f"metric.provider.plugin[{name}]", config)
    return msgspec.json.encode(
        _Metric(
            name=metric.name,
            success_condition=metric.success_condition,
            failure_condition=metric.failure_condition,
            provider=_Provider({name: msgspec.Raw(config) for name, config in metric.plugin.items()}),
        )
    )


def write_measurement(measurement: Measurement) -> bytes:
    """Write a Measurement."""
    return msgspec.json.encode(
        _Measurement(
            phase=measurement.phase,
            message=measurement.message,
            started_at=measurement.started_at,
            finished_at=measurement.finished_at,
            value=measurement.value,
            metadata=dict(measurement.metadata) or None,
            resume_at=measurement.resume_at,
        )
    )
