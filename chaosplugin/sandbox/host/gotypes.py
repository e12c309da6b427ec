"""The Go types of a metric plugin's calls, and how JSON objects become values of them.

Only what a plugin can have a use for is sent: of the providers the plugins alone, of a Job's spec nothing.
Gob describes itself, so a reader that knows more types than we send is none the wiser.

Source: argo-rollouts v1.9.1 metricproviders/plugin/rpc, analysis_types.go; k8s.io/apimachinery meta/v1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from chaosplugin.sandbox.host.objects import moment, stamp
from chaosplugin.wire.gob import gotypes as go
from chaosplugin.wire.gob import shapes
from chaosplugin.wire.gob.shapes import MapShape, OpaqueShape, StructShape
from chaosplugin.wire.gob.times import decode_time, encode_time


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A Go type, and what makes a value for the encoder of a JSON value."""

    go: go.GoType
    value: Callable[[object], object]


def _same(value: object) -> object:
    return value


def _time(value: object) -> object:
    return encode_time(moment(str(value)))


def _int_or_string(value: object) -> object:
    return {"Type": 1, "StrVal": value} if isinstance(value, str) else {"IntVal": value}


STRING = Kind(go.STRING, _same)
INT = Kind(go.INT, _same)
BOOL = Kind(go.BOOL, _same)
TIME = Kind(go.METAV1_TIME, _time)
RAW = Kind(go.BYTES, msgspec.json.encode)
STRINGS = Kind(go.Map(go.STRING, go.STRING), _same)
INT_OR_STRING = Kind(
    go.Pointer(
        go.Struct("IntOrString", (("Type", go.INT), ("IntVal", go.INT), ("StrVal", go.STRING)), "intstr")
    ),
    _int_or_string,
)


def _list_of(kind: Kind) -> Kind:
    def value(items: object) -> object:
        return [kind.value(each) for each in items] if isinstance(items, list) else []

    return Kind(go.Slice(kind.go), value)


def _map_of(kind: Kind) -> Kind:
    def value(items: object) -> object:
        return {key: kind.value(each) for key, each in items.items()} if isinstance(items, dict) else {}

    return Kind(go.Map(go.STRING, kind.go), value)


def _struct(name: str, *fields: tuple[str, str, Kind], package: str = "v1alpha1") -> Kind:
    """Fields are (Go name, JSON name, kind); the JSON name "" is an embedded struct of the same object."""

    def value(obj: object) -> object:
        if not isinstance(obj, dict):
            return {}
        made = {}
        for go_name, key, kind in fields:
            inner = obj.get(key) if key else obj
            if inner is not None:
                made[go_name] = kind.value(inner)
        return made

    return Kind(go.Struct(name, tuple((go_name, kind.go) for go_name, _, kind in fields), package), value)


def _pointer(kind: Kind) -> Kind:
    return Kind(go.Pointer(kind.go), kind.value)


