"""Judges a gate by what is known of it now: is there a finding, and if not, when to look again.

Nothing is changed here but the run's own memory of extremes (`min_ready`); the registry performs what
follows from a finding. All comparisons of time are made on the API server's clock.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from chaosplugin.core import ledger, steady_state
from chaosplugin.core.fault import Fault
from chaosplugin.core.objects import Pod
from chaosplugin.core.pods import PodStore
from chaosplugin.core.run import Run
from chaosplugin.core.verdict import Figures, Finding, Reason

CONTROLLER_GRACE = timedelta(seconds=30)
"""A running Chaos Mesh puts its finalizer on within 0.02 s; without it nothing can be injected."""
SELECTION_GRACE = timedelta(seconds=15)
"""Chaos Mesh tries a selection only a few times, within a second."""
STUCK = timedelta(seconds=60)
"""Chaos Mesh undoes a fault and lets its experiment go within a second; where it fails, it tries for ever."""
SPAWN_GRACE = timedelta(seconds=2)
"""How long a breach must last before it counts, where faults come that nobody has announced."""
BLIND_GRACE = timedelta(seconds=60)
"""How long a deadline waits for a lost watch to come back with evidence."""
LOOK_AGAIN = timedelta(seconds=5)
"""How often the cluster is asked meanwhile."""


class Judgement(Struct, frozen=True, kw_only=True):
    """A finding, or the next time to look.

    `ask_replicas`: the ReplicaSet's wish must be read first; `confirm`: the pods and the fault, as only a
    reading after the cause proves that the canary has failed.
    """

    finding: Finding | None = None
    look_at: datetime | None = None
    over_at: datetime | None = None
    """the fault is over since then: from now on the canary has to hold"""
    ask_replicas: bool = False
    confirm: bool = False
    find_experiment: bool = False


def targets(run: Run, pods: PodStore, now: datetime) -> Finding | None:
    """Judge the wait for Ready targets once its time is up."""
    if run.targets_until is None or now < run.targets_until:
        return None
    limit = seconds(run.spec.target_timeout)
    found = pods.targets
    if not pods.synced:
        why = f": {pods.lost}" if pods.lost else ""
        text = f"the canary's pods could not be watched for {limit}{why}; it is tried again"
        return Finding(reason=Reason.UNAVAILABLE, text=text)
    waits_for = "" if run.unread else run.waiting_for
    if not found:
        why = waits_for or f"there are no pods with {run.spec.label}={run.value}"
        advice = "check targetReplicaSetLabel and targetReplicaSetValue, or raise targetTimeout"
        text = f"no targets in namespace {run.spec.namespace} after {limit}: {why}; {advice}"
        return Finding(reason=Reason.NO_TARGETS, phase=run.spec.on_no_targets, text=text)
    ready = sum(pod.ready for pod in found)
    if not waits_for and (ready == len(found) or not run.rules.enabled):
        why = f": {run.unread}" if run.unread else ""
        text = f"whose the canary's pods are could not be read for {limit}{why}; it is tried again"
        return Finding(reason=Reason.UNAVAILABLE, text=text)
    why = waits_for or f"{ready} of {len(found)} canary pods Ready"
    text = f"{why} after {limit}, all are wanted before a fault; see why they are not, or raise targetTimeout"
    return Finding(reason=Reason.NOT_STEADY, text=text, figures=Figures(targets=len(found)))


def fault(run: Run, pods: PodStore, now: datetime, *, chaos_lost: str) -> Judgement:
    """Judge while the fault is on, or is awaited."""
    seen, server_now = run.fault, now + run.offset
    if seen is None or run.server_created_at is None:
        return Judgement()
    deadline = run.server_created_at + run.spec.timeout
    judgement = _interference(run, seen, now)
    if judgement is None and seen.over:
        judgement = _ended(run, seen, now, deadline)
    judgement = judgement or _breach(run, pods, seen, now)
    if judgement is not None:
        return judgement
    finding = _never_started(run, seen, server_now)
    if finding and run.family is None and run.found_at != now and now < last_look(run):
        return Judgement(find_experiment=True, look_at=now + LOOK_AGAIN)  # its watch may be silent
    if finding is None and server_now >= deadline:
        looked_at = run.children_read_at if run.family else run.found_at
        looked = looked_at is not None and looked_at + run.offset >= deadline
        if (chaos_lost or not looked) and now < blind_until(run, deadline):  # the watch may just be late
            return Judgement(
                find_experiment=_look_again(run, run.found_at, now, deadline),
                confirm=run.family is not None and _look_again(run, run.children_read_at, now, deadline),
                look_at=now + LOOK_AGAIN,
            )
        finding = _late(run, seen, chaos_lost)
    if finding:
        return Judgement(finding=finding)
    marks = [deadline, *_marks(run, seen, run.server_created_at)]
    return Judgement(look_at=min(mark for mark in marks if mark > server_now) - run.offset)


def _look_again(run: Run, looked_at: datetime | None, now: datetime, deadline: datetime) -> bool:
    """Tell whether to ask anew: each answer is followed by this question, and others wait for their turn."""
    lately = looked_at is not None and looked_at + run.offset >= deadline and now < looked_at + LOOK_AGAIN
    return not lately


def _marks(run: Run, seen: Fault, created: datetime) -> list[datetime]:
    """Return when a silence, or a pod that is down, has been borne long enough, by the server's clock."""
    begins = run.family.first(created) if run.family else created
    marks = [] if seen.touched else [begins + CONTROLLER_GRACE]
    if run.selection_failure and not seen.targets:
        marks.append(begins + SELECTION_GRACE)
    if run.breach_since:
        marks.append(run.breach_since + SPAWN_GRACE + run.offset)
    if run.spared_until:
        marks.append(run.spared_until)
    return marks


