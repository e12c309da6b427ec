"""Performs the registry's commands on the clusters, and translates what came of them."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import assert_never

from chaosplugin.core import ledger
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Command,
    Confirm,
    Confirmed,
    Create,
    Delete,
    Done,
    Failed,
    Find,
    FindPods,
    Found,
    HistoryRead,
    Keep,
    LedgerRead,
    Look,
    MarkFound,
    NameExists,
    ObjectId,
    Outcome,
    PodsFound,
    ReadHistory,
    ReadLedger,
    ReadReplicas,
    ReadScope,
    Recalled,
    Refused,
    Release,
    ReplicasRead,
    Stop,
    Unanswered,
    VerdictWritten,
    WriteClaim,
    WriteMark,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.kinds import WORKFLOW
from chaosplugin.core.objects import AnalysisRun, ChaosObject
from chaosplugin.core.run import Run, Spec
from chaosplugin.core.topics import AnalysisRunsTopic, ChaosTopic
from chaosplugin.core.verdict import Finding, Reason
from chaosplugin.provider import proving
from chaosplugin.provider.ports import (
    AlreadyExists,
    Cluster,
    ClusterError,
    Conflict,
    Denied,
    Invalid,
    NotFound,
    Overdue,
    Unavailable,
)

_log = logging.getLogger(__name__)

AT_HOME = (WriteClaim, WriteMark, WriteWake, WriteVerdict, Look)
"""Commands about the AnalysisRun alone, wherever the experiment is."""

_NEW_LIST_S = 30.0
_CONFLICTS = 20
"""Tries of the verdict's patch; against a controller that writes 50 times a second 10 were needed."""


async def perform(  # noqa: C901, PLR0911, PLR0912 - one flat match over the commands
    command: Command, run: Run, home: Cluster, there: Cluster
) -> Outcome:
    """Do one command. `there` is the cluster of the experiment and its pods, mostly `home` itself."""
    spec = run.spec
    try:
        match command:
            case ReadLedger():
                return await _read_ledger(run, home, there)
            case ReadScope():
                return await proving.read_scope(command, run, home, there)
            case ReadReplicas():
                return await _read_replicas(run, there)
            case Confirm():
                return await _confirm(command, run, there)
            case Create() if run.verdict is not None:  # while it waited for its turn
                return Failed("its gate has ended")
            case Create(manifest=manifest):
                return await _create(there, manifest)
            case Find():
                return Found(await _experiment(spec, there))
            case FindPods(names=names):
                return PodsFound({name: await there.find_pod(spec.namespace, name) for name in sorted(names)})
            case ReadHistory(version=version):
                created = await there.created_since(spec.kind, spec.namespace, spec.name, version)
                return HistoryRead(created)
            case WriteClaim(claim=claim):
                return await _patch(spec, home, ledger.claim_patch(spec.identity, claim))
            case WriteMark():
                return await _write_mark(command, spec, home)
            case WriteWake(wake=wake, unmark=None):
                return await _patch(spec, home, ledger.wake_patch(wake))
            case WriteWake():
                return await _unmark(command, spec, home)
            case WriteVerdict():
                return await _write_verdict(command, spec, home)
            case Look():
                return AnalysisRunSeen(await analysis_run(spec, home))
            case Delete(uid=uid):
                return await _delete(spec, there, uid)
            case Release(objects=objects):
                return await _release(spec, there, objects)
            case Keep(pause=pause):
                return await _keep(spec, there, pause=pause)
            case Stop():
                return await _stop(spec, there)
            case _:
                assert_never(command)
    except ClusterError as error:
        return translate(error, command, run)
    except Exception as error:  # noqa: BLE001  the boundary: a defect in one gate must not end the others
        return defect(error, command)


def defect(error: Exception, command: Command) -> Outcome:
    """Tell of an error of this program, in whose handling this is called: it is no answer."""
    _log.exception("an error of chaosplugin itself in %s; please report it", type(command).__name__)
    text = f"an error of chaosplugin itself: {type(error).__name__}: {error}"
    return Unanswered(text) if isinstance(command, Create) else Failed(text)


def translate(error: ClusterError, command: Command, run: Run) -> Outcome:
    """What must be read before anything is done, and is refused, is final; all else is tried again."""
    first = isinstance(command, ReadLedger | ReadScope) and not run.inherited
    first = first or (isinstance(command, WriteClaim | WriteMark) and not run.create_sent)
    if first and isinstance(error, Denied | NotFound | Invalid):
        return Refused(_refusal(error))
    return Failed(str(error))


def _refusal(error: ClusterError) -> Finding:
    """Translate what certainly had no effect."""
    match error:
        case NotFound(no_kind=True):
            text = f"{error}; install Chaos Mesh 2 with its CRDs"
            return Finding(reason=Reason.UNAVAILABLE, text=text)
        case Denied() if "cannot" in str(error):  # as RBAC says it; a webhook has its own words
            text = f"{error}; grant what the plugin's deploy/ lists"
            return Finding(reason=Reason.DENIED, text=text)
        case Denied() | NotFound() | Invalid():
            return Finding(reason=Reason.DENIED, text=str(error))
        case _:
            return Finding(reason=Reason.UNAVAILABLE, text=str(error))


