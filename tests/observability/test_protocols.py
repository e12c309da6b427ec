"""Either protocol of OTLP reaches a real Jaeger."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.observability import judges

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]  # the first test of a machine builds Jaeger

_PROGRAM = """
import os
from datetime import UTC, datetime
from msgspec.structs import replace
from chaosplugin import cli
from chaosplugin.telemetry import exporting, tracing
from tests.telemetry.test_tracing import request
traces = cli.traces_of(os.environ)
tracer = tracing.Tracer(exporting.exporter(traces), traces.most_waiting, traces.batch, dict)
tracer.observe(replace(request(), at=datetime.now(UTC)))
tracer.close(datetime.now(UTC))
"""


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_spans_arrive(tmp_path: Path, protocol: str) -> None:
    with judges.jaeger(tmp_path / "jaeger") as jaeger:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp if protocol == "grpc" else jaeger.otlp_http,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, check=True, timeout=60)
        judges.wait_for("the span", jaeger.traces, 20)
        ((span,),) = [trace["spans"] for trace in jaeger.traces()]

    assert span["operationName"] == "get rollouts"
    assert span["spanID"] == "b7ad6b7169203331"
