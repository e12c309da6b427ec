"""Gates that nobody's analysis asks for: this is their host, as Argo's controller is for AnalysisRuns.

Each has a record in the cluster (core/record.py), and every server works on every record that is open, so
that any of them may die: what keeps two plugins from doing a thing twice keeps two servers from it. The
provider is asked as Argo would ask it: Run, then Resume at every step, until there is a measurement that
has ended; that is stored in the record.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from chaosplugin.core import ledger, record
from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.core.commands import WriteVerdict
from chaosplugin.core.feed import Feed
from chaosplugin.core.gates import Gate, GateEvent, event_of, gate_of
from chaosplugin.core.objects import AnalysisRun, Rollout
from chaosplugin.core.progress import Transition
from chaosplugin.core.record import Asked, Record
from chaosplugin.core.refusal import InvalidConfig, ScopeRefused
from chaosplugin.core.run import Run
from chaosplugin.core.topics import AnalysisRunsTopic, Applied, Topic, WatchEvent
from chaosplugin.provider.analyses import KEEP, Analyses
from chaosplugin.provider.background import keep
from chaosplugin.provider.facts import Fact, Observer, Performed
from chaosplugin.provider.ports import (
    AlreadyExists,
    Cluster,
    ClusterError,
    Conflict,
    Denied,
    NotFound,
)
from chaosplugin.provider.provider import ChaosProvider

_EXPIRE_S = 300.0
_AGAIN_S = 5.0

_log = logging.getLogger(__name__)


class NameTaken(Exception):
    """Another gate has this name."""


class Records(Protocol):
    """Where records are kept. Every method raises ClusterError."""

    async def read_rollout(self, namespace: str, name: str) -> Rollout: ...
    async def create_record(self, manifest: Mapping[str, object]) -> Record: ...
    async def read_record(self, namespace: str, name: str) -> Record: ...
    async def patch_record(self, namespace: str, name: str, patch: Mapping[str, object]) -> Record: ...
    async def list_records(self, namespace: str) -> list[Record]: ...
    async def delete_record(self, namespace: str, name: str, uid: str) -> None: ...
    def watch(self, topic: Topic) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]: ...


@dataclass(slots=True)
class _Driven:
    """A gate that this process works on: something to wait for its next step by."""

    news: anyio.Event


class Gates:
    """The gates of records, and a look at those of AnalysisRuns."""

    def __init__(
        self,
        tasks: TaskGroup,
        records: Records,
        *,
        home: Cluster,
        clock: Callable[[], datetime],
        epoch: str,
        provide: Callable[[Observer], ChaosProvider],
    ) -> None:
        """`provide` makes the provider whose home is where the records are; `epoch` is a word of ours.

        `home` is where the AnalysisRuns are.
        """
        self._tasks = tasks
        self._records = records
        self._clock = clock
        self._driven: dict[str, _Driven] = {}
        self._provider = provide(self._observe)
        self._other: ChaosProvider | None = None
        self.analyses = Analyses(
            tasks, home, clock=clock, known=lambda gate_id: gate_id in self._others, tell=self._put
        )
        self._changed = anyio.Event()
        self.feed = Feed(epoch)

    def add(self, provider: ChaosProvider) -> None:
        """Show what this provider knows of its AnalysisRuns' gates; its observer is to be `tell`."""
        self._other = provider

    def tell(self, fact: Fact) -> None:
        """Take in a step, whoever's gate it is; other facts are no news of gates."""
        if isinstance(fact, Transition):
            self._put(event_of(fact))

    def _put(self, event: GateEvent) -> None:
        self.feed.put(event)
        self._changed.set()
        self._changed = anyio.Event()

    async def news(self, place: int) -> None:
        """Wait until there are events after this place of the feed."""
        while self.feed.place <= place:
            await self._changed.wait()

    def _observe(self, fact: Fact) -> None:
        """Ask the provider again after a step, and once a verdict stands, which is not answered before."""
        self.tell(fact)
        match fact:
            case Transition(run=run) | Performed(run=run, command=WriteVerdict()):
                driven = self._driven.get(run.spec.id)
            case _:
                return
        if driven is not None:
            driven.news.set()

    # -- what may be asked

    async def start(self, namespace: str, rollout: str, name: str, asked: Asked) -> Gate:
        """Begin a gate, or return the one that the same request has begun.

        Raises: Refusal, before anything is made; NameTaken; ClusterError.
        """
        try:
            owner = await self._records.read_rollout(namespace, rollout)
        except NotFound as error:
            if error.no_kind:
                raise
            text = f"there is no Rollout {namespace}/{rollout}; see `kubectl get rollouts --all-namespaces`"
            raise NotFound(text) from None
        made = record.manifest(namespace, name, owner, asked)
        try:
            self._provider.check(record.as_analysis_run(record.metadata_of(made)), asked.metric)
        except InvalidConfig as refusal:
            if refusal.key != "targetReplicaSetValue" or owner.status.current_pod_hash:
                raise
            raise ScopeRefused(
                f"Rollout {namespace}/{rollout} tells no status.currentPodHash, so nobody knows its canary: "
                f"see whether Argo Rollouts' controller runs, which writes it"
            ) from None
        try:
            found = await self._records.create_record(made)
        except AlreadyExists:
            try:
                found = await self._records.read_record(namespace, name)
            except NotFound:
                raise NameTaken(f"{namespace}/{name} is a ConfigMap of somebody else's") from None
            other = found.metadata.controller
            if record.asked_of(found) != asked or other is None or other.name != rollout:
                raise NameTaken(f"{namespace}/{name} is another gate") from None
            if record.ended(found):
                return record.as_gate(found)
        self._drive(found, begun=True)
        return gate_of(self._provider.runs[record.identity(found.metadata).digest])

    @property
    def runs(self) -> Mapping[str, Run]:
        """All gates that this process works on, to look at."""
        return {**self._provider.runs, **self._others}

    @property
    def _others(self) -> Mapping[str, Run]:
        return self._other.runs if self._other else {}

    def live(self) -> list[Gate]:
        """Return all gates that are known without a question to the cluster, the latest first."""
        return self._latest_first([*self.analyses.live(), *map(gate_of, self.runs.values())])

    async def all_in(self, namespace: str) -> list[Gate]:
        """Return the gates of a namespace, or of all (""), whoever works on them.

        Raises: ClusterError.
        """
        told = [
            *map(record.as_gate, await self._records_in(namespace)),
            *await self.analyses.all_in(namespace),
        ]
        known = (gate for gate in map(gate_of, self.runs.values()) if namespace in {"", gate.namespace})
        return self._latest_first([*told, *known])

    @staticmethod
    def _latest_first(found: Iterable[Gate]) -> list[Gate]:
        """Of two that tell of one gate the last is right."""
        gates = {gate.id: gate for gate in found}
        return sorted(gates.values(), key=lambda gate: gate.started_at, reverse=True)

    async def find(self, namespace: str, gate_id: str) -> Gate | None:
        """Return a gate of a namespace, or of any ("").

        A record's that is open and not known yet is taken up, an analysis's followed. Raises: ClusterError.
        """
        run = self._others.get(gate_id) or self._provider.runs.get(gate_id)
        if run is not None and namespace in {"", run.spec.analysis_run.metadata.namespace}:
            return gate_of(run)
        for found in await self._records_in(namespace):
            if record.identity(found.metadata).digest == gate_id:
                if record.ended(found) is None:
                    self._drive(found, begun=False)
                run = self._provider.runs.get(gate_id)
                return gate_of(run) if run else record.as_gate(found)
        return await self.analyses.find(namespace, gate_id)

    async def terminate(self, gate: Gate) -> None:
        """Let a gate end: who works on it sees its record, or AnalysisRun, change. Raises: ClusterError."""
        analysis = gate.id in self._others or (
            gate.id not in self._provider.runs and await self.analyses.find(gate.namespace, gate.id)
        )
        if analysis:
            await self.analyses.terminate(gate)
        else:
            await self._records.patch_record(gate.namespace, gate.name, record.terminate_patch())

    async def _records_in(self, namespace: str) -> list[Record]:
        try:
            found = await self._records.list_records(namespace)
        except Denied:  # where they may not be read, nobody here has made any
            return []
        return [each for each in found if record.asked_of(each) is not None]

    # -- the work

    async def serve(self, turn: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Keep the deadlines of all gates, until cancelled; `turn` as of the provider."""
        await self._provider.serve(turn)

    async def follow(self, namespace: str) -> None:
        """Work on all records of a namespace, or of all of them (""), until cancelled."""
        while True:
            try:
                async with self._records.watch(AnalysisRunsTopic(namespace)) as events:
                    async for event in events:
                        if isinstance(event, Applied) and isinstance(event.object, AnalysisRun):
                            await self._adopt(event.object)
            except ClusterError as error:
                _log.warning("cannot follow gates: %s", error)
            await anyio.sleep(_AGAIN_S)

    async def _adopt(self, run: AnalysisRun) -> None:
        gate_id = record.identity(run.metadata).digest
        if gate_id in self._driven or ledger.completed(run) or run.metadata.deletion_timestamp is not None:
            return
        try:
            found = await self._records.read_record(run.metadata.namespace, run.metadata.name)
        except NotFound:
            return
        if record.ended(found) is None:
            self._drive(found, begun=False)

    def _drive(self, found: Record, *, begun: bool) -> None:
        """Work on a gate, unless that is done already."""
        gate_id = record.identity(found.metadata).digest
        asked = record.asked_of(found)
        if gate_id in self._driven or asked is None:
            return
        self._driven[gate_id] = _Driven(anyio.Event())
        run = record.as_analysis_run(found.metadata)
        if begun:
            answer = self._provider.run(run, asked.metric)
        else:
            answer = Measurement(
                phase=Phase.RUNNING,
                started_at=run.metadata.creation_timestamp,
                metadata={"chaosplugin.io/run": gate_id},
            )
            answer = self._provider.resume(run, asked.metric, answer)
        self._tasks.start_soon(keep, partial(self._ask_on, gate_id, run, asked, answer))

    async def _ask_on(self, gate_id: str, run: AnalysisRun, asked: Asked, answer: Measurement) -> None:
        """Resume at every step, and store the end."""
        driven = self._driven.setdefault(gate_id, _Driven(anyio.Event()))
        try:
            while not answer.phase.completed:
                driven.news = anyio.Event()
                answer = self._provider.resume(run, asked.metric, answer)
                if answer.phase.completed:
                    break
                pause = None
                if answer.resume_at is not None:
                    pause = max(0.1, (answer.resume_at - self._clock()).total_seconds())
                with anyio.move_on_after(pause):
                    await driven.news.wait()
            await self._store(run, answer)
        finally:
            self._driven.pop(gate_id, None)

    async def _store(self, run: AnalysisRun, answer: Measurement) -> None:
        """Write down how a gate has ended; where another process has, that stands."""
        namespace, name = run.metadata.namespace, run.metadata.name
        while True:
            try:
                found = await self._records.read_record(namespace, name)
                if record.ended(found) is None:
                    version = found.metadata.resource_version
                    patch = record.end_patch(answer, self._clock(), version)
                    await self._records.patch_record(namespace, name, patch)
            except NotFound:
                return
            except Conflict:
                continue
            except ClusterError as error:
                _log.warning("the end of gate %s/%s is not stored yet: %s", namespace, name, error)
                await anyio.sleep(_AGAIN_S)
            else:
                return

    async def expire_for_ever(self, namespace: str) -> None:
        """Expire now, and every few minutes, until cancelled."""
        while True:
            await self.expire(namespace)
            await anyio.sleep(_EXPIRE_S)

    async def expire(self, namespace: str) -> None:
        """Delete the records of gates that ended long ago."""
        try:
            for each in await self._records.list_records(namespace):
                ended, metadata = record.ended(each), each.metadata
                if ended is not None and ended + KEEP < self._clock():
                    await self._records.delete_record(metadata.namespace, metadata.name, metadata.uid)
        except ClusterError as error:
            _log.info("records are not looked through now: %s", error)
