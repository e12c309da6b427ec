"""The metric plugin of Argo Rollouts: its methods, its arguments in gob, its answers.

Only the fields that the provider's vocabulary holds are read; what else is in the 219 types of a call is
skipped. Go leaves zero values out: an absent text is empty, an absent pointer is None.

Source: argo-rollouts metricproviders/plugin/rpc, pkg/apis/rollouts/v1alpha1/analysis_types.go.
"""

from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from chaosplugin.core.analysis import Answer, Measurement, Metric, MetricProvider, Phase
from chaosplugin.core.objects import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    Argument,
    DryRun,
    Metadata,
    MetricResult,
    OwnerReference,
)
from chaosplugin.transport.netrpc import Endpoint, Service
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.shapes import (
    BOOL,
    BYTES,
    INT,
    NO_INTERFACE,
    SKIP,
    STRING,
    InterfaceShape,
    ListShape,
    MapShape,
    OpaqueShape,
    Shape,
    StructShape,
)
from chaosplugin.wire.gob.times import decode_time, encode_time
from chaosplugin.wire.handshake import DISPENSED_AS, Kind
from chaosplugin.wire.netrpc import Method

PLUGIN_NAME = DISPENSED_AS[Kind.METRIC]  # under which a host asks the Dispenser for this service

T = TypeVar("T")


# -- what is read of the arguments


_GO_ZERO = datetime(1, 1, 1, tzinfo=UTC)
_NONE: Mapping[str, Any] = MappingProxyType({})


def _by_name(make: Callable[..., object]) -> Callable[[dict[str, Any]], object]:
    """Give the fields of a struct to what has parameters of their names; the shapes saw to their types."""
    return lambda fields: make(**fields)


def _moment(data: bytes) -> datetime | None:
    """Go's zero time is no time: Kubernetes writes it as null."""
    moment = decode_time(data)
    return None if moment == _GO_ZERO else moment


_TIME = OpaqueShape("v1.Time", _moment)
_STRINGS = MapShape(STRING, STRING)

_OWNER = StructShape(
    "v1.OwnerReference",
    {
        "Kind": ("kind", STRING),
        "Name": ("name", STRING),
        "UID": ("uid", STRING),
        "Controller": ("controller", BOOL),
    },
    build=_by_name(OwnerReference),
)
_OBJECT_META = StructShape(
    "v1.ObjectMeta",
    {
        "Name": ("name", STRING),
        "Namespace": ("namespace", STRING),
        "UID": ("uid", STRING),
        "ResourceVersion": ("resource_version", STRING),
        "CreationTimestamp": ("creation_timestamp", _TIME),
        "DeletionTimestamp": ("deletion_timestamp", _TIME),
        "Labels": ("labels", _STRINGS),
        "Annotations": ("annotations", _STRINGS),
        "OwnerReferences": ("owner_references", ListShape(_OWNER)),
        "Finalizers": ("finalizers", ListShape(STRING)),
    },
    build=_by_name(Metadata),
)
_SECRET_KEY_REF = StructShape("v1alpha1.SecretKeyRef", {"Name": ("name", STRING), "Key": ("key", STRING)})
_FIELD_REF = StructShape("v1alpha1.FieldRef", {"FieldPath": ("fieldPath", STRING)})
_VALUE_FROM = StructShape(  # a dict, as `Argument` has it
    "v1alpha1.ValueFrom",
    {"SecretKeyRef": ("secretKeyRef", _SECRET_KEY_REF), "FieldRef": ("fieldRef", _FIELD_REF)},
)
_ARGUMENT = StructShape(
    "v1alpha1.Argument",
    {"Name": ("name", STRING), "Value": ("value", STRING), "ValueFrom": ("value_from", _VALUE_FROM)},
    pointers=frozenset({"Value"}),
    build=_by_name(Argument),
)
_DRY_RUN = StructShape("v1alpha1.DryRun", {"MetricName": ("metric_name", STRING)}, build=_by_name(DryRun))
_SPEC = StructShape(
    "v1alpha1.AnalysisRunSpec",
    {
        "Args": ("args", ListShape(_ARGUMENT)),
        "Terminate": ("terminate", BOOL),
        "DryRun": ("dry_run", ListShape(_DRY_RUN)),
    },
    build=_by_name(AnalysisRunSpec),
)
_METRIC_RESULT = StructShape(
    "v1alpha1.MetricResult",
    {
        "Name": ("name", STRING),
        "Phase": ("phase", STRING),
        "Count": ("count", INT),
        "Error": ("error", INT),
    },
    build=_by_name(MetricResult),
)
_STATUS = StructShape(
    "v1alpha1.AnalysisRunStatus",
    {"Phase": ("phase", STRING), "MetricResults": ("metric_results", ListShape(_METRIC_RESULT))},
    build=_by_name(AnalysisRunStatus),
)
_ANALYSIS_RUN = StructShape(
    "v1alpha1.AnalysisRun",
    {"ObjectMeta": ("metadata", _OBJECT_META), "Spec": ("spec", _SPEC), "Status": ("status", _STATUS)},
    build=_by_name(partial(AnalysisRun, metadata=Metadata())),
)


