"""What is due in an AnalysisRun, and what its measurements amount to: pure functions over its JSON.

Source: argo-rollouts analysis/analysis.go; the texts are those that users read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.host.objects import COMPLETED, duration, moment, stamp

KEPT = 10  # measurements of a metric, unless measurementRetention says otherwise

_WORSE = ("Successful", "Running", "Pending", "Inconclusive", "Error", "Failed")
_COUNTERS = {"Successful": "successful", "Failed": "failed", "Inconclusive": "inconclusive", "Error": "error"}


@dataclass(frozen=True, slots=True)
class Rules:
    """Where versions differ, and what tests shorten. `error_retry` is in seconds."""

    error_retry: float = 10.0
    terminates_sleepers: bool = True  # v1.9 never calls Terminate while resumeAt lies ahead
    overwrites_inconclusive: bool = True  # from v1.10 on the message becomes "Metric Terminated"
    tells_init_error: bool = True  # v1.9 loses the text of InitPlugin's error


V1_9 = Rules(terminates_sleepers=False, overwrites_inconclusive=False, tells_init_error=False)
V1_10 = Rules()


@dataclass(frozen=True, slots=True)
class Task:
    """A call to be made for a metric: Run, or Resume or Terminate of its unfinished measurement."""

    metric: str
    unfinished: Object | None


def invalid(metrics: list[Object]) -> str:
    """Say what is wrong with the metrics of a run, "" if nothing is."""
    if not metrics:
        return "no metrics specified"
    names = set()
    for index, metric in enumerate(metrics):
        if metric["name"] in names:
            return f"metrics[{index}]: duplicate name '{metric['name']}'"
        names.add(metric["name"])
        if wrong := _invalid_metric(metric):
            return f"metrics[{index}]: {wrong}"
    return ""


def _invalid_metric(metric: Object) -> str:
    provider = metric.get("provider") or {}
    count = sum(len(each) if name == "plugin" else 1 for name, each in provider.items())
    if int(metric.get("count") or 0) > 1 and not metric.get("interval"):
        return "interval must be specified when count > 1"
    for key, name in (("interval", "interval"), ("initialDelay", "startDelay")):
        if metric.get(key):
            try:
                duration(metric[key])
            except ValueError as error:
                return f"invalid {name} string: {error}"
    if count != 1:
        return "multiple providers specified" if count else "no provider specified"
    return ""


def result_of(run: Object, metric: str) -> Object | None:
    """Return the result of a metric in the run's status."""
    return next((each for each in run["status"].get("metricResults") or () if each["name"] == metric), None)


def terminating(run: Object) -> bool:
    """Whether the run takes no new measurements: told so, or a metric has ended badly."""
    results = run["status"].get("metricResults") or ()
    bad = {"Failed", "Error", "Inconclusive"}
    return bool(run["spec"].get("terminate")) or any(
        each.get("phase") in bad for each in results if not each.get("dryRun")
    )


def tasks(run: Object, metrics: Iterable[Object], now: datetime, rules: Rules) -> Iterator[Task]:
    """Yield the calls that are due."""
    ending = terminating(run)
    for metric in metrics:
        result = result_of(run, metric["name"])
        if result is not None and result.get("phase") in COMPLETED:
            continue
        last = _last(result)
        if last is not None and not last.get("finishedAt"):
            sleeps = bool(last.get("resumeAt")) and moment(last["resumeAt"]) > now
            if not sleeps or (ending and rules.terminates_sleepers):
                yield Task(metric["name"], last)
        elif not ending:
            at = _due(run, metric, now, rules)
            if at is not None and at <= now:
                yield Task(metric["name"], None)


def next_look(run: Object, metrics: Iterable[Object], now: datetime, rules: Rules) -> datetime | None:
    """Return when something becomes due by time alone."""
    times = []
    for metric in metrics:
        result = result_of(run, metric["name"])
        if result is not None and result.get("phase") in COMPLETED:
            continue
        last = _last(result)
        if last is not None and not last.get("finishedAt"):
            if last.get("resumeAt"):
                times.append(moment(last["resumeAt"]))
        elif (at := _due(run, metric, now, rules)) is not None:
            times.append(at)
    return min(times, default=None)


def _due(run: Object, metric: Object, now: datetime, rules: Rules) -> datetime | None:
    """When the next measurement of a metric is to be taken; None is never."""
    result = result_of(run, metric["name"])
    last = _last(result)
    if result is None or last is None:
        started = run["status"].get("startedAt")
        delay = duration(metric["initialDelay"]) if metric.get("initialDelay") else timedelta()
        return (moment(started) if started else now) + delay if delay else now
    count = effective_count(metric)
    if count is not None and int(result.get("count") or 0) >= count:
        return None
    if last["phase"] == "Error":
        wait = timedelta(seconds=rules.error_retry)
    elif metric.get("interval"):
        wait = duration(metric["interval"])
    else:
        return None
    return moment(last["finishedAt"]) + wait


