"""The arguments of Resume: an AnalysisRun that is there, grown as AnalysisRuns grow, by measurements."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
NAME = "chaosplugin/chaos-mesh"
TEMPLATE = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata: {name: bench}
spec: {action: pod-failure, mode: all, duration: 10s}
"""
METRIC: Json = {
    "name": "chaos",
    "provider": {"plugin": {NAME: {"chaosExperimentCRD": TEMPLATE, "targetTimeout": "1h"}}},
}
ANALYSIS_RUN: Json = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AnalysisRun",
    "metadata": {
        "name": "bench",
        "namespace": "default",
        "labels": {"app": "web", "rollouts-pod-template-hash": "abc123", "rollout-type": "Step"},
    },
    "spec": {"metrics": [METRIC]},
    "status": {"phase": "Running", "startedAt": "2026-11-23T12:00:01Z"},
}


class Loads:
    """Fields of a request to the Go host."""

    def __init__(self, analysis_run: Mapping[str, Any]) -> None:
        self._run = analysis_run

    def small(self) -> Json:
        """About 1 kB of gob."""
        return self._with([_result("chaos", 1, 20)])

    def medium(self) -> Json:
        """About 20 kB: twelve metrics with the ten measurements of each that Argo keeps."""
        return self._with([_result(f"web-{number}", 10, 60) for number in range(12)])

    def large(self) -> Json:
        """About 3 MB: answers of a web metric, which Argo keeps whole."""
        return self._with([_result(f"web-{number}", 10, 6_000) for number in range(50)])

    def _with(self, results: list[Json]) -> Json:
        status = {**self._run["status"], "metricResults": results}
        measurement = {"phase": "Running", "metadata": {"chaosplugin.io/run": "0123456789"}}
        return {"run": {**self._run, "status": status}, "metric": METRIC, "measurement": measurement}


def _result(name: str, count: int, size: int) -> Json:
    measurement = {
        "phase": "Successful",
        "startedAt": "2026-11-23T12:00:01Z",
        "finishedAt": "2026-11-23T12:00:02Z",
        "value": "x" * size,
    }
    measurements = [measurement] * count
    return {"name": name, "phase": "Running", "measurements": measurements}
