"""Traces: facts made to spans, and spans sent by OpenTelemetry's SDK.

The SDK gives what its environment variables say: sampler, resource, batches, exporter. Its tracer is not
used, as it holds spans open and chooses their ids.
"""

import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from chaosplugin import __version__
from chaosplugin.core.progress import Concluded, Transition
from chaosplugin.provider.facts import Called, Fact, Refused, Requested
from chaosplugin.telemetry import spans
from chaosplugin.telemetry.spans import Kind, Span
from chaosplugin.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from chaosplugin.core.run import Run

_FLUSH_S: Final = 0.5  # a host kills us 2 s after Quit
_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SCOPE: Final = InstrumentationScope("chaosplugin", __version__)
_KINDS: Final = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status()


class Counted(SpanExporter):
    """An exporter whose results are counted."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0
        self.count: Callable[[str, int], None] = lambda _result, _count: None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        done = self._exporter.export(spans)
        self.count("exported" if done is SpanExportResult.SUCCESS else "failed", len(spans))
        return done

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Tracer:
    """An observer that makes spans of facts. Nothing here waits: what finds the queue full is dropped."""

    def __init__(
        self,
        exporter: SpanExporter,
        most_waiting: int,
        batch: int,
        runs: "Callable[[], Mapping[str, Run]]",
    ) -> None:
        """Raises: ValueError, for a variable of the SDK's that it cannot read."""
        self._runs = runs
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._exporter = Counted(exporter)
        self._most = most_waiting
        self._processor = BatchSpanProcessor(self._exporter, most_waiting, max_export_batch_size=batch)
        self._given = 0
        self._timeline = Timeline()

    def count_with(self, count: Callable[[str, int], None]) -> None:
        """Count spans by what became of them: exported, failed, dropped."""
        self._exporter.count = count

    def sampled(self, trace_id: str) -> bool:
        """Ask the sampler; it decides by the trace id, so that all processes decide alike."""
        decision = self._provider.sampler.should_sample(None, int(trace_id, 16), "chaos_gate").decision
        return decision is Decision.RECORD_AND_SAMPLE

    def observe(self, fact: Fact) -> None:
        match fact:
            case Called(gate=gate) if gate is not None and gate.sampled:
                self._emit(spans.call(fact, gate))
            case Requested(gate=gate) if gate is not None and gate.sampled:
                self._emit(spans.request(fact, gate))
            case Transition(run=run) if run.sampled:
                for span in self._timeline.follow(fact, self._runs()):
                    self._emit(span)
            case Concluded(run=run) if run.sampled:
                for span in self._timeline.conclude(run):
                    self._emit(span)
            case Refused(trace=trace) if trace is not None and self.sampled(trace.id):
                self._emit(spans.refusal(fact, trace))
            case _:
                pass

    def close(self, now: datetime) -> None:
        """Send what is left, but wait no longer than half a second."""
        for span in self._timeline.close(now, {k: r for k, r in self._runs().items() if r.sampled}):
            self._emit(span)
        sending = threading.Thread(target=self._processor.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(_FLUSH_S)

    def _emit(self, span: Span) -> None:
        if self._given - self._exporter.taken >= self._most:
            self._exporter.count("dropped", 1)
            return
        self._given += 1
        self._processor.on_end(_readable(span, self._provider.resource))


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    trace_id = int(span.trace_id, 16)
    parent = _context(trace_id, span.parent) if span.parent else None
    return ReadableSpan(
        name=span.name,
        context=_context(trace_id, span.span_id),
        parent=parent,
        resource=resource,
        attributes=span.attributes,
        events=[SdkEvent(each.name, each.attributes, _nanoseconds(each.at)) for each in span.events],
        links=[Link(_context(int(trace, 16), span_id)) for trace, span_id in span.links],
        kind=_KINDS[span.kind],
        status=Status(StatusCode.ERROR, span.error) if span.error else _UNSET,
        start_time=_nanoseconds(span.start),
        end_time=_nanoseconds(span.end),
        instrumentation_scope=_SCOPE,
    )


def _context(trace_id: int, span_id: str) -> SpanContext:
    return SpanContext(trace_id, int(span_id, 16), is_remote=False, trace_flags=_SAMPLED)


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def _resource() -> Resource:
    """Say who sends; OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME win over what is said here."""
    own: dict[str, str | int] = {
        "service.name": "rollouts-plugin-metric-chaos-mesh",
        "service.version": __version__,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    if _NAMESPACE.exists():
        own |= {"k8s.pod.name": socket.gethostname(), "k8s.namespace.name": _NAMESPACE.read_text().strip()}
    return Resource.create(own).merge(OTELResourceDetector().detect())