def effective_count(metric: Object) -> int | None:
    """How often a metric is measured; None is for ever."""
    count = int(metric.get("count") or 0)
    if count:
        return count
    return None if metric.get("interval") else 1


def record(run: Object, task: Task, measurement: Object, now: datetime, *, dry_run: bool) -> Object:
    """Put an answer into the run's status; returns the metric's result."""
    results = run["status"].setdefault("metricResults", [])
    result = result_of(run, task.metric)
    if result is None:
        result = {"name": task.metric, "phase": "Running"} | ({"dryRun": True} if dry_run else {})
        results.append(result)
        results.sort(key=lambda each: each["name"])
    phase = measurement["phase"]
    if phase in COMPLETED:
        measurement.setdefault("finishedAt", stamp(now))
        _count(result, phase)
    measurements = result.setdefault("measurements", [])
    if task.unfinished is None:
        measurements.append(measurement)
    else:
        measurements[-1] = measurement
    return result


def _count(result: Object, phase: str) -> None:
    def raise_(key: str) -> None:
        result[key] = int(result.get(key) or 0) + 1

    raise_(_COUNTERS[phase])
    if phase == "Error":
        raise_("consecutiveError")
    else:
        raise_("count")
        result.pop("consecutiveError", None)
    if phase == "Successful":
        raise_("consecutiveSuccess")
    else:
        result.pop("consecutiveSuccess", None)


def assess(run: Object, metrics: list[Object], dry: set[str], now: datetime) -> None:
    """Set the phases, summaries and messages of the run's status from its measurements."""
    status = run["status"]
    status.setdefault("startedAt", stamp(now))
    phase, message = _assess_run(run, metrics, dry)
    if phase == status.get("phase"):
        return
    status["phase"] = phase
    if message:
        status["message"] = message
    if phase in COMPLETED:
        status.setdefault("completedAt", stamp(now))


def _assess_run(run: Object, metrics: list[Object], dry: set[str]) -> tuple[str, str]:
    ending = terminating(run)
    worst, message = "", "Run Terminated" if run["spec"].get("terminate") else ""
    everything = True
    summaries: tuple[Object, Object] = ({}, {})
    for metric in metrics:
        name = metric["name"]
        summary = summaries[name in dry]
        summary["count"] = summary.get("count", 0) + 1
        result = result_of(run, name)
        if result is None:
            everything = False
            continue
        _assess_metric(metric, result, ending=ending)
        if result["phase"] not in COMPLETED:
            everything = False
            continue
        phase, why = _limits(metric, result)
        key = _COUNTERS[phase or "Successful"]
        summary[key] = summary.get(key, 0) + 1
        if name in dry:
            worst = worst or "Successful"
            if why:
                result["message"] = f"Metric assessed {result['phase']} due to {why}"
        elif not worst or _WORSE.index(result["phase"]) > _WORSE.index(worst):
            worst = result["phase"]
            if why:
                message = f'Metric "{name}" assessed {worst} due to {why}'
                message += f': "Error Message: {result["message"]}"' if result.get("message") else ""
    run["status"]["runSummary"], run["status"]["dryRunSummary"] = summaries
    if ending:
        return worst or "Successful", message
    return (worst, message) if everything and worst else ("Running", "")


def _assess_metric(metric: Object, result: Object, *, ending: bool) -> None:
    if result["phase"] in COMPLETED:
        return
    last = _last(result)
    if last is None:
        phase = "Successful" if ending else "Pending"
    elif last["phase"] not in COMPLETED:
        phase = "Running"
    else:
        count = effective_count(metric)
        reached = count is not None and int(result.get("count") or 0) >= count
        phase = _limits(metric, result)[0] or ("Successful" if reached or ending else "Running")
    if phase != result["phase"]:
        result["phase"] = phase
        if last is not None and last.get("message"):
            result["message"] = last["message"]


def _limits(metric: Object, result: Object) -> tuple[str, str]:
    """Return the phase of the limit that was passed, and how to say so."""
    phase, why = "", ""
    for counter, limit, default, bad in (
        ("failed", "failureLimit", 0, "Failed"),
        ("inconclusive", "inconclusiveLimit", 0, "Inconclusive"),
        ("consecutiveErrors", "consecutiveErrorLimit", 4, "Error"),
    ):
        met = int(result.get(counter.removesuffix("s")) or 0)
        allowed = int(metric[limit]) if metric.get(limit) is not None else default
        if met > allowed >= 0:
            phase, why = bad, f"{counter} ({met}) > {limit} ({allowed})"
    return phase, why


def _last(result: Object | None) -> Object | None:
    measurements = (result or {}).get("measurements") or ()
    return measurements[-1] if measurements else None
