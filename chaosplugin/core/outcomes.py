"""What an outcome or an observation means for a run: it is taken in, and may settle the gate."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from chaosplugin.core import fault, ledger, moments
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Command,
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
    Recalled,
    Refused,
    Release,
    ReplicasRead,
    ScopeRead,
    Unanswered,
    VerdictWritten,
    WriteClaim,
    WriteWake,
)
from chaosplugin.core.experiment import adopt as read_created
from chaosplugin.core.experiment import window as read_window
from chaosplugin.core.family import Family
from chaosplugin.core.objects import AnalysisRun, ChaosObject, Event
from chaosplugin.core.run import BEGINNING, Notice, Run, Stage
from chaosplugin.core.steady_state import Baseline
from chaosplugin.core.verdict import Finding, Reason, Verdict

RETRY = timedelta(seconds=1)
BASELINE = "chaosplugin.io/baseline"
REPLICA_SET = "chaosplugin.io/replicaset"
CANARY = "chaosplugin.io/canary"
TRACEPARENT = "chaosplugin.io/traceparent"
TRACE_TIMES = "chaosplugin.io/trace-times"
"""begin of the gate and of the create, to the microsecond: the API server's times are whole seconds"""


def absorb(  # noqa: C901, PLR0911, PLR0912 - one flat match over the outcomes
    run: Run, command: Command, outcome: Outcome, now: datetime
) -> Finding | None:
    """Take in what came of a command that is judged by itself (scope and pods need their store)."""
    run.pending.discard(type(command))
    match outcome:
        case LedgerRead():
            return _restore(run, outcome, now)
        case Found(experiment):
            return _found(run, experiment, now)
        case NameExists() | Unanswered() if run.stage is Stage.CREATING:
            run.stage = Stage.UNCERTAIN
            run.retry_at = now + RETRY if isinstance(outcome, Unanswered) else None
        case ReplicasRead(replicas, generation):
            run.wanted, run.generation = replicas, generation
        case AnalysisRunSeen(analysis_run):
            if isinstance(command, WriteClaim):
                run.claimed_at = now
            elif isinstance(command, WriteWake) and run.verdict is not None:
                run.looked = True
            return see_analysis_run(run, analysis_run, now)
        case VerdictWritten(record, analysis_run):
            run.recorded = True
            adopt_verdict(run, record, now)
            return see_analysis_run(run, analysis_run, now)
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
        case Failed(text):
            run.retry_at, run.waiting_for = now + RETRY, text
        case Recalled(nodes, events):
            _recall(run, nodes, events)
        case Confirmed(_, children, recalled, experiment):
            if experiment is not None and run.is_about(experiment.metadata.uid):
                see_experiment(run, experiment)
            if recalled:
                _recall(run, recalled.nodes, recalled.events)
            see_children(run, children, now)
        case ScopeRead() | PodsFound() | NameExists() | Unanswered():
            pass
    return None


def _restore(run: Run, found: LedgerRead, now: datetime) -> Finding | None:
    """Follow the ledger: verdict, else experiment, else mark; only without all three start anew."""
    if run.verdict is not None:  # decided meanwhile, as the reading took too long
        return None
    identity, experiment = run.spec.identity, found.experiment
    run.value = found.value
    run.mark = ledger.read_mark(found.analysis_run, identity) if found.analysis_run else None
    if experiment is not None and _is_ours(run, experiment):
        run.create_sent = True
        see_experiment(run, experiment)
        _was_told(run)
    if found.analysis_run is None:
        return see_analysis_run(run, None, now)
    sent = run.create_sent
    finding = see_analysis_run(run, found.analysis_run, now)
    if run.verdict is not None:
        run.create_sent = sent  # as just read
        return None
    if finding is None and run.stored:
        text = "this measurement is stored, and its verdict is not on the AnalysisRun; run the gate again"
        finding = Finding(reason=Reason.UNOBSERVED, text=text)
    if finding is None and experiment is not None:
        finding = adopt(run, experiment, now)
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
    run.told_notices.add(Notice.STARTED)
    if run.fault is not None and run.fault.complete:
        run.told_notices.add(Notice.INJECTED)
    if run.fault is not None and run.fault.over:
        run.told_notices.add(Notice.RECOVERED)


