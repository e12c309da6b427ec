"""MetricProviderService of proto/: the calls of Argo, from anybody who is let in."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TypeVar

from chaosplugin.core.analysis import Answer, Measurement, Metric, MetricProvider
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.provider.facts import Rpc
from chaosplugin.transport import documents
from chaosplugin.transport._pb import metric_provider_pb2 as pb
from chaosplugin.transport.documents import InvalidDocument
from chaosplugin.transport.grpc.callers import Caller
from chaosplugin.transport.grpc.dispatch import Unary
from chaosplugin.transport.grpc.status import invalid

SERVICE = pb.DESCRIPTOR.services_by_name["MetricProviderService"]
RPC = Rpc("grpc", f"{SERVICE.full_name}/")

T = TypeVar("T")
R = TypeVar("R")


class MetricMethods:
    """The service's methods over a provider. `begin` is asked before a Run, and raises if none may begin."""

    def __init__(self, provider: MetricProvider, begin: Callable[[], None]) -> None:
        self._provider = provider
        self._begin = begin

    @property
    def by_name(self) -> Mapping[str, Unary]:
        return {
            "Run": _reading(self.run),
            "Resume": _reading(self.resume),
            "ResumeEach": _reading(self.resume_each),
            "Terminate": _reading(self.terminate),
            "GarbageCollect": _reading(self.garbage_collect),
            "GetMetadata": _reading(self.get_metadata),
            "GetType": self.get_type,
        }

    async def run(self, request: pb.RunRequest, caller: Caller) -> pb.RunResponse:
        self._begin()
        run, metric = _of(request, caller)
        answer = await _wait(self._provider.run(run, metric))
        return pb.RunResponse(measurement=documents.write_measurement(answer))

    async def resume(self, request: pb.ResumeRequest, caller: Caller) -> pb.ResumeResponse:
        return pb.ResumeResponse(measurement=await self._resumed(request, caller))

    async def resume_each(self, request: pb.ResumeEachRequest, caller: Caller) -> pb.ResumeEachResponse:
        return pb.ResumeEachResponse(measurement=await self._resumed(request, caller))

    async def _resumed(self, request: pb.ResumeRequest | pb.ResumeEachRequest, caller: Caller) -> bytes:
        run, metric = _of(request, caller)
        given = documents.read_measurement(request.measurement)
        answer: Measurement = await _wait(self._provider.resume(run, metric, given))
        return documents.write_measurement(answer)

    async def terminate(self, request: pb.TerminateRequest, caller: Caller) -> pb.TerminateResponse:
        run, metric = _of(request, caller)
        given = documents.read_measurement(request.measurement)
        answer: Measurement = await _wait(self._provider.terminate(run, metric, given))
        return pb.TerminateResponse(measurement=documents.write_measurement(answer))

    async def garbage_collect(
        self, request: pb.GarbageCollectRequest, caller: Caller
    ) -> pb.GarbageCollectResponse:
        run, metric = _of(request, caller)
        await _wait(self._provider.garbage_collect(run, metric, request.limit))
        return pb.GarbageCollectResponse()

    async def get_metadata(self, request: pb.GetMetadataRequest, _: Caller) -> pb.GetMetadataResponse:
        metric = documents.read_metric(request.metric)
        return pb.GetMetadataResponse(metadata=dict(await _wait(self._provider.get_metadata(metric))))

    async def get_type(self, _: pb.GetTypeRequest, __: Caller) -> pb.GetTypeResponse:
        return pb.GetTypeResponse(type=self._provider.type())


_Request = (
    pb.RunRequest | pb.ResumeRequest | pb.ResumeEachRequest | pb.TerminateRequest | pb.GarbageCollectRequest
)


def _of(request: _Request, caller: Caller) -> tuple[AnalysisRun | None, Metric]:
    run = documents.read_analysis_run(request.analysis_run)
    metric = documents.read_metric(request.metric)
    if run is not None:
        caller.check(run.metadata.namespace)
    return run, metric


def _reading(handle: Callable[[R, Caller], Awaitable[T]]) -> Callable[[R, Caller], Awaitable[T]]:
    """Translate what cannot be read."""

    async def answer(request: R, caller: Caller) -> T:
        try:
            return await handle(request, caller)
        except InvalidDocument as error:
            raise invalid(error.field, str(error)) from None

    return answer


async def _wait(answer: Answer[T]) -> T:
    return await answer if isinstance(answer, Coroutine) else answer