def _passed_on(run: Run) -> bool:
    """Tell whether only what was spawned is seen paused: Chaos Mesh passes on a pause, perhaps our own."""
    parent = run.experiment if run.family else None
    return parent is not None and parent.metadata.annotation(ledger.PAUSE) != "true"


def _interference(run: Run, seen: Fault, now: datetime) -> Judgement | None:
    """Judge what somebody did; a deletion once the fault is undone, or is not within a minute."""
    server_now = now + run.offset
    deleted_at = run.experiment and run.experiment.metadata.deletion_timestamp
    if seen.paused and not deleted_at:
        if _passed_on(run) and run.found_at != now:
            return Judgement(find_experiment=True, look_at=now + LOOK_AGAIN)
        text = f"{run.spec.subject} was paused by somebody; run the gate again"
        return Judgement(finding=Finding(reason=Reason.PAUSED, text=text, figures=figures_of(run, seen)))
    if run.gone or (seen.deleting and seen.over):
        text = f"{run.spec.subject} was deleted by somebody before its end; run the gate again"
        return Judgement(finding=Finding(reason=Reason.DELETED, text=text, figures=figures_of(run, seen)))
    if not deleted_at and run.gone_at is not None:  # it has no finalizer, as what it has spawned has
        deleted_at = run.gone_at + run.offset
    if not deleted_at:
        finding = _family_interference(run, seen)
        return Judgement(finding=finding) if finding else None
    if server_now < deleted_at + STUCK:
        return Judgement(look_at=deleted_at + STUCK - run.offset)
    text = f"somebody deleted {residue(run, server_now - deleted_at)}"
    return Judgement(finding=Finding(reason=Reason.NOT_RECOVERED, text=text, figures=figures_of(run, seen)))


def _family_interference(run: Run, seen: Fault) -> Finding | None:
    """Judge what somebody did to what a Schedule or a Workflow has spawned, or is to spawn."""
    family = run.family
    if family is None:
        return None
    subject, figures = run.spec.subject, figures_of(run, seen)
    if family.robbed:
        text = f"what {subject} has fired was deleted by somebody before its end; run the gate again"
        return Finding(reason=Reason.DELETED, text=text, figures=figures)
    if family.unseen:
        text = (
            f"template {family.unseen} of {subject} ended while no plugin ran, and no Events tell what it did"
        )
        return Finding(reason=Reason.UNOBSERVED, text=f"{text}; run the gate again", figures=figures)
    if seen.aborted and family.checks_itself:
        text = f"{subject} was aborted: one of its checks failed, or somebody aborted it"
        return Finding(reason=Reason.STEADY_STATE_BROKEN, text=text, figures=figures)
    if seen.aborted:
        text = f"{subject} was aborted by somebody; run the gate again"
        return Finding(reason=Reason.PAUSED, text=text, figures=figures)
    return None


def unpaused(run: Run, since: timedelta) -> str:
    """Say what is wrong with a pause that does not end the fault of what is kept, and what to do."""
    why = f"; Chaos Mesh says: {run.fault.failure}" if run.fault and run.fault.failure else ""
    return (
        f"{run.spec.subject}, which is kept, and whose fault is not over {since.total_seconds():.0f}s after "
        f"it was paused{why}; see Chaos Mesh's logs, or delete it"
    )


def residue(run: Run, since: timedelta) -> str:
    """Say what is wrong with a deletion that does not come to its end, and what to do."""
    finalizers = {each for held in run.remains for each in held.metadata.finalizers or ()}
    holders = ", ".join(sorted(finalizers)) or "none"
    what = f"what {run.spec.subject} has spawned" if run.experiment_gone else run.spec.subject
    why = f"; Chaos Mesh says: {run.fault.failure}" if run.fault and run.fault.failure else ""
    return (
        f"{what}, which is not gone {since.total_seconds():.0f}s after its deletion (finalizers: "
        f"{holders}), so a residual fault is possible{why}; see Chaos Mesh's logs (the operator may let "
        f"finalizers be removed by --force-cleanup)"
    )


