"""What an experiment's status says of its fault: on, over, how far, why not.

Chaos Mesh knows no terminal failure and no verdict, so everything is read from the records and
`desiredPhase`; conditions lag one event behind the records and are not used.
Source: chaos-mesh controllers/common (desiredphase, records, condition).
"""

from datetime import datetime

from msgspec import Struct

from chaosplugin.core import moments
from chaosplugin.core.ledger import PAUSE
from chaosplugin.core.objects import ChaosObject, Record, RecordEvent

_FINALIZER = "chaos-mesh/records"


class Fault(Struct, frozen=True, kw_only=True, gc=False):
    """One look at an experiment. Only records of the selector "." count: its own targets."""

    targets: tuple[str, ...]
    """ids of the selected targets: namespace/pod or namespace/pod/container"""
    injected: int
    recovered: int
    over: bool
    """no target is hit any more, or will be; a one-shot fault is over once it has hit all"""
    stopping: bool
    """Chaos Mesh wants the fault gone, as its time is up, or it was paused or deleted"""
    paused: bool
    """it is, or was: nothing else lets Chaos Mesh inject twice"""
    deleting: bool
    touched: bool
    """Chaos Mesh's controller has seen the experiment at all"""
    failure: str
    """the latest failure that the records tell, in Chaos Mesh's words"""
    ended_at: datetime | None
    """when the last target recovered (one-shot: was hit), by Chaos Mesh's clock; None: not told"""
    settled: bool
    """nothing that is selected is still to be hit: nobody is down whom no record tells"""
    shortfall: str = ""
    """what a Schedule or a Workflow was to hit beyond its targets, and has not"""
    aborted: bool = False
    """a Workflow was told to end"""

    @property
    def complete(self) -> bool:
        """Every selected target was hit."""
        return 0 < len(self.targets) == self.injected and not self.shortfall

    @property
    def hit(self) -> frozenset[str]:
        """Names of the targets' pods."""
        return frozenset(map(pod_of, self.targets))


def pod_of(target: str) -> str:
    """Return the pod's name of a record's id, which is namespace/pod[/container[/...]]."""
    return target.split("/", 2)[1] if "/" in target else target


def read(experiment: ChaosObject, *, one_shot: bool, cut: bool = False) -> Fault:
    """Read an experiment's status.

    `cut`: its Schedule's end has ended it early, and what it had not hit does not count.
    A record counts as injected by its counter, or by its phase where Chaos Mesh is older than 2.3
    and counts nothing: then only the phase at this moment can be seen.
    """
    status = experiment.status.experiment
    records = [r for r in status.container_records or () if r.selector_key == "."]
    injected = [r for r in records if r.injected_count or r.phase.startswith("Injected")]
    if cut:
        records = [r for r in records if r in injected or r.phase != "Not Injected"]
    clear = [r for r in records if r.phase == "Not Injected"]
    stopping = status.desired_phase == "Stop"
    metadata = experiment.metadata
    deleting = metadata.deletion_timestamp is not None
    if one_shot:
        over = 0 < len(records) == len(injected)
    else:
        over = (stopping or deleting) and len(clear) == len(records)
    return Fault(
        targets=tuple([r.id for r in records]),
        injected=len(injected),
        recovered=len([r for r in clear if r.injected_count]),
        over=over,
        stopping=stopping,
        paused=metadata.annotation(PAUSE) == "true" or any(r.injected_count > 1 for r in injected),
        deleting=deleting,
        touched=bool(status.desired_phase or records or _FINALIZER in (metadata.finalizers or ())),
        failure=_failure(records),
        ended_at=_ended(records, "Apply" if one_shot else "Recover") if over else None,
        settled=0 < len(records) == len(injected),
    )


def _events(records: list[Record], *, operation: str | None, type_: str) -> list[RecordEvent]:
    return [
        event
        for record in records
        for event in record.events or ()
        if event.type == type_ and operation in {None, event.operation}
    ]


def _failure(records: list[Record]) -> str:
    failures = _events(records, operation=None, type_="Failed")
    if not failures:
        return ""
    last = max(failures, key=lambda e: e.timestamp.timestamp() if e.timestamp else 0.0)
    return f"{last.operation or 'Apply'}: {last.message}"


def _ended(records: list[Record], operation: str) -> datetime | None:
    told = _events(records, operation=operation, type_="Succeeded")
    return max((at for event in told if (at := moments.usable(event.timestamp))), default=None)
