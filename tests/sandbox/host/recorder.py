"""A plugin process for tests: the real transport, a provider that writes every call to a file.

    recorder.py FILE [ANSWER]

FILE gets a line of JSON for each call. ANSWER is JSON: {"init": text, "run": phase, "sleep": seconds,
"print": bool}; Resume gives back what it was given, once the run is annotated `end` that phase.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.transport import goplugin, rollouts, startup

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Recorder:
    def __init__(self, path: Path, answer: dict[str, Any]) -> None:
        self._path = path
        self._answer = answer

    async def init(self) -> str:
        self._write("InitPlugin")
        return str(self._answer.get("init", ""))

    async def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        self._write("Run", run, metric)
        if self._answer.get("print"):
            print("x" * 100_000)  # noqa: T201 - what a library might do
        await asyncio.sleep(self._answer.get("sleep", 0))
        return Measurement(
            phase=Phase(self._answer.get("run", "Running")), message="said", started_at=STARTED
        )

    async def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        self._write("Resume", run, metric)
        end = run.metadata.annotation("end") if run else None
        if end is None:
            return measurement
        return Measurement(phase=Phase(end), message="ended", started_at=measurement.started_at)

    async def terminate(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Measurement:
        self._write("Terminate", run, metric)
        return Measurement(phase=Phase.INCONCLUSIVE, message="stopped", started_at=measurement.started_at)

    async def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        self._write(f"GarbageCollect {limit}", run, metric)
        return ""

    def type(self) -> str:
        return "recorder"

    async def get_metadata(self, metric: Metric) -> Mapping[str, str]:
        self._write("GetMetadata", None, metric)
        return {"kind": "Recorder"}

    def _write(self, method: str, run: AnalysisRun | None = None, metric: Metric | None = None) -> None:
        line: dict[str, Any] = {"method": method, "pid": os.getpid()}
        if run is not None:
            line |= {"run": run.metadata.name, "uid": run.metadata.uid, "labels": run.metadata.labels}
        if metric is not None:
            line["plugin"] = {key: json.loads(value) for key, value in metric.plugin.items()}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


async def main(path: Path, answer: dict[str, Any], begun: startup.Begun) -> None:
    service = rollouts.metric_service(Recorder(path, answer))
    await goplugin.serve(begun.listener, begun.host, {rollouts.PLUGIN_NAME: service})


if __name__ == "__main__":
    given = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    sys.stderr.write('{"@level":"info","@message":"hello","n":1}\nplain\n')
    anyio.run(main, Path(sys.argv[1]), given, startup.begin(os.environ))
