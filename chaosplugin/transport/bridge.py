"""A metric provider that asks a server: the exec'ed end of what runs elsewhere.

Whatever happens to the server, the controller must not learn of it as an Error, which it would retry as a
new measurement, nor as an end. So a call that is not answered leaves the measurement as it is, to be asked
for again in 15 s; Terminate, which Argo wants answered in one call, ends it, and the server, which watches
the AnalysisRun itself, undoes the fault. An Error comes only of what no server is asked.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

import anyio
import grpc
from google.protobuf.message import Message
from msgspec.structs import replace

from chaosplugin import __version__
from chaosplugin.core import ledger
from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.verdict import Reason
from chaosplugin.provider.provider import TYPE
from chaosplugin.transport import documents
from chaosplugin.transport._pb import metric_provider_pb2 as pb
from chaosplugin.transport.documents import InvalidDocument
from chaosplugin.transport.grpc.channel import Channel
from chaosplugin.transport.grpc.server import MAX_MESSAGE

_AGAIN: Final = timedelta(seconds=15)
_ANSWER_S: Final = 3.0  # a server answers from memory; the controller's worker waits as long
_SERVICE: Final = "/chaosplugin.v1.MetricProviderService/"

A = TypeVar("A", bound=Message)
T = TypeVar("T")

_log = logging.getLogger(__name__)


class _AwayError(Exception):
    """There is no answer now; the text says why."""


class BridgeProvider:
    """The seven methods of Argo's MetricProvider, forwarded."""

    def __init__(self, channel: Channel, clock: Callable[[], datetime]) -> None:
        self._channel = channel
        self._clock = clock
        self._complaint = ""
        """what the log was last told"""

    def init(self) -> str:
        return ""

    async def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        if run is None or not run.metadata.uid:
            return self._refused("AnalysisRun: met none, or one without a uid")
        try:
            request = pb.RunRequest(
                analysis_run=documents.write_analysis_run(run), metric=documents.write_metric(metric)
            )
            _check_size(request)
        except InvalidDocument as error:
            return self._refused(f"{error.field}: {error}")
        try:
            answer = await self._ask(self._call("Run", request, pb.RunResponse.FromString))
            return documents.read_measurement(answer.measurement)
        except (_AwayError, InvalidDocument) as error:
            # what the server's own answer would have: by it a Resume knows that the measurement is ours
            digest = ledger.identify(run, metric.name).digest
            return self._waiting(
                Measurement(
                    phase=Phase.RUNNING,
                    started_at=self._clock().replace(microsecond=0),
                    metadata={"chaosplugin.io/run": digest},
                ),
                str(error),
            )

    async def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        try:
            asked = {
                "analysis_run": documents.write_analysis_run(run),
                "metric": documents.write_metric(metric),
                "measurement": documents.write_measurement(measurement),
            }
            return documents.read_measurement(await self._ask(self._resumed(asked)))
        except (_AwayError, InvalidDocument) as error:
            return self._waiting(measurement, str(error))

    async def terminate(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Measurement:
        try:
            request = pb.TerminateRequest(
                analysis_run=documents.write_analysis_run(run),
                metric=documents.write_metric(metric),
                measurement=documents.write_measurement(measurement),
            )
            answer = await self._ask(self._call("Terminate", request, pb.TerminateResponse.FromString))
            return documents.read_measurement(answer.measurement)
        except (_AwayError, InvalidDocument) as error:
            return replace(
                measurement,
                phase=Phase.INCONCLUSIVE,
                message=f"{Reason.TERMINATED}: the gate ended early, and its server did not answer "
                f"({error}); it ends the fault when it sees the end of this AnalysisRun",
                finished_at=self._clock().replace(microsecond=0),
                resume_at=None,
            )

    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        """Nothing is kept of measurements, wherever they are taken."""
        del run, metric, limit
        return ""

    def type(self) -> str:
        return TYPE

    def get_metadata(self, metric: Metric) -> Mapping[str, str]:
        del metric
        return {"chaosplugin": f"{__version__} (bridge)"}

    # -- the server

    def _call(
        self, method: str, request: Message, answer: Callable[[bytes], A], within_s: float = _ANSWER_S
    ) -> Awaitable[A]:
        return self._channel.unary(_SERVICE + method, request, answer, within_s=within_s)

    async def _resumed(self, asked: Mapping[str, bytes]) -> bytes:
        """Ask over a stream, as this is what is asked again and again, or as of old."""
        until = time.monotonic() + _ANSWER_S
        each = await self._channel.kept(
            _SERVICE + "ResumeEach",
            pb.ResumeEachRequest(**asked),
            pb.ResumeEachResponse.FromString,
            within_s=_ANSWER_S,
        )
        if each is not None:
            return each.measurement
        left = until - time.monotonic()
        request = pb.ResumeRequest(**asked)
        return (await self._call("Resume", request, pb.ResumeResponse.FromString, left)).measurement

    async def _ask(self, call: Awaitable[T]) -> T:
        try:
            found = await call
        except grpc.aio.AioRpcError as error:
            why = f"{error.code().name}: {error.details()}"
        except OSError as error:
            why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        except asyncio.CancelledError:
            # grpc/grpc#43502: the error has lost the mark by which a scope knows its own cancellation
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise
        else:
            if self._complaint:
                _log.info("the server answers again")
                self._complaint = ""
            return found
        if why != self._complaint:
            _log.warning("the server does not answer: %s", why)
            self._complaint = why
        raise _AwayError(why)

    def _waiting(self, measurement: Measurement, why: str) -> Measurement:
        now = self._clock().replace(microsecond=0)
        message = f"the chaosplugin server does not answer ({why}); it is asked again every 15 s"
        return replace(measurement, message=message, resume_at=now + _AGAIN)

    def _refused(self, text: str) -> Measurement:
        now = self._clock().replace(microsecond=0)
        return Measurement(
            phase=Phase.ERROR,
            message=f"{Reason.INVALID_CONFIG}: {text}",
            started_at=now,
            finished_at=now,
        )


def _check_size(request: Message) -> None:
    size = request.ByteSize()
    if size > MAX_MESSAGE:
        raise InvalidDocument("AnalysisRun and metric", f"met {size} bytes, wanted at most {MAX_MESSAGE}")
