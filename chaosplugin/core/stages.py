"""Moves one run a step: what has to be done in its stage, given what is known now.

A step is level-triggered: it looks at the run's state, not at what has just happened, so it does not
matter in which order news arrive, whether one came twice, or what a restart has swallowed.
"""

from datetime import datetime, timedelta

from chaosplugin.core import beginning, delivery, judge, outcomes, recovery, scope, sightings
from chaosplugin.core.commands import (
    Command,
    Confirm,
    Confirmed,
    Failed,
    Find,
    FindPods,
    Found,
    Look,
    Outcome,
    PodsFound,
    ReadHistory,
    ReadLedger,
    ReadReplicas,
    ReadScope,
    ReplicasRead,
    ScopeRead,
    Stop,
    WriteMark,
)
from chaosplugin.core.pods import PodStore
from chaosplugin.core.refusal import names
from chaosplugin.core.run import BEGINNING, RESUME_GRACE, STOOD_STILL, UNASKED, Run, Stage
from chaosplugin.core.step import Step, due
from chaosplugin.core.turns import Turn
from chaosplugin.core.verdict import Finding, Reason

LEDGER_GRACE = timedelta(seconds=30)
"""How long the ledger is tried to be read for a new run, beyond each request's own retries."""
UNKNOWN_GRACE = timedelta(seconds=60)
"""How long the fate of an unanswered create is looked for."""
STRANGER_GRACE = timedelta(seconds=5)
"""How long the watch may take to show a pod that a record names."""

UNTOLD_GRACE = timedelta(seconds=30)
"""The same of one that is still being opened, as after a restart with thousands of gates."""


def advance(  # noqa: C901 - one flat match over the stages
    run: Run, pods: PodStore, now: datetime, *, turn: Turn, chaos_lost: str
) -> Step:
    """Look at a run; `turn` tells of other gates on the same ReplicaSet."""
    step = Step(now=now)
    if run.deadline is not None and now >= run.deadline + STOOD_STILL:
        _look_anew(run, now)
    _note_ends(run, now)
    if run.in_doubt and due(run, now, step):
        step.give(run, Find(run.spec.id))
    _unasked(run, now, step)
    match run.stage:
        case Stage.RESTORING:
            _restoring(run, now, step)
        case Stage.PROVING:
            beginning.prove(run, pods, now, step, turn)
            beginning.show(run, pods, now, step)
        case Stage.QUEUED:
            beginning.queue(run, now, step, turn)
            beginning.show(run, pods, now, step)
        case Stage.CREATING:
            beginning.create(run, pods, now, step, turn)
        case Stage.UNCERTAIN:
            _uncertain(run, now, step)
        case Stage.OBSERVING:
            _observing(run, pods, now, step, chaos_lost=chaos_lost)
        case Stage.RECOVERING if run.family and run.fault and not run.fault.over:
            run.stage = Stage.OBSERVING  # a last experiment was spawned while its end was under way
        case Stage.RECOVERING:
            _marking(run, now, step)
            _follow(run, pods, recovery.judge(run, pods, now), now, step)
        case Stage.DECIDED:
            commands, at = delivery.deliver(run, now)
            step.commands += commands
            step.by(at)
        case Stage.DONE:
            pass
    return step


def _look_anew(run: Run, now: datetime) -> None:
    """Give a wait its time again that was slept through: another process may have gone on meanwhile."""
    if run.stage is Stage.DECIDED:
        run.awake_since = now
    elif run.stage is Stage.UNCERTAIN:
        run.uncertain_since = None
    elif run.stage in BEGINNING and not run.create_sent:
        sightings.begin_anew(run, now)


def _note_ends(run: Run, now: datetime) -> None:
    """Remember when the experiment was seen to be gone, and the end of a fault that was told late."""
    if run.experiment_gone:
        run.gone_at = run.gone_at or now
    if run.stage is Stage.RECOVERING and run.fault and run.fault.ended_at and run.server_ended_at:
        run.server_ended_at = max(run.server_ended_at, run.fault.ended_at)


