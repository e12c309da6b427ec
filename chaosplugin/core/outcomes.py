"""What has come of a command: it is taken in, and may settle the gate."""

from datetime import datetime, timedelta

from chaosplugin.core import ledger, sightings
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Command,
    Confirm,
    Confirmed,
    Create,
    Delete,
    Done,
    Failed,
    Found,
    HistoryRead,
    Keep,
    LedgerRead,
    MarkFound,
    NameExists,
    Outcome,
    PodsFound,
    Refused,
    Release,
    ReplicasRead,
    ScopeRead,
    Unanswered,
    VerdictWritten,
    WriteClaim,
    WriteWake,
)
from chaosplugin.core.objects import AnalysisRun, ChaosObject
from chaosplugin.core.run import LATE, Notice, Run, Stage
from chaosplugin.core.verdict import Finding, Reason

_RETRY = timedelta(seconds=1)


def absorb(  # noqa: C901, PLR0911, PLR0912 - one flat match over the outcomes
    run: Run, command: Command, outcome: Outcome, now: datetime
) -> Finding | None:
    """Take in what came of a command that is judged by itself (scope and pods need their store)."""
    run.pending -= {type(command)}
    match outcome:
        case LedgerRead():
            return _restore(run, outcome, now)
        case Found(experiment):
            return _found(run, experiment, now)
        case NameExists() | Unanswered() if run.stage is Stage.CREATING:
            run.stage = Stage.UNCERTAIN
            run.retry_at = now + _RETRY if isinstance(outcome, Unanswered) else None
            run.late_until = run.late_until if isinstance(outcome, Unanswered) else None  # it has arrived
        case ReplicasRead(replicas, generation):
            run.wanted, run.generation = replicas, generation
        case AnalysisRunSeen(analysis_run):
            if isinstance(command, WriteClaim):
                run.claimed_at = now
            elif isinstance(command, WriteWake) and run.verdict is not None:
                run.looked = True
            return sightings.see_analysis_run(run, analysis_run, now)
        case VerdictWritten(record, analysis_run):
            run.recorded = True
            if run.create_sent and run.experiment is None:  # what came before it stood was another's to judge
                run.experiment_gone, run.gone_at, run.clean_at = False, None, None
            sightings.adopt_verdict(run, record, now)
            return sightings.see_analysis_run(run, analysis_run, now)
        case MarkFound(analysis_run):
            return _mark_found(run, analysis_run, now)
        case HistoryRead(created):
            return _history(run, now, created=created)
        case Done():
            if isinstance(command, Delete):
                run.delete_sent_at = run.delete_sent_at or now
            elif isinstance(command, Release):
                run.released = True
            elif isinstance(command, Keep):
                run.kept, run.kept_at = True, run.kept_at or now
        case Refused(finding):
            if isinstance(command, Create):
                run.create_sent = False
            return finding
        case Failed() if isinstance(command, WriteWake) and run.verdict is None:
            pass  # it was to show the gate to others, which is not worth a second try
        case Failed(text):
            run.retry_at, run.waiting_for = now + _RETRY, text
            if isinstance(command, Create) and run.stage is Stage.CREATING:
                run.create_sent = False  # it has never left
        case Confirmed(_, children, recalled, experiment):
            told = command.told if isinstance(command, Confirm) else {}
            uid = experiment.metadata.uid if experiment else ""
            if experiment is not None and run.is_about(uid) and told.get(uid) is run.experiment:
                sightings.see_experiment(run, experiment)
            sightings.see_children(run, children, told, now)
            if recalled:  # of what is gone
                sightings.recall(run, recalled.nodes, recalled.events)
        case ScopeRead() | PodsFound() | NameExists() | Unanswered():
            pass
    return None