def _metric(provider: Mapping[str, Mapping[str, bytes]] = _NONE, **texts: str) -> Metric:
    """The plugin's configuration is a part of the metric's provider."""
    return Metric(plugin=provider.get("plugin", _NONE), **texts)


_PROVIDER = StructShape("v1alpha1.MetricProvider", {"Plugin": ("plugin", MapShape(STRING, BYTES))})
_METRIC = StructShape(
    "v1alpha1.Metric",
    {
        "Name": ("name", STRING),
        "SuccessCondition": ("success_condition", STRING),
        "FailureCondition": ("failure_condition", STRING),
        "Provider": ("provider", _PROVIDER),
    },
    build=_by_name(_metric),
)


def _measurement(phase: str, **fields: Any) -> Measurement:
    try:
        return Measurement(phase=Phase(phase), **fields)
    except ValueError:
        raise ValueError(f"invalid args: a measurement's phase is {phase!r:.50}") from None


_MEASUREMENT = StructShape(
    "v1alpha1.Measurement",
    {
        "Phase": ("phase", STRING),
        "Message": ("message", STRING),
        "StartedAt": ("started_at", _TIME),
        "FinishedAt": ("finished_at", _TIME),
        "Value": ("value", STRING),
        "Metadata": ("metadata", _STRINGS),
        "ResumeAt": ("resume_at", _TIME),
    },
    build=_by_name(_measurement),
)


class _Arguments(NamedTuple):
    """The arguments of every method; each has its own share of them."""

    run: AnalysisRun | None = None
    metric: Metric = Metric(name="")
    measurement: Measurement = Measurement(phase=Phase.PENDING)
    limit: int = 0


def _arguments(name: str, **fields: tuple[str, Shape]) -> StructShape:
    return StructShape(f"rpc.{name}", fields, build=_by_name(_Arguments))


_RUN_AND_METRIC: dict[str, tuple[str, Shape]] = {
    "AnalysisRun": ("run", _ANALYSIS_RUN),
    "Metric": ("metric", _METRIC),
}
_ARGUMENTS: dict[str, Shape] = {
    shape.go.removeprefix("rpc."): shape
    for shape in (
        _arguments("RunArgs", **_RUN_AND_METRIC),
        _arguments("TerminateAndResumeArgs", **_RUN_AND_METRIC, Measurement=("measurement", _MEASUREMENT)),
        _arguments("GarbageCollectArgs", **_RUN_AND_METRIC, Limit=("limit", INT)),
        _arguments("GetMetadataArgs", Metric=("metric", _METRIC)),
    )
}


# -- what is answered

_TIME_POINTER = gotypes.Pointer(gotypes.METAV1_TIME)
STRINGS_TYPE = gotypes.Map(gotypes.STRING, gotypes.STRING)
RPC_ERROR_TYPE = gotypes.Struct("RpcError", (("ErrorString", gotypes.STRING),), package="types")
MEASUREMENT_TYPE = gotypes.Struct(
    "Measurement",
    (
        ("Phase", gotypes.STRING),
        ("Message", gotypes.STRING),
        ("StartedAt", _TIME_POINTER),
        ("FinishedAt", _TIME_POINTER),
        ("Value", gotypes.STRING),
        ("Metadata", STRINGS_TYPE),
        ("ResumeAt", _TIME_POINTER),
    ),
    package="v1alpha1",
)


