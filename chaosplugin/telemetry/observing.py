"""Who is told the facts: the log always; metrics and traces where the operator wants them.

What they need is imported in a thread while calls are answered already, and what happens until then is kept
for them. Without metrics and traces nothing of it is imported.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from chaosplugin.core.run import Run
from chaosplugin.imports import import_modules
from chaosplugin.provider.facts import Fact, Observer
from chaosplugin.provider.settings import Metrics as Address
from chaosplugin.provider.settings import Settings, Traces
from chaosplugin.telemetry import exporting, logs
from chaosplugin.telemetry.gates import log_fact

if TYPE_CHECKING:
    from chaosplugin.telemetry.metrics import Metrics
    from chaosplugin.telemetry.tracing import Tracer

_log = logging.getLogger(__name__)

_MOST_EARLY: Final = 10_000  # facts that wait for the imports
Runs = Callable[[], Mapping[str, Run]]


class Observing:
    """The observers of a process. `observe` can be called before `serve` has loaded all of them."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.not_ready = "starting"
        """why there is no way to a cluster, "" once there is one"""
        self._settings = settings
        self._clock = clock
        self._observers: list[Observer] = []
        self._early: list[Fact] | None = [] if self.wanted else None
        self._tracer: Tracer | None = None

    @property
    def wanted(self) -> bool:
        """Somebody besides the log listens: to calls and requests, too."""
        return self._settings.metrics is not None or self._settings.traces is not None

    @property
    def observer(self) -> Observer | None:
        """Whom to tell of requests and watches; None where nobody listens."""
        return self.observe if self.wanted else None

    def observe(self, fact: Fact) -> None:
        log_fact(fact)
        if self._early is not None and len(self._early) < _MOST_EARLY:
            self._early.append(fact)
        self._tell(fact)

    def _tell(self, fact: Fact) -> None:
        for observer in self._observers:
            try:
                observer(fact)
            except Exception:  # noqa: BLE001  the boundary: no gate ends because it cannot be counted or traced
                _log.exception("an error of chaosplugin itself: a fact is not counted or traced")

    def sampled(self, trace_id: str) -> bool:
        """Say whether a trace is recorded; until the sampler is loaded, each one is."""
        if self._tracer is None:
            return self._early is not None and self._settings.traces is not None
        return self._tracer.sampled(trace_id)

    async def serve(self, runs: Runs) -> None:
        """Keep what is wanted until cancelled; then send the last spans, for half a second at most."""
        settings = self._settings
        await import_modules(*_modules(settings))
        async with anyio.create_task_group() as tasks:
            metrics = self._count(settings.metrics, runs, tasks) if settings.metrics else None
            if settings.traces:
                self._tracer = _tracer(settings.traces, runs, metrics)
            if self._tracer is not None:
                self._observers.append(self._tracer.observe)
            early, self._early = self._early or [], None
            for fact in early:
                self._tell(fact)
            try:
                await anyio.sleep_forever()
            finally:
                if self._tracer is not None:
                    self._tracer.close(self._clock())

    def _count(self, address: Address, runs: Runs, tasks: TaskGroup) -> "Metrics | None":
        """Keep metrics, and serve them in the group's tasks."""
        from chaosplugin.telemetry import http  # noqa: PLC0415 - only where it is wanted
        from chaosplugin.telemetry.metrics import Metrics  # noqa: PLC0415

        why = http.conflict(address)
        try:
            token = http.token_of(address)
        except (OSError, ValueError) as error:
            why, token = f"the token cannot be read: {error}", ""
        if why:
            _log.warning("no metrics: %s", why)
            return None
        metrics = Metrics(self._clock, time.monotonic, runs)
        self._observers.append(metrics.observe)
        logs.count_warnings(metrics.warned)
        tasks.start_soon(http.serve, address, http.Pages(metrics, token, lambda: self.not_ready))
        tasks.start_soon(http.beat, metrics)
        return metrics


def _tracer(settings: Traces, runs: Runs, metrics: "Metrics | None") -> "Tracer | None":
    from chaosplugin.telemetry import tracing  # noqa: PLC0415

    try:
        tracer = tracing.Tracer(exporting.exporter(settings), settings.most_waiting, settings.batch, runs)
    except ValueError as error:
        _log.warning("no traces: %s", error)
        return None
    if metrics is not None:
        tracer.count_with(metrics.exported)
    return tracer


def _modules(settings: Settings) -> list[str]:
    """Name what takes its time to import; what cannot be had is told by whoever needs it."""
    found = ["chaosplugin.telemetry.http"] if settings.metrics is not None else []
    if settings.traces is not None:
        found.append("chaosplugin.telemetry.tracing")
        with contextlib.suppress(ValueError):
            found.append(exporting.module_of(settings.traces))
    return found
