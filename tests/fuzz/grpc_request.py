"""A request of the gRPC API: any bytes are an answer, or a status that a client can be sent.

The dispatcher and the methods are the server's own, over a cluster in which one Rollout is all there is, and
nothing can be made: what would have effects ends there.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import grpc
import msgspec
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun, Metadata, Rollout, RolloutStatus
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import Refusal
from chaosplugin.core.topics import Topic, WatchEvent
from chaosplugin.kube.yaml import load
from chaosplugin.provider.facts import Observer
from chaosplugin.provider.gates import Gates, Records
from chaosplugin.provider.ports import Cluster, Clusters, Denied, NotFound
from chaosplugin.provider.provider import ChaosProvider
from chaosplugin.provider.specs import require
from chaosplugin.transport._pb import gates_pb2, metric_provider_pb2
from chaosplugin.transport.grpc import gates, metrics
from chaosplugin.transport.grpc.callers import Caller, Context
from chaosplugin.transport.grpc.dispatch import handlers
from tests.fuzz import config_parse

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_EPOCH = datetime.fromtimestamp(0, UTC)
_NAMESPACES = frozenset({"default", "shop"})
_MOST = 8192 - 512  # bytes of a status: clients take 8 KiB of headers unless told otherwise
_EXPECTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAVAILABLE,  # a watch, as the server is ending
}


class _Records:
    """A Rollout that may be gated by somebody else only, and no AnalysisRun that may be seen."""

    async def read_rollout(self, namespace: str, name: str) -> Rollout:
        if name != "web":
            raise NotFound(f"Rollout {namespace}/{name} not found")
        metadata = Metadata(name=name, namespace=namespace, uid="1")
        return Rollout(metadata=metadata, status=RolloutStatus(current_pod_hash="698d4b6c6f"))

    async def create_record(self, manifest: Mapping[str, object]) -> object:
        msgspec.json.encode(manifest)
        raise Denied("cannot create ConfigMaps")

    async def list_records(self, namespace: str) -> list[object]:
        del namespace
        return []

    async def list_analysis_runs(self, namespace: str, selector: str) -> list[object]:
        raise Denied(f"cannot list AnalysisRuns in {namespace} by {selector}")

    @asynccontextmanager
    async def watch(self, topic: Topic) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        raise Denied(str(topic))
        yield


class _Judging:
    """Argo's methods, as far as they go without a cluster."""

    def __init__(self, check: Callable[[AnalysisRun, Metric], None]) -> None:
        self._check = check

    def init(self) -> str:
        return ""

    def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        try:
            self._check(require(run), metric)
        except Refusal as refusal:
            return Measurement(phase=Phase.ERROR, message=str(refusal))
        return Measurement(phase=Phase.RUNNING, started_at=_EPOCH)

    def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        self.run(run, metric)
        return measurement

    terminate = resume

    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        del run, metric, limit
        return ""

    def type(self) -> str:
        return "ChaosMesh"

    def get_metadata(self, metric: Metric) -> Mapping[str, str]:
        return {"name": metric.name}


class _Nobody:
    """A group of tasks, or clusters: whoever asks them has not stopped where it must."""

    def home(self) -> None:
        raise AssertionError("a cluster was asked")

    def home_now(self) -> None:
        raise AssertionError("a cluster was asked")

    def start_soon(self, *_: object) -> None:
        raise AssertionError("a task was started")


class _Callers:
    async def identify(self, _: Context) -> Caller:
        return Caller("ci", _NAMESPACES)


class _Aborted(Exception):
    """How gRPC ends a call."""


class _Context:
    def __init__(self, request: bytes) -> None:
        self._requests: list[object] = [request]
        self.answers: list[bytes] = []

    async def read(self) -> object:
        return self._requests.pop() if self._requests else grpc.aio.EOF

    async def write(self, answer: bytes) -> None:
        self.answers.append(answer)

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, bytes], ...]
    ) -> None:
        assert code in _EXPECTED, f"{code}: {details}"
        assert details
        assert len(details.encode()) + sum(len(value) for _, value in trailing) * 4 // 3 < _MOST
        raise _Aborted


def _bound() -> "dict[str, grpc.RpcMethodHandler[bytes, bytes]]":
    made: list[ChaosProvider] = []

    def provide(observer: Observer) -> ChaosProvider:
        made.append(
            ChaosProvider(
                cast("TaskGroup", _Nobody()),
                cast("Clusters", _Nobody()),
                clock=lambda: _EPOCH,
                policy=Policy(),
                load_yaml=load,
                observer=observer,
            )
        )
        return made[0]

    hosted = Gates(
        cast("TaskGroup", _Nobody()),
        cast("Records", _Records()),
        home=cast("Cluster", _Records()),
        clock=lambda: _EPOCH,
        epoch="fuzz",
        provide=provide,
    )
    followed = gates.GateMethods(hosted, lambda: None)
    followed.end()  # a watch tells how things are, and ends
    answering = metrics.MetricMethods(_Judging(made[0].check), lambda: None)
    found = {}
    for service, methods in ((metrics.SERVICE, answering.by_name), (gates.SERVICE, followed.by_name)):
        bound = handlers(service, _Callers(), methods)
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            handler = bound.service(cast("grpc.HandlerCallDetails", _Called(path)))
            assert handler is not None
            found[path] = handler
    return found


