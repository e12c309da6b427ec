"""Judges a gate after its fault: is the canary back, in time, and does it hold?

As `judge`, this changes nothing. That it has failed is concluded only from pods that were read after the
limit: a watch that is cut, or silent, goes on showing how they were. What the pods tell for ever needs none.
"""

from datetime import datetime

from msgspec.structs import replace

from chaosplugin.core import steady_state
from chaosplugin.core.fault import Fault
from chaosplugin.core.judge import (
    Judgement,
    blind_until,
    canary,
    dip,
    figures_of,
    is_blind,
    remember,
    seconds,
    toll,
    wanted,
)
from chaosplugin.core.pods import PodStore
from chaosplugin.core.run import Run
from chaosplugin.core.verdict import Finding, Reason


def judge(run: Run, pods: PodStore, now: datetime) -> Judgement:
    """Judge after the fault: is the canary as before, in time, and does it hold?"""
    seen, ended_at, server_now = run.fault, run.server_ended_at, now + run.offset
    if seen is None or ended_at is None:
        return Judgement()
    before = run.baseline
    if not run.rules.enabled or before is None:
        return _unjudged(run, seen)
    caused = toll(run, pods, seen, server_now)
    lasting = _lasting(run, seen, pods, caused, now) if pods.synced else None
    if lasting or is_blind(run, pods):
        return lasting or _blind(run, seen, pods, now)
    live = canary(run, pods)
    remember(run, live)
    state = steady_state.recovery(before, live, caused, wanted(run, pods), ended_at)
    if state.since is None:
        run.whole_at, run.short = None, True
        return _not_yet(run, seen, pods, state, now, ended_at)
    if not state.needed:
        return _scaled_away(run, seen)
    return _back(run, seen, pods, state.since, now, ended_at)


def _unjudged(run: Run, seen: Fault) -> Judgement:
    if not run.rules.enabled:
        return Judgement(finding=_survived(run, seen, "steadyState is off: the canary was not judged"))
    text = f"the state before {run.spec.subject} is not known: its annotation was removed; run the gate again"
    return Judgement(finding=Finding(reason=Reason.UNOBSERVED, text=text, figures=figures_of(run, seen)))


def _scaled_away(run: Run, seen: Fault) -> Judgement:
    text = f"the canary was scaled to 0 pods, so that none was left to survive {run.spec.subject}"
    text = f"{text}; run the gate again"
    return Judgement(finding=Finding(reason=Reason.UNOBSERVED, text=text, figures=figures_of(run, seen)))


def _not_yet(
    run: Run,
    seen: Fault,
    pods: PodStore,
    state: steady_state.Recovery,
    now: datetime,
    ended_at: datetime,
) -> Judgement:
    server_now = now + run.offset
    limit = ended_at + run.rules.recover_within
    ask_at = min(limit, ended_at + steady_state.SETTLE)  # most are back before, and nothing is to be asked
    if server_now < ask_at:
        return Judgement(look_at=ask_at - run.offset)
    if run.wanted_version != pods.version:  # fewer may be wanted by now
        return Judgement(ask_replicas=True, look_at=limit - run.offset if server_now < limit else None)
    if server_now < limit:
        return Judgement(look_at=limit - run.offset)
    within = seconds(run.rules.recover_within)
    what = f"{state.ready} of {state.needed} pods Ready {within} after the fault"
    return _broken(run, seen, pods, what, now)


def _back(
    run: Run, seen: Fault, pods: PodStore, since: datetime, now: datetime, ended_at: datetime
) -> Judgement:
    server_now, within = now + run.offset, run.rules.recover_within
    took = (since - ended_at).total_seconds()
    if since > ended_at + within:
        what = f"the canary was back only {took:.0f}s after the fault, {seconds(within)} is allowed"
        return _broken(run, seen, pods, what, now)
    if run.short:  # until now; what pods tell is by their node's clock, which may be behind
        run.whole_at, run.short = server_now, False
    holds_at = max(since, run.whole_at or since) + steady_state.SETTLE
    if server_now < holds_at:
        return Judgement(look_at=holds_at - run.offset)
    if run.confirmed_at != now and (_was_late(run) or _shows_nothing(run, seen, pods, server_now)):
        return _unread(run, seen, pods, now)
    text = (
        f"{sum(pod.ready for pod in canary(run, pods))} pods Ready {took:.0f}s after the fault, and they held"
    )
    return Judgement(finding=_survived(run, seen, text, recovery_seconds=took))


def _was_late(run: Run) -> bool:
    """Tell whether the fault's end had to be looked up, as no watch had told it by the deadline."""
    if run.found_at is None or run.server_created_at is None:
        return False
    return run.found_at + run.offset >= run.server_created_at + run.spec.timeout


def _shows_nothing(run: Run, seen: Fault, pods: PodStore, server_now: datetime) -> bool:
    """Tell whether a pod that was down by intent looks as if it had not been: its watch may be silent."""
    caused = toll(run, pods, seen, server_now)
    return run.baseline is not None and steady_state.unmoved(run.baseline, canary(run, pods), caused)


def _lasting(
    run: Run, seen: Fault, pods: PodStore, caused: steady_state.Toll, now: datetime
) -> Judgement | None:
    """Conclude what the pods tell for ever, if the fault has just been read."""
    live = canary(run, pods)
    what = steady_state.excess(run.rules, run.baseline, live, caused) if run.baseline else ""
    if not what:
        fell = dip(run, pods, caused, seen.ended_at) if seen.ended_at else ""
        if not fell:
            return None
        if run.wanted_version != pods.version:
            return Judgement(ask_replicas=True)
        what = f"while it was on, {fell}"
    if run.children_read_at != now:
        return _unread(run, seen, pods, now)
    return _failed(run, seen, pods, what)


def _broken(run: Run, seen: Fault, pods: PodStore, what: str, now: datetime) -> Judgement:
    """Conclude it, if the pods have just been read so."""
    if run.confirmed_at != now:
        return _unread(run, seen, pods, now)
    return _failed(run, seen, pods, what)


def _unread(run: Run, seen: Fault, pods: PodStore, now: datetime) -> Judgement:
    blind = _blind(run, seen, pods, now)
    return blind if blind.finding else replace(blind, confirm=True)


def _failed(run: Run, seen: Fault, pods: PodStore, what: str) -> Judgement:
    text = f"after {run.spec.subject}: {what}; see the canary's pods, or set steadyState"
    figures = figures_of(run, seen, pods)
    return Judgement(finding=Finding(reason=Reason.STEADY_STATE_BROKEN, text=text, figures=figures))


def _blind(run: Run, seen: Fault, pods: PodStore, now: datetime) -> Judgement:
    limit = (run.server_ended_at or now) + run.rules.recover_within
    until = blind_until(run, limit)
    if now < until:
        return Judgement(look_at=until)
    why = f" ({pods.lost})" if pods.lost else ""
    text = f"the canary's pods could not be watched after {run.spec.subject}{why}; run the gate again"
    return Judgement(finding=Finding(reason=Reason.UNOBSERVED, text=text, figures=figures_of(run, seen)))


def _survived(run: Run, seen: Fault, text: str, *, recovery_seconds: float = 0.0) -> Finding:
    count = len(seen.targets)
    hit = f"{count} {'target' if count == 1 else 'targets'} hit"
    if run.family:
        hit = f"{run.family.text}, {hit}"
    return Finding(
        reason=Reason.SURVIVED,
        text=f"the canary survived {run.spec.subject}: {hit}, {text}",
        figures=figures_of(run, seen, recovery_seconds=recovery_seconds),
    )
