"""How runs have gone on, as the registry tells it: for logs, metrics, traces, and who follows a gate."""

from dataclasses import dataclass
from datetime import datetime

from msgspec import Struct

from chaosplugin.core.run import Run, Stage


class Transition(Struct, frozen=True, kw_only=True):
    """A run went from one stage to another."""

    run: Run
    before: Stage
    after: Stage
    at: datetime


class Concluded(Struct, frozen=True):
    """A verdict stands, and is this process's: of all that work on a gate, one is told this, once.

    Where nothing can be recorded (an Error, the AnalysisRun is gone or may not be patched) it is told to each
    that has come to a verdict.
    """

    run: Run


Progress = Transition | Concluded


@dataclass(frozen=True, slots=True)
class Defect:
    """An error of this program itself has ended a gate: for the log."""

    run: Run
    error: Exception
