"""The steps of a run before its fault: it waits for Argo and for its targets, proves them, marks and creates.

What was proved is what will be hit: whatever changes in between is proved again.
"""

from datetime import datetime, timedelta

from chaosplugin.core import delivery, judge, ledger, scope, sightings
from chaosplugin.core.commands import Create, ReadScope, ScopeRead, WriteClaim, WriteMark, WriteWake
from chaosplugin.core.ledger import Hold, Mark
from chaosplugin.core.pods import PodStore
from chaosplugin.core.refusal import Refusal
from chaosplugin.core.run import STOOD_STILL, Run, Stage
from chaosplugin.core.steady_state import baseline
from chaosplugin.core.step import Step, due
from chaosplugin.core.trace import ROOT
from chaosplugin.core.turns import CLAIM, SETTLE, Turn
from chaosplugin.core.verdict import Finding, Reason

REVIEW_GRACE = timedelta(seconds=15)
"""How long it is waited for whether the AnalysisRun may be patched; without an answer it is not marked."""
RESUME_WAIT = timedelta(minutes=10)
"""How long the first Resume is waited for: it comes some 20 ms after Run, but with several metrics only
after the slowest Run of them."""
MARK_GRACE = timedelta(seconds=30)
"""How long the mark is tried to be written, beyond each request's own retries."""
PROVE_AGAIN = timedelta(seconds=3)
"""Owners are read, not watched: where the pods are ready and the proof waits, it is tried again."""
_BEHIND = timedelta(seconds=1)
"""The same where the watch of the pods is behind: as it catches up, it is tried again at once."""


SHOW = timedelta(seconds=5)
"""How long a gate may have waited before it is shown to others: most have marked by then."""


def prove(run: Run, pods: PodStore, now: datetime, step: Step, turn: Turn) -> None:
    """Wait for Ready targets; each change of the pods is a reason to prove again."""
    if pods.synced and _ready(run, pods) and not _may_begin(run, now, step):
        run.targets_until = None
        return
    run.targets_until = run.targets_until or now + run.spec.target_timeout  # it begins when Argo lets us
    step.finding = judge.targets(run, pods, now)
    step.by(run.targets_until)
    if step.finding or not (pods.synced and turn.known):
        return
    run.ready_at = (run.ready_at or now) if _ready(run, pods) else None
    first = run.scope_version < 0
    changed = run.scope_version != pods.version or run.prove_at is not None
    if run.prove_at is not None and now < run.prove_at and run.scope_version == pods.version:
        step.by(run.prove_at)
        return
    if (first or (changed and _ready(run, pods))) and due(run, now, step):
        holders = (pod.metadata.controller for pod in pods.live)
        own = frozenset(holder.name for holder in holders if holder and holder.kind == "ReplicaSet")
        step.give(run, ReadScope(run.spec.id, own))


def _may_begin(run: Run, now: datetime, step: Step) -> bool:
    """Tell whether Argo has stored that this measurement has begun, and it is known how to mark it.

    Before, whoever came after our death would be called as if nothing had been begun.
    """
    if run.resumed:
        step.by(run.started_at + REVIEW_GRACE)
        return _begun(run, now)
    limit = run.started_at + RESUME_WAIT
    if now >= limit:
        minutes = RESUME_WAIT.total_seconds() / 60
        text = f"nothing was created, as the controller has not asked again for {minutes:.0f} minutes"
        step.finding = Finding(reason=Reason.UNAVAILABLE, text=f"{text}; see its log, and its other metrics")
    step.by(limit)
    return False


def _begun(run: Run, now: datetime) -> bool:
    return run.resumed and (run.push is not None or now >= run.started_at + REVIEW_GRACE)


def queue(run: Run, now: datetime, step: Step, turn: Turn) -> None:
    """Wait until the canary is free; not for a fault that cannot be undone."""
    step.by(turn.until)
    if not turn.taken:
        run.stage, run.scope_version = Stage.PROVING, -1
        run.targets_until = now + run.spec.target_timeout
    elif turn.holder and (wrong := delivery.stuck(turn.holder, now)):
        step.finding = Finding(reason=Reason.NOT_STEADY, text=f"the canary bears another gate's {wrong}")


def show(run: Run, pods: PodStore, now: datetime, step: Step) -> None:
    """Let the AnalysisRun of a gate that waits bear our label before its mark.

    So every process's watches tell of it, and its own one of the AnalysisRun's end.
    """
    waits = run.stage is Stage.QUEUED or (pods.synced and (run.prove_at is not None or not _ready(run, pods)))
    if run.shown or not (waits and run.push and run.resumed) or run.pending or step.commands:
        return
    if now < run.started_at + SHOW:
        step.by(run.started_at + SHOW)
        return
    run.shown = True
    step.give(run, WriteWake(run.spec.id, f"{run.spec.id}-{now.timestamp():.3f}-waits"))


def _ready(run: Run, pods: PodStore) -> bool:
    targets = pods.targets
    return bool(targets) and (not run.rules.enabled or all(pod.ready for pod in targets))


