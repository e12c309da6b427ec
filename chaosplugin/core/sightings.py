"""What is seen of a gate's experiment and of its AnalysisRun, whoever has read it: it is taken in.

It may settle the gate: then the finding is returned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from chaosplugin.core import fault, ledger, moments
from chaosplugin.core.commands import Delete
from chaosplugin.core.experiment import adopt as read_created
from chaosplugin.core.experiment import window as read_window
from chaosplugin.core.family import Family
from chaosplugin.core.objects import AnalysisRun, ChaosObject, Event
from chaosplugin.core.run import BEGINNING, Run, Stage
from chaosplugin.core.steady_state import Baseline
from chaosplugin.core.verdict import Finding, Reason, Verdict, reason_of


def is_unexpected(run: Run, experiment: ChaosObject) -> bool:
    """Tell whether this gate's experiment has turned up without having been created here.

    Another process has begun this intent, as that of a second controller does; or the create of one that
    has died has arrived only after the verdict.
    """
    known = run.experiment
    begun = known is None and run.stage in {Stage.PROVING, Stage.QUEUED}
    other = known is None or (run.gone and known.metadata.uid != experiment.metadata.uid)
    late = other and run.stands and not run.error
    return (begun or late) and ledger.is_ours(experiment, run.spec.identity)


def meet(run: Run, experiment: ChaosObject, now: datetime) -> Finding | None:
    """Take it over; after the verdict nobody wants its fault any more, and it is deleted at once."""
    run.late_until = None  # it has arrived
    if run.verdict is None:
        return adopt(run, experiment, now)
    run.create_sent, run.experiment_gone, run.gone_at, run.clean_at = True, False, None, None
    run.delete_sent_at, run.family = None, run.spec.family() if run.spec.family else None
    see_experiment(run, experiment)
    run.stage = Stage.DECIDED
    return None


def adopt(run: Run, experiment: ChaosObject, now: datetime) -> Finding | None:
    """Take over the experiment of this intent's name, if it is one of ours and still alive."""
    if not is_ours(run, experiment):
        if run.mark and not run.mark_made:
            return unknown(run)
        text = f"{run.spec.subject} exists and is not this gate's; remove it, or rename the template's"
        return Finding(reason=Reason.NAME_TAKEN, text=text)
    run.create_sent = True
    if run.experiment is not experiment:
        see_experiment(run, experiment)
    if not ledger.is_ours(experiment, run.spec.identity):
        return unlabelled(run)
    created = read_created(experiment)
    if created is not None:  # what was created is judged, whatever the template says by now
        effect = created.parts[0].effect
        as_read, run.one_shot = run.one_shot, created.one_shot
        rules = run.rules
        effects = rules.unready_by_intent, rules.replaces_pods, rules.restarts_by_fault
        if effects != (effect.unready, effect.replaces_pods, effect.restarts):  # else gates share theirs
            run.rules = replace(
                rules,
                unready_by_intent=effect.unready,
                replaces_pods=effect.replaces_pods,
                restarts_by_fault=effect.restarts,
            )
        if created.kind.spawns:
            run.family = Family(created, read_window(experiment, created), restored=run.restored)
        if run.family or run.one_shot is not as_read:
            see_experiment(run, experiment)
    run.watching_since = now
    run.server_created_at = experiment.metadata.creation_timestamp
    run.baseline = run.baseline or Baseline.from_text(experiment.metadata.annotation(ledger.BASELINE) or "")
    name, _, uid = (experiment.metadata.annotation(ledger.REPLICA_SET) or "").partition("/")
    run.replica_set_name, run.replica_set = run.replica_set_name or name, run.replica_set or uid
    run.value = experiment.metadata.annotation(ledger.CANARY) or run.value
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


def see_experiment(run: Run, experiment: ChaosObject) -> None:
    """Take in the experiment's state; one that is told again after its end is not alive again."""
    if not run.experiment_gone:
        run.experiment = experiment
        run.fault = (
            run.family.read(experiment) if run.family else fault.read(experiment, one_shot=run.one_shot)
        )


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


def see_child(run: Run, child: ChaosObject, *, gone: bool) -> bool:
    """Take in what a Schedule or a Workflow has spawned, if it is this run's."""
    if not (run.family and run.experiment and run.family.take(run.experiment, child, gone=gone)):
        return False
    run.fault = run.family.read(run.experiment)
    return True


def see_children(
    run: Run, children: Sequence[ChaosObject], told: Mapping[str, ChaosObject | None], now: datetime
) -> None:
    """Take in what was there of all that was spawned; `told` is what the watches had told before."""
    run.children_read_at = now
    if run.family and run.experiment:
        run.family.take_all(run.experiment, children, told)
        run.fault = run.family.read(run.experiment)