def _ask_history(run: Run) -> Finding | None:
    """What was marked and is not there was never created, or is gone."""
    if run.mark is not None and run.mark.version:
        run.ask_history = True
        return None
    return _unknown(run)


def _history(run: Run, now: datetime, *, created: bool | None) -> Finding | None:
    """Take in what the API server remembers of the time since the mark."""
    run.ask_history = False
    if created is None:
        return _unknown(run)
    if created:
        run.arrived = True  # which may have been a moment ago: it is looked for once more
    elif run.stage is Stage.UNCERTAIN:
        run.create_sent, run.uncertain_since = False, None
        run.stage, run.targets_until = Stage.PROVING, now + run.spec.target_timeout
        run.scope_version = -1
    return None


def _unknown(run: Run) -> Finding:
    text = f"{run.spec.subject} was about to be created when its gate was interrupted, and is not there"
    return Finding(
        reason=Reason.UNKNOWN, text=f"{text}; whether it ran is not known any more, so run the gate again"
    )


def _mark_found(run: Run, analysis_run: AnalysisRun, now: datetime) -> Finding | None:
    """Another process acts for the same intent: what it did, or will do, is read from the ledger."""
    run.mark_made = False
    if run.stage is Stage.CREATING:
        run.stage = Stage.RESTORING
    return see_analysis_run(run, analysis_run, now)


def is_unexpected(run: Run, experiment: ChaosObject) -> bool:
    """Tell whether this gate's experiment has turned up without having been created here.

    Another process has begun this intent, as that of a second controller does; or the create of one that
    has died has arrived only after the verdict.
    """
    begun = run.stage in {Stage.PROVING, Stage.QUEUED}
    late = run.stands and not run.error
    return run.experiment is None and (begun or late) and ledger.is_ours(experiment, run.spec.identity)


def meet(run: Run, experiment: ChaosObject, now: datetime) -> Finding | None:
    """Take it over; after the verdict nobody wants its fault any more, and it is deleted at once."""
    if run.verdict is None:
        return adopt(run, experiment, now)
    run.create_sent, run.experiment_gone, run.gone_at, run.clean_at = True, False, None, None
    see_experiment(run, experiment)
    run.stage = Stage.DECIDED
    return None


def adopt(run: Run, experiment: ChaosObject, now: datetime) -> Finding | None:
    """Take over the experiment of this intent's name, if it is one of ours and still alive."""
    if not _is_ours(run, experiment):
        if run.mark and not run.mark_made:
            return _unknown(run)
        text = f"{run.spec.subject} exists and is not this gate's; remove it, or rename the template's"
        return Finding(reason=Reason.NAME_TAKEN, text=text)
    run.create_sent = True
    if run.experiment is not experiment:
        see_experiment(run, experiment)
    if not ledger.is_ours(experiment, run.spec.identity):
        return _unlabelled(run)
    created = read_created(experiment)
    if created is not None:  # what was created is judged, whatever the template says by now
        effect = created.parts[0].effect
        as_read, run.one_shot = run.one_shot, created.one_shot
        rules = replace(
            run.rules,
            unready_by_intent=effect.unready,
            replaces_pods=effect.replaces_pods,
            restarts_by_fault=effect.restarts,
        )
        if rules != run.rules:  # else all gates of a template share theirs
            run.rules = rules
        if created.kind.spawns:
            run.family = Family(created, read_window(experiment, created), restored=run.restored)
        if run.family or run.one_shot is not as_read:
            see_experiment(run, experiment)
    run.watching_since = now
    run.server_created_at = experiment.metadata.creation_timestamp
    run.baseline = run.baseline or Baseline.from_text(experiment.metadata.annotation(BASELINE) or "")
    name, _, uid = (experiment.metadata.annotation(REPLICA_SET) or "").partition("/")
    run.replica_set_name, run.replica_set = run.replica_set_name or name, run.replica_set or uid
    run.value = experiment.metadata.annotation(CANARY) or run.value
    run.stage = Stage.OBSERVING
    _see_told_early(run, experiment)
    return None