async def analysis_run(spec: Spec, home: Cluster) -> AnalysisRun | None:
    """Read the AnalysisRun; one of another uid under its name means that ours is gone."""
    metadata = spec.analysis_run.metadata
    try:
        found = await home.read_analysis_run(metadata.namespace, metadata.name)
    except NotFound:
        return None
    return found if found.metadata.uid == metadata.uid else None


def _told(spec: Spec, home: Cluster, *, listed_within_s: float = float("inf")) -> AnalysisRun | None:
    """Return the AnalysisRun as its watch tells it, which it does from the mark on."""
    metadata = spec.analysis_run.metadata
    topic = AnalysisRunsTopic(metadata.namespace)
    found = home.told(topic, metadata.name, listed_within_s=listed_within_s)
    return found if isinstance(found, AnalysisRun) and found.metadata.uid == metadata.uid else None


async def _experiment(spec: Spec, there: Cluster) -> ChaosObject | None:
    try:
        return await there.read_chaos(spec.kind, spec.namespace, spec.name)
    except NotFound as error:
        if error.no_kind:
            raise
        return None


def ledger_as_told(spec: Spec, home: Cluster, there: Cluster) -> LedgerRead | None:
    """Return the ledger without waiting, if watches tell of both the AnalysisRun and its experiment."""
    found = _told(spec, home, listed_within_s=_NEW_LIST_S)
    experiment = there.told(ChaosTopic(spec.kind, spec.namespace), spec.name) if found else None
    if found is None or not isinstance(experiment, ChaosObject) or not spec.value:
        return None
    return LedgerRead(analysis_run=found, experiment=experiment, value=spec.value)


async def _read_ledger(run: Run, home: Cluster, there: Cluster) -> Outcome:
    """Take what the watches tell, as far as they do; it may be moments old.

    What is missed so is met later: an experiment when its name is taken, or by its watch. The AnalysisRun,
    where another's verdict may just have been written, is taken only from a list that is new, as after a
    restart, when thousands may be restored at once: they wait for it. That a restored run's experiment is
    gone is asked for, as nothing would contradict it.
    """
    told = ledger_as_told(run.spec, home, there)
    if told is not None:
        return told
    spec = run.spec
    topic = ChaosTopic(spec.kind, spec.namespace)
    found = _told(spec, home, listed_within_s=_NEW_LIST_S)
    if found is None and run.restored:
        await home.settled(AnalysisRunsTopic(spec.analysis_run.metadata.namespace))
        found = _told(spec, home, listed_within_s=_NEW_LIST_S)
    found = found or await analysis_run(spec, home)
    if run.restored and not there.follows(topic):
        await there.settled(topic)
    experiment = there.told(topic, spec.name)
    if not isinstance(experiment, ChaosObject):
        certain = not run.restored and there.follows(topic)
        experiment = None if certain else await _experiment(spec, there)
    if found is None or spec.value:
        return LedgerRead(analysis_run=found, experiment=experiment, value=spec.value)
    value = await proving.canary_of_experiment(spec, home)
    if isinstance(value, Finding):
        return Refused(value)
    if not value:
        return Failed("the Experiment has no ReplicaSet yet")
    return LedgerRead(analysis_run=found, experiment=experiment, value=value)


async def _read_replicas(run: Run, there: Cluster) -> Outcome:
    try:
        found = await there.read_replica_set(run.spec.namespace, run.replica_set_name)
    except NotFound:
        return ReplicasRead(0)
    if found.metadata.uid != run.replica_set:
        return ReplicasRead(0)
    return ReplicasRead(found.spec.replicas, found.metadata.generation)


async def _confirm(command: Confirm, run: Run, there: Cluster) -> Outcome:
    namespace = run.spec.namespace
    recalled = await _recall(run.spec, there) if run.spec.kind == WORKFLOW else None
    topics = run.family.topics(namespace) if run.family else ()
    children = [each for topic in topics for each in await there.list_chaos(topic.kind, namespace, topic.key)]
    if command.version < 0:
        return Confirmed((), children, recalled)
    pods = await there.list_pods(namespace, f"{run.spec.label}={run.value}")
    return Confirmed(pods, children, recalled, await _experiment(run.spec, there))


async def _create(there: Cluster, manifest: Mapping[str, object]) -> Outcome:
    try:
        return Found(await there.create_chaos(manifest))
    except AlreadyExists:
        return NameExists()
    except Overdue as error:
        return Failed(str(error))
    except Unavailable as error:
        return Unanswered(str(error)) if error.sent else Refused(_refusal(error))
    except ClusterError as error:
        return Refused(_refusal(error))


