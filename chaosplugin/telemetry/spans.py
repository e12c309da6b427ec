"""Spans, and those that tell of a single fact."""

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from urllib.parse import urlsplit

from msgspec import Struct

from chaosplugin.core.trace import ROOT, Trace
from chaosplugin.provider.facts import Called, Gate, Refused, Requested
from chaosplugin.telemetry.naming import request_name, rollout_of

Value = str | int | float | bool


class Kind(Enum):
    """Of a span, as OpenTelemetry has it."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2


class Event(Struct, frozen=True):
    """Something within a span."""

    name: str
    at: datetime
    attributes: Mapping[str, Value]


class Span(Struct, frozen=True, kw_only=True):
    """One span, over when it is told. `parent` "" is none."""

    trace_id: str
    span_id: str
    parent: str
    name: str
    start: datetime
    end: datetime
    kind: Kind = Kind.INTERNAL
    attributes: Mapping[str, Value] = {}
    events: tuple[Event, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """trace and span ids"""
    error: str = ""


def call(fact: Called, gate: Gate) -> Span:
    """A call of Argo's, as part of its gate."""
    trace = gate.trace
    name = f"{fact.rpc.service}{fact.method}"
    attributes: dict[str, Value] = {
        "rpc.system.name": fact.rpc.system,
        "rpc.method": name,
        "chaos.run": gate.run,
    }
    if fact.phase is not None:
        attributes["chaos.phase"] = fact.phase.value
    return Span(
        trace_id=trace.id,
        span_id=_fresh(),
        parent=trace.span(ROOT),
        name=name,
        start=fact.at,
        end=fact.at + timedelta(seconds=fact.seconds),
        kind=Kind.SERVER,
        attributes=attributes,
    )


def request(fact: Requested, gate: Gate) -> Span:
    """A request to an API server, as part of the stage in which it was made."""
    verb, resource = request_name(fact)
    server = urlsplit(fact.server)
    attributes: dict[str, Value] = {
        "http.request.method": fact.method,
        "url.path": fact.path,
        "server.address": server.hostname or "",
        "chaos.run": gate.run,
    }
    if server.port is not None:
        attributes["server.port"] = server.port
    if fact.status:
        attributes["http.response.status_code"] = fact.status
    error = fact.error or (f"HTTP {fact.status}" if fact.status >= 400 else "")
    if error:
        attributes["error.type"] = str(fact.status) if fact.status else "no answer"
    trace = gate.trace
    return Span(
        trace_id=trace.id,
        span_id=fact.span_id,
        parent=trace.span(gate.span),
        name=f"{verb} {resource}",
        start=fact.at,
        end=fact.at + timedelta(seconds=fact.seconds),
        kind=Kind.CLIENT,
        attributes=attributes,
        error=gate.redact(error),
    )


def refusal(fact: Refused, trace: Trace) -> Span:
    """A gate that ended before it began."""
    attributes: dict[str, Value] = {
        "rollouts.metric.name": fact.metric,
        "chaos.engine": "chaos-mesh",
        "chaos.verdict": fact.reason.phase.value.lower(),
        "chaos.reason": fact.reason.value,
        "error.type": fact.reason.value,
    }
    if fact.analysis_run is not None:
        metadata = fact.analysis_run.metadata
        attributes |= {
            "k8s.namespace.name": metadata.namespace,
            "rollouts.rollout.name": rollout_of(fact.analysis_run),
            "rollouts.analysis_run.name": metadata.name,
            "rollouts.analysis_run.uid": metadata.uid,
        }
    return Span(
        trace_id=trace.id,
        span_id=trace.span(ROOT),
        parent="",
        name="chaos_gate",
        start=fact.at,
        end=fact.at,
        attributes=attributes,
        error=fact.message,
    )


def _fresh() -> str:
    return os.urandom(8).hex()
