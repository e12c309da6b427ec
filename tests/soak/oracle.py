"""Says whether a gate was judged right, by what really happened in the cluster.

It knows the rules as a user reads them in README, and nothing of how the plugin comes to its verdict. Each
verdict needs a cause in the history: Failed a breach that was there, Inconclusive somebody or something that
kept the truth from being found, Successful that none of it was. What the plugin cannot have seen, as it was
dead, its watches were cut, or the machine stood still, is not held against it.
"""

import json
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.soak.facts import (
    HASH,
    LAG,
    Case,
    cases_of,
    is_on,
    lasting,
    measurements,
    names_of,
    of_run,
    owner,
    records_of,
)
from tests.soak.history import History, Place
from tests.soak.plan import ENDING, Deed, Form, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

SPAWN_GRACE = 2.0
"""Seconds for which a breach has to last while faults come and go."""

_HOSTS_OWN = ("unable to get metric plugin", "rpc call error", "failed to initialize metric plugin")
"""How an Error begins that the controller makes itself, of a plugin that dies in a call."""


def judge(plan: Plan, place: Place, history: History) -> list[str]:
    """Return what is wrong with a gate that has ended."""
    wrong = _duplicates(plan, place) + _strangers_hit(plan, place) + _together(place)
    for run in place.runs.values():
        for metric in plan.metrics:
            for case in cases_of(plan, metric, place, history, run):
                wrong += [f"{_name(case)}: {why}" for why in check(case)]
    return wrong


def check(case: Case) -> list[str]:
    """Return what is wrong with one measurement."""
    if case.phase == "Error":
        return _error(case)
    causes: dict[str, Callable[[Case], list[str]]] = {
        "Survived": _survived,
        "SteadyStateBroken": _broken,
        "NotRecovered": _still_on,
        "Timeout": _still_on,
        "ScopeViolation": _violated,
        "NotSteady": _not_steady,
        "NoTargets": _no_targets,
        "NotInjected": _not_injected,
        "Terminated": _terminated,
        "Metric Terminated": _terminated,
        "Deleted": _deleted,
        "Paused": _paused,
        "Unobserved": _unobserved,
        "Unknown": _unknown,
    }
    phases = {"Survived": "Successful", "SteadyStateBroken": "Failed", "NotRecovered": "Failed"}
    phases |= {"Timeout": "Failed", "ScopeViolation": "Failed"}
    wanted = phases.get(case.reason, "Inconclusive")
    if case.reason == "Metric Terminated" and case.phase == "Successful":
        wanted = case.phase  # Argo's own words about a verdict that came before the end
    if case.phase != wanted or case.reason not in causes:
        return [f"{case.phase} for the reason {case.reason!r}"]
    return causes[case.reason](case)


# -- one fault for each intent, in the canary only, one at a time


def _duplicates(plan: Plan, place: Place) -> list[str]:
    wrong = []
    names = [trace.name for trace in place.experiments]
    if len(names) != len(set(names)):
        wrong.append(f"an experiment was created twice: {names}")
    for uid, run in place.runs.items():
        for metric in plan.metrics:
            made = [each for each in of_run(place, uid) if each.name.startswith(metric.template)]
            measured = [each for each in measurements(run.last, metric.name) if each["phase"] != "Error"]
            ended = len(measured) >= metric.count and all(each.get("finishedAt") for each in measured)
            if len(made) > len(measured) + (not ended):
                told = [each["phase"] for each in measured]
                wrong.append(f"{len(made)} experiments of {run.name} {metric.name} for {told}")
    return wrong


