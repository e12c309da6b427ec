"""Any order of events, deaths included, against a small model of the cluster that sees everything.

The model performs commands, loses answers, lets the plugin die and come back, and is asked after each
step whether a rule of the ledger was broken.
"""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Measurement, Phase
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
    Outcome,
    PodsFound,
    ReadHistory,
    ReadLedger,
    ReadReplicas,
    ReadScope,
    Refused,
    Release,
    ReplicasRead,
    ScopeRead,
    Stop,
    Unanswered,
    VerdictWritten,
    WriteClaim,
    WriteMark,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.objects import (
    AnalysisRun,
    ChaosObject,
    Metadata,
    MetricResult,
    Pod,
    Record,
    RecordEvent,
    StoredMeasurement,
    StoredMetadata,
)
from chaosplugin.core.registry import Registry
from chaosplugin.core.run import SINCE, Stage
from chaosplugin.core.topics import OthersTopic, PodsTopic
from chaosplugin.core.verdict import Finding, Reason
from tests.core.examples import lives
from tests.core.given import START, analysis_run, pod, scope_inputs
from tests.core.world import World

GIVEN = Measurement(phase=Phase.RUNNING, started_at=START)


class Gates(RuleBasedStateMachine):
    """One AnalysisRun, one metric, one canary of two pods."""

    @initialize(remembers=st.booleans(), push=st.booleans())
    def begin(self, remembers: bool, push: bool) -> None:
        self.world = self.make_world(push=push)
        self.remembers = remembers
        """the API server, of what was created since a mark"""
        self.annotations: dict[str, str] = {}
        self.experiment: ChaosObject | None = None
        self.creates = self.deaths = 0
        self.stored: Measurement | None = None
        """the measurement as Argo has stored it, which the first Resume tells"""
        self.results: list[MetricResult] = []
        """likewise, once it has ended"""
        self.answers: set[tuple[Phase, str]] = set()
        self.begun = self.world.start()
        self.open_watches()

    # -- the cluster

    def make_world(self, *, push: bool) -> World:
        return World(push=push)

    @property
    def pods(self) -> list[Pod]:
        return [pod("web-a"), pod("web-b")]

    @property
    def analysis_run(self) -> AnalysisRun:
        run = analysis_run(metric_results=self.results)
        metadata = run.metadata
        return AnalysisRun(
            status=run.status,
            metadata=Metadata(
                resource_version=metadata.resource_version,
                name=metadata.name,
                namespace=metadata.namespace,
                uid=metadata.uid,
                annotations=dict(self.annotations),
                owner_references=metadata.owner_references,
            ),
        )

    def patch(self, patch: dict[str, object]) -> None:
        metadata = patch["metadata"]
        assert isinstance(metadata, dict)
        for key, value in metadata["annotations"].items():
            if value is None:
                self.annotations.pop(key, None)
            else:
                self.annotations[key] = value

    def perform(self, command: Command) -> Outcome:  # noqa: C901, PLR0911, PLR0912 - one flat match
        identity = self.world.spec.identity
        match command:
            case ReadLedger():
                return LedgerRead(
                    analysis_run=self.analysis_run, experiment=self.experiment, value=self.world.spec.value
                )
            case ReadScope():
                return ScopeRead(scope_inputs(analysis_run=self.analysis_run))
            case ReadReplicas():
                return ReplicasRead(2)
            case Confirm():
                return Confirmed(list(self.world.canary.values()))
            case Create() if (run := self.world.registry.run(self.world.spec.id)) and run.verdict:
                return Failed("its gate has ended")
            case Create(manifest=manifest):
                if self.experiment is not None:
                    return NameExists()
                self.check_create(command)
                self.creates += 1
                self.world.created = dict(manifest)
                self.experiment = self.world.chaos(uid=f"chaos-{self.creates}", created_at=self.world.now)
                return Found(self.experiment)
            case Find():
                return Found(self.experiment)
            case FindPods(names=names):
                return PodsFound(dict.fromkeys(names))
            case ReadHistory():
                return HistoryRead(self.creates > 0 if self.remembers else None)
            case WriteMark(mark=mark):
                if ledger.read_mark(self.analysis_run, identity):
                    return MarkFound(self.analysis_run)
                self.patch(ledger.mark_patch(identity, mark, "7"))
            case WriteVerdict(record=record, wake=wake):
                first = ledger.read_verdict(self.analysis_run, identity)
                if first is None:
                    self.patch(ledger.verdict_patch(identity, record, wake, "1"))
                return VerdictWritten(first or record, self.analysis_run)
            case WriteWake(wake=wake, unmark=unmark):
                marked = unmark is not None and ledger.read_mark(self.analysis_run, identity) == unmark
                self.patch(ledger.unmark_patch(identity, wake, "7") if marked else ledger.wake_patch(wake))
            case Delete(uid=uid):
                if self.experiment is None or self.experiment.metadata.uid != uid:
                    return Found(None)
                self.remove()
                return Done()
            case Keep() | Release():
                return Done()
            case Stop():
                return Found(self.experiment)
            case Look() | WriteClaim():
                pass
        return AnalysisRunSeen(self.analysis_run)

    def check_create(self, command: Create) -> None:
        """`command` is one that arrives."""
        identity = self.world.spec.identity
        assert not self.creates, "a second experiment"
        assert self.stored, "Argo does not know that it has begun"
        if self.world.push:
            assert ledger.read_mark(self.analysis_run, identity), "it was not marked"
        assert not ledger.read_verdict(self.analysis_run, identity), "it was judged before"

    def remove(self) -> None:
        assert self.experiment is not None
        self.tell(self.experiment, gone=True)
        self.experiment = None

    def tell(self, experiment: ChaosObject, *, gone: bool = False) -> None:
        records = experiment.status.experiment.container_records or ()
        desired = experiment.status.experiment.desired_phase
        world = self.world
        original, world.chaos = world.chaos, lambda *_, **__: experiment  # type: ignore[method-assign]
        try:
            world.experiment(*records, desired=desired, gone=gone)
        finally:
            world.chaos = original  # type: ignore[method-assign]

    def open_watches(self) -> None:
        """Let the watches that are wanted from now on tell the pods, and that nobody else is there."""
        for watch, wanted in self.world.registry.watch_changes().items():
            if wanted and isinstance(watch.topic, PodsTopic):
                self.world.pods(*self.pods, others=False)
            elif wanted and isinstance(watch.topic, OthersTopic):
                self.world.others()

    # -- what may happen

    @rule(
        data=st.data(), fate=st.sampled_from(["done", "done", "done", "answer lost", "not sent", "refused"])
    )
    @precondition(lambda self: self.world.todo)
    def do(self, data: st.DataObject, fate: str) -> None:
        command = data.draw(st.sampled_from(self.world.todo))
        self.world.todo.remove(command)
        if fate == "refused" and isinstance(command, Create):
            outcome: Outcome = Refused(Finding(reason=Reason.UNAVAILABLE, text="too many requests"))
        elif fate in {"not sent", "refused"}:
            outcome = Unanswered("away") if isinstance(command, Create) else Failed("away")
        else:
            outcome = self.perform(command)
            if fate == "answer lost":
                outcome = Unanswered("lost") if isinstance(command, Create) else Failed("lost")
        self.world.done(command, outcome)
        self.open_watches()

    @rule()
    def die(self) -> None:
        """The process dies: what it knew and what was under way is gone; Argo asks again."""
        self.deaths += 1
        self.world.registry = Registry(f"here-{self.deaths}")
        self.world.todo = []
        if self.stored is None:
            self.begun = self.world.start()
        else:
            self.world.start(resume=True, since=self.stored.metadata[SINCE])
        self.open_watches()
        if self.experiment is not None:
            self.tell(self.experiment)

    @rule()
    def ask(self) -> None:
        self.stored = self.stored or self.begun
        self.store(self.world.call(GIVEN))

    def store(self, answer: Measurement) -> None:
        """Let Argo store what it was answered."""
        if answer.phase.completed and answer.phase is not Phase.ERROR:
            self.answers.add((answer.phase, answer.message))
            stored = StoredMeasurement(
                phase=answer.phase,
                message=answer.message,
                value=answer.value,
                metadata=StoredMetadata(run=self.world.spec.id),
            )
            self.results = [MetricResult(name="chaos", phase=answer.phase, count=1, measurements=[stored])]

    @rule(again=st.booleans())
    def run_again(self, again: bool) -> None:
        self.world.start(errors=int(again))

    @rule(seconds=st.sampled_from([0.5, 2, 6, 31]))
    def pass_time(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule()
    @precondition(lambda self: self.experiment is not None)
    def inject(self) -> None:
        self._progress("Run", Record(id="default/web-a", phase="Injected", injected_count=1))

    @rule()
    @precondition(lambda self: self.experiment is not None)
    def recover(self) -> None:
        event = RecordEvent(type="Succeeded", operation="Recover", timestamp=self.world.now)
        record = Record(id="default/web-a", phase="Not Injected", injected_count=1, events=[event])
        self._progress("Stop", record)

    def _progress(self, desired: str, record: Record) -> None:
        assert self.experiment is not None
        metadata = self.experiment.metadata
        self.experiment = self.world.chaos(
            record, desired=desired, uid=metadata.uid, created_at=metadata.creation_timestamp
        )
        self.tell(self.experiment)

    @rule()
    @precondition(lambda self: self.experiment is not None)
    def somebody_deletes(self) -> None:
        self.remove()

    # -- what must hold

    @invariant()
    def no_defect_is_met(self) -> None:
        assert not hasattr(self, "world") or not self.world.registry.defects

    @invariant()
    def one_answer(self) -> None:
        """Where no verdict can be recorded, only what Argo stores tells a successor."""
        assert len(getattr(self, "answers", ())) <= 1 or not self.world.push

    @invariant()
    def an_error_never_leaves_a_fault(self) -> None:
        if not hasattr(self, "world"):
            return
        run = self.world.registry.run(self.world.spec.id)
        if run is not None and run.error and run.verdict and run.verdict.reason is not Reason.NAME_TAKEN:
            assert not run.create_sent

    @invariant()
    def a_verdict_is_the_end(self) -> None:
        run = self.world.registry.run(self.world.spec.id) if hasattr(self, "world") else None
        if run is not None and run.verdict is not None:
            assert run.stage in {Stage.DECIDED, Stage.DONE}

    @invariant()
    def no_deadline_lies_behind(self) -> None:
        if hasattr(self, "world"):
            at = self.world.registry.next_deadline()
            assert at is None or at > self.world.now - timedelta(seconds=1)

    def teardown(self) -> None:
        """Left alone, every gate comes to its verdict, and nothing of it stays."""
        if not hasattr(self, "world"):
            return
        for _ in range(60):
            while self.world.todo:
                command = self.world.todo.pop(0)
                self.world.done(command, self.perform(command))
                self.open_watches()
            self.ask()
            self.world.wait(7)
        run = self.world.registry.run(self.world.spec.id)
        assert run is not None
        assert run.verdict is not None, run.stage
        assert run.stage in {Stage.DECIDED, Stage.DONE}
        assert self.experiment is None or run.error


TestGates = Gates.TestCase
TestGates.settings = lives(60, steps=40)
