"""Spans on their way: to a collector that is there, that is not, and that never answers."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chaosplugin import cli
from chaosplugin.core.analysis import Phase
from chaosplugin.core.policy import Policy
from chaosplugin.core.trace import ROOT, Trace
from chaosplugin.core.verdict import Reason
from chaosplugin.provider.facts import Called, Gate, Refused, Requested
from chaosplugin.provider.settings import Settings, Traces
from chaosplugin.telemetry import exporting
from chaosplugin.telemetry.observing import Observing
from chaosplugin.telemetry.tracing import Tracer
from chaosplugin.transport.grpc.metrics import RPC
from tests.core.given import START, analysis_run, pod
from tests.core.world import World
from tests.observability.judges import free_ports
from tests.sandbox.conftest import clock

TRACE = Trace("0af7651916cd43dd8448eb211c80319c")
GATE = Gate("0123456789", TRACE, "proof", sampled=True, secrets=("hunter2",))
UNSAMPLED = Gate("0123456789", TRACE, "proof", sampled=False, secrets=())


def request(gate: Gate | None = GATE, status: int = 200, error: str = "") -> Requested:
    return Requested(
        method="GET",
        path="/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web",
        watch=False,
        what="read Rollout shop/web",
        server="https://10.0.0.1:6443",
        status=status,
        error=error,
        gate=gate,
        span_id="b7ad6b7169203331",
        at=START,
        seconds=0.25,
    )


def exported(*facts: object) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    tracer = Tracer(exporter, 100, 100, dict)
    for fact in facts:
        tracer.observe(fact)  # type: ignore[arg-type]
    tracer.close(START)
    return list(exporter.get_finished_spans())


def test_a_request_is_a_span_under_the_id_that_the_server_was_sent() -> None:
    (span,) = exported(request())
    assert span.context is not None
    assert span.parent is not None

    assert f"{span.context.trace_id:032x}" == TRACE.id
    assert f"{span.context.span_id:016x}" == "b7ad6b7169203331"
    assert f"{span.parent.span_id:016x}" == TRACE.span("proof")
    assert (span.name, span.kind) == ("get rollouts", SpanKind.CLIENT)
    assert (span.end_time or 0) - (span.start_time or 0) == 250_000_000
    assert dict(span.attributes or {})["server.port"] == 6443
    assert span.status.status_code is StatusCode.UNSET


def test_what_a_server_says_is_without_secrets() -> None:
    (span,) = exported(request(status=422, error="spec.x: hunter2 is no number"))

    assert span.status.description == "spec.x: ***** is no number"
    assert dict(span.attributes or {})["error.type"] == "422"


def test_a_call_is_part_of_its_gate() -> None:
    (span,) = exported(Called("Resume", GATE, START, 0.0005, Phase.RUNNING))
    assert span.parent is not None

    assert (span.name, span.kind) == ("Plugin.Resume", SpanKind.SERVER)
    assert f"{span.parent.span_id:016x}" == TRACE.span(ROOT)
    assert dict(span.attributes or {})["rpc.system.name"] == "go_net_rpc"


def test_a_call_to_a_server_is_named_as_grpc_names_it() -> None:
    (span,) = exported(Called("Resume", GATE, START, 0.0005, Phase.RUNNING, RPC))

    assert span.name == "chaosplugin.v1.MetricProviderService/Resume"
    assert dict(span.attributes or {})["rpc.system.name"] == "grpc"


def test_a_refused_gate_is_a_trace_that_says_why() -> None:
    fact = Refused(
        analysis_run=analysis_run(),
        metric="chaos",
        trace=TRACE,
        reason=Reason.SCOPE_REFUSED,
        message="ScopeRefused: no",
        at=START,
    )
    (span,) = exported(fact)

    assert span.parent is None
    assert span.status.description == "ScopeRefused: no"


def test_what_belongs_to_no_gate_or_to_one_that_is_not_sampled_is_no_span() -> None:
    unsampled = World()
    unsampled.to_recovering()
    unsampled.pods(pod("web-a", restarts=2, since=unsampled.now))
    unsampled.wait(6)
    facts = [request(None), request(UNSAMPLED), Called("Run", None, START, 0.1, None)]

    assert exported(*facts, *unsampled.registry.progress) == []


@contextmanager
def variables(**given: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        yield


@pytest.mark.parametrize(
    ("sampler", "argument", "share"),
    [("", "", 1.0), ("always_off", "", 0.0), ("traceidratio", "0.25", 0.25)],
)
def test_the_sampler_is_the_one_of_the_environment_and_decides_by_the_trace(
    sampler: str, argument: str, share: float
) -> None:
    ids = [os.urandom(16).hex() for _ in range(2000)]
    given = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument} if sampler else {}
    with variables(**given):
        one, other = (
            Tracer(InMemorySpanExporter(), 10, 10, dict),
            Tracer(InMemorySpanExporter(), 10, 10, dict),
        )
    decisions = [one.sampled(each) for each in ids]

    assert decisions == [other.sampled(each) for each in ids]
    assert sum(decisions) / len(ids) == pytest.approx(share, abs=0.06)


def test_the_resource_says_who_sends_and_the_environment_has_the_last_word() -> None:
    given = {"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=east"}
    with variables(**given):
        (named,) = exported(request())
    (span,) = exported(request())

    assert named.resource.attributes["service.name"] == "mine"
    assert named.resource.attributes["k8s.cluster.name"] == "east"
    assert span.resource.attributes["service.name"] == "rollouts-plugin-metric-chaos-mesh"


class Stuck(SpanExporter):
    """A collector that never answers."""

    def export(self, _: object) -> SpanExportResult:
        time.sleep(60)
        return SpanExportResult.FAILURE


def test_a_collector_that_never_answers_holds_up_neither_gate_nor_exit() -> None:
    counts: dict[str, int] = {}

    def count(result: str, number: int) -> None:
        counts[result] = counts.get(result, 0) + number

    with variables(OTEL_BSP_SCHEDULE_DELAY="1"):
        tracer = Tracer(Stuck(), 50, 10, dict)
    tracer.count_with(count)
    began = time.monotonic()
    for _ in range(1000):
        tracer.observe(request())
    told = time.monotonic() - began
    tracer.close(START)
    ended = time.monotonic() - began - told

    assert told < 10, "the collector takes 60"
    assert ended < 10
    assert 900 <= counts["dropped"] < 1000


async def test_a_variable_that_the_sdk_cannot_read_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    watched = Observing(Settings(Policy(), None, "info", traces=Traces("console", "grpc", 10, 10)), clock)
    early = watched.sampled(TRACE.id)
    with variables(OTEL_BSP_SCHEDULE_DELAY="-1"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watched.serve, dict)
            with anyio.fail_after(20):
                while "no traces: " not in caplog.text:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    assert early
    assert not watched.sampled(TRACE.id)


async def test_an_error_of_an_observer_reaches_no_gate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object, fact: object) -> None:
        raise LookupError(fact)

    monkeypatch.setattr(Tracer, "observe", broken)
    watched = Observing(Settings(Policy(), None, "info", traces=Traces("console", "grpc", 10, 10)), clock)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched.serve, dict)
        with anyio.fail_after(20):
            while "is not counted or traced" not in caplog.text:
                watched.observe(request())
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317"}, Traces("otlp", "grpc", 2048, 512)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4317"}, Traces("otlp", "grpc", 2048, 512)),
        ({"OTEL_TRACES_EXPORTER": "console"}, Traces("console", "grpc", 2048, 512)),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, None),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_TRACES_EXPORTER": "otlp"}, None),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            Traces("otlp", "http/protobuf", 2048, 512),
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "64"},
            Traces("otlp", "grpc", 64, 64),
        ),
    ],
)
def test_what_is_traced_is_read_of_the_standard_variables(
    environment: Mapping[str, str], expected: Traces | None
) -> None:
    assert cli.traces_of(environment) == expected


@pytest.mark.parametrize(
    ("traces", "names"),
    [
        (Traces("zipkin", "grpc", 1, 1), "OTEL_TRACES_EXPORTER"),
        (Traces("otlp", "json", 1, 1), "OTEL_EXPORTER_OTLP"),
    ],
)
def test_an_unknown_exporter_is_named(traces: Traces, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        exporting.exporter(traces)


PLUGIN = """
import sys, json, anyio, chaosplugin.app
from chaosplugin.core.policy import Policy
from chaosplugin.provider.settings import Metrics, Settings, Traces
from chaosplugin.telemetry.observing import Observing
async def main():
    settings = Settings(Policy(), None, "info", metrics={metrics}, traces={traces})
    watched = Observing(settings, chaosplugin.app.Clock())
    async with anyio.create_task_group() as tasks:
        if watched.wanted: tasks.start_soon(watched.serve, dict)
        while watched._early is not None: await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    heavy = ("prometheus_client", "opentelemetry", "grpc", "requests", "aiohttp.web")
    print(json.dumps([name for name in heavy if name in sys.modules]))
