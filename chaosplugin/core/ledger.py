"""The ledger: what is written into the cluster so that a fault happens once and its verdict survives.

An intent is one measurement that Argo wants: `metricResult.count + 1`. Errors are not counted by Argo,
so a retry after an Error is the same intent, and the next legitimate measurement is the next one.
Three records bear one intent's digest, so that nothing has to be searched for:

1. the mark, an annotation of the AnalysisRun made before the create: "a fault will be asked for";
2. the experiment itself, whose name ends in the digest and whose labels name its AnalysisRun;
3. the verdict, an annotation of the AnalysisRun made before the experiment is deleted.

Whoever comes later, after whatever death, reads them in the order verdict, experiment, mark. Where none
of them is found an experiment may be created. Where there is only the mark, the API server's own history
since the mark tells whether the create arrived; where it cannot tell any more, nothing is created.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from chaosplugin.core import moments
from chaosplugin.core.analysis import Phase
from chaosplugin.core.objects import AnalysisRun, ChaosObject

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "chaosplugin"
RUN = "chaosplugin.io/run"
ANALYSIS_RUN_UID = "chaosplugin.io/analysisrun-uid"
ORIGIN = "chaosplugin.io/origin"
KEEP = "chaosplugin.io/keep"
METRIC = "chaosplugin.io/metric"
INTENT = "chaosplugin.io/intent"
CONFIG_DIGEST = "chaosplugin.io/config-digest"
WINDOW = "chaosplugin.io/window"
"""how long a Schedule is to fire"""
WINDOW_OVER = "chaosplugin.io/window-over"
"""on a Schedule that was paused by us, as its window was over"""
BASELINE = "chaosplugin.io/baseline"
"""the canary as it was before"""
REPLICA_SET = "chaosplugin.io/replicaset"
"""name and uid of the canary's"""
CANARY = "chaosplugin.io/canary"
"""the value of its label"""
TRACEPARENT = "chaosplugin.io/traceparent"
TRACE_TIMES = "chaosplugin.io/trace-times"
"""begin of the gate and of the create, to the microsecond: the API server's times are whole seconds"""
GATE = "chaosplugin.io/gate"
PAUSE = "experiment.chaos-mesh.org/pause"
ABORT = "workflow.chaos-mesh.org/abort"

_VERDICTS = frozenset({Phase.SUCCESSFUL, Phase.FAILED, Phase.INCONCLUSIVE})
"""What is not asked for again: Argo retries after an Error."""

_MARK = "chaosplugin.io/mark."
_CLAIM = "chaosplugin.io/claim."
_VERDICT = "chaosplugin.io/verdict."
_WAKE = "chaosplugin.io/wake"
_CUT_SHORT = timedelta(seconds=15)
"""How long after a verdict a fault may still be on that was undone because of it"""


class Identity(Struct, frozen=True, gc=False):
    """One intent of one metric of one AnalysisRun."""

    analysis_run_uid: str
    metric: str
    intent: int

    digest: str = ""
    """Ten hexadecimal digits: the tail of the experiment's name and of the annotations' keys"""

    def __post_init__(self) -> None:
        text = f"{self.analysis_run_uid}\n{self.metric}\n{self.intent}"
        force_setattr(self, "digest", hashlib.sha256(text.encode()).hexdigest()[:10])


def intent(run: AnalysisRun, metric: str) -> int:
    """Return the number of the measurement that a call about this metric is about.

    Source: argo-rollouts analysis/analysis.go; `count` grows by completed measurements only.
    """
    result = run.result(metric)
    return (result.count if result else 0) + 1


def identify(run: AnalysisRun, metric: str) -> Identity:
    """Return the intent that a call about this metric is about."""
    return Identity(run.metadata.uid, metric, intent(run, metric))


def errors(run: AnalysisRun, metric: str) -> int:
    """Return how often Argo has already retried: two calls with one number are copies of one."""
    result = run.result(metric)
    return result.error if result else 0