def _ended(run: Run, seen: Fault, now: datetime, deadline: datetime) -> Judgement:
    server_now, figures = now + run.offset, figures_of(run, seen)
    if not seen.complete:
        unread = run.family and run.family.window and run.children_read_at != now
        if unread and now < last_look(run):  # of what a Workflow did, Events were read
            return Judgement(confirm=True, look_at=now + LOOK_AGAIN)
        why = f" ({seen.failure or run.selection_failure})" if seen.failure or run.selection_failure else ""
        met = (
            f"{seen.injected} of {len(seen.targets)} targets were hit"
            if seen.targets
            else "no target was selected"
        ) + (f", and {seen.shortfall}" if seen.shortfall else "")
        return Judgement(
            finding=Finding(
                reason=Reason.NOT_INJECTED,
                text=f"{run.spec.subject} ended, and {met}{why}; see its Events",
                figures=figures,
            )
        )
    ended_at = seen.ended_at or server_now
    if ended_at > deadline:
        if seen.ended_at is None and (run.restored or run.family):
            return Judgement(
                finding=Finding(
                    reason=Reason.UNOBSERVED,
                    text=f"{run.spec.subject} ended while nobody watched, and does not tell when; "
                    "run the gate again",
                    figures=figures,
                )
            )
        late = (ended_at - deadline).total_seconds()
        return Judgement(
            finding=Finding(
                reason=Reason.NOT_RECOVERED,
                text=f"the fault of {run.spec.subject} was still on at the timeout of "
                f"{seconds(run.spec.timeout)}, and over {late:.1f}s later; see Chaos Mesh's logs",
                figures=figures,
            )
        )
    return Judgement(over_at=ended_at)


def toll(run: Run, pods: PodStore, seen: Fault, server_now: datetime) -> steady_state.Toll:
    """Return what the fault takes by intent; of faults that come and go, those that are on or just over."""
    if run.family is None or run.baseline is None:
        return steady_state.toll(run.rules, seen.targets)
    whole = steady_state.whole(run.baseline, canary(run, pods), run.wanted)
    names = (pod.metadata.name for pod in pods.live)
    return run.family.toll(server_now, run.rules.recover_within, whole=whole, names=names)


def _breach(run: Run, pods: PodStore, seen: Fault, now: datetime) -> Judgement | None:
    """Compare with the baseline once it is known whom the fault hits."""
    rules, before = run.rules, run.baseline
    if not rules.enabled or before is None or not pods.synced:
        return None
    blind, live = is_blind(run, pods), canary(run, pods)
    if not blind:
        remember(run, live)
    settled = seen.settled or not (rules.unready_by_intent or run.family)
    restarting = run.family.restarting if run.family else rules.restarts_by_fault > 0
    if restarting and not settled:
        return None  # a pod may be down before the record that says it was hit
    spared = toll(run, pods, seen, now + run.offset)
    run.spared_until = spared.until
    excess = steady_state.excess(rules, before, live, spared)
    lasting = excess or (dip(run, pods, spared) if settled else "")
    passing = (
        steady_state.breach(rules, before, live, spared, wanted(run, pods)) if settled and not blind else ""
    )
    text = passing or lasting
    if not text:
        run.breach_since = None
        return None
    if run.family and (restarting or not excess):  # the next fault may have begun, and not been told yet
        run.breach_since = run.breach_since or now
        if now < run.breach_since + SPAWN_GRACE:
            return None
    unasked = run.wanted_version != pods.version
    read_at = run.children_read_at if lasting else run.confirmed_at
    if unasked or read_at != now:
        return Judgement(ask_replicas=unasked, confirm=not unasked)
    return Judgement(
        finding=Finding(
            reason=Reason.STEADY_STATE_BROKEN,
            text=f"while {run.spec.subject} was on: {text}; see the canary's pods, or set steadyState",
            figures=figures_of(run, seen, pods),
        )
    )


def dip(run: Run, pods: PodStore, spared: steady_state.Toll, until: datetime | None = None) -> str:
    """Return which breach before `until` the pods go on telling of, or "".

    Where somebody scales, pods come and go, and tell of nothing; whether, is to be asked.
    """
    before = run.baseline
    if before is None or before.generation is None:
        return ""
    asked = run.generation is not None or run.wanted_version == pods.version
    if asked and run.generation != before.generation:
        return ""
    return steady_state.dip(run.rules, before, canary(run, pods), spared, wanted(run, pods), until=until)


