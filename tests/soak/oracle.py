"""Says whether a gate was judged right, by what really happened in the cluster.

It knows the rules as a user reads them in README, and nothing of how the plugin comes to its verdict. Each
verdict needs a cause in the history: Failed a breach that was there, Inconclusive somebody or something that
kept the truth from being found, Successful that none of it was. What the plugin cannot have seen, as it was
dead, its watches were cut, or the machine stood still, is not held against it.
"""

import json
from itertools import combinations
from typing import TYPE_CHECKING

from tests.soak import objects
from tests.soak.facts import ARGOS_WORDS, HASH, LAG, Case, cases_of
from tests.soak.history import History, Place, Trace, without
from tests.soak.plan import ENDING, KIND_GONE, Deed, Form, Plan
from tests.soak.records import lapses

if TYPE_CHECKING:
    from collections.abc import Callable

SPAWN_GRACE = 2.0
"""Seconds for which a breach has to last while faults come and go."""
STALE_S = 6.0
"""How far behind a plugin may be that lives: the longest for which the watches say nothing, and then some."""
PROMPT_S = 10.0
"""How soon after the last fault, and once the canary is back, it is judged: it has to hold for 5 s."""

_HOSTS_OWN = ("unable to get metric plugin", "rpc call error", "failed to initialize metric plugin")
"""How an Error begins that the controller makes itself, of a plugin that dies in a call."""


def judge(plan: Plan, place: Place, history: History) -> list[str]:
    """Return what is wrong with a gate that has ended."""
    wrong = _duplicates(plan, place) + _strangers_hit(plan, place) + _together(place)
    wrong += lapses(plan, place, history)
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
        ARGOS_WORDS: _terminated,
        "Deleted": _deleted,
        "Paused": _paused,
        "Unobserved": _unobserved,
        "Unknown": _unknown,
    }
    phases = {"Survived": "Successful", "SteadyStateBroken": "Failed", "NotRecovered": "Failed"}
    phases |= {"Timeout": "Failed", "ScopeViolation": "Failed"}
    wanted = phases.get(case.reason, "Inconclusive")
    if case.reason == ARGOS_WORDS and case.phase == "Successful":
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
            made = [each for each in objects.of_run(place, uid) if each.name.startswith(metric.template)]
            measured = [
                each for each in objects.measurements(run.last, metric.name) if each["phase"] != "Error"
            ]
            ended = len(measured) >= metric.count and all(each.get("finishedAt") for each in measured)
            if len(made) > len(measured) + (not ended):
                told = [each["phase"] for each in measured]
                wrong.append(f"{len(made)} experiments of {run.name} {metric.name} for {told}")
    return wrong


def _strangers_hit(plan: Plan, place: Place) -> list[str]:
    """Every pod that was hit belongs to the canary; a stranger's may be selected, and is told then."""
    wrong = []
    for trace in place.experiments:
        run = place.runs.get(objects.owner(trace.last))
        if run is None:
            wrong.append(f"{trace.name} belongs to no AnalysisRun")
            continue
        value = run.last["metadata"]["labels"][HASH]
        for name in sorted({name for fault in place.faults(trace) for name in objects.names_of(fault)}):
            pod = next((p for p in place.pods.values() if p.name == name), None)
            if pod is None or pod.last["metadata"]["labels"].get(HASH) != value:
                wrong.append(f"{trace.name} hit {name}, which is not of the canary {value}")
    return wrong


def _together(place: Place) -> list[str]:
    """Of two experiments on one canary, the second begins when the first's fault is over, or its run is."""
    wrong = []
    for first, second in combinations(place.experiments, 2):
        one, other = place.runs.get(objects.owner(first.last)), place.runs.get(objects.owner(second.last))
        if one is None or other is None or one.last["metadata"]["labels"] != other.last["metadata"]["labels"]:
            continue
        if one is not other and _is_over(one, second.born):
            continue
        for fault in place.faults(first):
            on = fault.at(second.born)
            if (
                on is not None
                and objects.lasting(on)
                and any(objects.is_on(record) for record in objects.records_of(on))
            ):
                wrong.append(f"{second.name} was created while {fault.name} was on")
            if fault.born > second.born:
                wrong.append(f"{fault.name} was fired after {second.name} was created")
    return wrong