def note_early(run: Run, thing: object, *, gone: bool) -> None:
    """Keep what is told of an experiment whose create is not answered yet; it will not be told again."""
    if isinstance(thing, ChaosObject) and run.experiment is None and ledger.is_ours(thing, run.spec.identity):
        run.told_early = thing, gone


def _see_told_early(run: Run, experiment: ChaosObject) -> None:
    """Take in what the watch has told: it is newer than the answer to a create."""
    told, run.told_early = run.told_early, None
    if told is not None and told[0].metadata.uid == experiment.metadata.uid:
        see = see_experiment_gone if told[1] else see_experiment
        see(run, told[0])


def _found(run: Run, experiment: ChaosObject | None, now: datetime) -> Finding | None:
    if run.stage in {Stage.CREATING, Stage.UNCERTAIN}:
        if experiment is not None:
            return adopt(run, experiment, now)
        return _not_found(run)
    run.in_doubt, run.found_at = False, now
    known = run.experiment.metadata.uid if run.experiment else ""
    if experiment is None or not (experiment.metadata.uid == known or _is_ours(run, experiment)):
        run.experiment_gone = True  # another one that bears its name by now is not ours
        return None
    if run.experiment is None:
        run.clean_at = None  # what was looked for is there: it is deleted at once
    see_experiment(run, experiment)
    return None if ledger.is_ours(experiment, run.spec.identity) else _unlabelled(run)


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


def _is_ours(run: Run, experiment: ChaosObject) -> bool:
    """Tell by the labels, or, where somebody has taken them off, by the annotations."""
    return ledger.is_ours(experiment, run.spec.identity) or ledger.bears(experiment, run.spec.identity)


def _unlabelled(run: Run) -> Finding:
    text = f"somebody took the labels of chaosplugin off {run.spec.subject}, so that it cannot be watched"
    return Finding(reason=Reason.UNOBSERVED, text=f"{text}; it is deleted, run the gate again")


def see_experiment(run: Run, experiment: ChaosObject) -> None:
    """Take in the experiment's state; one that is told again after its end is not alive again."""
    if not run.experiment_gone:
        run.experiment = experiment
        run.fault = (
            run.family.read(experiment) if run.family else fault.read(experiment, one_shot=run.one_shot)
        )


def see_child(run: Run, child: ChaosObject, *, gone: bool) -> bool:
    """Take in what a Schedule or a Workflow has spawned, if it is this run's."""
    if not (run.family and run.experiment and run.family.take(run.experiment, child, gone=gone)):
        return False
    run.fault = run.family.read(run.experiment)
    return True


def see_children(run: Run, children: Sequence[ChaosObject], now: datetime) -> None:
    """Take in what is there of all that was spawned, whatever the watches have told."""
    run.children_read_at = now
    if run.family and run.experiment:
        run.family.take_all(run.experiment, children)
        run.fault = run.family.read(run.experiment)


def _recall(run: Run, nodes: Sequence[ChaosObject], events: Sequence[Event]) -> None:
    if run.family and run.experiment:
        run.family.recall(run.experiment, nodes, events)
        run.fault = run.family.read(run.experiment)


def see_experiment_gone(run: Run, last: ChaosObject) -> None:
    """The last state still tells how far the fault was.

    Where it is not that of a deletion, the experiment may only have lost the labels by which it is watched.
    """
    see_experiment(run, last)
    deleting = Delete in run.pending or run.delete_sent_at is not None
    if last.metadata.deletion_timestamp is None and not deleting:
        run.in_doubt = True
    else:
        run.experiment_gone = True


