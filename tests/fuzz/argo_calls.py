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
_SHARES = 4
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
    """Each method with nil, and with arguments of types with a share of the fields that are read."""
    for name, endpoint in SERVICE.items():
        wanted = endpoint.method.argument
        if not isinstance(wanted, InterfaceShape):
            continue
        yield name, Interface({}), None
        for key, shape in wanted.concrete.items():
            for share in range(_SHARES if shape is not SKIP else 0):
                yield name, Interface({key: _go_type(shape, share)}), Named(key, _value(shape, share))


def _fields(shape: StructShape, share: int) -> Iterator[tuple[str, Shape]]:
    """One field in four, so that no input has to carry all definitions."""
    for index, (name, (_, part)) in enumerate(shape.fields.items()):
        if index % _SHARES == share or len(shape.fields) == 1:
            yield name, part


def _go_type(shape: Shape, share: int) -> GoType:
    match shape:
        case StructShape(go=go):
            inner = tuple((name, _go_type(part, share)) for name, part in _fields(shape, share))
            return Pointer(Struct(go.rpartition(".")[2], inner))
        case ListShape(element=element):
            return Slice(_go_type(element, share))
        case MapShape(key=key, value=value):
            return Map(Basic[key.name], _go_type(value, share))
        case OpaqueShape():
            return METAV1_TIME
        case Scalar():
            return Basic[shape.name]
        case Whole() | InterfaceShape():
            return SelfEncoding("Other")


def _value(shape: Shape, share: int) -> object:
    match shape:
        case StructShape():
            return {name: _value(part, share) for name, part in _fields(shape, share)}
        case ListShape(element=element):
            return [_value(element, share)] * 2
        case MapShape(key=key, value=value):
            return {_VALUES[key]: _value(value, share)}
        case Scalar():
            return _VALUES[shape]
        case OpaqueShape() | Whole() | InterfaceShape():
            return _MOMENT