def _restore(run: Run, found: LedgerRead, now: datetime) -> Finding | None:
    """Follow the ledger: verdict, else experiment, else mark; only without all three start anew."""
    if run.verdict is not None:  # decided meanwhile, as the reading took too long
        return None
    identity, experiment = run.spec.identity, found.experiment
    run.value = found.value
    read = ledger.read_mark(found.analysis_run, identity) if found.analysis_run else None
    stands = run.mark if run.marked and run.mark_made else None  # ours, whatever an older copy shows
    run.mark = read or stands
    run.marked = run.mark is not None
    if experiment is not None and sightings.is_ours(run, experiment):
        run.create_sent = True
        sightings.see_experiment(run, experiment)
        _was_told(run)
    if found.analysis_run is None:
        return sightings.see_analysis_run(run, None, now)
    sent = run.create_sent
    finding = sightings.see_analysis_run(run, found.analysis_run, now)
    if run.verdict is not None:
        run.create_sent = sent  # as just read
        return None
    if finding is None and run.stored:
        text = "this measurement is stored, and its verdict is not on the AnalysisRun; run the gate again"
        finding = Finding(reason=Reason.UNOBSERVED, text=text)
    if finding is None and experiment is not None:
        finding = sightings.adopt(run, experiment, now)
    elif finding is None:
        run.mark = run.mark or (_implied_mark(run) if run.restored else None)
        if run.mark is None:
            run.stage, run.targets_until = Stage.PROVING, now + run.spec.target_timeout
        else:
            run.stage, run.create_sent = Stage.UNCERTAIN, True  # by an earlier process, or another, perhaps
            finding = _ask_history(run)
    return finding


def _implied_mark(run: Run) -> ledger.Mark | None:
    """Return what is the mark where none could be written: the measurement that Argo has stored."""
    if run.since is None or run.push:
        return None
    spec = run.spec
    return ledger.Mark(kind=spec.kind, namespace=spec.namespace, name=spec.name, version=run.since)


def _was_told(run: Run) -> None:
    """Leave out what the process before has announced."""
    told = {Notice.STARTED}
    if run.fault is not None and run.fault.complete:
        told.add(Notice.INJECTED)
    if run.fault is not None and run.fault.over:
        told.add(Notice.RECOVERED)
    run.told_notices |= told


def _ask_history(run: Run) -> Finding | None:
    """What was marked and is not there was never created, or is gone."""
    if run.mark is not None and run.mark.version:
        run.ask_history = True
        return None
    return sightings.unknown(run)


def _history(run: Run, now: datetime, *, created: bool | None) -> Finding | None:
    """Take in what the API server remembers of the time since the mark."""
    run.ask_history = False
    if created is None:
        return sightings.unknown(run)
    if created:
        run.arrived = True  # which may have been a moment ago: it is looked for once more
    elif run.stage is Stage.UNCERTAIN:
        run.create_sent, run.uncertain_since, run.late_until = False, None, now + LATE
        run.stage, run.targets_until = Stage.PROVING, now + run.spec.target_timeout
        run.scope_version = -1
    return None


def _mark_found(run: Run, analysis_run: AnalysisRun, now: datetime) -> Finding | None:
    """Another process acts for the same intent: what it did, or will do, is read from the ledger."""
    run.mark_made = False
    if run.stage is Stage.CREATING:
        sightings.begin_anew(run, now)
    return sightings.see_analysis_run(run, analysis_run, now)


def _found(run: Run, experiment: ChaosObject | None, now: datetime) -> Finding | None:
    if run.stage in {Stage.CREATING, Stage.UNCERTAIN}:
        if experiment is not None:
            return sightings.adopt(run, experiment, now)
        return _not_found(run)
    run.in_doubt, run.found_at = False, now
    known = run.experiment.metadata.uid if run.experiment else ""
    if experiment is None or not (experiment.metadata.uid == known or sightings.is_ours(run, experiment)):
        run.experiment_gone = True  # another one that bears its name by now is not ours
        return None
    if run.experiment is None:
        run.clean_at = None  # what was looked for is there: it is deleted at once
    sightings.see_experiment(run, experiment)
    return None if ledger.is_ours(experiment, run.spec.identity) else sightings.unlabelled(run)


def _not_found(run: Run) -> Finding | None:
    """Judge an experiment that is not there although its create was sent."""
    if run.arrived:
        text = f"{run.spec.subject} was created, and is gone without a verdict"
        return Finding(reason=Reason.DELETED, text=f"{text}; run the gate again")
    run.mark = run.mark or _implied_mark(run)
    if run.mark is not None and run.mark.version:
        return _ask_history(run)
    run.stage = Stage.CREATING  # nothing arrived: the same name can be created again
    return None