def measurement_fields(measurement: Measurement) -> dict[str, object]:
    """A value of MEASUREMENT_TYPE; times go out in UTC."""
    return {
        "Phase": measurement.phase.value,
        "Message": measurement.message,
        "StartedAt": _sent(measurement.started_at),
        "FinishedAt": _sent(measurement.finished_at),
        "Value": measurement.value,
        "Metadata": measurement.metadata or None,
        "ResumeAt": _sent(measurement.resume_at),
    }


def _sent(moment: datetime | None) -> bytes | None:
    return None if moment is None else encode_time(moment)


# -- the methods


class _Plugin:
    """The methods of a provider, from wire argument to wire reply."""

    def __init__(self, provider: MetricProvider) -> None:
        self._provider = provider
        self._answered: tuple[Measurement, dict[str, object]] | None = None

    def _fields(self, measurement: Measurement) -> dict[str, object]:
        """The same mapping as long as the answer is the same, as it mostly is: an encoder knows it again."""
        if self._answered is None or self._answered[0] != measurement:
            self._answered = measurement, measurement_fields(measurement)
        return self._answered[1]

    def init(self, _: object) -> object:
        return _then(_error_fields, self._provider.init())

    def run(self, argument: object) -> object:
        given = _given(argument)
        return _then(self._fields, self._provider.run(given.run, given.metric))

    def resume(self, argument: object) -> object:
        given = _given(argument)
        return _then(self._fields, self._provider.resume(given.run, given.metric, given.measurement))

    def terminate(self, argument: object) -> object:
        given = _given(argument)
        return _then(self._fields, self._provider.terminate(given.run, given.metric, given.measurement))

    def garbage_collect(self, argument: object) -> object:
        given = _given(argument)
        return _then(_error_fields, self._provider.garbage_collect(given.run, given.metric, given.limit))

    def type(self, _: object) -> object:
        return self._provider.type()

    def get_metadata(self, argument: object) -> object:
        return self._provider.get_metadata(_given(argument).metric)


def _then(build: Callable[[T], object], answer: Answer[T]) -> object:
    """Make the reply of an answer that is there, or wait for it first."""
    return _wait(build, answer) if isinstance(answer, Coroutine) else build(answer)


async def _wait(build: Callable[[T], object], answer: Coroutine[object, object, T]) -> object:
    return build(await answer)


def _error_fields(text: str) -> dict[str, object]:
    return {"ErrorString": text}


def _given(argument: object) -> _Arguments:
    assert isinstance(argument, _Arguments)  # noqa: S101  what the shape of each method builds
    return argument


def _taking(concrete: str, reply: gotypes.GoType) -> Method:
    """A method whose argument is an interface that must hold this type; the others are known, and refused."""
    known = {name: shape if name == concrete else SKIP for name, shape in _ARGUMENTS.items()}
    return Method(argument=InterfaceShape(known), reply=reply, concrete=concrete)


_INIT = Method(argument=NO_INTERFACE, reply=RPC_ERROR_TYPE)
_RUN = _taking("RunArgs", MEASUREMENT_TYPE)
_RESUME = _taking("TerminateAndResumeArgs", MEASUREMENT_TYPE)
_GARBAGE_COLLECT = _taking("GarbageCollectArgs", RPC_ERROR_TYPE)
_TYPE = Method(argument=NO_INTERFACE, reply=gotypes.STRING)
_GET_METADATA = _taking("GetMetadataArgs", STRINGS_TYPE)


def metric_service(provider: MetricProvider) -> Service:
    """What `netrpc.serve` needs to answer a host's calls with this provider."""
    plugin = _Plugin(provider)
    return {
        "Plugin.InitPlugin": Endpoint(_INIT, plugin.init),
        "Plugin.Run": Endpoint(_RUN, plugin.run),
        "Plugin.Resume": Endpoint(_RESUME, plugin.resume),
        "Plugin.Terminate": Endpoint(_RESUME, plugin.terminate),
        "Plugin.GarbageCollect": Endpoint(_GARBAGE_COLLECT, plugin.garbage_collect),
        "Plugin.Type": Endpoint(_TYPE, plugin.type),
        "Plugin.GetMetadata": Endpoint(_GET_METADATA, plugin.get_metadata),
    }