_OWNER = _struct(
    "OwnerReference",
    ("APIVersion", "apiVersion", STRING),
    ("Kind", "kind", STRING),
    ("Name", "name", STRING),
    ("UID", "uid", STRING),
    ("Controller", "controller", _pointer(BOOL)),
    ("BlockOwnerDeletion", "blockOwnerDeletion", _pointer(BOOL)),
    package="v1",
)
_TYPE_META = _struct("TypeMeta", ("Kind", "kind", STRING), ("APIVersion", "apiVersion", STRING), package="v1")
_OBJECT_META = _struct(
    "ObjectMeta",
    ("Name", "name", STRING),
    ("GenerateName", "generateName", STRING),
    ("Namespace", "namespace", STRING),
    ("UID", "uid", STRING),
    ("ResourceVersion", "resourceVersion", STRING),
    ("Generation", "generation", INT),
    ("CreationTimestamp", "creationTimestamp", TIME),
    ("DeletionTimestamp", "deletionTimestamp", _pointer(TIME)),
    ("Labels", "labels", STRINGS),
    ("Annotations", "annotations", STRINGS),
    ("OwnerReferences", "ownerReferences", _list_of(_OWNER)),
    ("Finalizers", "finalizers", _list_of(STRING)),
    package="v1",
)
_PROVIDER = _struct("MetricProvider", ("Plugin", "plugin", _map_of(RAW)))
METRIC = _struct(
    "Metric",
    ("Name", "name", STRING),
    ("Interval", "interval", STRING),
    ("InitialDelay", "initialDelay", STRING),
    ("Count", "count", INT_OR_STRING),
    ("SuccessCondition", "successCondition", STRING),
    ("FailureCondition", "failureCondition", STRING),
    ("FailureLimit", "failureLimit", INT_OR_STRING),
    ("InconclusiveLimit", "inconclusiveLimit", INT_OR_STRING),
    ("ConsecutiveErrorLimit", "consecutiveErrorLimit", INT_OR_STRING),
    ("Provider", "provider", _PROVIDER),
    ("ConsecutiveSuccessLimit", "consecutiveSuccessLimit", INT_OR_STRING),
)
_KEY_REFERENCE = _struct("SecretKeyRef", ("Name", "name", STRING), ("Key", "key", STRING))
_FIELD_REFERENCE = _struct("FieldRef", ("FieldPath", "fieldPath", STRING))
_VALUE_FROM = _struct(
    "ValueFrom",
    ("SecretKeyRef", "secretKeyRef", _pointer(_KEY_REFERENCE)),
    ("FieldRef", "fieldRef", _pointer(_FIELD_REFERENCE)),
)
_ARGUMENT = _struct(
    "Argument",
    ("Name", "name", STRING),
    ("Value", "value", _pointer(STRING)),
    ("ValueFrom", "valueFrom", _pointer(_VALUE_FROM)),
)
_DRY_RUN = _struct("DryRun", ("MetricName", "metricName", STRING))
_RETENTION = _struct("MeasurementRetention", ("MetricName", "metricName", STRING), ("Limit", "limit", INT))
_SPEC = _struct(
    "AnalysisRunSpec",
    ("Metrics", "metrics", _list_of(METRIC)),
    ("Args", "args", _list_of(_ARGUMENT)),
    ("Terminate", "terminate", BOOL),
    ("DryRun", "dryRun", _list_of(_DRY_RUN)),
    ("MeasurementRetention", "measurementRetention", _list_of(_RETENTION)),
)
MEASUREMENT = _struct(
    "Measurement",
    ("Phase", "phase", STRING),
    ("Message", "message", STRING),
    ("StartedAt", "startedAt", _pointer(TIME)),
    ("FinishedAt", "finishedAt", _pointer(TIME)),
    ("Value", "value", STRING),
    ("Metadata", "metadata", STRINGS),
    ("ResumeAt", "resumeAt", _pointer(TIME)),
)
_SUMMARY = _struct(
    "RunSummary",
    ("Count", "count", INT),
    ("Successful", "successful", INT),
    ("Failed", "failed", INT),
    ("Inconclusive", "inconclusive", INT),
    ("Error", "error", INT),
)
_RESULT = _struct(
    "MetricResult",
    ("Name", "name", STRING),
    ("Phase", "phase", STRING),
    ("Measurements", "measurements", _list_of(MEASUREMENT)),
    ("Message", "message", STRING),
    ("Count", "count", INT),
    ("Successful", "successful", INT),
    ("Failed", "failed", INT),
    ("Inconclusive", "inconclusive", INT),
    ("Error", "error", INT),
    ("ConsecutiveError", "consecutiveError", INT),
    ("DryRun", "dryRun", BOOL),
    ("Metadata", "metadata", STRINGS),
    ("ConsecutiveSuccess", "consecutiveSuccess", INT),
)
_STATUS = _struct(
    "AnalysisRunStatus",
    ("Phase", "phase", STRING),
    ("Message", "message", STRING),
    ("MetricResults", "metricResults", _list_of(_RESULT)),
    ("StartedAt", "startedAt", _pointer(TIME)),
    ("RunSummary", "runSummary", _SUMMARY),
    ("DryRunSummary", "dryRunSummary", _pointer(_SUMMARY)),
    ("CompletedAt", "completedAt", _pointer(TIME)),
)
_RUN = _struct(
    "AnalysisRun",
    ("TypeMeta", "", _TYPE_META),
    ("ObjectMeta", "metadata", _OBJECT_META),
    ("Spec", "spec", _SPEC),
    ("Status", "status", _STATUS),
)

# -- the argument of each method; keys are those of the dict that `Kind.value` is given

RUN_ARGS = _struct(
    "RunArgs", ("AnalysisRun", "run", _pointer(_RUN)), ("Metric", "metric", METRIC), package="rpc"
)
TERMINATE_AND_RESUME_ARGS = _struct(
    "TerminateAndResumeArgs",
    ("AnalysisRun", "run", _pointer(_RUN)),
    ("Metric", "metric", METRIC),
    ("Measurement", "measurement", MEASUREMENT),
    package="rpc",
)
GARBAGE_COLLECT_ARGS = _struct(
    "GarbageCollectArgs",
    ("AnalysisRun", "run", _pointer(_RUN)),
    ("Metric", "metric", METRIC),
    ("Limit", "limit", INT),
    package="rpc",
)
GET_METADATA_ARGS = _struct("GetMetadataArgs", ("Metric", "metric", METRIC), package="rpc")

ARGUMENT = go.Interface(
    {
        kind.go.name: kind.go
        for kind in (RUN_ARGS, TERMINATE_AND_RESUME_ARGS, GARBAGE_COLLECT_ARGS, GET_METADATA_ARGS)
        if isinstance(kind.go, go.Struct)
    }
)
"""`any`, holding the arguments of one of the methods by their registered name."""

# -- what is read of the answers


def _read_time(data: bytes) -> object:
    return stamp(decode_time(data))


_TIME_SHAPE = OpaqueShape("v1.Time", _read_time)
STRINGS_SHAPE = MapShape(shapes.STRING, shapes.STRING)
MEASUREMENT_SHAPE = StructShape(
    "v1alpha1.Measurement",
    {
        "Phase": ("phase", shapes.STRING),
        "Message": ("message", shapes.STRING),
        "StartedAt": ("startedAt", _TIME_SHAPE),
        "FinishedAt": ("finishedAt", _TIME_SHAPE),
        "Value": ("value", shapes.STRING),
        "Metadata": ("metadata", STRINGS_SHAPE),
        "ResumeAt": ("resumeAt", _TIME_SHAPE),
    },
)
RPC_ERROR_SHAPE = StructShape("types.RpcError", {"ErrorString": ("error", shapes.STRING)})
NOTHING_SHAPE = StructShape("struct {}", {})
