"""What people are told of a gate, as Events on its AnalysisRun and Rollout: `kubectl describe` shows them.

Each notice is given once by the process that saw it happen. A successor does not repeat what was there
when it came, and a verdict is told when it stands: another process may have been first.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from chaosplugin.core.analysis import Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.redaction import Redactor
from chaosplugin.core.run import Notice, Run

_API = "argoproj.io/v1alpha1"
_VERDICTS = {
    Phase.SUCCESSFUL: Notice.PASSED,
    Phase.FAILED: Notice.FAILED,
    Phase.INCONCLUSIVE: Notice.INCONCLUSIVE,
    Phase.ERROR: Notice.REFUSED,
}
_NORMAL = {
    Notice.STARTED,
    Notice.INJECTED,
    Notice.RECOVERED,
    Notice.PASSED,
    Notice.DELETED,
    Notice.KEPT,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """One notice, fit to leave the process, about each of its subjects."""

    subjects: tuple[Subject, ...]
    notice: Notice
    message: str

    @property
    def warning(self) -> bool:
        return self.notice not in _NORMAL


def news(run: Run, stuck: str = "") -> list[Announcement]:
    """Return what has not been told of this run; `stuck`: what is wrong with its deletion, if anything."""
    state = _state(run, stuck)
    if state == run.told_state:  # as nearly always
        return []
    run.told_state = state
    found = [(notice, text) for notice, text in _notices(run, stuck) if notice not in run.told_notices]
    if not found:
        return []
    run.told_notices |= {notice for notice, _ in found}
    redactor = Redactor.of(run.spec.secrets)
    subjects = _subjects(run.spec.analysis_run, run.rollout_name, run.rollout_uid)
    metric = run.spec.identity.metric
    return [
        Announcement(subjects, notice, redactor.text(f"metric {metric}: {text}")) for notice, text in found
    ]


def _state(run: Run, stuck: str) -> tuple[bool, ...]:
    """Return all on which the notices depend."""
    return (
        run.experiment is not None,
        run.fault is not None and run.fault.complete,
        run.server_ended_at is not None,
        run.stands and run.decided_here,
        run.gone and run.delete_sent_at is not None,
        run.kept,
        stuck != "",
        run.released,
    )


def _notices(run: Run, stuck: str) -> Iterator[tuple[Notice, str]]:
    seen, subject = run.fault, run.spec.subject
    if run.experiment is not None:
        yield Notice.STARTED, f"{subject} was created, for pods with {run.spec.label}={run.value}"
    if seen is not None and seen.complete:
        yield Notice.INJECTED, f"the fault of {subject} is on, {len(seen.targets)} targets are hit"
    if run.server_ended_at is not None:
        yield Notice.RECOVERED, f"the fault of {subject} is over"
    verdict = run.verdict
    if verdict is None:
        return
    if run.stands and run.decided_here:
        yield _VERDICTS[verdict.phase], verdict.message
    if run.gone and run.delete_sent_at is not None:
        yield Notice.DELETED, f"{subject} is gone"
    if run.kept:
        yield Notice.KEPT, f"{subject} is kept until its AnalysisRun is deleted"
    if stuck:
        yield Notice.STUCK, stuck
    if run.released:
        yield Notice.FORCED, f"the finalizers of {subject} were removed, so a residual fault is possible"


def refusal(analysis_run: AnalysisRun, metric: str, message: str) -> Announcement:
    """Tell of a call that could not become a gate; the message is redacted already."""
    return Announcement(_subjects(analysis_run), Notice.REFUSED, f"metric {metric}: {message}")


def _subjects(run: AnalysisRun, rollout_name: str = "", rollout_uid: str = "") -> tuple[Subject, ...]:
    metadata, owner = run.metadata, run.metadata.controller
    subjects = [Subject(_API, "AnalysisRun", metadata.namespace, metadata.name, metadata.uid)]
    if owner is not None and owner.kind == "Rollout":
        rollout_name, rollout_uid = owner.name, owner.uid
    if rollout_uid:
        subjects.append(Subject(_API, "Rollout", metadata.namespace, rollout_name, rollout_uid))
    return tuple(subjects)