anyio.run(main)
"""
ADDRESS = 'Metrics("127.0.0.1", 0, None, None, None)'


@pytest.mark.parametrize(
    ("metrics", "traces", "expected"),
    [
        ("None", "None", []),
        (ADDRESS, "None", ["prometheus_client", "aiohttp.web"]),
        ("None", 'Traces("otlp", "grpc", 10, 10)', ["opentelemetry", "grpc"]),
        ("None", 'Traces("otlp", "http/protobuf", 10, 10)', ["opentelemetry", "requests"]),
        ("None", 'Traces("zipkin", "", 10, 10)', ["opentelemetry"]),
    ],
)
def test_only_what_is_wanted_is_imported(metrics: str, traces: str, expected: list[str]) -> None:
    program = PLUGIN.format(metrics=metrics, traces=traces)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("listens", [False, True])
def test_a_process_ends_at_once_whatever_the_collector_does(protocol: str, listens: bool) -> None:
    """Nobody is there; or somebody who takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if listens else free_ports(1)[0]
        program = f"""
import time
from datetime import datetime, UTC
from chaosplugin.core.policy import Policy
from chaosplugin.provider.settings import Settings, Traces
from chaosplugin.telemetry import exporting, tracing
from tests.telemetry.test_tracing import request
tracer = tracing.Tracer(exporting.exporter(Traces("otlp", {protocol!r}, 2048, 512)), 2048, 512, dict)
for _ in range(600): tracer.observe(request())
time.sleep(0.3)
began = time.monotonic()
tracer.close(datetime.now(UTC))
print(time.monotonic() - began, flush=True)
"""
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        closing = float(process.stdout.readline())
        began = time.monotonic()
        process.wait(timeout=30)
        gone = time.monotonic() - began
        process.communicate()

    assert closing < 5, "a second is what it may wait; a busy machine is given more"
    assert gone < 5, "a host kills after two seconds; a busy machine is given more"
