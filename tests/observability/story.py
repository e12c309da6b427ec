"""A day of gates in a few seconds, and what real judges have seen of it.

Three Rollouts: a canary that survives, whose plugin is killed in the middle of its fault; one that does not
come back; and one whose template reaches out of the canary, so that nothing is injected.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from chaosplugin.sandbox.api.resources import Object
from tests.e2e.manifests import NAMES_PODS
from tests.observability import judges
from tests.observability.judges import Jaeger, Json, Prometheus
from tests.observability.queries import FOLDER, filled, panels, rules
from tests.walk.bed import bed
from tests.walk.gate import Gate, metric, settle

SURVIVES, BREAKS, REACHES_OUT = "survives", "breaks", "reaches-out"
_OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
_METRICS: dict[str, Object] = {
    SURVIVES: metric(duration="4s"),
    BREAKS: metric(config={"steadyState": {"enabled": True, "recoverWithin": "2s"}}),
    REACHES_OUT: metric(config={"chaosExperimentCRD": NAMES_PODS}, consecutiveErrorLimit=0),
}


@dataclass
class Evidence:
    """What was told, and what the judges say of it."""

    text: str = ""
    """of /metrics, in Prometheus's format"""
    open_metrics: str = ""
    ready: str = ""
    runs: Json = field(default_factory=dict)
    measurements: dict[str, Object] = field(default_factory=dict)
    """by namespace"""
    panels: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    """the series that each query of each panel returned"""
    recorded: dict[str, list[Json]] = field(default_factory=dict)
    """the series of each recording rule"""
    alerting: set[str] = field(default_factory=set)
    """alerts whose condition held at some time"""
    broken_rules: list[str] = field(default_factory=list)
    exemplars: set[str] = field(default_factory=set)
    """trace ids"""
    traces: dict[str, list[Json]] = field(default_factory=dict)
    """spans by trace id, as Jaeger has them, with their `process`"""
    logs: list[str] = field(default_factory=list)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """The plugin gets its environment from the host, and the host's is ours."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def tell(folder: Path) -> Evidence:
    """Play the story, and ask the judges."""
    (port,) = judges.free_ports(1)
    target = f"127.0.0.1:{port}"
    with (
        judges.jaeger(folder / "jaeger") as jaeger,
        judges.prometheus(folder / "prometheus", target, FOLDER / "rules.yaml") as prometheus,
        _environment(OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp, OTEL_BSP_SCHEDULE_DELAY="200"),
    ):
        evidence = anyio.run(_play, folder, target, prometheus)
        _ask_jaeger(evidence, jaeger)
    return evidence


async def _play(folder: Path, target: str, prometheus: Prometheus) -> Evidence:
    evidence = Evidence()
    began = time.time()  # noqa: TID251 - Prometheus's own clock
    async with bed(folder / "bed") as cluster:
        controller = await cluster.begin("--metrics-address", target)
        gates = {name: Gate(cluster, name) for name in _METRICS}
        for name, gate in gates.items():
            gate.deploy(_METRICS[name])
        await cluster.until("all are healthy", lambda: all(gate.healthy for gate in gates.values()))

        first = gates[SURVIVES]
        first.begin()
        await cluster.until("the fault is on", lambda: first.injected)
        await anyio.sleep(0.5)  # the first spans are sent
        await controller.kill_plugin()
        first.touch()
        for name in (BREAKS, REACHES_OUT):
            gates[name].begin()
        await cluster.until("the second fault is on", lambda: gates[BREAKS].injected)
        gates[BREAKS].keep_down(down=True)
        unsettled = await settle(list(gates.values()))
        assert not unsettled, unsettled
        await anyio.sleep(2)  # a scrape after the last gate
        await anyio.to_thread.run_sync(_ask_plugin, evidence, target)
        await anyio.to_thread.run_sync(_ask_prometheus, evidence, prometheus, began)
        evidence.measurements = {name: gate.measurements[-1] for name, gate in gates.items()}
        await controller.stop()
        evidence.logs = cluster.logs
    return evidence


def _ask_plugin(evidence: Evidence, target: str) -> None:
    evidence.text = judges.fetch(f"http://{target}/metrics")
    evidence.open_metrics = judges.fetch(f"http://{target}/metrics", _OPEN_METRICS)
    evidence.ready = judges.fetch(f"http://{target}/readyz")
    evidence.runs = json.loads(judges.fetch(f"http://{target}/debug/runs"))


def _ask_prometheus(evidence: Evidence, prometheus: Prometheus, began: float) -> None:
    now = time.time()  # noqa: TID251
    for title, expr in panels():
        evidence.panels[title, expr] = prometheus.over(filled(expr), began, now)
    for name in rules("record"):
        evidence.recorded[name] = prometheus.over(name, began, now)
    for name, expr in rules("alert").items():
        if prometheus.over(expr, began, now):
            evidence.alerting.add(name)
    for group in prometheus.ask("rules")["groups"]:
        evidence.broken_rules += [rule["name"] for rule in group["rules"] if rule["health"] != "ok"]
    for found in prometheus.ask("query_exemplars", query="rollouts_chaos_gates_total", start=began, end=now):
        evidence.exemplars |= {each["labels"]["trace_id"] for each in found["exemplars"]}


def _ask_jaeger(evidence: Evidence, jaeger: Jaeger) -> None:
    """The plugin has sent its last spans when it ended; Jaeger may still be storing them."""
    judges.wait_for("the traces of all gates", lambda: sum(map(_ended, jaeger.traces())) >= len(_METRICS), 20)
    for trace in jaeger.traces():
        spans = [{**span, "process": trace["processes"][span["processID"]]} for span in trace["spans"]]
        evidence.traces[trace["traceID"]] = spans


def _ended(trace: Json) -> bool:
    return any(not span["references"] for span in trace["spans"])
