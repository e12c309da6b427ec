from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class RunRequest(_message.Message):
    __slots__ = ("analysis_run", "metric")
    ANALYSIS_RUN_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    analysis_run: bytes
    metric: bytes
    def __init__(self, analysis_run: _Optional[bytes] = ..., metric: _Optional[bytes] = ...) -> None: ...

class RunResponse(_message.Message):
    __slots__ = ("measurement",)
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    measurement: bytes
    def __init__(self, measurement: _Optional[bytes] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("analysis_run", "metric", "measurement")
    ANALYSIS_RUN_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    analysis_run: bytes
    metric: bytes
    measurement: bytes
    def __init__(self, analysis_run: _Optional[bytes] = ..., metric: _Optional[bytes] = ..., measurement: _Optional[bytes] = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("measurement",)
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    measurement: bytes
    def __init__(self, measurement: _Optional[bytes] = ...) -> None: ...

class ResumeEachRequest(_message.Message):
    __slots__ = ("analysis_run", "metric", "measurement")
    ANALYSIS_RUN_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    analysis_run: bytes
    metric: bytes
    measurement: bytes
    def __init__(self, analysis_run: _Optional[bytes] = ..., metric: _Optional[bytes] = ..., measurement: _Optional[bytes] = ...) -> None: ...

class ResumeEachResponse(_message.Message):
    __slots__ = ("measurement",)
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    measurement: bytes
    def __init__(self, measurement: _Optional[bytes] = ...) -> None: ...

class TerminateRequest(_message.Message):
    __slots__ = ("analysis_run", "metric", "measurement")
    ANALYSIS_RUN_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    analysis_run: bytes
    metric: bytes
    measurement: bytes
    def __init__(self, analysis_run: _Optional[bytes] = ..., metric: _Optional[bytes] = ..., measurement: _Optional[bytes] = ...) -> None: ...

class TerminateResponse(_message.Message):
    __slots__ = ("measurement",)
    MEASUREMENT_FIELD_NUMBER: _ClassVar[int]
    measurement: bytes
    def __init__(self, measurement: _Optional[bytes] = ...) -> None: ...

class GarbageCollectRequest(_message.Message):
    __slots__ = ("analysis_run", "metric", "limit")
    ANALYSIS_RUN_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    analysis_run: bytes
    metric: bytes
    limit: int
    def __init__(self, analysis_run: _Optional[bytes] = ..., metric: _Optional[bytes] = ..., limit: _Optional[int] = ...) -> None: ...

class GarbageCollectResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMetadataRequest(_message.Message):
    __slots__ = ("metric",)
    METRIC_FIELD_NUMBER: _ClassVar[int]
    metric: bytes
    def __init__(self, metric: _Optional[bytes] = ...) -> None: ...

class GetMetadataResponse(_message.Message):
    __slots__ = ("metadata",)
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    METADATA_FIELD_NUMBER: _ClassVar[int]
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class GetTypeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTypeResponse(_message.Message):
    __slots__ = ("type",)
    TYPE_FIELD_NUMBER: _ClassVar[int]
    type: str
    def __init__(self, type: _Optional[str] = ...) -> None: ...
