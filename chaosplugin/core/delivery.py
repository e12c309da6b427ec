"""After the verdict: it is recorded, told to Argo, and what is left in the cluster is removed.

The order makes every death harmless. The verdict is on the AnalysisRun before the experiment is
deleted; only a fault that is still on is undone at once. The wake is repeated until Argo has stored
the measurement, each time with a new value, as a patch that changes nothing wakes nobody.
"""

from datetime import datetime, timedelta

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Command, Delete, Find, Keep, Look, WriteVerdict, WriteWake
from chaosplugin.core.ledger import VerdictRecord
from chaosplugin.core.redaction import Redactor
from chaosplugin.core.run import RESUME_GRACE, Run, Stage
from chaosplugin.core.verdict import Verdict

_WAKES = (1, 5, 15, 30)
"""seconds between wakes; the last one repeats"""
DELETE_RETRY = timedelta(seconds=30)
STUCK = timedelta(seconds=60)
"""Chaos Mesh undoes a fault and lets its experiment go within a second; where it fails, it tries for ever."""


def deliver(run: Run, now: datetime) -> tuple[list[Command], datetime | None]:
    """Return what is to be done now, and when to look again."""
    verdict = run.verdict
    if verdict is None:
        return [], None
    tell, tell_at = _tell(run, verdict, now)
    clean, clean_at = _clean(run, now)
    if not tell and not clean and run.stored and (not run.create_sent or run.experiment_gone or run.kept):
        run.stage = Stage.DONE
        return [], None
    times = [at for at in (tell_at, clean_at) if at is not None]
    return tell + clean, min(times, default=None)


def _tell(run: Run, verdict: Verdict, now: datetime) -> tuple[list[Command], datetime | None]:
    """Record and wake; where we may not patch, look whether Argo has it."""
    if run.stored or run.push is None:
        return [], None
    if run.pending & {WriteVerdict, WriteWake, Look}:
        return [], None
    if run.push and not run.resumed and now < run.started_at + RESUME_GRACE:
        return [], run.started_at + RESUME_GRACE
    if not run.push and not run.answered:
        return [], None
    if run.wake_at is not None and now < run.wake_at:
        return [], run.wake_at
    pause = _WAKES[min(run.wakes, len(_WAKES) - 1)]
    run.wakes += 1
    run.wake_at = now + timedelta(seconds=pause)
    wake = f"{run.spec.id}-{now.timestamp():.3f}-{run.wakes}"
    command: Command
    if not run.push:
        command = Look(run.spec.id)
    elif run.recorded or verdict.phase is Phase.ERROR:  # an Error is retried: it must not stand there
        command = WriteWake(run.spec.id, wake, unmark=run.error and run.mark_made)
    else:
        command = WriteVerdict(run.spec.id, record_of(verdict), wake)
    return [command], run.wake_at


def record_of(verdict: Verdict) -> VerdictRecord:
    """Return the verdict as it is written on the AnalysisRun."""
    return VerdictRecord(
        phase=verdict.phase,
        message=verdict.message,
        value=verdict.value,
        finished_at=verdict.finished_at.isoformat(),
    )


def _clean(run: Run, now: datetime) -> tuple[list[Command], datetime | None]:
    if not run.create_sent or run.experiment_gone or run.kept or run.pending & {Delete, Keep, Find}:
        return [], None
    if run.experiment is None:  # the create was never answered: it may have arrived
        return _every(run, now, Find(run.spec.id))
    fault_on = run.fault is None or not run.fault.over
    safe = run.stored or run.recorded
    if not fault_on and not safe:
        return [], None
    if run.spec.keep:
        return _every(run, now, Keep(run.spec.id, pause=fault_on and not run.one_shot))
    return _every(run, now, Delete(run.spec.id, run.experiment.metadata.uid))


def stuck(run: Run, now: datetime) -> str:
    """Say what is wrong with a deletion that does not come to its end, "" while nothing is.

    The verdict stands by then: nothing is deleted without one.
    """
    sent_at = run.delete_sent_at
    if sent_at is None or run.experiment_gone or now < sent_at + STUCK or run.experiment is None:
        return ""
    holders = ", ".join(run.experiment.metadata.finalizers or ()) or "none"
    why = f"; Chaos Mesh says: {run.fault.failure}" if run.fault and run.fault.failure else ""
    return Redactor.of(run.spec.secrets).text(
        f"{run.spec.subject} is not gone {(now - sent_at).total_seconds():.0f}s after its deletion "
        f"(finalizers: {holders}), so a residual fault is possible{why}; see Chaos Mesh's logs"
    )


def _every(run: Run, now: datetime, command: Command) -> tuple[list[Command], datetime | None]:
    """Give the command now, and again while its effect has not been seen."""
    if run.clean_at is not None and now < run.clean_at:
        return [], run.clean_at
    run.clean_at = now + DELETE_RETRY
    return [command], run.clean_at
