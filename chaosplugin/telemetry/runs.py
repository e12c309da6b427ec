"""The gates that this process knows, as JSON for a person who debugs."""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice

import msgspec

from chaosplugin.core.redaction import Redactor
from chaosplugin.core.run import Run


def listed(runs: Mapping[str, Run], most: int) -> bytes:
    """Return at most so many runs, the latest first; what may hold secrets is redacted."""
    latest = islice(reversed(list(runs.values())), most)
    return msgspec.json.encode({"runs": [_fields(run) for run in latest], "total": len(runs)})


def _fields(run: Run) -> dict[str, object]:
    spec, verdict = run.spec, run.verdict
    metadata = spec.analysis_run.metadata
    return {
        "run": spec.id,
        "traceId": run.trace.id,
        "analysisRun": f"{metadata.namespace}/{metadata.name}",
        "metric": spec.identity.metric,
        "intent": spec.identity.intent,
        "experiment": spec.subject,
        "endpoint": spec.endpoint or None,
        "stage": run.stage.value,
        "startedAt": _moment(run.begun_at or run.started_at),
        "restored": run.restored,
        "push": run.push,
        "pending": sorted(kind.__name__ for kind in run.pending),
        "deadline": _moment(run.deadline),
        "waitingFor": Redactor.of(spec.secrets).text(run.waiting_for) or None,
        "replicaSet": run.replica_set_name or None,
        "verdict": None
        if verdict is None
        else {"phase": verdict.phase.value, "reason": verdict.reason.value, "message": verdict.message},
        "recorded": run.recorded,
        "stored": run.stored,
        "experimentGone": run.experiment_gone,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")
