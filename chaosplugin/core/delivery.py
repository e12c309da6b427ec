"""After the verdict: it is recorded, told to Argo, and what is left in the cluster is removed.

The order makes every death harmless. The verdict is on the AnalysisRun before the experiment is
deleted; only a fault that is still on is undone at once. The wake is repeated until Argo has stored
the measurement, each time with a new value, as a patch that changes nothing wakes nobody.
"""

from datetime import datetime, timedelta

from chaosplugin.core import judge
from chaosplugin.core.commands import (
    Command,
    Create,
    Delete,
    Find,
    Keep,
    Look,
    ObjectId,
    Release,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.ledger import VerdictRecord
from chaosplugin.core.redaction import Redactor
from chaosplugin.core.run import RESUME_GRACE, UNASKED, Run, Stage
from chaosplugin.core.verdict import Verdict

_WAKES = (1, 5, 15, 30)
"""seconds between wakes; the last one repeats"""
_LOOK = timedelta(seconds=5)
DELETE_RETRY = timedelta(seconds=30)


def deliver(run: Run, now: datetime) -> tuple[list[Command], datetime | None]:
    """Return what is to be done now, and when to look again."""
    verdict = run.verdict
    if verdict is None:
        return [], None
    tell, tell_at = _tell(run, verdict, now)
    clean, clean_at = _clean(run, now)
    late = run.awaits_late(now)
    over = run.stored and (not run.create_sent or run.gone or run.left)
    if not tell and not clean and over and late is None:
        run.stage = Stage.DONE
        return [], None
    stuck_at = _stuck_at(run)
    ahead = stuck_at if stuck_at is not None and stuck_at > now else None
    times = [at for at in (tell_at, clean_at, late, ahead) if at is not None]
    return tell + clean, min(times, default=None)


def _tell(run: Run, verdict: Verdict, now: datetime) -> tuple[list[Command], datetime | None]:
    """Record and wake; where we may not patch, look whether Argo has it."""
    if run.stored or run.push is None:
        return [], None
    if run.pending & {WriteVerdict, WriteWake, Look}:
        return [], None if run.stands else now + _LOOK  # it is seen then whether this process stands still
    if run.push and not run.resumed and now < run.started_at + RESUME_GRACE:
        return [], run.started_at + RESUME_GRACE
    if not run.push and not run.answered and now < run.asked_at + UNASKED:
        return [], run.asked_at + UNASKED
    if run.wake_at is not None and now < run.wake_at:
        return [], run.wake_at
    pause = _WAKES[min(run.wakes, len(_WAKES) - 1)]
    run.wakes += 1
    run.wake_at = now + timedelta(seconds=pause)
    wake = f"{run.spec.id}-{now.timestamp():.3f}-{run.wakes}"
    command: Command
    if not run.push:
        command = Look(run.spec.id)
    elif run.recorded or run.error:  # an Error is retried: it must not stand there
        command = WriteWake(run.spec.id, wake, unmark=run.mark if run.error and run.mark_made else None)
    else:
        command = WriteVerdict(run.spec.id, record_of(verdict, run.by), wake)
    return [command], run.wake_at


def record_of(verdict: Verdict, by: str) -> VerdictRecord:
    """Return the verdict as it is written on the AnalysisRun, by the process of this word."""
    return VerdictRecord(
        phase=verdict.phase,
        message=verdict.message,
        value=verdict.value,
        finished_at=verdict.finished_at.isoformat(),
        by=by,
    )


def _clean(run: Run, now: datetime) -> tuple[list[Command], datetime | None]:
    if not run.create_sent or run.gone or run.left or run.pending & {Create, Delete, Release, Keep, Find}:
        return [], None
    if run.experiment is None:  # the create was never answered: it may have arrived
        return _every(run, now, Find(run.spec.id))
    fault_on = run.fault is None or not run.fault.over
    safe = run.stored or run.recorded
    if not fault_on and not safe:
        return [], None
    if not fault_on and (late := run.awaits_late(now)):
        return [], late  # its name stays taken, so that nothing comes of it
    if run.spec.keep:
        pause = fault_on and (run.family is not None or not run.one_shot)
        return _every(run, now, Keep(run.spec.id, pause=pause))
    return _remove(run, now, run.experiment.metadata.uid)


def _remove(run: Run, now: datetime, uid: str) -> tuple[list[Command], datetime | None]:
    if run.gone_at is not None and now < run.gone_at + judge.STUCK:
        return [], run.gone_at + judge.STUCK  # what it has spawned goes after it
    held = [each for each in run.remains if each.metadata.deletion_timestamp]
    if run.spec.policy.force_cleanup and held and stuck(run, now):
        objects = (ObjectId(each.kind, each.metadata.name, each.metadata.uid) for each in held)
        return _every(run, now, Release(run.spec.id, tuple(objects)))
    return _every(run, now, Delete(run.spec.id, uid))


def stuck(run: Run, now: datetime) -> str:
    """Say what is wrong with a deletion, or a pause, that does not come to its end, "" while nothing is.

    The verdict stands by then: nothing is deleted or kept without one.
    """
    stuck_at = _stuck_at(run)
    if stuck_at is None or now < stuck_at:
        return ""
    since = now - stuck_at + judge.STUCK
    text = judge.residue(run, since) if _deleting_since(run) else judge.unpaused(run, since)
    return Redactor.of(run.spec.secrets).text(text)


def _stuck_at(run: Run) -> datetime | None:
    """Return when a deletion, or a pause, that is under way counts as stuck."""
    since = _deleting_since(run) or (None if run.left else run.kept_at)
    return None if since is None or run.gone else since + judge.STUCK


def _deleting_since(run: Run) -> datetime | None:
    """Return when it was deleted, by whomever."""
    if run.experiment is None:
        return None
    if run.gone_at is not None:
        return run.gone_at
    deleted = run.experiment.metadata.deletion_timestamp
    return deleted - run.offset if deleted else run.delete_sent_at


def _every(run: Run, now: datetime, command: Command) -> tuple[list[Command], datetime | None]:
    """Give the command now, and again while its effect has not been seen."""
    if run.clean_at is not None and now < run.clean_at:
        return [], run.clean_at
    run.clean_at = now + DELETE_RETRY
    return [command], run.clean_at
