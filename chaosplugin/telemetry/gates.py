"""Gates in the log: one line per stage, and one canonical line per finished gate with all its figures."""

import logging

from chaosplugin.core.progress import Concluded, Transition
from chaosplugin.core.run import Run, Stage
from chaosplugin.provider.facts import Fact, Refused

_log = logging.getLogger(__name__)

_TOLD_AT = dict.fromkeys((Stage.RESTORING, Stage.DECIDED, Stage.DONE), logging.DEBUG)


def log_fact(fact: Fact) -> None:
    """Log what concerns a gate; messages of verdicts and refusals have been redacted where they were made."""
    if type(fact) is Transition:
        level = _TOLD_AT.get(fact.after, logging.INFO)
        if _log.isEnabledFor(level):
            fields = _fields(fact.run, fact.after)
            _log.log(level, "gate is %s (was %s)", fact.after, fact.before, extra=fields)
    elif type(fact) is Concluded:
        _log_end(fact.run)
    elif type(fact) is Refused:
        fields = {"reason": fact.reason.value} | ({"trace_id": fact.trace.id} if fact.trace else {})
        _log.warning("refused: %s", fact.message, extra=fields)


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