def judge_scope(run: Run, read: ScopeRead, pods: PodStore, now: datetime) -> Finding | None:
    """Decide by a fresh reading of the owners, and of the pods as they are at this moment."""
    ended = sightings.see_analysis_run(run, read.inputs.analysis_run if read.inputs else None, now)
    if ended or read.inputs is None or run.verdict is not None or run.stage is not Stage.PROVING:
        return ended
    run.scope_version, run.waiting_for, run.prove_at, run.unread = pods.version, "", None, ""
    early = _ready(run, pods) and not _begun(run, now)  # it was asked for when they were not
    if early:
        run.scope_version = -1  # it is asked for again
    run.analysis_run_version = read.inputs.analysis_run.metadata.resource_version
    if read.inputs.rollout:
        run.rollout_name = read.inputs.rollout.metadata.name
        run.rollout_uid = read.inputs.rollout.metadata.uid
    if read.pods is not None and not pods.shows(read.pods):
        run.unread, run.prove_at = "their watch is behind", now + _BEHIND
        return None
    proof = scope.prove(read.inputs, pods.live)
    refused = _take_proof(run, proof, now)
    if not isinstance(proof, scope.Proven) or early or not _ready(run, pods):
        return refused
    if run.rules.enabled and (run.wanted or 0) > len(pods.targets):
        run.waiting_for = f"{len(pods.targets)} of {run.wanted} canary pods exist"
        run.prove_at = now + PROVE_AGAIN  # the watch of ReplicaSets may be behind that of the pods
        return None
    run.stage, run.wanted_version = Stage.CREATING, pods.version
    return None


def _take_proof(run: Run, proof: scope.Proof, now: datetime) -> Finding | None:
    match proof:
        case scope.Refused(reason, message):
            return Finding(reason=reason, text=message)
        case scope.Wait(message, wanted):
            run.waiting_for, run.wanted, run.prove_at = message, wanted, now + PROVE_AGAIN
        case scope.Proven(uid, name, wanted, generation):
            run.replica_set, run.replica_set_name = uid, name
            run.wanted, run.generation, run.proved_at = wanted, generation, now
    return None


def create(run: Run, pods: PodStore, now: datetime, step: Step, turn: Turn) -> None:
    """Create right after proof and mark: what was proved is what will be hit."""
    if run.pending & {Create, WriteClaim, WriteMark}:
        return
    if turn.taken:
        run.stage, run.claimed_at, run.marking_since = Stage.QUEUED, None, None
        return
    if run.push and run.resumed and not run.marked:
        _intend(run, now, step)
        return
    stood_still = run.proved_at is None or now >= run.proved_at + STOOD_STILL
    if stood_still or run.scope_version != pods.version:  # while the mark was made
        run.stage, run.scope_version = Stage.PROVING, -1
        run.targets_until = None if stood_still else run.targets_until
        return
    run.baseline = baseline(pods.live, run.generation)
    notes = {
        ledger.BASELINE: run.baseline.as_text(),
        ledger.REPLICA_SET: f"{run.replica_set_name}/{run.replica_set}",
        ledger.CANARY: run.value,
    }
    if run.sampled:
        notes[ledger.TRACEPARENT] = run.trace.parent(ROOT, sampled=True)
        notes[ledger.TRACE_TIMES] = f"{run.started_at.isoformat()}/{now.isoformat()}"
    try:
        if run.family and run.family.window:
            run.family.window.check(now + run.offset)
        manifest = run.spec.manifest(run.value, notes)
    except Refusal as refusal:
        step.finding = Finding(reason=refusal.reason, text=str(refusal))
        return
    run.create_sent = True
    step.give(run, Create(run.spec.id, manifest))


def _intend(run: Run, now: datetime, step: Step) -> None:
    """Mark before the create, so that no death in between can lead to a second experiment."""
    run.marking_since = run.marking_since or now
    limit = run.marking_since + MARK_GRACE
    if run.waiting_for and now >= limit:
        text = f"nothing was created, as the AnalysisRun could not be marked: {run.waiting_for}"
        step.finding = Finding(reason=Reason.UNAVAILABLE, text=f"{text}; it is tried again")
    elif due(run, now, step) and (not run.spec.policy.claims or _claimed(run, now, step)):
        run.mark_made = True
        step.give(run, mark(run, now))
    step.by(limit)


def _claimed(run: Run, now: datetime, step: Step) -> bool:
    """Tell whether a claim stands that all have heard of; claim where there is none."""
    if run.claimed_at is None or now >= run.claimed_at + CLAIM - SETTLE:
        step.give(run, WriteClaim(run.spec.id, Hold(run.replica_set, now + CLAIM, claim=True)))
        return False
    step.by(run.claimed_at + SETTLE)
    return now >= run.claimed_at + SETTLE


def mark(run: Run, now: datetime) -> WriteMark:
    """Return the command that marks it, and remember what it says."""
    spec, version = run.spec, run.analysis_run_version
    over = now + spec.timeout + judge.STUCK
    run.mark = Mark(
        kind=spec.kind,
        namespace=spec.namespace,
        name=spec.name,
        version="" if spec.endpoint else version,
        canary=run.replica_set,
        until=over.isoformat(),
        by=run.by,
    )
    return WriteMark(spec.id, run.mark, version)