def canary(run: Run, pods: PodStore) -> list[Pod]:
    """Return the live pods of the ReplicaSet that was proved: others may bear its label by now."""
    return pods.of(run.replica_set) if run.replica_set else pods.live


def _never_started(run: Run, seen: Fault, server_now: datetime) -> Finding | None:
    created = run.server_created_at or server_now
    begins = run.family.first(created) if run.family else created  # a Schedule is silent until it fires
    if not seen.touched and server_now >= begins + CONTROLLER_GRACE:
        return Finding(
            reason=Reason.NOT_INJECTED,
            text=f"Chaos Mesh has not touched {run.spec.subject} for {seconds(CONTROLLER_GRACE)}; is its "
            f"controller-manager running, and does it serve namespace {run.spec.namespace}?",
        )
    if run.selection_failure and not seen.targets and server_now >= begins + SELECTION_GRACE:
        text = f"{run.spec.subject} selected nothing ({run.selection_failure}); its selector must match"
        return Finding(reason=Reason.NOT_INJECTED, text=f"{text} the canary's Running pods")
    return None


def _late(run: Run, seen: Fault, chaos_lost: str) -> Finding:
    figures, subject, limit = figures_of(run, seen), run.spec.subject, seconds(run.spec.timeout)
    if chaos_lost:
        text = f"{subject} could not be watched at its timeout of {limit} ({chaos_lost}); run the gate again"
        return Finding(reason=Reason.UNOBSERVED, text=text, figures=figures)
    why = f"; Chaos Mesh says: {seen.failure}" if seen.failure else ""
    if not seen.targets or not seen.injected:
        nothing = run.selection_failure or ("no target was hit" if seen.targets else "no target was selected")
        text = f"nothing was injected within {limit} by {subject}: {nothing}{why}; see its Events"
        return Finding(reason=Reason.NOT_INJECTED, text=text, figures=figures)
    count = len(seen.targets)
    if run.one_shot and seen.injected < count:
        text = f"{seen.injected} of {count} targets of {subject} were hit within {limit}{why}; see its Events"
        return Finding(reason=Reason.NOT_INJECTED, text=text, figures=figures)
    if seen.stopping:
        left = count - seen.recovered
        text = f"{left} of {count} targets of {subject} have not recovered within {limit}{why}"
        text = f"{text}; see Chaos Mesh's logs"
        return Finding(reason=Reason.NOT_RECOVERED, text=text, figures=figures)
    if run.family and run.family.window:
        text = f"{subject} could not be paused as its window was over: {run.unpaused}; run the gate again"
        return Finding(reason=Reason.UNOBSERVED, text=text, figures=figures)
    advice = f"raise timeout or shorten the duration{why}"
    text = f"the fault of {subject} was still on after {limit}; {advice}"
    return Finding(reason=Reason.TIMEOUT, text=text, figures=figures)


def wanted(run: Run, pods: PodStore) -> int | None:
    """Return how many pods the ReplicaSet wants; None where they have changed since that was read."""
    return run.wanted if run.wanted_version == pods.version else None


def is_blind(run: Run, pods: PodStore) -> bool:
    """Tell whether the watch of the pods is lost, or known to be behind until it tells something."""
    return not pods.synced or bool(pods.lost) or run.pods_behind == pods.version


def blind_until(run: Run, limit: datetime) -> datetime:
    """Return how long evidence is waited for; a process that has just begun to look gets its time, too."""
    return max(limit - run.offset, run.watching_since or limit - run.offset) + BLIND_GRACE


def last_look(run: Run) -> datetime:
    """Return how long the evidence of a fault's end is waited for."""
    return blind_until(run, (run.server_created_at or run.started_at) + run.spec.timeout)


def remember(run: Run, live: list[Pod]) -> None:
    """Keep the lowest number of Ready pods."""
    ready = sum(pod.ready for pod in live)
    run.min_ready = ready if run.min_ready is None else min(run.min_ready, ready)


def figures_of(
    run: Run, seen: Fault | None, pods: PodStore | None = None, *, recovery_seconds: float = 0.0
) -> Figures:
    """Count what is known; `seconds` is filled in when the verdict is made."""
    if seen is None:
        return Figures()
    excess = 0
    if pods is not None and run.baseline is not None:
        at = run.server_ended_at or run.server_created_at
        caused = toll(run, pods, seen, at) if at else steady_state.toll(run.rules, seen.targets)
        excess = steady_state.restarts(run.baseline, canary(run, pods), caused)
    return Figures(
        targets=len(seen.targets),
        injected=seen.injected,
        recovered=seen.recovered,
        min_ready=run.min_ready or 0,
        recovery_seconds=recovery_seconds,
        restarts=excess,
    )


def seconds(span: timedelta) -> str:
    """Write a span as messages do."""
    return f"{span.total_seconds():g}s"
