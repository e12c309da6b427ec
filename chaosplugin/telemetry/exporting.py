"""The exporters of traces, each imported only if it is the one. Endpoint and headers are left to the SDK."""

import importlib
import sys
from typing import TYPE_CHECKING

from chaosplugin.provider.settings import Traces

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_OTLP = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
}


def module_of(traces: Traces) -> str:
    """Return the module of an exporter.

    Raises:
        ValueError: there is none of this name.
    """
    if traces.exporter == "console":
        return "opentelemetry.sdk.trace.export"
    if traces.exporter != "otlp":
        raise ValueError(f"OTEL_TRACES_EXPORTER is {traces.exporter!r}, known are otlp, console and none")
    if traces.protocol not in _OTLP:
        known = " and ".join(_OTLP)
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {traces.protocol!r}, known are {known}")
    return _OTLP[traces.protocol]


def exporter(traces: Traces) -> "SpanExporter":
    """Make the exporter.

    Raises:
        ValueError: it cannot be made as the variables say.
    """
    module = importlib.import_module(module_of(traces))
    made: SpanExporter
    if traces.exporter == "console":
        made = module.ConsoleSpanExporter(out=sys.stderr)  # stdout is the host's
    else:
        made = module.OTLPSpanExporter()
    return made
