"""Verdicts: how a gate ends, with the reason in words.

Error only while certainly nothing was injected, because Argo retries Errors (analysis/analysis.go:
consecutiveErrorLimit 4, so a fault would come five times). Successful only after the fault is gone.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from chaosplugin.core.analysis import Phase


class Reason(StrEnum):
    """Why a gate ended; the first word of every message."""

    SURVIVED = "Survived"
    STEADY_STATE_BROKEN = "SteadyStateBroken"
    NOT_RECOVERED = "NotRecovered"
    TIMEOUT = "Timeout"
    SCOPE_VIOLATION = "ScopeViolation"
    CONDITION_NOT_MET = "ConditionNotMet"
    NOT_STEADY = "NotSteady"
    NO_TARGETS = "NoTargets"
    NOT_INJECTED = "NotInjected"
    PAUSED = "Paused"
    DELETED = "Deleted"
    TERMINATED = "Terminated"
    UNOBSERVED = "Unobserved"
    UNKNOWN = "Unknown"
    INTERNAL_ERROR = "InternalError"
    INVALID_CONFIG = "InvalidConfig"
    SCOPE_REFUSED = "ScopeRefused"
    POLICY_REFUSED = "PolicyRefused"
    DENIED = "Denied"
    NAME_TAKEN = "NameTaken"
    UNAVAILABLE = "Unavailable"

    @property
    def phase(self) -> Phase:
        """The phase that goes with the reason; onNoTargets and conditions may worsen or change it."""
        return _PHASES[self]


_PHASES = {
    Reason.SURVIVED: Phase.SUCCESSFUL,
    **dict.fromkeys(
        (
            Reason.STEADY_STATE_BROKEN,
            Reason.NOT_RECOVERED,
            Reason.TIMEOUT,
            Reason.SCOPE_VIOLATION,
            Reason.CONDITION_NOT_MET,
        ),
        Phase.FAILED,
    ),
    **dict.fromkeys(
        (
            Reason.NOT_STEADY,
            Reason.NO_TARGETS,
            Reason.NOT_INJECTED,
            Reason.PAUSED,
            Reason.DELETED,
            Reason.TERMINATED,
            Reason.UNOBSERVED,
            Reason.UNKNOWN,
            Reason.INTERNAL_ERROR,
        ),
        Phase.INCONCLUSIVE,
    ),
    **dict.fromkeys(
        (
            Reason.INVALID_CONFIG,
            Reason.SCOPE_REFUSED,
            Reason.POLICY_REFUSED,
            Reason.DENIED,
            Reason.NAME_TAKEN,
            Reason.UNAVAILABLE,
        ),
        Phase.ERROR,
    ),
}


def reason_of(message: str) -> Reason | None:
    """Read the first word of a message; None where it is not one of this plugin's."""
    first = message.removeprefix("dry run: ").partition(":")[0]
    return Reason(first) if first in _REASONS else None


_REASONS = frozenset(Reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was counted; the JSON `value` of the measurement. Seconds are rounded to a tenth."""

    targets: int = 0
    injected: int = 0
    recovered: int = 0
    min_ready: int = 0
    """fewest canary pods seen Ready between the create and the verdict"""
    recovery_seconds: float = 0.0
    """from the end of the fault until the canary was as before"""
    restarts: int = 0
    """beyond those of the fault itself"""
    seconds: float = 0.0
    """from the create to the verdict"""

    def as_json(self, reason: Reason) -> str:
        return json.dumps(
            {
                "targets": self.targets,
                "injected": self.injected,
                "recovered": self.recovered,
                "minReady": self.min_ready,
                "recoverySeconds": round(self.recovery_seconds, 1),
                "restarts": self.restarts,
                "seconds": round(self.seconds, 1),
                "reason": reason.value,
            },
            separators=(",", ":"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How a gate ends, in the judge's words: nothing is redacted or cut yet."""

    reason: Reason
    text: str
    phase: Phase | None = None
    """where it is not the reason's own"""
    figures: Figures = field(default_factory=Figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a gate has ended, fit to leave the process."""

    phase: Phase
    reason: Reason
    message: str
    value: str
    finished_at: datetime