async def _patch(spec: Spec, home: Cluster, patch: Mapping[str, object]) -> Outcome:
    metadata = spec.analysis_run.metadata
    try:
        return AnalysisRunSeen(await home.patch_analysis_run(metadata.namespace, metadata.name, patch))
    except NotFound:
        return AnalysisRunSeen(None)


async def _write_mark(command: WriteMark, spec: Spec, home: Cluster) -> Outcome:
    """Mark the version last read; where the AnalysisRun has changed since, another process may be first."""
    metadata, version = spec.analysis_run.metadata, command.version
    for _ in range(_CONFLICTS):
        if not version:
            found = await analysis_run(spec, home)
            if found is None:
                return AnalysisRunSeen(None)
            if ledger.read_verdict(found, spec.identity) or ledger.read_mark(found, spec.identity):
                return MarkFound(found)
            version = found.metadata.resource_version
        patch = ledger.mark_patch(spec.identity, command.mark, version)
        try:
            return AnalysisRunSeen(await home.patch_analysis_run(metadata.namespace, metadata.name, patch))
        except Conflict:
            version = ""
        except NotFound:
            return AnalysisRunSeen(None)
    return Failed(f"AnalysisRun {metadata.name} changed {_CONFLICTS} times while it was marked")


async def _unmark(command: WriteWake, spec: Spec, home: Cluster) -> Outcome:
    """Wake, and take back the very mark that the command names; of another one its maker may live by now."""
    metadata = spec.analysis_run.metadata
    for _ in range(_CONFLICTS):
        found = await analysis_run(spec, home)
        if found is None:
            return AnalysisRunSeen(None)
        if ledger.read_mark(found, spec.identity) != command.unmark:
            return await _patch(spec, home, ledger.wake_patch(command.wake))
        patch = ledger.unmark_patch(spec.identity, command.wake, found.metadata.resource_version)
        try:
            return AnalysisRunSeen(await home.patch_analysis_run(metadata.namespace, metadata.name, patch))
        except Conflict:
            continue
        except NotFound:
            return AnalysisRunSeen(None)
    return Failed(f"AnalysisRun {metadata.name} changed {_CONFLICTS} times while its mark was taken back")


async def _write_verdict(command: WriteVerdict, spec: Spec, home: Cluster) -> Outcome:
    """Record the verdict on the version just read, so that of two writers one sees the other."""
    metadata = spec.analysis_run.metadata
    for tries in range(_CONFLICTS):
        told = None if tries else _told(spec, home)  # one that is outdated is a conflict
        found = told or await analysis_run(spec, home)
        if found is None:
            return AnalysisRunSeen(None)
        first = ledger.read_verdict(found, spec.identity)
        if first:
            return VerdictWritten(first, found)
        patch = ledger.verdict_patch(
            spec.identity, command.record, command.wake, found.metadata.resource_version
        )
        try:
            patched = await home.patch_analysis_run(metadata.namespace, metadata.name, patch)
        except Conflict:
            continue
        return VerdictWritten(command.record, patched)
    return Failed(f"AnalysisRun {metadata.name} changed {_CONFLICTS} times while its verdict was written")


async def _delete(spec: Spec, there: Cluster, uid: str) -> Outcome:
    try:
        await there.delete_chaos(spec.kind, spec.namespace, spec.name, uid)
    except (NotFound, Conflict):
        return Found(None)
    return Done()


async def _release(spec: Spec, there: Cluster, objects: Sequence[ObjectId]) -> Outcome:
    outcome: Outcome = Found(None)  # all are gone
    for each in objects:
        with suppress(NotFound):
            await there.release_chaos(each.kind, spec.namespace, each.name, each.uid)
            outcome = Done()
    return outcome


async def _keep(spec: Spec, there: Cluster, *, pause: bool) -> Outcome:
    metadata: dict[str, object] = {"labels": {ledger.KEEP: "true"}}
    if pause:
        metadata["annotations"] = {ledger.ABORT if spec.kind == WORKFLOW else ledger.PAUSE: "true"}
    try:
        await there.patch_chaos(spec.kind, spec.namespace, spec.name, {"metadata": metadata})
    except NotFound:
        return Found(None)
    return Done()


async def _recall(spec: Spec, there: Cluster) -> Recalled:
    nodes = await there.list_workflow_nodes(spec.namespace, spec.name)
    events = [
        event
        for reason in ("Applied", "Recovered")
        for event in await there.list_events(spec.namespace, reason)
    ]
    return Recalled(nodes, events)


async def _stop(spec: Spec, there: Cluster) -> Outcome:
    patch = {"metadata": {"annotations": {ledger.PAUSE: "true", ledger.WINDOW_OVER: "true"}}}
    try:
        return Found(await there.patch_chaos(spec.kind, spec.namespace, spec.name, patch))
    except NotFound:
        return Found(None)