def recall(run: Run, nodes: Sequence[ChaosObject], events: Sequence[Event]) -> None:
    """Take in what is left to read of what a Workflow did while nobody watched."""
    if run.family and run.experiment:
        run.family.recall(nodes, events, last=run.experiment.condition("Accomplished"))
        run.fault = run.family.read(run.experiment)


def is_ours(run: Run, experiment: ChaosObject) -> bool:
    """Tell by the labels, or, where somebody has taken them off, by the annotations."""
    return ledger.is_ours(experiment, run.spec.identity) or ledger.bears(experiment, run.spec.identity)


def unlabelled(run: Run) -> Finding:
    """Judge an experiment that is this gate's, and that no watch tells of."""
    text = f"somebody took the labels of chaosplugin off {run.spec.subject}, so that it cannot be watched"
    return Finding(reason=Reason.UNOBSERVED, text=f"{text}; it is deleted, run the gate again")


def unknown(run: Run) -> Finding:
    """Judge a mark without an experiment, where nobody remembers whether there was one."""
    text = f"{run.spec.subject} was about to be created when its gate was interrupted, and is not there"
    return Finding(
        reason=Reason.UNKNOWN, text=f"{text}; whether it ran is not known any more, so run the gate again"
    )


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
        return _terminated(run, f"its {_record(run)} was deleted")
    if ledger.completed(analysis_run):
        run.stored = run.run_over = True
        return _terminated(run, f"its {_record(run)} has ended")
    result = analysis_run.result(run.spec.identity.metric)
    run.dry_run = result.dry_run if result is not None else run.dry_run
    retried = result is not None and result.error > run.errors
    if ledger.finished(analysis_run, run.spec.identity) or (retried and run.error):
        run.stored = True
    run.shown = run.shown or analysis_run.metadata.label(ledger.GATE) is not None
    known = run.marked and run.create_sent and ledger.is_marked(analysis_run, run.spec.identity)
    if not known:  # else it tells nothing new, whose ever it is
        _see_mark(run, ledger.read_mark(analysis_run, run.spec.identity), now)
    if analysis_run.spec.terminate:
        return _terminated(run, "it was stopped" if _alone(run) else "its AnalysisRun is being terminated")
    return None


def _alone(run: Run) -> bool:
    """Whether no analysis is behind it: what stands for the AnalysisRun is a ConfigMap."""
    return run.spec.policy.claims


def _record(run: Run) -> str:
    return "ConfigMap" if _alone(run) else "AnalysisRun"


def _see_mark(run: Run, mark: ledger.Mark | None, now: datetime) -> None:
    """Take in a mark. Where another process has begun meanwhile, the ledger is read anew.

    Its whole gate may be over before a create of ours, that waits for its turn, reaches the API server. An
    Error that nobody was told gives way: it says that nothing is injected, and Argo would begin anew.
    Where it has taken back the mark that ours relies on, as it has ended in an error, ours marks itself.
    """
    theirs = run.mark is not None and run.mark.by != run.by
    if mark is None:
        run.marked = run.marked and not theirs
        return
    if mark.by == run.by and mark != run.mark:
        return  # of a try before this one, which has taken it back: this copy is older
    met_before = run.mark is not None and run.mark.by == mark.by
    untold = run.error and not (run.answered or run.concluded)
    if mark.by != run.by and not met_before and not run.create_sent and (run.stage in BEGINNING or untold):
        begin_anew(run, now)
    run.mark_made = run.mark_made and mark.by == run.by
    run.mark, run.marked = mark, True


def begin_anew(run: Run, now: datetime) -> None:
    """Let the ledger be read again, as another process may have gone on meanwhile."""
    run.stage, run.restoring_since, run.marking_since = Stage.RESTORING, now, None
    run.verdict, run.decided_here, run.looked, run.wakes, run.wake_at = None, False, False, 0, None


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
        record = stored if stored and reason_of(stored.message) else None  # else Argo's words of an end
        if record is not None and run.answered:
            record = replace(record, by=run.by)
        run.stored = run.stored or record is not None
    if record is None:
        return False
    run.create_sent = adopt_verdict(run, record, now) or run.create_sent
    return True


def adopt_verdict(run: Run, record: ledger.VerdictRecord, now: datetime) -> bool:
    """The recorded verdict is the verdict, whoever wrote it. Returns whether it is another one than ours."""
    if record.by != run.by:
        run.decided_here = False  # also if it says the same
    if run.verdict and (run.verdict.phase, run.verdict.message) == (record.phase, record.message):
        return False
    run.verdict = Verdict(
        phase=record.phase,
        reason=reason_of(record.message) or Reason.UNKNOWN,
        message=record.message,
        value=record.value,
        finished_at=moments.read(record.finished_at) or now,
    )
    run.stage = Stage.DECIDED
    return True


def _terminated(run: Run, why: str) -> Finding | None:
    if run.verdict:
        return None
    return Finding(reason=Reason.TERMINATED, text=f"the gate ended early: {why}")