def _unasked(run: Run, now: datetime, step: Step) -> None:
    """Look whether the measurement is wanted still, where neither a call nor a watch tells of its end."""
    if run.push is not False or run.stage in {Stage.RESTORING, Stage.DECIDED, Stage.DONE}:
        return
    if now >= run.asked_at + UNASKED:
        run.asked_at = now
        step.give(run, Look(run.spec.id))
    step.by(run.asked_at + UNASKED)


def absorb(  # noqa: C901 - one flat match over the outcomes
    run: Run, command: Command, outcome: Outcome, pods: PodStore, now: datetime
) -> Finding | None:
    """Take in an outcome; those that are judged beside the pods are judged here."""
    if run.stage is not Stage.PROVING:  # there the proof says what is waited for
        run.waiting_for = ""
    finding = outcomes.absorb(run, command, outcome, now)
    match outcome:
        case ScopeRead() if run.stage is Stage.PROVING:
            return beginning.judge_scope(run, outcome, pods, now)
        case Failed(text) if isinstance(command, ReadScope):
            run.unread = text
        case Failed(text) if isinstance(command, Stop):
            run.unpaused = text
        case Found() if isinstance(command, Stop):
            run.unpaused = "somebody has let it go on"
        case PodsFound(found):
            run.looked_up.update(found)
        case Confirmed(found) if isinstance(command, Confirm):
            if command.version < 0 and run.family:
                run.family.counted = True
            elif command.version == pods.version:  # nothing was told since it was asked for
                shown = pods.shows(found)  # else the watch is behind
                run.confirmed_at, run.pods_behind = (now, -1) if shown else (None, pods.version)
        case ReplicasRead() if isinstance(command, ReadReplicas):
            run.wanted_version = command.version  # of those told since, others may be wanted
        case Failed() if isinstance(command, ReadReplicas):
            run.wanted_version = pods.version  # judged by what is known, rather than not at all
            run.generation = None
        case _:
            pass
    return finding


def _restoring(run: Run, now: datetime, step: Step) -> None:
    since = run.restoring_since or run.started_at
    limit = since + (run.spec.timeout if run.inherited else LEDGER_GRACE)
    if run.waiting_for and now >= limit:
        reason = Reason.UNOBSERVED if run.inherited else Reason.UNAVAILABLE
        then = "run the gate again" if run.inherited else "it is tried again"
        text = f"the cluster could not be read: {run.waiting_for}; {then}"
        step.finding = Finding(reason=reason, text=text)
    elif due(run, now, step):
        step.give(run, ReadLedger(run.spec.id))


def _uncertain(run: Run, now: datetime, step: Step) -> None:
    if run.uncertain_since is None:
        run.uncertain_since = now
    limit = run.uncertain_since + UNKNOWN_GRACE
    if now >= limit:
        text = f"it could not be found out whether {run.spec.subject} was created"
        why = f": {run.waiting_for}" if run.waiting_for else ""
        step.finding = Finding(reason=Reason.UNKNOWN, text=f"{text}{why}; look whether it is there")
    elif ReadHistory not in run.pending and due(run, now, step):
        asked = run.ask_history and run.mark is not None
        version = run.mark.version if run.mark else ""
        step.give(run, ReadHistory(run.spec.id, version) if asked else Find(run.spec.id))
    step.by(limit)


def _observing(run: Run, pods: PodStore, now: datetime, step: Step, *, chaos_lost: str) -> None:
    _marking(run, now, step)
    _stopping(run, now, step)
    _recalling(run, now, step)
    if run.family and run.family.forgetful and run.fault and run.fault.over:
        return  # what it did is being read
    if run.fault is not None and run.fault.complete:
        run.injected_at = run.injected_at or now
    violation = _strangers(run, pods, now, step)
    if violation:
        step.finding = violation
        return
    judgement = judge.fault(run, pods, now, chaos_lost=chaos_lost)
    uncounted = run.family is not None and not run.family.counted
    if judgement.over_at is not None and uncounted and now < judge.last_look(run):
        step.by(judge.last_look(run))
        if due(run, now, step):
            step.give(run, _confirm(run, -1))  # a cut watch may not have told the last firing
        return
    if judgement.over_at is not None and not step.commands and run.strangers_at is None:
        run.server_ended_at = judgement.over_at
        run.stage = Stage.RECOVERING
        return
    _follow(run, pods, judgement, now, step)


