"""Gates in the log: one line per stage, and one canonical line per finished gate with all its figures."""

import logging

from chaosplugin.core.registry import Transition
from chaosplugin.core.run import Stage

_log = logging.getLogger(__name__)

_TOLD_AT = {Stage.RESTORING: logging.DEBUG, Stage.DONE: logging.DEBUG}


def log_transition(transition: Transition) -> None:
    """Log one transition; the verdict's message has been redacted where it was made."""
    run, verdict = transition.run, transition.run.verdict
    spec = run.spec
    fields = {
        "run": spec.id,
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