def see_analysis_run(run: Run, analysis_run: AnalysisRun | None, now: datetime) -> Finding | None:
    """Take in the AnalysisRun's state: it may have stored our measurement, or want its end.

    Terminate is not reliable (argo-rollouts: not called in v1.9 while resumeAt lies ahead, nor when
    the AnalysisRun is deleted), so this is the other way to hear of it. A verdict that another process has
    brought about comes before the end that may be its consequence.
    """
    if analysis_run is not None:
        adopt_first(run, analysis_run, now)
    if analysis_run is None or analysis_run.metadata.deletion_timestamp is not None:
        run.stored = run.run_over = True
        return _terminated(run, "its AnalysisRun was deleted")
    if ledger.completed(analysis_run):
        run.stored = run.run_over = True
        return _terminated(run, "its AnalysisRun has ended")
    result = analysis_run.result(run.spec.identity.metric)
    retried = result is not None and result.error > run.errors
    if ledger.finished(analysis_run, run.spec.identity) or (retried and run.error):
        run.stored = True
    if (mark := ledger.read_mark(analysis_run, run.spec.identity)) is not None:
        _see_mark(run, mark)
    if analysis_run.spec.terminate:
        return _terminated(run, "its AnalysisRun is being terminated")
    return None


def defect(run: Run, error: Exception) -> Finding:
    """Judge a gate that an error of this program has met: whether its fault was on says the cluster only."""
    text = f"an error of chaosplugin itself ended the gate of {run.spec.subject}"
    return Finding(
        reason=Reason.INTERNAL_ERROR,
        text=f"{text} ({type(error).__name__}: {error}); report it with the traceback in the plugin's log",
    )


def _see_mark(run: Run, mark: ledger.Mark) -> None:
    """Take in a mark. Where another process has begun meanwhile, the ledger is read anew.

    Its whole gate may be over before a create of ours, that waits for its turn, reaches the API server.
    """
    met_before = run.mark is not None and run.mark.by == mark.by
    if mark.by != run.by and not met_before and not run.create_sent and run.stage in BEGINNING:
        run.mark_made, run.stage = False, Stage.RESTORING
    run.marked = True


def adopt_first(run: Run, analysis_run: AnalysisRun, now: datetime) -> bool:
    """Take over the verdict of another process that was first; its experiment may still be there.

    Also in place of a verdict of our own that is not recorded yet.
    """
    if run.recorded or (run.error and run.answered) or run.stage is Stage.DONE:
        return False
    record = ledger.read_verdict(analysis_run, run.spec.identity)
    run.recorded = record is not None
    if record is None:
        stored = ledger.read_stored(analysis_run, run.spec.identity)
        record = stored if stored and _reason(stored.message) else None  # else Argo's words of an end
        if record is not None and run.answered:
            record = replace(record, by=run.by)
        run.stored = run.stored or record is not None
    if record is None:
        return False
    run.create_sent = adopt_verdict(run, record, now) or run.create_sent
    return True


def _terminated(run: Run, why: str) -> Finding | None:
    if run.verdict:
        return None
    return Finding(reason=Reason.TERMINATED, text=f"the gate ended early: {why}")


def adopt_verdict(run: Run, record: ledger.VerdictRecord, now: datetime) -> bool:
    """The recorded verdict is the verdict, whoever wrote it. Returns whether it is another one than ours."""
    if record.by != run.by:
        run.decided_here = False  # also if it says the same
    if run.verdict and (run.verdict.phase, run.verdict.message) == (record.phase, record.message):
        return False
    run.verdict = Verdict(
        phase=record.phase,
        reason=_reason(record.message) or Reason.UNKNOWN,
        message=record.message,
        value=record.value,
        finished_at=moments.read(record.finished_at) or now,
    )
    run.stage = Stage.DECIDED
    return True


def _reason(message: str) -> Reason | None:
    """Read the first word of a message; None where it is not one of this plugin's."""
    first = message.removeprefix("dry run: ").partition(":")[0]
    return Reason(first) if first in set(Reason) else None
