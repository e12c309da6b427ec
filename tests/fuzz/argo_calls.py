"""Small calls of Argo's methods to start from: the recorded ones bring 20 kB of types that nobody reads."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.transport.netrpc import Service
from chaosplugin.transport.rollouts import metric_service
from chaosplugin.wire.gob.gotypes import (
    METAV1_TIME,
    Basic,
    GoType,
    Interface,
    Map,
    Pointer,
    SelfEncoding,
    Slice,
    Struct,
)
from chaosplugin.wire.gob.shapes import (
    SKIP,
    InterfaceShape,
    ListShape,
    MapShape,
    Named,
    OpaqueShape,
    Scalar,
    Shape,
    StructShape,
    Whole,
)
from chaosplugin.wire.gob.times import encode_time

_MOMENT = encode_time(datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
_VALUES: Mapping[Scalar, object] = {
    Scalar.BOOL: True,
    Scalar.INT: -3,
    Scalar.UINT: 3,
    Scalar.FLOAT: 0.5,
    Scalar.COMPLEX: 1j,
    Scalar.STRING: "Running",
    Scalar.BYTES: b"{}",
}


class Echo:
    """A provider that answers at once, with what it was given."""

    async def init(self) -> str:
        return ""

    async def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        return Measurement(
            phase=Phase.RUNNING, message=metric.name, started_at=datetime(2026, 1, 1, tzinfo=UTC)
        )

    async def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        return measurement

    async def terminate(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Measurement:
        return measurement

    async def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        return metric.name * (limit % 3)

    def type(self) -> str:
        return "fuzz"

    async def get_metadata(self, metric: Metric) -> Mapping[str, str]:
        return {metric.name: metric.success_condition}


SERVICE: Service = metric_service(Echo())


def calls() -> Iterator[tuple[str, GoType, object]]:
    """Each method with an argument of the least type that has all that is read of it, full, empty and nil."""
    for name, endpoint in SERVICE.items():
        wanted = endpoint.method.argument
        if not isinstance(wanted, InterfaceShape):
            continue
        concrete = {key: _go_type(shape) for key, shape in wanted.concrete.items() if shape is not SKIP}
        interface = Interface(concrete)
        yield name, interface, None
        for key in concrete:
            yield name, interface, Named(key, {})
            yield name, interface, Named(key, _value(wanted.concrete[key]))


def _go_type(shape: Shape) -> GoType:
    match shape:
        case StructShape(go=go, fields=fields):
            inner = tuple((name, _go_type(part)) for name, (_, part) in fields.items())
            return Pointer(Struct(go.rpartition(".")[2], inner))
        case ListShape(element=element):
            return Slice(_go_type(element))
        case MapShape(key=key, value=value):
            return Map(Basic[key.name], _go_type(value))
        case OpaqueShape():
            return METAV1_TIME
        case Scalar():
            return Basic[shape.name]
        case Whole() | InterfaceShape():
            return SelfEncoding("Other")


def _value(shape: Shape) -> object:
    match shape:
        case StructShape(fields=fields):
            return {name: _value(part) for name, (_, part) in fields.items()}
        case ListShape(element=element):
            return [_value(element)] * 2
        case MapShape(key=key, value=value):
            return {_VALUES[key]: _value(value)}
        case Scalar():
            return _VALUES[shape]
        case OpaqueShape() | Whole() | InterfaceShape():
            return _MOMENT