def _strangers_hit(plan: Plan, place: Place) -> list[str]:
    """Every pod that was hit belongs to the canary; a stranger's may be selected, and is told then."""
    wrong = []
    for trace in place.experiments:
        run = place.runs.get(owner(trace.last))
        if run is None:
            wrong.append(f"{trace.name} belongs to no AnalysisRun")
            continue
        value = run.last["metadata"]["labels"][HASH]
        for name in sorted({name for fault in place.faults(trace) for name in names_of(fault)}):
            pod = next((p for p in place.pods.values() if p.name == name), None)
            if pod is None or pod.last["metadata"]["labels"].get(HASH) != value:
                wrong.append(f"{trace.name} hit {name}, which is not of the canary {value}")
    return wrong


def _together(place: Place) -> list[str]:
    """Of two experiments on one canary, the second begins when the first's fault is over, or its run is."""
    found = list(place.experiments)
    wrong = []
    for first, second in pairwise(found):
        one, other = place.runs.get(owner(first.last)), place.runs.get(owner(second.last))
        if one is None or one is not other:
            continue
        for fault in place.faults(first):
            on = fault.at(second.born)
            if on is not None and lasting(on) and any(is_on(record) for record in records_of(on)):
                wrong.append(f"{second.name} was created while {fault.name} was on")
            if fault.born > second.born:
                wrong.append(f"{fault.name} was fired after {second.name} was created")
    return wrong


# -- Error


def _error(case: Case) -> list[str]:
    text = str(case.measurement.get("message", ""))
    if any(words in text for words in _HOSTS_OWN):
        return [] if case.troubled("killed", "stood still") else [f"nobody killed the plugin: {text}"]
    wrong = []
    if case.experiment and case.experiment.born < case.decided and case.experiment.at(case.decided):
        wrong.append(f"an Error, and {case.experiment.name} was there: {text}")
    cause = {
        "Unavailable": bool(case.troubled()),
        "ScopeRefused": case.done(Deed.STRANGER, Deed.UPDATE, Deed.ROLL_BACK, Deed.ABORT),
        "Denied": case.done(Deed.DELETE_NAMESPACE),
    }
    if not cause.get(case.reason):
        wrong.append(f"an Error without a cause: {text}")
    return wrong


# -- Successful


def _survived(case: Case) -> list[str]:
    if case.experiment is None or case.over is None:
        return ["Survived what never was, or was never over"]
    wrong = []
    if case.missed:
        wrong.append(f"Survived, and not all targets were hit: {case.missed}")
    if case.metric.kind == "pod-failure":
        wrong += [
            f"Survived, and {name} never had the pause image" for name in case.struck.keys() - case.paused
        ]
    if case.over > case.latest:
        wrong.append("Survived before the fault was over")
    if case.over > case.due + LAG:
        wrong.append(f"Survived a fault that was on {case.over - case.due:.1f}s after the timeout")
    return wrong + _survived_before(case) + _survived_during(case) + _survived_after(case, case.over)


def _survived_before(case: Case) -> list[str]:
    since = min([case.created - LAG, *(begin - LAG for begin, _ in case.troubled())])
    return (
        []
        if case.spans(since, case.created + 0.01, case.full)
        else ["created for a canary that was not Ready"]
    )


def _survived_during(case: Case) -> list[str]:
    wrong = []
    spawned = case.metric.form is not Form.PLAIN  # then a breach has to last
    at_least = LAG + SPAWN_GRACE if spawned else LAG
    if case.visible(case.created, case.over or case.created, case.surely_breached, at_least):
        wrong.append("Survived, and it was broken while the fault was on")
    early = case.latest - 1 - LAG
    deeds = case.place.deeds  # an update from before its analysis is what has begun it
    endings = [deed for time, deed in deeds if deed in ENDING and case.run.born <= time < early]
    if endings and not case.troubled():
        wrong.append(f"Survived, although {endings[0]}")
    return wrong


def _survived_after(case: Case, over: float) -> list[str]:
    wrong = []
    back = case.spans(over, case.latest + 0.01, case.back)
    if not back or back[0][0] > over + case.metric.recover_within + 1 + LAG:
        wrong.append("Survived, and the canary was not back in time")
    elif case.visible(max(back[0][0], case.decided - 3.5), case.decided, lambda time: not case.back(time)):
        wrong.append("Survived, and the canary did not hold")
    if case.restarts(case.decided - LAG) and not case.troubled():
        wrong.append("Survived, and a container had restarted")
    return wrong