class Mark(Struct, frozen=True, kw_only=True, gc=False):
    """A fault will be asked for: where, and by which name. Its JSON is the annotation."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    version: str = ""
    """the AnalysisRun's resourceVersion before the mark, so before the create; "" where the experiment's
    cluster counts its own"""
    canary: str = ""
    """uid of the ReplicaSet that will be hit"""
    until: str = ""
    """when the fault is over at the latest; RFC 3339 text"""
    by: str = ""
    """a word of the process that has made it, unlike any other's"""


class _Held(Struct, gc=False):
    """What a mark and a claim have in common."""

    canary: str = ""
    until: str = ""


_marks = msgspec.json.Decoder(Mark)
_held = msgspec.json.Decoder(_Held)
_UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError, RecursionError)


class Hold(Struct, frozen=True, gc=False):
    """A canary is one gate's until then, at most; a `claim`: it will be its next."""

    canary: str
    until: datetime
    claim: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRecord:
    """A verdict as it stands on the AnalysisRun; times are RFC 3339 text."""

    phase: Phase
    message: str
    value: str
    finished_at: str
    by: str = ""
    """a word of the process that has recorded it, unlike any other's; "" where Argo has"""


def is_marked(run: AnalysisRun, identity: Identity) -> bool:
    """Tell whether there is a mark of this intent, whatever it says."""
    return run.metadata.annotation(_MARK + identity.digest) is not None


def read_mark(run: AnalysisRun, identity: Identity) -> Mark | None:
    """Return the mark of this intent; one that somebody has mangled counts as a mark without a name."""
    text = run.metadata.annotation(_MARK + identity.digest)
    if text is None:
        return None
    try:
        return _marks.decode(text)
    except _UNREADABLE:
        return Mark()


def read_verdict(run: AnalysisRun, identity: Identity) -> VerdictRecord | None:
    """Return the recorded verdict of this intent, None where there is none or it cannot be read."""
    text = run.metadata.annotation(_VERDICT + identity.digest)
    if text is None:
        return None
    fields = _fields(text)
    try:
        phase = Phase(fields.get("phase", ""))
    except ValueError:
        return None
    return VerdictRecord(
        phase=phase,
        message=fields.get("message", ""),
        value=fields.get("value", ""),
        finished_at=fields.get("finishedAt", ""),
        by=fields.get("by", ""),
    )


def read_stored(run: AnalysisRun, identity: Identity) -> VerdictRecord | None:
    """Return the verdict of this intent that Argo has stored as its measurement, None where there is none.

    By the digest in its metadata: Argo writes by name, so that a measurement may be that of an AnalysisRun
    which was deleted.
    """
    result = run.result(identity.metric)
    for stored in (result.measurements if result else None) or ():
        if stored.metadata.run == identity.digest and stored.phase in _VERDICTS:
            return VerdictRecord(
                phase=Phase(stored.phase),
                message=stored.message,
                value=stored.value,
                finished_at=stored.finished_at,
            )
    return None


def holds(run: AnalysisRun) -> dict[str, Hold]:
    """Return which canaries an AnalysisRun's gates hold, by the digests of their intents."""
    if completed(run) or run.metadata.deletion_timestamp is not None:
        return {}
    found: dict[str, Hold] = {}
    annotations = run.metadata.annotations or {}
    for prefix in (_CLAIM, _MARK):  # who has marked claims no more
        for key, text in annotations.items():
            if key.startswith(prefix):
                intent = key.removeprefix(prefix)
                hold = _hold(text, annotations.get(_VERDICT + intent), claim=prefix == _CLAIM)
                found |= {intent: hold} if hold else {}
    return found


def _hold(text: str, verdict: str | None, *, claim: bool) -> Hold | None:
    try:
        held = _held.decode(text)
    except _UNREADABLE:
        return None
    until = moments.read(held.until)
    if verdict is not None:
        judged = _fields(verdict)
        finished = moments.read(judged.get("finishedAt", ""))
        cut_short = judged.get("phase") != Phase.SUCCESSFUL
        until = min(until, finished + _CUT_SHORT) if until and finished and cut_short else None
    return Hold(held.canary, until, claim) if held.canary and until else None


