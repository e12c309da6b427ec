"""Makes a verdict of a finding: conditions, dry run, redaction, length."""

import json
from dataclasses import replace
from datetime import datetime

from chaosplugin.core import condition
from chaosplugin.core.analysis import Phase
from chaosplugin.core.redaction import Redactor
from chaosplugin.core.refusal import InvalidConfig
from chaosplugin.core.run import Run
from chaosplugin.core.verdict import Finding, Reason, Verdict


def conclude(run: Run, finding: Finding, now: datetime) -> Verdict:
    """Return the verdict, fit to leave the process: at most 1 kB of message, and no secret."""
    began = run.server_created_at
    seconds = (now + run.offset - began).total_seconds() if began else 0.0
    figures = replace(finding.figures, seconds=max(0.0, seconds), min_ready=run.min_ready or 0)
    reason, phase, text = finding.reason, finding.phase or finding.reason.phase, finding.text
    if phase is Phase.SUCCESSFUL:
        phase, failed = _weigh(run, figures.as_json(reason))
        if failed:
            reason, text = Reason.CONDITION_NOT_MET, f"{failed}; {text}"
    prefix = "dry run: " if run.dry_run else ""
    return Verdict(
        phase=phase,
        reason=reason,
        message=Redactor.of(run.spec.secrets).text(f"{prefix}{reason}: {text}"),
        value=figures.as_json(reason),  # figures only: nothing of it comes from a template
        finished_at=now.replace(microsecond=0),
    )


def _weigh(run: Run, value: str) -> tuple[Phase, str]:
    """Apply the metric's conditions to a success; they can only worsen it.

    As Argo does for its own providers (utils/evaluate/evaluate.go, EvaluateResult): a failureCondition
    that holds fails; a successCondition that does not hold fails, or is inconclusive beside a
    failureCondition that does not hold either.
    """
    metric, result = run.spec.metric, json.loads(value)
    try:
        if metric.failure_condition and condition.holds(metric.failure_condition, result):
            return Phase.FAILED, f"failureCondition {metric.failure_condition!r} holds"
        if metric.success_condition and not condition.holds(metric.success_condition, result):
            phase = Phase.INCONCLUSIVE if metric.failure_condition else Phase.FAILED
            return phase, f"successCondition {metric.success_condition!r} does not hold"
    except InvalidConfig as invalid:
        return Phase.INCONCLUSIVE, str(invalid)
    return Phase.SUCCESSFUL, ""
