"""Gates in the log: one line per stage, and one canonical line per finished gate with all its figures."""

import logging

from chaosplugin.core.progress import Concluded, Transition
from chaosplugin.core.run import Run, Stage
from chaosplugin.provider.facts import Fact, Refused

_log = logging.getLogger(__name__)

_TOLD_AT = dict.fromkeys((Stage.RESTORING, Stage.DECIDED, Stage.DONE), logging.DEBUG)


def log_fact(fact: Fact) -> None:
    """Log what concerns a gate; messages of verdicts and refusals have been redacted where they were made."""
    match fact:
        case Transition(run=run, before=before, after=after):
            level = _TOLD_AT.get(after, logging.INFO)
            _log.log(level, "gate is %s (was %s)", after, before, extra=_fields(run, after))
        case Concluded(run=run):
            _log_end(run)
        case Refused(trace=trace, reason=reason, message=message):
            fields = {"reason": reason.value} | ({"trace_id": trace.id} if trace else {})
            _log.warning("refused: %s", message, extra=fields)
        case _:
            pass


def _log_end(run: Run) -> None:
    """Log a verdict that stands and is this process's: of all that work on a gate, one does."""
    verdict, at = run.verdict, run.decided_at
    if verdict is None or at is None:
        return
    fields = _fields(run, Stage.DECIDED) | {
        "phase": verdict.phase.value,
        "reason": verdict.reason.value,
        "value": verdict.value,
        "seconds": f"{(at - run.started_at).total_seconds():.1f}",
    }
    _log.info("gate ended: %s", verdict.message, extra=fields)


def _fields(run: Run, stage: Stage) -> dict[str, str]:
    spec = run.spec
    return {
        "run": spec.id,
        "trace_id": run.trace.id,
        "analysisrun": f"{spec.analysis_run.metadata.namespace}/{spec.analysis_run.metadata.name}",
        "metric": spec.identity.metric,
        "experiment": spec.subject,
        "stage": stage.value,
    }
