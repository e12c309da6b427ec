"""What Argo is answered of a gate, and what it says meanwhile."""

from datetime import datetime, timedelta

from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.core.run import SINCE, Run, Stage
from chaosplugin.core.trace import ROOT


def measurement(
    run: Run, now: datetime, given: Measurement | None = None, *, final: bool = False
) -> Measurement:
    """Answer a call: the same answer as long as nothing has changed; `final`: with its verdict."""
    started_at = (given.started_at if given else None) or run.started_at.replace(microsecond=0)
    metadata = {"chaosplugin.io/run": run.spec.id, "experiment": run.spec.subject}
    if run.since is not None:
        metadata[SINCE] = run.since
    if run.sampled:
        metadata["traceparent"] = run.trace.parent(ROOT, sampled=True)
    if run.verdict and (final or run.settled(now)):
        return Measurement(
            phase=run.verdict.phase,
            message=run.verdict.message,
            started_at=started_at,
            finished_at=run.verdict.finished_at,
            value=run.verdict.value,
            metadata=metadata,
        )
    return Measurement(
        phase=Phase.RUNNING,
        message=progress(run.stage, run.spec.subject),
        started_at=started_at,
        metadata=metadata,
        resume_at=_resume_at(run, now),
    )


def _resume_at(run: Run, now: datetime) -> datetime | None:
    if run.push:
        return None
    if run.push is None:
        return now + timedelta(seconds=2)
    if not run.resumed:
        return now + timedelta(seconds=1)  # it is begun then
    farthest = now + timedelta(seconds=15)
    return min(farthest, max(run.deadline or farthest, now + timedelta(seconds=1)))


def progress(stage: Stage, subject: str) -> str:
    """Say in words where the gate of an experiment is."""
    return _PROGRESS[stage].format(subject)


_WAITING = "waiting for Ready canary pods and the proof of scope, then {} is created"
_PROGRESS = {
    Stage.RESTORING: _WAITING,
    Stage.PROVING: _WAITING,
    Stage.QUEUED: "another gate works on the same ReplicaSet; {} waits for it",
    Stage.CREATING: _WAITING,
    Stage.UNCERTAIN: "it is not known whether {} was created; finding out",
    Stage.OBSERVING: "{} is running against the canary",
    Stage.RECOVERING: "the fault of {} is over; the canary has to hold",
    Stage.DECIDED: "the verdict on {} is being recorded",
    Stage.DONE: "",
}