def _confirm(run: Run, version: int) -> Confirm:
    told = run.family.told_last if run.family else {}
    if run.experiment is not None:
        told[run.experiment.metadata.uid] = run.experiment
    return Confirm(run.spec.id, version, told)


def _recalling(run: Run, now: datetime, step: Step) -> None:
    """Read what a Workflow did while nobody watched, once it is known what is there of it."""
    family, seen = run.family, run.fault
    if family and seen and seen.over and seen.shortfall:
        family.doubt()
    if family and family.forgetful and family.told and due(run, now, step):
        step.give(run, _confirm(run, -1))


def _stopping(run: Run, now: datetime, step: Step) -> None:
    """Pause a Schedule once its window is over."""
    created, seen = run.server_created_at, run.fault
    ends_at = run.family.ends_at(created) if run.family and created else None
    if ends_at is None or seen is None or seen.stopping or seen.paused or run.experiment_gone:
        return
    if now + run.offset < ends_at:
        step.by(ends_at - run.offset)
    elif due(run, now, step):
        away = run.watching_since is not None and run.watching_since + run.offset >= ends_at
        why = "no plugin ran then" if away else "the API server has not answered that"
        run.unpaused = run.unpaused or why
        step.give(run, Stop(run.spec.id))


def _marking(run: Run, now: datetime, step: Step) -> None:
    """Mark late what could not be marked before, once the controller has surely stored the measurement."""
    if run.marked or not run.push or run.experiment is None:
        return
    if not run.resumed and now < run.started_at + RESUME_GRACE:
        step.by(run.started_at + RESUME_GRACE)
        return
    if WriteMark not in run.pending and due(run, now, step):
        step.give(run, beginning.mark(run, now))


def _strangers(run: Run, pods: PodStore, now: datetime, step: Step) -> Finding | None:
    """Hold the records against the pods: one KNOWN to be another's is a violation at once."""
    seen = run.fault
    if seen is None or not run.replica_set:
        return None
    home = f"{run.spec.namespace}/"
    outside = {target for target in seen.targets if not target.startswith(home)}
    looked_up = [pod for pod in run.looked_up.values() if pod]
    checked = scope.check_targets(seen.hit, [*looked_up, *pods.known], run.replica_set)
    if not (outside or checked.foreign or checked.unknown):  # as nearly always
        run.strangers_at = None
        return None
    unknown = checked.unknown - run.looked_up.keys()
    gone = checked.unknown & run.looked_up.keys()  # judged by its name, which is all there is
    foreign = outside | checked.foreign | {name for name in gone if not _named_after(name, run)}
    if foreign:
        text = f"{run.spec.subject} hit {names(sorted(foreign))}, which is not of ReplicaSet "
        return Finding(
            reason=Reason.SCOPE_VIOLATION,
            text=f"{text}{run.replica_set_name}, so it is deleted at once; see who gives pods its label",
            figures=judge.figures_of(run, seen),
        )
    if not unknown:
        run.strangers_at = None
        return None
    grace = STRANGER_GRACE if pods.synced or pods.lost else UNTOLD_GRACE
    run.strangers_at = min(run.strangers_at or now + grace, now + grace)  # sooner once it is open
    step.by(run.strangers_at)
    if now >= run.strangers_at and due(run, now, step):
        step.give(run, FindPods(run.spec.id, frozenset(unknown)))
    return None


def _named_after(pod: str, run: Run) -> bool:
    """Pods are named after their ReplicaSet, shortened where 63 characters would be exceeded."""
    stem, _, suffix = pod.rpartition("-")
    return len(suffix) == 5 and bool(stem) and run.replica_set_name.startswith(stem[:58])


def _follow(run: Run, pods: PodStore, judgement: judge.Judgement, now: datetime, step: Step) -> None:
    step.finding = step.finding or judgement.finding
    step.by(judgement.look_at)
    if judgement.ask_replicas and run.replica_set_name:
        step.give(run, ReadReplicas(run.spec.id, pods.version))
    elif judgement.ask_replicas:
        run.wanted_version = pods.version
    if judgement.confirm and due(run, now, step):
        step.give(run, _confirm(run, pods.version))
    if judgement.find_experiment and due(run, now, step):
        step.give(run, Find(run.spec.id))
