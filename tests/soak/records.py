"""What an AnalysisRun says of itself: its first verdict is the answer, comes soon, and ends the experiment.

Whoever wrote a verdict, nobody changes it, and Argo stores that one. What the plugin could not do, as it was
dead, was refused, or knew of nothing, is not held against it.
"""

import json
from collections.abc import Iterator
from functools import partial

from chaosplugin.sandbox.api.resources import Object
from tests.soak.facts import ARGOS_WORDS
from tests.soak.history import History, Place, Trace, without
from tests.soak.objects import digest_of, ended, foreign, measurements, of_run
from tests.soak.plan import Metric, Plan

VERDICT = "chaosplugin.io/verdict."
SOON_S = 6.0
"""Between two steps of one gate, on a busy machine, in fair weather."""

LATE_S = 60.0
"""For which an experiment may keep its name taken, so that nothing comes of a dead plugin's late create."""

_STALE_S = 10.0
"""How far behind a controller may be whose watches trickle."""


def lapses(plan: Plan, place: Place, history: History) -> Iterator[str]:
    """Yield what is wrong with what was recorded, answered and removed, of all gates of a place."""
    for run in place.runs.values():
        for metric in plan.metrics:
            yield from _changed(run, metric, place, history)
            yield from _recorded(run, metric, place, history)
        yield from _stayed(plan, run, place, history)


def _changed(run: Trace, metric: Metric, place: Place, history: History) -> Iterator[str]:
    """A measurement that has ended stays as it is, unless a second controller knows less."""
    told: dict[int, tuple[str, str]] = {}
    for since, state in run.states:
        for index, each in enumerate(measurements(state, metric.name)):
            if foreign(each, run, place):
                continue
            now = each["phase"], str(each.get("message", ""))
            before = told.get(index, now)
            judged = bool(each.get("finishedAt")) and now[0] != "Error"
            if judged:
                told[index] = now
            elif history.troubles(since - _STALE_S, since, "controller"):
                continue
            if before != now and ARGOS_WORDS not in {before[1], now[1]}:
                yield f"{run.name} {metric.name}: {before} became {now}"


def _recorded(run: Trace, metric: Metric, place: Place, history: History) -> Iterator[str]:
    """Each recorded verdict stays, is answered, by itself and once, and soon."""
    stored = list(ended(run, metric.name, place).values())
    for key in sorted({key for _, state in run.states for key in _notes(state) if key.startswith(VERDICT)}):
        digest = key.removeprefix(VERDICT)
        if not any(_bears(run, metric, digest)):
            continue
        name = f"{run.name} {metric.name} {digest}"
        told = [(since, _notes(state).get(key)) for since, state in run.states]
        recorded, first = next((since, text) for since, text in told if text is not None)
        if any(text != first for since, text in told if since >= recorded):
            yield f"{name}: the verdict was changed, or taken away"
        verdict = json.loads(first or "{}")
        if verdict.get("phase") == "Error":
            yield f"{name}: an Error was recorded"
        answers = [each for each in stored if digest_of(each) == digest and each["phase"] != "Error"]
        if len(answers) > 1:
            yield f"{name}: answered {len(answers)} times"
        if not answers:
            over = run.first(_completed)
            if run.gone is None and over is not None and not history.troubles(recorded, over, "killed"):
                yield f"{name}: {verdict.get('phase')} was recorded, and is lost"
            continue
        text = str(answers[0].get("message", ""))
        if answers[0]["phase"] != verdict["phase"] or text not in {verdict["message"], ARGOS_WORDS}:
            yield f"{name}: {verdict['phase']} was recorded, {answers[0]['phase']} is answered: {text}"
        late = _unexcused(recorded, _when_ended(run, metric, digest), history)
        if late > SOON_S:
            yield f"{name}: answered {late:.1f} s after the verdict was recorded"


def _bears(run: Trace, metric: Metric, digest: str) -> Iterator[bool]:
    """Tell of each state whether a measurement of this metric is of this intent."""
    return (digest_of(each) == digest for _, state in run.states for each in measurements(state, metric.name))


def _when_ended(run: Trace, metric: Metric, digest: str) -> float | None:
    return run.first(
        lambda state: any(
            digest_of(each) == digest and each.get("finishedAt") for each in measurements(state, metric.name)
        )
    )


def _stayed(plan: Plan, run: Trace, place: Place, history: History) -> Iterator[str]:
    """An experiment goes when its gate has a verdict, or its analysis is to end, unless it is kept."""
    kept = [metric.template for metric in plan.metrics if metric.keep]
    stopped = run.first(lambda state: state["spec"].get("terminate"))
    for made in of_run(place, run.last["metadata"]["uid"]):
        judged = run.first(partial(_has, VERDICT + digest_of(made.states[0][1])))
        ends = [each for each in (judged, stopped) if each is not None]
        if not ends or any(made.name.startswith(template) for template in kept):
            continue
        going = made.first(lambda state: "deletionTimestamp" in state["metadata"])
        stays = _unexcused(max(made.born, min(ends)), going if going is not None else made.gone, history)
        anew = history.troubles(run.born, made.born)  # then another create may be under way for a minute
        if stays > SOON_S + (LATE_S if anew else 0.0):
            yield f"{made.name} stayed for {stays:.1f} s after its gate had ended"


def _unexcused(begin: float, end: float | None, history: History) -> float:
    """Return for how long at a time nothing kept the plugin from what it did at `end` only."""
    until = history.now() if end is None else end
    return without((begin, until), history.troubles(begin, until)) if begin < until else 0.0


def _completed(run: Object) -> bool:
    return "completedAt" in (run.get("status") or {})


def _has(key: str, run: Object) -> bool:
    return key in _notes(run)


def _notes(run: Object) -> Object:
    found: Object = run["metadata"].get("annotations") or {}
    return found
