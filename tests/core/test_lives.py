"""Whatever becomes of a gate and its canary: what it says in the end is true, and all is met that there is.

Beside what `Gates` and `Canary` know of, pods are hit and replaced, somebody pauses or deletes, and the
proof, the API server or Chaos Mesh may be against it. Left alone, Chaos Mesh does its work.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Metric
from chaosplugin.core.commands import (
    Command,
    Confirm,
    Confirmed,
    Create,
    Failed,
    Find,
    FindPods,
    Found,
    HistoryRead,
    NameExists,
    Outcome,
    PodsFound,
    ReadHistory,
    ReadReplicas,
    ReadScope,
    Refused,
    ReplicasRead,
    ScopeRead,
    Unanswered,
)
from chaosplugin.core.objects import ChaosObject, Metadata, Record, RecordEvent
from chaosplugin.core.run import Stage
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.verdict import Finding, Reason, Verdict
from tests.core.canary import A, B, C, Canary
from tests.core.examples import lives
from tests.core.given import HASH, START, replica_set, rollout, scope_inputs
from tests.core.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

_FAIL = Rules(unready_by_intent=True, restarts_by_fault=2)
_KILL = Rules(unready_by_intent=True, replaces_pods=True)

FATES = {
    "fine": Reason.SURVIVED,
    "sick": Reason.STEADY_STATE_BROKEN,  # a pod that is not hit falls
    "unmet": Reason.CONDITION_NOT_MET,
    "stable": Reason.SCOPE_REFUSED,  # the label is that of the stable pods
    "superseded": Reason.TERMINATED,
    "aborted": Reason.TERMINATED,
    "away": Reason.UNAVAILABLE,  # the owners cannot be read
    "denied": Reason.DENIED,
    "taken": Reason.NAME_TAKEN,
    "lost": Reason.UNKNOWN,  # creates never arrive, and nobody knows it
    "no pods": Reason.NO_TARGETS,
    "unready": Reason.NOT_STEADY,
    "idle": Reason.NOT_INJECTED,  # Chaos Mesh does nothing
    "fails": Reason.NOT_INJECTED,  # it tries in vain
    "endless": Reason.TIMEOUT,  # the fault is not undone
    "blind": Reason.UNOBSERVED,  # what the pods do after the fault is not told
    "paused": Reason.PAUSED,
    "deleted": Reason.DELETED,
    "held": Reason.NOT_RECOVERED,  # deleted, and not gone
    "astray": Reason.SCOPE_VIOLATION,  # a pod of another's is hit
}
"""What a gate is up against, and the end that is to be expected of it, beside others"""


class Lives(Canary):
    """A gate of one fate; `far` is how far it comes before anything else happens."""

    reached: Counter[str]
    """stages and reasons, by how many gates came to them"""

    @initialize(
        remembers=st.booleans(),
        push=st.booleans(),
        kill=st.booleans(),
        far=st.integers(0, 4),
    )
    def begin(self, remembers: bool, push: bool, kill: bool = False, far: int = 0) -> None:
        self.deploy(kill=kill and self.fate not in {"endless", "held"})
        self.meddled = False
        self.stages: set[Stage] = set()
        self.checked: Verdict | None = None
        super().begin(remembers, push)
        steps: tuple[Callable[[], object], ...] = (
            bool,
            self.inject,
            self.recover,
            lambda: self.world.wait(6),
        )
        for step in steps[:far]:
            step()
            self.go_on()

    def make_world(self, *, push: bool) -> World:
        condition = "result.targets > 1" if self.fate == "unmet" else ""
        metric = Metric(name="chaos", success_condition=condition)
        rules = _KILL if self.kill else _FAIL
        return World(push=push, one_shot=self.kill, metric=metric, rules=rules)

    @property
    def judged(self) -> bool:
        run = self.world.registry.run(self.world.spec.id)
        return self.creates > 0 and run is not None and run.verdict is None

    # -- the cluster

    def perform(self, command: Command) -> Outcome:  # noqa: C901, PLR0911 - as that of Gates
        match command:
            case ReadScope() if self.fate == "away":
                return Failed("HTTP 503")
            case ReadScope():
                current = rollout("newer" if self.fate == "superseded" else HASH)
                owner = rollout("newer", stable=HASH) if self.fate == "stable" else current
                sets = [replica_set(2)]
                inputs = scope_inputs(analysis_run=self.analysis_run, rollout=owner, replica_sets=sets)
                return ScopeRead(inputs, self.pods if self.silent else None)
            case ReadReplicas():
                return ReplicasRead(2, generation=1)
            case Confirm():
                return Confirmed(self.pods, experiment=self.experiment)
            case FindPods(names=names):
                return PodsFound({name: self.there.get(name) for name in names})
            case Create() if self.fate == "lost":
                return Unanswered("away")
            case ReadHistory() if self.fate == "lost":
                return HistoryRead(None)
            case Create() if self.fate == "denied":
                return Refused(Finding(reason=Reason.DENIED, text="the webhook says no"))
            case Create() if self.fate == "taken":
                return NameExists()
            case Find() if self.fate == "taken":
                return Found(ChaosObject(kind="PodChaos", metadata=Metadata(uid="another", name="kill")))
            case _:
                return super().perform(command)

    @rule()
    def go_on(self) -> None:
        """All goes well for a while."""
        for _ in range(8):
            self.ask()
            for command in self.world.todo.copy():
                if command in self.world.todo:  # performing another may have ended it
                    self.world.todo.remove(command)
                    self.world.done(command, self.perform(command))
                    self.open_watches()

    def open_watches(self) -> None:
        super().open_watches()
        run = self.world.registry.run(self.world.spec.id)
        self.stages |= {run.stage} if run else set()
        if self.silent:
            self.world.pods_lost("HTTP 503")

    @rule()
    def die(self) -> None:
        self.silent = False
        self.world.canary.clear()
        super().die()

    # -- Chaos Mesh

    def _record(self, phase: str) -> Record:
        operation = "Apply" if self.kill else "Recover"
        at = self.over_at or self.hit_at
        events = [RecordEvent(type="Succeeded", operation=operation, timestamp=at)]
        name = "other-a" if self.fate == "astray" else A
        return Record(id=f"default/{name}", phase=phase, injected_count=1, events=events)

    def show(self, *records: Record, desired: str, pause: bool = False, deleting: bool = False) -> None:
        assert self.experiment is not None
        metadata = self.experiment.metadata
        self.experiment = self.world.chaos(
            *records,
            desired=desired,
            uid=metadata.uid,
            created_at=metadata.creation_timestamp,
            annotations={ledger.PAUSE: "true"} if pause else None,
            deleting=deleting,
        )
        self.tell(self.experiment)

    def tell(self, experiment: ChaosObject, *, gone: bool = False) -> None:
        world = self.world
        original, world.chaos = world.chaos, lambda *_, **__: experiment  # type: ignore[method-assign]
        try:
            world.experiment(gone=gone)
        finally:
            world.chaos = original  # type: ignore[method-assign]

    @rule()
    @precondition(lambda self: self.experiment is not None and not self.hit_at and not self.meddled)
    def inject(self) -> None:
        if self.experiment is None or self.fate == "idle" or self.hit_at or self.meddled:
            return
        if self.fate == "fails":
            failed = RecordEvent(
                type="Failed", operation="Apply", message="no daemon", timestamp=self.world.now
            )
            self.show(Record(id=f"default/{A}", phase="Not Injected", events=[failed]), desired="Run")
            return
        if self.kill:
            self.let_pass(1)  # as before each fall
        self.hit_at = self.world.now
        self.over_at = self.hit_at if self.kill else None
        self.show(self._record("Injected"), desired="Run")
        if self.fate == "astray":
            return
        self.slipped = False
        if self.kill and A in self.there:
            self.change(A, gone=True)
            self.change(C, ready=False)
        elif A in self.there:
            self.change(A, ready=False, restarts=1)

    @rule()
    @precondition(lambda self: self.experiment is not None and self.hit_at and not self.over_at)
    def recover(self) -> None:
        if self.experiment is None or self.hit_at is None or self.over_at or self.meddled:
            return
        if self.fate == "endless":
            return
        self.let_pass(1)
        self.over_at = self.world.now
        self.show(self._record("Not Injected"), desired="Stop")
        if A in self.there:
            self.change(A, ready=False, restarts=1)

    # -- strangers

    @rule()
    @precondition(lambda self: self.experiment is not None and not self.meddled and self.judged)
    def meddle(self) -> None:
        if self.experiment is None or self.meddled or not self.judged:
            return
        records = [self._record("Injected")] if self.hit_at and not self.over_at else []
        match self.fate:
            case "paused":
                self.show(*[self._record("Not Injected")] if self.hit_at else [], desired="Stop", pause=True)
            case "deleted":
                self.remove()
            case "held":
                self.show(*records or [self._record("Injected")], desired="Stop", deleting=True)
            case _:
                return
        self.meddled = True

    @rule()
    @precondition(lambda self: self.fate == "deleted" and self.experiment is not None)
    def somebody_deletes(self) -> None:
        self.meddled = True
        super().somebody_deletes()

    @rule()
    @precondition(lambda self: self.fate == "aborted" and self.stored is not None and not self.results)
    def terminate(self) -> None:
        self.end_early()

    def end_early(self) -> None:
        if self.fate == "aborted" and self.stored is not None and not self.results:
            self.store(self.world.terminate())

    # -- what must hold

    def covered(self, since: datetime) -> bool:
        """Tell whether the other pod has fallen after the fault, too, which is all that it tells of then."""
        condition = self.there[B].ready_condition
        return bool(condition and condition.last_transition_time and condition.last_transition_time >= since)

    def let_pass(self, seconds: float) -> None:
        """Hold what is said meanwhile against how things are before they go on."""
        super().let_pass(seconds)
        self.what_is_said_is_true()

    @invariant()
    def what_is_said_is_true(self) -> None:
        run = self.world.registry.run(self.world.spec.id) if hasattr(self, "world") else None
        if run is None or run.verdict is None or not run.decided_here or self.checked is run.verdict:
            return
        self.checked = run.verdict
        late = self.over_at and self.whole_since > self.over_at + timedelta(seconds=60)
        match run.verdict.reason:
            case Reason.SURVIVED | Reason.CONDITION_NOT_MET:
                assert self.over_at, "it was not hit, or the fault is on"
                assert not self.excess
                assert not self.fell or self.covered(self.over_at), "what the pods tell for ever"
                assert self.whole
                assert not late
            case Reason.STEADY_STATE_BROKEN:
                assert self.fell or self.slipped or self.excess or self.early or late or not self.whole
            case Reason.NOT_INJECTED:
                assert not self.hit_at or self.meddled
            case Reason.NOT_STEADY:
                assert self.whole_since > START or not self.whole
            case Reason.TIMEOUT | Reason.NOT_RECOVERED:
                assert run.server_created_at
                due = run.server_created_at + run.spec.timeout
                assert not self.over_at or self.over_at > due or self.meddled
            case Reason.UNKNOWN | Reason.UNAVAILABLE | Reason.UNOBSERVED:
                pass
            case Reason.DELETED if self.deaths:
                pass  # by another process, which has judged it
            case reason:
                assert FATES[self.fate] is reason

    def teardown(self) -> None:
        """Left alone, Chaos Mesh does its work, pods come back, and the gate ends."""
        if not hasattr(self, "world"):
            return
        if self.silent is not (self.fate == "blind"):
            self.fall_silent()
        for turn in range(40):
            self.go_on()
            self.what_is_said_is_true()
            if turn == 1 and self.fate == "sick" and B in self.there:
                self.change(B, ready=False)
                self.fell = self.fell or (self.creates > 0 and self.over_at is None)
            elif turn == 2:
                self.inject()
            elif turn == 3:
                self.meddle()
                self.end_early()
            elif turn == 4:
                self.recover()
            elif turn == 5:
                self.rise()
            self.what_is_said_is_true()
            self.world.wait(3)
            self.what_is_said_is_true()
        super().teardown()
        run = self.world.registry.run(self.world.spec.id)
        assert run is not None
        assert run.verdict is not None
        self.reached.update({*self.stages, run.verdict.reason})


@pytest.mark.hypothesis
@pytest.mark.parametrize("fate", FATES)
def test_what_a_gate_says_in_the_end_is_true(fate: str) -> None:
    class Fated(Lives):
        pass

    Fated.fate, Fated.reached = fate, Counter()
    run_state_machine_as_test(
        Fated,
        settings=lives(100 if fate == "fine" else 25, steps=20),
    )

    assert Fated.reached[FATES[fate]], f"the fate is never met: {Fated.reached}"
    if fate == "fine":  # one gate waits for nobody, and an answer may be lost of any create
        assert not {*Stage} - {Stage.QUEUED, Stage.UNCERTAIN} - Fated.reached.keys()
    if fate == "lost":
        assert Fated.reached[Stage.UNCERTAIN]


def test_all_reasons_are_met() -> None:
    refused_at_once = {Reason.INVALID_CONFIG, Reason.POLICY_REFUSED}

    assert {*FATES.values()} == {*Reason} - refused_at_once - {Reason.INTERNAL_ERROR}
