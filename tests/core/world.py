"""A registry, a clock and a canary of two pods, for tests that take each step by hand."""

from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from chaosplugin.core import ledger, scope
from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Command,
    Confirm,
    Confirmed,
    Create,
    Find,
    Found,
    LedgerRead,
    Outcome,
    ReadLedger,
    ReadScope,
    ScopeRead,
    VerdictWritten,
    WriteMark,
    WriteVerdict,
)
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import (
    AnalysisRun,
    ChaosObject,
    ChaosStatus,
    Event,
    ExperimentStatus,
    InvolvedObject,
    Metadata,
    Pod,
    Record,
)
from chaosplugin.core.registry import Registry
from chaosplugin.core.run import SINCE, Stage
from chaosplugin.core.topics import (
    AnalysisRunsTopic,
    Applied,
    ChaosTopic,
    Deleted,
    EventsTopic,
    Lost,
    OthersTopic,
    PodsTopic,
    Synced,
    WatchEvent,
)
from chaosplugin.core.verdict import Reason
from tests.core.given import (
    HASH,
    HASH_LABEL,
    START,
    analysis_run,
    hit,
    make_spec,
    pod,
    recovered,
    replica_set,
    scope_inputs,
    with_patch,
)

C = TypeVar("C", bound=Command)


class World:
    """A registry, a clock, and the commands that nobody has performed yet."""

    def __init__(
        self, *, push: bool | None = True, sampled: bool = False, by: str = "here", **changes: object
    ) -> None:
        self.now = START
        self.sampled = sampled
        self.spec = make_spec(**changes)
        self.registry = Registry(by)
        self.todo: list[Command] = []
        self.push = push
        self.wanted = 2
        self.created: dict[str, object] = {}
        self.canary: dict[str, Pod] = {}
        """the pods as they are"""

    def take(self, commands: list[Command]) -> None:
        self.todo += commands

    def start(self, *, errors: int = 0, resume: bool = False, since: str | None = None) -> Measurement:
        told = {} if since is None else {SINCE: since}
        given = Measurement(phase=Phase.RUNNING, metadata=told) if resume else None
        found, spec = self.spec.analysis_run, self.spec
        begun = self.registry.start(self.now, spec, found, errors=errors, given=given, sampled=self.sampled)
        self.take(begun)
        if self.push is not None:
            self.take(self.registry.allow(self.now, self.spec.id, push=self.push))
        return self.call(None)

    def call(self, given: Measurement | None) -> Measurement:
        answer, commands = self.registry.answer(self.now, self.spec.id, given)
        self.take(commands)
        return answer

    def terminate(self) -> Measurement:
        given = Measurement(phase=Phase.RUNNING, started_at=START)
        answer, commands = self.registry.terminate(self.now, self.spec.id, "aborted", given)
        self.take(commands)
        return answer

    def resume(self) -> Measurement:
        return self.call(Measurement(phase=Phase.RUNNING, started_at=START))

    def expect(self, kind: type[C]) -> C:
        found = [command for command in self.todo if isinstance(command, kind)]
        assert found, f"no {kind.__name__} among {self.todo}"
        self.todo.remove(found[0])
        return found[0]

    def done(self, command: Command, outcome: Outcome) -> None:
        self.take(self.registry.outcome(self.now, command, outcome))

    def pods(self, *pods: Pod, synced: bool = True, others: bool = True) -> None:
        topic = PodsTopic("default", HASH_LABEL, HASH)
        for one in pods:
            self.canary[one.metadata.uid] = one
            self.take(self.registry.observe(self.now, Watch("", "", "", topic), Applied(topic, one)))
        if synced:
            self.take(self.registry.observe(self.now, Watch("", "", "", topic), Synced(topic)))
        if synced and others:
            self.others()

    def others(self, *runs: AnalysisRun) -> None:
        """Let the gates of the other sort be told."""
        topic = OthersTopic("default")
        events: list[WatchEvent] = [Applied(topic, run) for run in runs]
        for event in [*events, Synced(topic)]:
            self.take(self.registry.observe(self.now, Watch("", "", "", topic), event))

    def pod_gone(self, one: Pod) -> None:
        topic = PodsTopic("default", HASH_LABEL, HASH)
        del self.canary[one.metadata.uid]
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), Deleted(topic, one)))

    def record(self) -> None:
        """Let the verdict be recorded, before any other's."""
        write = self.expect(WriteVerdict)
        self.done(write, VerdictWritten(write.record, self.spec.analysis_run))

    def confirm(self) -> None:
        """Let all be read, as it has been told."""
        self.done(self.expect(Confirm), Confirmed(list(self.canary.values()), self.children))

    @property
    def children(self) -> list[ChaosObject]:
        """What the experiment has spawned, and is there."""
        return []

    def experiment(
        self,
        *records: Record,
        desired: str = "Run",
        gone: bool = False,
        annotations: dict[str, str] | None = None,
        deleting: bool = False,
    ) -> None:
        thing = self.chaos(*records, desired=desired, annotations=annotations, deleting=deleting)
        self.told(thing, gone=gone)

    def told(self, thing: ChaosObject, *, gone: bool = False) -> None:
        """Let the watch of experiments tell of one."""
        topic = ChaosTopic("PodChaos", "default")
        event = Deleted(topic, thing) if gone else Applied(topic, thing)
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), event))

    def chaos(
        self,
        *records: Record,
        desired: str = "",
        annotations: dict[str, str] | None = None,
        deleting: bool = False,
        uid: str = "chaos-1",
        created_at: datetime | None = None,
    ) -> ChaosObject:
        identity = self.spec.identity
        metadata = Metadata(
            name=self.spec.name,
            namespace="default",
            uid=uid,
            creation_timestamp=created_at or START,
            deletion_timestamp=self.now if deleting else None,
            labels={
                ledger.MANAGED_BY: ledger.MANAGER,
                ledger.RUN: identity.digest,
                ledger.ANALYSIS_RUN_UID: identity.analysis_run_uid,
            },
            annotations={
                ledger.METRIC: identity.metric,
                ledger.INTENT: str(identity.intent),
                **self.notes(),
                **(annotations or {}),
            },
            finalizers=["chaos-mesh/records"] if desired else None,
        )
        status = ChaosStatus(
            experiment=ExperimentStatus(desired_phase=desired, container_records=list(records) or None)  # type: ignore[arg-type]
        )
        action = "pod-kill" if self.spec.one_shot else "pod-failure"
        return ChaosObject(
            kind="PodChaos",
            metadata=metadata,
            raw_spec=msgspec.Raw(msgspec.json.encode({"action": action})),
            status=status,
        )

    def to_timeout(self, *records: Record, desired: str) -> None:
        """Let the fault be so at the timeout, where it is looked at once more beside its watch."""
        self.experiment(*records, desired=desired)
        self.wait(61)
        self.done(self.expect(Find), Found(self.chaos(*records, desired=desired)))

    def notes(self) -> dict[str, str]:
        found = self.created.get("annotations", {})
        assert isinstance(found, dict)
        return found

    def run_seen(self, run: AnalysisRun | None = None, **status: object) -> None:
        topic = AnalysisRunsTopic("default")
        seen = run or analysis_run(**status)
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), Applied(topic, seen)))

    def chaos_lost(self, why: str) -> None:
        topic = ChaosTopic("PodChaos", "default")
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), Lost(topic, why)))

    def pods_lost(self, why: str) -> None:
        topic = PodsTopic("default", HASH_LABEL, HASH)
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), Lost(topic, why)))

    def selection_fails(self, message: str) -> None:
        topic = EventsTopic("default")
        event = Event(
            metadata=Metadata(),
            involved_object=InvolvedObject(uid="chaos-1"),
            reason="Failed",
            type="Warning",
            message=message,
        )
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), Applied(topic, event)))

    def wait(self, seconds: float) -> None:
        """Let time pass, stopping at each deadline on the way."""
        end = self.now + timedelta(seconds=seconds)
        while (at := self.registry.next_deadline()) is not None and at <= end:
            assert at > self.now or self.registry.tick(self.now) is not None
            self.now = max(at, self.now + timedelta(milliseconds=1))
            self.take(self.registry.tick(self.now))
        self.now = end
        self.take(self.registry.tick(self.now))

    # -- ways

    def succeed(self, before: "World") -> None:
        """Be the process after that of another world, ten minutes later."""
        self.created = before.created
        self.now = START + timedelta(minutes=10)
        self.start(resume=True)

    def found(self, experiment: ChaosObject | None = None, run: AnalysisRun | None = None) -> None:
        """Let the ledger be read: by default there is nothing in it."""
        read = LedgerRead(analysis_run=run or analysis_run(), experiment=experiment, value=HASH)
        self.done(self.expect(ReadLedger), read)

    def prove(self, inputs: scope.ScopeInputs | None = None) -> None:
        inputs = inputs or scope_inputs(replica_sets=[replica_set(self.wanted)])
        self.done(self.expect(ReadScope), ScopeRead(inputs))

    def to_create(self) -> Create:
        self.start()
        self.resume()
        self.found()
        self.pods(pod("web-a"), pod("web-b"))
        self.prove()
        if self.push:
            self.done(self.expect(WriteMark), AnalysisRunSeen(marked(self)))
        create = self.expect(Create)
        self.created = dict(create.manifest)
        return create

    def to_observing(self) -> None:
        self.done(self.to_create(), Found(self.chaos()))

    def to_recovering(self) -> None:
        self.to_observing()
        self.experiment(hit("web-a"), desired="Run")
        self.pods(pod("web-a", ready=False, restarts=1))
        self.now += timedelta(seconds=10)
        self.experiment(recovered("web-a", self.now), desired="Stop")

    @property
    def verdict(self) -> tuple[Phase, Reason] | None:
        run = self.registry.run(self.spec.id)
        assert run is not None
        return (run.verdict.phase, run.verdict.reason) if run.verdict else None

    @property
    def message(self) -> str:
        run = self.registry.run(self.spec.id)
        assert run is not None
        assert run.verdict is not None
        return run.verdict.message

    @property
    def stage(self) -> Stage:
        run = self.registry.run(self.spec.id)
        assert run is not None
        return run.stage


def marked(world: World, mark: ledger.Mark | None = None) -> AnalysisRun:
    """Return the AnalysisRun with this mark, else with that which was asked for, else with some one."""
    run = world.registry.run(world.spec.id)
    mark = mark or (run.mark if run else None)
    mark = mark or ledger.Mark(
        kind="PodChaos", namespace="default", name=world.spec.name, version="7", by="here"
    )
    patch = ledger.mark_patch(world.spec.identity, mark, "7")
    return with_patch(patch)
