"""The metrics that there are: names, labels, buckets."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from chaosplugin import __version__

PREFIX: Final = "rollouts_chaos"
_GATE_SECONDS: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_FAULT_SECONDS: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
_REQUEST_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.3, 1, 3, 10)
_CALL_SECONDS: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 5)


class Families:
    """All metrics of one registry."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # half of all series, and nobody reads them
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info(f"{PREFIX}_build", "Version of the plugin", registry=self.registry).info(
            {"version": __version__}
        )

        self.gates = self._counter(
            "gates", "Finished gates", "namespace", "rollout", "kind", "verdict", "reason"
        )
        self.gate_seconds = self._histogram(
            "gate_duration_seconds", "From the call of Run to the verdict", _GATE_SECONDS, "kind", "verdict"
        )
        self.last_completion = self._gauge(
            "gate_last_completion_timestamp_seconds", "Last verdict", "namespace", "rollout", "verdict"
        )
        self.active = self._gauge("gates_active", "Gates under way", "namespace", "kind", "stage")
        self.oldest = self._gauge(
            "gates_active_oldest_start_timestamp_seconds",
            "Begin of the oldest gate under way",
            "namespace",
            "kind",
            "stage",
        )
        self.injection_seconds = self._histogram(
            "injection_duration_seconds", "From the create until all targets were hit", _FAULT_SECONDS, "kind"
        )
        self.recovery_seconds = self._histogram(
            "recovery_duration_seconds",
            "From the fault's end until the canary was as before",
            _FAULT_SECONDS,
            "kind",
        )
        self.targets = self._counter("targets", "Targets that Chaos Mesh selected", "kind", "result")
        self.checks = self._counter(
            "steady_state_checks", "Steady state before, during and after the fault", "stage", "result"
        )
        self.cleanups = self._counter("cleanups", "Experiments removed", "result", "trigger")
        self.leftover = self._gauge(
            "leftover_experiments", "Experiments whose deletion has not come to its end for a minute"
        )
        self.adoptions = self._counter("adoptions", "Gates that an earlier process had begun", "outcome")
        self.streams = self._gauge("watch_streams", "Watch streams that are wanted", "resource")
        self.cuts = self._counter("watch_restarts", "Watch streams taken up again", "resource", "reason")
        self.heard = self._gauge(
            "watch_last_event_timestamp_seconds", "Last line of the quietest watch stream", "resource"
        )
        self.requests = self._counter("kube_requests", "Requests to API servers", "verb", "resource", "code")
        self.request_seconds = self._histogram(
            "kube_request_duration_seconds",
            "Until the headers of an answer",
            _REQUEST_SECONDS,
            "verb",
            "resource",
        )
        self.rpcs = self._counter("rpc_requests", "Calls of Argo Rollouts", "method", "result")
        self.rpc_seconds = self._histogram(
            "rpc_duration_seconds", "Calls of Argo Rollouts, less their decoding", _CALL_SECONDS, "method"
        )
        self.protocol_errors = self._counter("protocol_errors", "Warnings of the transport", "layer")
        self.lag = self._gauge(
            "event_loop_lag_seconds", "Longest stall of the event loop since the last scrape"
        )
        self.spans = self._counter("spans", "Spans of traces", "result")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, buckets=tuple(buckets), registry=self.registry)
