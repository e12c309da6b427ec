"""What metrics and traces cost: CPU for each call, for each watch event, and memory."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bench.figures import Figure, absolute
from chaosplugin.core.analysis import Measurement, Metric, MetricProvider, Phase
from chaosplugin.core.objects import AnalysisRun, Metadata
from chaosplugin.provider.facts import Fact, Pulse
from chaosplugin.provider.telling import TellingProvider
from chaosplugin.telemetry.metrics import Metrics
from chaosplugin.telemetry.tracing import Tracer

_CALLS = 20_000
_ROUNDS = 5
_RUN = AnalysisRun(metadata=Metadata(name="web-1", namespace="default", uid="run-1"))
_METRIC = Metric(name="chaos")
_GIVEN = Measurement(phase=Phase.RUNNING)


class Encoding(SpanExporter):
    """Does all that an exporter of OTLP does but to send."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


class Answering:
    """A provider that knows all answers."""

    def init(self) -> str:
        return ""

    def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        return _GIVEN

    def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        return measurement

    def terminate(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        return measurement

    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        return ""

    def type(self) -> str:
        return ""

    def get_metadata(self, metric: Metric) -> dict[str, str]:
        return {}


def measure() -> Iterable[Figure]:
    """Hold what is measured against its targets."""
    plain: MetricProvider = Answering()
    metrics = Metrics(_clock, time.monotonic, dict)
    without = _cpu(plain)
    counted = _cpu(_told(plain, metrics.observe, sampled=False)) - without

    tracer = Tracer(Encoding(), 2 * _CALLS * _ROUNDS, 512, dict)

    def observe(fact: Fact) -> None:
        metrics.observe(fact)
        tracer.observe(fact)

    traced = _cpu(_told(plain, observe, sampled=True), lambda: tracer.close(_clock())) - without
    yield absolute("metrics, each call", "us", counted, 0, most=5)
    yield absolute("and a span, each call", "us", traced, 0, most=60)
    yield absolute("watch event, unchanged", "us", _pulse(), 0, most=1)
    idle = _memory("")
    for name, program in _IMPORTS.items():
        yield absolute(f"memory of {name}", "MB", _memory(program) - idle, 0, most=25)


def _clock() -> datetime:
    return datetime.now(UTC)


def _told(provider: MetricProvider, observer: Callable[[Fact], None], *, sampled: bool) -> TellingProvider:
    return TellingProvider(provider, observer, clock=_clock, sampled=lambda _: sampled)


def _cpu(provider: MetricProvider, flush: Callable[[], None] = lambda: None) -> float:
    """Return the microseconds of all threads for each Resume, in the best of some rounds."""
    rounds = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(_CALLS):
            provider.resume(_RUN, _METRIC, _GIVEN)
        rounds.append(time.process_time() - began)
    began = time.process_time()
    flush()
    return 1e6 * (min(rounds) / _CALLS + (time.process_time() - began) / (_CALLS * _ROUNDS))


def _pulse() -> float:
    pulse = Pulse("pods", 0.0)
    began = time.process_time()
    for _ in range(_CALLS):
        pulse.heard_at = time.monotonic()
    return 1e6 * (time.process_time() - began) / _CALLS


_TRACING = "import chaosplugin.telemetry.tracing\n"
_IMPORTS = {
    "metrics": "import chaosplugin.telemetry.http",
    "traces over gRPC": f"{_TRACING}import opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "traces over HTTP": f"{_TRACING}import opentelemetry.exporter.otlp.proto.http.trace_exporter",
}


def _memory(program: str) -> float:
    """Return the resident MB of a process that has also loaded what a plugin always has."""
    program = f"import chaosplugin.kube.clusters, chaosplugin.provider.provider\n{program}\n{_RESIDENT}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


_RESIDENT = """
for line in open("/proc/self/status"):
    if line.startswith("VmRSS:"): print(line.split()[1])
"""