class _Called:
    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


_HANDLERS = sorted(_bound().items())
_METHODS = [
    method
    for _, method in sorted(
        (f"/{service.full_name}/{method.name}", method)
        for service in (metrics.SERVICE, gates.SERVICE)
        for method in service.methods
    )
]
_TYPES = [GetMessageClass(method.input_type) for method in _METHODS]
_ANSWERS = [GetMessageClass(method.output_type) for method in _METHODS]
_PATHS = [path.rpartition("/")[2] for path, _ in _HANDLERS]

TOKENS = (*config_parse.TOKENS, b"default", b"shop", b"web", b"fuzz.0", b"\x0a\x07default\x12\x03web")


def check(data: bytes) -> None:
    """The first byte chooses the method."""
    choice = data[0] % len(_HANDLERS) if data else 0
    handler, context = _HANDLERS[choice][1], _Context(data[1:])
    assert handler.stream_stream is not None
    with asyncio.Runner() as runner, suppress(_Aborted):
        runner.run(cast("Coroutine[Any, Any, None]", handler.stream_stream(iter(()), cast("Any", context))))
    for answer in context.answers:
        _ANSWERS[choice].FromString(answer)


def mutate(data: bytes, size: int, seed: int, mutate_bytes: Callable[[bytes, int], bytes]) -> bytes:
    """Change one field of a request as often as its bytes, so that documents within stay documents."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    if not data or chance.random() < 0.3:
        return mutate_bytes(data, size)
    kind = _TYPES[data[0] % len(_TYPES)]
    try:
        request = kind.FromString(data[1:])
    except DecodeError:
        return mutate_bytes(data, size)
    fields = [
        field for field in kind.DESCRIPTOR.fields if field.type in {field.TYPE_STRING, field.TYPE_BYTES}
    ]
    if not fields:
        return mutate_bytes(data, size)
    field = chance.choice(fields)
    value = getattr(request, field.name)
    text = field.type == field.TYPE_STRING
    changed = mutate_bytes(value.encode() if text else value, max(1, size - len(data)))
    setattr(request, field.name, changed.decode(errors="ignore") if text else changed)
    return (data[:1] + request.SerializeToString())[:size]


def seeds() -> Iterator[bytes]:
    def request(method: str, message: Message) -> bytes:
        return bytes((_PATHS.index(method),)) + message.SerializeToString()

    run = msgspec.json.encode({"metadata": {"name": "web-1", "namespace": "shop", "uid": "1"}})
    given = msgspec.json.encode(
        {"phase": "Running", "startedAt": "2026-01-01T00:00:00Z", "metadata": {"a": "b"}}
    )
    for config in (seed[1:] for seed in config_parse.seeds()):
        metric = b'{"name":"chaos","provider":{"plugin":{"chaosplugin/chaos-mesh":' + config + b"}}}"
        yield request("StartGate", gates_pb2.StartGateRequest(namespace="shop", rollout="web", config=config))
        yield request("Run", metric_provider_pb2.RunRequest(analysis_run=run, metric=metric))
    asked = gates_pb2.StartGateRequest(
        namespace="default", rollout="web", name="ci-1", config=b"{}", success_condition="result.hit > 1"
    )
    yield request("StartGate", asked)
    resumed = metric_provider_pb2.ResumeRequest(analysis_run=run, metric=b'{"name":"x"}', measurement=given)
    yield request("Resume", resumed)
    yield request("Terminate", metric_provider_pb2.TerminateRequest.FromString(resumed.SerializeToString()))
    yield request("GetMetadata", metric_provider_pb2.GetMetadataRequest(metric=b'{"name":"x"}'))
    yield request("GarbageCollect", metric_provider_pb2.GarbageCollectRequest(metric=b"{}", limit=2))
    yield request("GetType", metric_provider_pb2.GetTypeRequest())
    yield request("GetGate", gates_pb2.GetGateRequest(namespace="default", id="0123456789"))
    yield request("TerminateGate", gates_pb2.TerminateGateRequest(namespace="default", id="0123456789"))
    yield request("ListGates", gates_pb2.ListGatesRequest(page_size=2, page_token="0123456789"))
    yield request("WatchGates", gates_pb2.WatchGatesRequest(namespace="shop", resume_token="fuzz.0"))
    yield request("WatchGates", gates_pb2.WatchGatesRequest(id="0123456789"))
