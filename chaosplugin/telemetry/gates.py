"""Gates in the log: one line per stage, and one canonical line per finished gate with all its figures."""

import logging

from chaosplugin.core.progress import Transition
from chaosplugin.core.run import Stage
from chaosplugin.provider.facts import Fact, Refused

_log = logging.getLogger(__name__)

_TOLD_AT = {Stage.RESTORING: logging.DEBUG, Stage.DONE: logging.DEBUG}


def log_fact(fact: Fact) -> None:
    """Log what concerns a gate; messages of verdicts and refusals have been redacted where they were made."""
    match fact:
        case Transition():
            _log_transition(fact)
        case Refused(trace=trace, reason=reason, message=message):
            fields = {"reason": reason.value} | ({"trace_id": trace.id} if trace else {})
            _log.warning("refused: %s", message, extra=fields)
        case _:
            pass


def _log_transition(transition: Transition) -> None:
    run, verdict = transition.run, transition.run.verdict
    spec = run.spec
    fields = {
        "run": spec.id,
        "trace_id": run.trace.id,
        "analysisrun": f"{spec.analysis_run.metadata.namespace}/{spec.analysis_run.metadata.name}",
        "metric": spec.identity.metric,
        "experiment": spec.subject,
        "stage": transition.after.value,
    }
    if transition.after is Stage.DECIDED and verdict is not None:
        fields |= {
            "phase": verdict.phase.value,
            "reason": verdict.reason.value,
            "value": verdict.value,
            "seconds": f"{(transition.at - run.started_at).total_seconds():.1f}",
        }
        _log.info("gate ended: %s", verdict.message, extra=fields)
        return
    level = _TOLD_AT.get(transition.after, logging.INFO)
    _log.log(level, "gate is %s (was %s)", transition.after, transition.before, extra=fields)
