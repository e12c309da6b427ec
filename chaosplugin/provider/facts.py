"""What is told to the observers: facts, after they have happened.

`gate` is the context in which something was done: of which run, and under which span of its trace. It follows
a task into everything that it awaits, so a request to the API server knows for which gate it is made.
"""

import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from msgspec import Struct

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Command, Outcome
from chaosplugin.core.ledger import RUN, TRACEPARENT
from chaosplugin.core.objects import AnalysisRun, ChaosObject
from chaosplugin.core.progress import Progress
from chaosplugin.core.redaction import Redactor
from chaosplugin.core.run import Run, Stage
from chaosplugin.core.trace import ROOT, Trace
from chaosplugin.core.verdict import Reason


class Gate(Struct, frozen=True):
    """Whose work is done: the run's id, its trace, and the span that it is part of."""

    run: str
    trace: Trace
    span: str
    sampled: bool
    secrets: tuple[str, ...]

    @property
    def pressing(self) -> bool:
        """Its fault may be on, or its verdict is awaited: it goes before those that are yet to begin."""
        return self.span in _PRESSING

    def redact(self, text: str) -> str:
        """Return the text without the secrets among the gate's arguments."""
        return _redactor(self.secrets).redact(text) if self.secrets else text


_TRACEPARENT = re.compile("00-([0-9a-f]{32})-[0-9a-f]{16}-01")

gate: ContextVar[Gate | None] = ContextVar("gate", default=None)

SPANS = {
    Stage.RESTORING: ROOT,
    Stage.PROVING: "proof",
    Stage.QUEUED: "queue",
    Stage.CREATING: "create",
    Stage.UNCERTAIN: "create",
    Stage.OBSERVING: "observe",
    Stage.RECOVERING: "recover",
    Stage.DECIDED: "cleanup",
    Stage.DONE: "cleanup",
}
"""The span of each stage. What is done before anything is known belongs to the gate as a whole."""
_PRESSING = frozenset({"observe", "recover", "cleanup"})


def gate_of(run: Run) -> Gate:
    """Return the context of what is done for a run in its stage."""
    return Gate(run.spec.id, run.trace, SPANS[run.stage], run.sampled, run.spec.secrets)


def gate_left(experiment: ChaosObject) -> Gate | None:
    """Return the context of a gate of which only its experiment is left; None if it was not traced."""
    found = _TRACEPARENT.fullmatch(experiment.metadata.annotation(TRACEPARENT) or "")
    if found is None:
        return None
    return Gate(experiment.metadata.label(RUN) or "", Trace(found[1]), ROOT, sampled=True, secrets=())


@lru_cache(maxsize=256)
def _redactor(secrets: tuple[str, ...]) -> Redactor:
    return Redactor.of(secrets)


@dataclass(frozen=True, slots=True)
class Rpc:
    """How calls come: the system, as OpenTelemetry names it, and what a method's full name begins with."""

    system: str
    service: str


NET_RPC = Rpc("go_net_rpc", "Plugin.")


class Called(Struct, frozen=True):
    """Argo called: `phase` is what a measurement was answered with; `seconds` of this process's time."""

    method: str
    gate: Gate | None
    at: datetime
    seconds: float
    phase: Phase | None
    rpc: Rpc = NET_RPC


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A measurement was answered with Error before it became a run."""

    analysis_run: AnalysisRun | None
    metric: str
    trace: Trace | None
    reason: Reason
    message: str
    at: datetime


class Performed(Struct, frozen=True):
    """A command of the registry was performed, and what came of it."""

    run: Run
    command: Command
    outcome: Outcome


class Requested(Struct, frozen=True, kw_only=True):
    """An API server was asked: `seconds` until the headers of its answer; `status` 0: there was none."""

    method: str
    path: str
    watch: bool
    what: str
    server: str
    status: int
    error: str
    gate: Gate | None
    span_id: str
    """given to the server in traceparent; "" where nothing is traced"""
    at: datetime
    seconds: float


class Pulse:
    """When a watch was last heard of, by time.monotonic(): written for each line, so it is no fact."""

    __slots__ = ("heard_at", "resource")

    def __init__(self, resource: str, heard_at: float) -> None:
        self.resource = resource
        self.heard_at = heard_at


@dataclass(frozen=True, slots=True)
class WatchBegan:
    """A stream of one collection is wanted from now on."""

    pulse: Pulse


@dataclass(frozen=True, slots=True)
class WatchCut:
    """It broke off, or was ended by the server, and is taken up again."""

    pulse: Pulse
    reason: str
    """end, expired, refused, garbled, broken or defect"""


@dataclass(frozen=True, slots=True)
class WatchEnded:
    """Nobody wants it any more."""

    pulse: Pulse


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has come across, as numbers of experiments."""

    deleted: int = 0
    unattended: int = 0
    stuck: int = 0
    """whose AnalysisRun is over, and that are still there"""


Fact = Progress | Called | Refused | Performed | Requested | WatchBegan | WatchCut | WatchEnded | Swept

Observer = Callable[[Fact], None]
"""Told what happened, after it happened; must neither block nor raise."""