def _fields(text: str) -> dict[str, str]:
    try:
        found: object = msgspec.json.decode(text)
    except _UNREADABLE:
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(key): value for key, value in found.items() if isinstance(value, str)}


def mark_patch(identity: Identity, mark: Mark, resource_version: str) -> dict[str, object]:
    """Return the one patch before the create. The label lets the AnalysisRun's watch see the run.

    With the AnalysisRun's resourceVersion: of two processes only one makes the mark.
    """
    return _patch({_MARK + identity.digest: msgspec.json.encode(mark).decode()}, resource_version)


def claim_patch(identity: Identity, hold: Hold) -> dict[str, object]:
    """Return the patch that claims a canary."""
    body = {"canary": hold.canary, "until": hold.until.isoformat()}
    return _patch({_CLAIM + identity.digest: _json(body)})


def verdict_patch(
    identity: Identity, record: VerdictRecord, wake: str, resource_version: str
) -> dict[str, object]:
    """Return the patch that records the verdict and makes the controller call Resume.

    With the AnalysisRun's resourceVersion: of two writers the second gets a conflict, reads again
    and finds the first one's verdict.
    """
    body = {
        "phase": record.phase.value,
        "message": record.message,
        "value": record.value,
        "finishedAt": record.finished_at,
        "by": record.by,
    }
    return _patch({_VERDICT + identity.digest: _json(body), _WAKE: wake}, resource_version)


def wake_patch(wake: str) -> dict[str, object]:
    """Return a patch that wakes. `wake` must be new: a patch that changes nothing wakes nobody."""
    return _patch({_WAKE: wake})


def unmark_patch(identity: Identity, wake: str, resource_version: str) -> dict[str, object]:
    """Return a patch that wakes, and takes the mark back of which certainly nothing was created.

    With the resourceVersion of the AnalysisRun that bears it: another process, or a retry, may mark anew.
    """
    return _patch({_WAKE: wake, _MARK + identity.digest: None}, resource_version)


def _patch(annotations: Mapping[str, str | None], resource_version: str = "") -> dict[str, object]:
    metadata: dict[str, object] = {"labels": {GATE: "true"}, "annotations": dict(annotations)}
    if resource_version:
        metadata["resourceVersion"] = resource_version
    return {"metadata": metadata}


def _json(body: Mapping[str, str]) -> str:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def bears(experiment: ChaosObject, identity: Identity) -> bool:
    """Tell whether an experiment of the right name says itself, by annotations, whose it is.

    That is how one is known from which somebody has taken the labels.
    """
    metadata = experiment.metadata
    return metadata.annotation(METRIC) == identity.metric and metadata.annotation(INTENT) == str(
        identity.intent
    )


def is_ours(experiment: ChaosObject, identity: Identity) -> bool:
    """Tell whether an experiment of the right name was created for this intent, by us or a twin."""
    metadata = experiment.metadata
    return (
        metadata.label(MANAGED_BY) == MANAGER
        and metadata.label(ANALYSIS_RUN_UID) == identity.analysis_run_uid
        and metadata.label(RUN) == identity.digest
    )


def finished(run: AnalysisRun, identity: Identity) -> bool:
    """Tell whether Argo has stored the measurement of this intent, so that nobody will ask again."""
    if completed(run):
        return True
    result = run.result(identity.metric)
    return result is not None and result.count >= identity.intent


def awaits(run: AnalysisRun) -> bool:
    """Tell whether Argo waits for the verdict of a measurement that a process of ours has begun."""
    return not completed(run) and any(
        stored.metadata.run and stored.phase == Phase.RUNNING
        for result in run.status.metric_results or ()
        for stored in result.measurements or ()
    )


def completed(run: AnalysisRun) -> bool:
    """Tell whether the AnalysisRun as a whole has ended."""
    return run.status.phase not in {"", Phase.PENDING, Phase.RUNNING}