# -- Failed


def _broken(case: Case) -> list[str]:
    if case.experiment is None:
        return ["broken by what never was"]
    end = case.over if case.over is not None else case.latest
    if case.spans(case.created, end + LAG, case.breached):
        return []
    late = (case.hit_until or end) + case.metric.recover_within - 1
    if late < case.latest and case.spans(late, case.latest, lambda time: not case.back(time)):
        return []
    if case.spans(end, case.latest, lambda time: case.restarts(time) > 0):
        return []
    return ["nothing was broken"]


def _still_on(case: Case) -> list[str]:
    if case.experiment is None:
        return ["a timeout of what never was"]
    on = case.over is None or case.over > case.due - LAG
    return [] if on else [f"the fault was over {case.due - (case.over or 0):.1f}s before the timeout"]


def _violated(case: Case) -> list[str]:
    own = {pod.name for pod in case.pods.values()}
    return [] if case.hit - own else ["no stranger was hit"]


# -- Inconclusive


def _not_steady(case: Case) -> list[str]:
    wrong = [] if case.experiment is None else ["not begun, and yet there is an experiment"]
    if (
        not case.spans(case.decided - LAG, case.latest, lambda time: not case.full(time))
        and not case.troubled()
    ):
        wrong.append("the canary was Ready")
    return wrong


def _no_targets(case: Case) -> list[str]:
    wrong = [] if case.experiment is None else ["not begun, and yet there is an experiment"]
    if (
        not case.spans(case.decided - LAG, case.latest, lambda time: not case.canary(time))
        and not case.troubled()
    ):
        wrong.append("there were pods")
    return wrong


def _not_injected(case: Case) -> list[str]:
    """Who kept Chaos Mesh from it is no matter: it may just be slow."""
    if case.experiment is None:
        return ["not injected what never was"]
    return [] if case.missed or case.troubled() else ["all targets were hit"]


def _terminated(case: Case) -> list[str]:
    if case.done(*ENDING):
        return []
    ended = case.run.first(lambda run: "completedAt" in (run.get("status") or {}))
    if ended is not None and ended < case.seen_at and case.troubled("killed"):
        return []  # one of two controllers had ended the analysis, by Errors of its dead plugin
    asked = case.run.first(lambda run: run["spec"].get("terminate"))
    others = [
        each
        for metric in case.plan.metrics
        for each in measurements(case.run.last, metric.name)
        if each is not case.measurement and each["phase"] in {"Failed", "Error", "Inconclusive"}
    ]
    return [] if asked is not None or others else ["nobody ended it"]


def _deleted(case: Case) -> list[str]:
    deeds = (Deed.DELETE_EXPERIMENT, Deed.DELETE_RUN, Deed.DELETE_ROLLOUT, Deed.DELETE_NAMESPACE)
    return [] if case.done(*deeds) else ["nobody deleted it"]


def _paused(case: Case) -> list[str]:
    return [] if case.done(Deed.PAUSE) else ["nobody paused it"]


def _unknown(case: Case) -> list[str]:
    """A create that nobody has heard the answer of, or a mark without an experiment, of a time forgotten."""
    return [] if case.troubled("answer", "storm", "slow", "expired") else ["the create was answered"]


def _unobserved(case: Case) -> list[str]:
    return [] if case.done(Deed.UNLABEL) or case.troubled() else ["nothing kept it from being observed"]


def _name(case: Case) -> str:
    told = json.dumps({key: case.measurement.get(key) for key in ("phase", "message", "finishedAt")})
    return f"{case.place.runs and case.run.name} {case.metric.name} ({case.metric.kind}) {told}"
