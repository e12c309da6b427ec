"""The sweep: experiments of ours that outlived their AnalysisRun are deleted.

Whoever dies between a verdict and its clean-up leaves an experiment whose AnalysisRun asks nobody any
more; where it has no owner (another namespace), nothing else would ever remove it. Only what came from
this cluster is looked at, by the uid of its kube-system; what cannot be known is left alone.

What a Schedule or a Workflow has spawned goes after it; where its fault cannot be undone it stays, with no
label of ours, and is told by its selector (`core/selector.py`).
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from itertools import chain, repeat

import anyio

from chaosplugin.core import ledger
from chaosplugin.core.family import MANAGED_BY, OF_WORKFLOW
from chaosplugin.core.judge import STUCK
from chaosplugin.core.kinds import KINDS, SCHEDULE, WORKFLOW
from chaosplugin.core.objects import AnalysisRun, ChaosObject
from chaosplugin.core.selector import run_of
from chaosplugin.core.topics import AnalysisRunsTopic
from chaosplugin.provider.facts import Observer, Swept, gate, gate_left
from chaosplugin.provider.ports import Cluster, ClusterError, Denied, NotFound

_log = logging.getLogger(__name__)

EVERY_S = 600.0
LATE_S = 75.0
"""Pause after the first sweep: a create of a process that has died is on its way for a minute at most, as the
API server ends requests by then."""
AGAIN_S = 10.0
"""Pause while experiments are seen that nobody here takes care of, and whose analysis has not ended:
mostly a Resume is about to bring them, but an analysis that ends in Error asks nobody any more. What is there
for longer is mostly another replica's: then it doubles, up to EVERY_S."""
_SOON = 8  # pauses of AGAIN_S before it doubles
_MANY = 10  # experiments of one kind whose AnalysisRuns are not read one by one


async def sweep_for_ever(
    home: Callable[[], Awaitable[Cluster]],
    busy: Callable[[str], bool],
    observer: Observer,
    force: Callable[[], datetime] | None = None,
    turn: Callable[[], Awaitable[bool]] | None = None,
) -> None:
    """Sweep now, soon after, then every ten minutes. `busy`: this process itself takes care of that run.

    `force` is the clock by which a deletion is stuck, where the operator has allowed to force it; `turn`
    tells, where there are several processes, whether it is for this one to sweep now.
    """
    pauses, again = chain([LATE_S], repeat(EVERY_S)), _again()
    while True:
        swept = Swept()
        try:
            if turn is None or await turn():
                cluster = await home()
                overdue = force() + cluster.clock_offset - STUCK if force else None
                swept = await sweep(cluster, busy, overdue)
                observer(swept)
        except ClusterError as error:
            _log.info("no sweep now: %s", error)
        if not swept.unattended:
            again = _again()
        await anyio.sleep(next(again if swept.unattended else pauses))


def _again() -> Iterator[float]:
    yield from repeat(AGAIN_S, _SOON)
    pause = AGAIN_S
    while True:
        pause = min(2 * pause, EVERY_S)
        yield pause


async def sweep(home: Cluster, busy: Callable[[str], bool], overdue: datetime | None = None) -> Swept:
    """Delete leftovers in all namespaces. Without the right to look, do nothing.

    Those that were deleted before `overdue`, and are still there, lose their finalizers.
    """
    origin = await home.origin()
    if not origin:
        return Swept()
    selector = f"{ledger.MANAGED_BY}={ledger.MANAGER},{ledger.ORIGIN}={origin},!{ledger.KEEP}"
    deleted = unattended = stuck = 0
    for kind in KINDS.values():
        try:
            found = await home.list_chaos(kind.name, "", selector)
            spawned = [] if kind.spawns else await _orphans(home, kind.name, origin, busy)
        except (Denied, NotFound):  # granted per namespace, or no CRD of this kind
            continue
        many = sum(not busy(_run(each)) for each in found) > _MANY
        for experiment in chain(found, spawned):
            if busy(_run(experiment)):  # by now: after a restart thousands are resumed meanwhile
                continue
            deleted_at = experiment.metadata.deletion_timestamp
            if deleted_at and (overdue is None or deleted_at > overdue):
                stuck += 1
            elif experiment in spawned or await _is_left(home, experiment, many=many):
                gone = await _delete(home, experiment)
                deleted, stuck = deleted + gone, stuck + 1 - gone
            else:
                unattended += 1
    return Swept(deleted, unattended, stuck)


async def _orphans(home: Cluster, kind: str, origin: str, busy: Callable[[str], bool]) -> list[ChaosObject]:
    """Return what gates have spawned whose Schedule or Workflow is gone, and which nobody takes care of."""
    found = []
    for parent, key in ((SCHEDULE, MANAGED_BY), (WORKFLOW, OF_WORKFLOW)):
        for child in await home.list_chaos(kind, "", key):
            run = run_of(child.spec, origin)
            if run and not busy(run) and await _is_gone(home, parent, child, key):
                found.append(child)
    return found


async def _is_gone(home: Cluster, parent: str, child: ChaosObject, key: str) -> bool:
    """Tell whether what has spawned it is gone; another one of its name may be there."""
    owner = child.metadata.controller
    try:
        there = await home.read_chaos(parent, child.metadata.namespace, child.metadata.label(key) or "")
    except NotFound as error:
        return not error.no_kind
    return parent == SCHEDULE and owner is not None and there.metadata.uid != owner.uid


def _run(experiment: ChaosObject) -> str:
    return experiment.metadata.label(ledger.RUN) or ""


async def _is_left(home: Cluster, experiment: ChaosObject, *, many: bool) -> bool:
    """Tell whether the AnalysisRun is known to be over: completed, gone, or another one of its name.

    Where there are many of them, those that are marked are told by a watch, which a Resume would open, too.
    """
    metadata = experiment.metadata
    uid = metadata.label(ledger.ANALYSIS_RUN_UID)
    namespace, _, name = (metadata.annotation(ledger.RUN) or "").partition("/")
    if not name:
        return False
    topic = AnalysisRunsTopic(namespace)
    told = home.told(topic, name)
    if told is None and many:
        await home.settled(topic)
        told = home.told(topic, name)
    if isinstance(told, AnalysisRun) and told.metadata.uid == uid and not ledger.completed(told):
        return False  # of thousands that are about to be resumed after a restart
    try:
        run = await home.read_analysis_run(namespace, name)
    except NotFound as error:
        return not error.no_kind
    except Denied:
        return False
    return run.metadata.uid != uid or ledger.completed(run)


async def _delete(home: Cluster, experiment: ChaosObject) -> int:
    """Delete it, or its finalizers, as the last part of its gate's trace; return 1 if that was accepted."""
    token = gate.set(gate_left(experiment))
    try:
        return await _remove(home, experiment)
    finally:
        gate.reset(token)


async def _remove(home: Cluster, experiment: ChaosObject) -> int:
    metadata = experiment.metadata
    force = metadata.deletion_timestamp is not None
    remove = home.release_chaos if force else home.delete_chaos
    try:
        await remove(experiment.kind, metadata.namespace, metadata.name, metadata.uid)
    except ClusterError as error:
        _log.info("left over: %s", error)
        return 0
    done = "removed finalizers by --force-cleanup, so a residual fault is possible" if force else "deleted"
    subject = f"{experiment.kind} {metadata.namespace}/{metadata.name}"
    why = "its AnalysisRun is over" if metadata.label(ledger.RUN) else "what has spawned it is gone"
    _log.warning("%s: %s: %s", done, subject, why)
    return 1