def _is_over(run: Trace, time: float) -> bool:
    """Whether an analysis has ended, or is to end, or is gone."""
    found = run.at(time)
    if found is None or "deletionTimestamp" in found["metadata"] or found["spec"].get("terminate"):
        return True
    return "completedAt" in (found.get("status") or {})


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
        "ScopeRefused": case.done(Deed.STRANGER, Deed.UPDATE, Deed.ROLL_BACK, Deed.ABORT, ever=True),
        "Denied": case.done(Deed.DELETE_NAMESPACE) or bool(case.troubled(KIND_GONE)),
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
    if strangers := case.hit - {pod.name for pod in case.pods.values()}:
        wrong.append(f"Survived, and {sorted(strangers)} of somebody else had been selected")
    if case.over > case.latest:
        wrong.append("Survived before the fault was over")
    if case.healed is not None and case.healed > case.due + LAG:
        wrong.append(f"Survived a fault that was on {case.healed - case.due:.1f}s after the timeout")
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
    deeds = case.place.deeds  # an update from before its analysis is what has begun it
    endings = [(time, deed) for time, deed in deeds if deed in ENDING and case.run.born <= time]
    wrong += [
        f"Survived, although {deed}"
        for time, deed in endings
        if without((time, max(time, case.latest - 1)), case.troubled()) > LAG
    ]
    if case.fallen:
        wrong.append(f"Survived, and {case.fallen} tell of having been down")
    return wrong


def _survived_after(case: Case, over: float) -> list[str]:
    wrong = []
    back = case.spans(over, case.latest + 0.01, case.back)
    if not back or back[0][0] > over + case.metric.recover_within + 1 + LAG:
        wrong.append("Survived, and the canary was not back in time")
    elif case.visible(max(back[0][0], case.decided - 3.5), case.decided, lambda time: not case.back(time)):
        wrong.append("Survived, and the canary did not hold")
    restarted = case.spans(case.created, case.decided, lambda time: case.restarts(time) > 0)
    blind = case.troubled()
    if any(without(each, blind) > LAG or each[1] - each[0] > STALE_S for each in restarted):
        wrong.append("Survived, and a container had restarted")
    known = max(over, case.hit_until or over, back[-1][0] if back else over)
    if case.metric.form is Form.PLAIN and without((known, max(known, case.decided)), blind) > PROMPT_S:
        wrong.append(f"Survived, {case.decided - known:.1f} s after all was known")
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
    begin, end = case.decided - case.metric.target_timeout, case.decided
    lone = len(case.plan.metrics) == 1  # else it may have waited for its turn meanwhile
    down = case.spans(case.decided - LAG, case.latest, lambda time: not case.full(time))
    if not down and (not case.troubled() or (lone and case.visible(begin, end, case.full, 2 * LAG))):
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
    went = case.metric.kind == "stress" and case.troubled(KIND_GONE)  # with what would tell of it
    return [] if went or case.missed or case.unhit else ["all targets were hit"]


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
        for each in objects.ended(case.run, metric.name, case.place).values()
        if each is not case.measurement and each["phase"] in {"Failed", "Error", "Inconclusive"}
    ]
    return [] if asked is not None or others else ["nobody ended it"]


def _deleted(case: Case) -> list[str]:
    deeds = (Deed.DELETE_EXPERIMENT, Deed.DELETE_RUN, Deed.DELETE_ROLLOUT, Deed.DELETE_NAMESPACE)
    there = case.experiment.at(case.latest) if case.experiment else None
    if there is not None and "deletionTimestamp" not in there["metadata"]:
        return ["it was there"]
    went = case.metric.kind == "stress" and case.troubled(KIND_GONE)
    undone = "gone without a verdict" in case.measurement["message"]  # a plugin undid it, and died before
    went = went or (undone and case.troubled("killed"))
    return [] if went or case.done(*deeds) else ["nobody deleted it"]


def _paused(case: Case) -> list[str]:
    made = case.experiment
    if made is None or made.first(objects.is_paused) is None:
        return ["it never was"]
    return [] if case.done(Deed.PAUSE) else ["nobody paused it"]


def _unknown(case: Case) -> list[str]:
    """A create that nobody has heard the answer of, or a mark without an experiment, of a time forgotten."""
    words = ("answer", "storm", "slow", "expired", KIND_GONE)
    return [] if case.troubled(*words) else ["the create was answered"]


def _unobserved(case: Case) -> list[str]:
    if "scaled to 0 pods" in case.measurement["message"]:  # by Argo, as the Rollout goes another way
        unwanted = case.spans(case.decided - 2 * LAG, case.latest, lambda time: not case.wanted(time))
        return [] if unwanted else ["pods were wanted"]
    nothing = case.metric.form is Form.WORKFLOW and (
        case.missed or case.unhit
    )  # of what hits nobody no Event tells
    seen = not nothing and not case.done(Deed.UNLABEL) and not case.troubled()
    return ["nothing kept it from being observed"] if seen else []


def _name(case: Case) -> str:
    told = json.dumps({key: case.measurement.get(key) for key in ("phase", "message", "finishedAt")})
    return f"{case.place.runs and case.run.name} {case.metric.name} ({case.metric.kind}) {told}"
