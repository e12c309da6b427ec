import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_RESTORING: _ClassVar[Stage]
    STAGE_PROVING: _ClassVar[Stage]
    STAGE_QUEUED: _ClassVar[Stage]
    STAGE_CREATING: _ClassVar[Stage]
    STAGE_UNCERTAIN: _ClassVar[Stage]
    STAGE_OBSERVING: _ClassVar[Stage]
    STAGE_RECOVERING: _ClassVar[Stage]
    STAGE_DECIDED: _ClassVar[Stage]
    STAGE_DONE: _ClassVar[Stage]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_RUNNING: _ClassVar[Phase]
    PHASE_SUCCESSFUL: _ClassVar[Phase]
    PHASE_FAILED: _ClassVar[Phase]
    PHASE_INCONCLUSIVE: _ClassVar[Phase]
    PHASE_ERROR: _ClassVar[Phase]
STAGE_UNSPECIFIED: Stage
STAGE_RESTORING: Stage
STAGE_PROVING: Stage
STAGE_QUEUED: Stage
STAGE_CREATING: Stage
STAGE_UNCERTAIN: Stage
STAGE_OBSERVING: Stage
STAGE_RECOVERING: Stage
STAGE_DECIDED: Stage
STAGE_DONE: Stage
PHASE_UNSPECIFIED: Phase
PHASE_RUNNING: Phase
PHASE_SUCCESSFUL: Phase
PHASE_FAILED: Phase
PHASE_INCONCLUSIVE: Phase
PHASE_ERROR: Phase

class Gate(_message.Message):
    __slots__ = ("id", "namespace", "name", "metric", "owner", "experiment", "stage", "phase", "reason", "message", "value", "started_at", "finished_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    name: str
    metric: str
    owner: str
    experiment: str
    stage: Stage
    phase: Phase
    reason: str
    message: str
    value: str
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., metric: _Optional[str] = ..., owner: _Optional[str] = ..., experiment: _Optional[str] = ..., stage: _Optional[_Union[Stage, str]] = ..., phase: _Optional[_Union[Phase, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., value: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StartGateRequest(_message.Message):
    __slots__ = ("namespace", "rollout", "name", "config", "success_condition", "failure_condition")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_CONDITION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_CONDITION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    rollout: str
    name: str
    config: bytes
    success_condition: str
    failure_condition: str
    def __init__(self, namespace: _Optional[str] = ..., rollout: _Optional[str] = ..., name: _Optional[str] = ..., config: _Optional[bytes] = ..., success_condition: _Optional[str] = ..., failure_condition: _Optional[str] = ...) -> None: ...

class StartGateResponse(_message.Message):
    __slots__ = ("gate",)
    GATE_FIELD_NUMBER: _ClassVar[int]
    gate: Gate
    def __init__(self, gate: _Optional[_Union[Gate, _Mapping]] = ...) -> None: ...

class GetGateRequest(_message.Message):
    __slots__ = ("namespace", "id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    id: str
    def __init__(self, namespace: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class GetGateResponse(_message.Message):
    __slots__ = ("gate",)
    GATE_FIELD_NUMBER: _ClassVar[int]
    gate: Gate
    def __init__(self, gate: _Optional[_Union[Gate, _Mapping]] = ...) -> None: ...

class ListGatesRequest(_message.Message):
    __slots__ = ("namespace", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGatesResponse(_message.Message):
    __slots__ = ("gates", "next_page_token")
    GATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gates: _containers.RepeatedCompositeFieldContainer[Gate]
    next_page_token: str
    def __init__(self, gates: _Optional[_Iterable[_Union[Gate, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class TerminateGateRequest(_message.Message):
    __slots__ = ("namespace", "id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    id: str
    def __init__(self, namespace: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class TerminateGateResponse(_message.Message):
    __slots__ = ("gate",)
    GATE_FIELD_NUMBER: _ClassVar[int]
    gate: Gate
    def __init__(self, gate: _Optional[_Union[Gate, _Mapping]] = ...) -> None: ...

class WatchGatesRequest(_message.Message):
    __slots__ = ("namespace", "id", "resume_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    id: str
    resume_token: str
    def __init__(self, namespace: _Optional[str] = ..., id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchGatesResponse(_message.Message):
    __slots__ = ("kind", "events", "resume_token", "missed")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[WatchGatesResponse.Kind]
        KIND_EVENTS: _ClassVar[WatchGatesResponse.Kind]
        KIND_SNAPSHOT: _ClassVar[WatchGatesResponse.Kind]
        KIND_HEARTBEAT: _ClassVar[WatchGatesResponse.Kind]
    KIND_UNSPECIFIED: WatchGatesResponse.Kind
    KIND_EVENTS: WatchGatesResponse.Kind
    KIND_SNAPSHOT: WatchGatesResponse.Kind
    KIND_HEARTBEAT: WatchGatesResponse.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    kind: WatchGatesResponse.Kind
    events: _containers.RepeatedCompositeFieldContainer[GateEvent]
    resume_token: str
    missed: int
    def __init__(self, kind: _Optional[_Union[WatchGatesResponse.Kind, str]] = ..., events: _Optional[_Iterable[_Union[GateEvent, _Mapping]]] = ..., resume_token: _Optional[str] = ..., missed: _Optional[int] = ...) -> None: ...

class GateEvent(_message.Message):
    __slots__ = ("gate", "before", "at")
    GATE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    gate: Gate
    before: Stage
    at: _timestamp_pb2.Timestamp
    def __init__(self, gate: _Optional[_Union[Gate, _Mapping]] = ..., before: _Optional[_Union[Stage, str]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
