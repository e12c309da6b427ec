"""Two plugins on one gate, as of two controllers for a moment: the first recorded verdict is the answer.

Each hears of what happens when it likes, and does what it wants done when it likes: what one does after its
verdict the other may take for somebody else's doing, and must not answer it.
"""

from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Command,
    Create,
    LedgerRead,
    Outcome,
    ReadLedger,
    ReadScope,
    ScopeRead,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.objects import AnalysisRun, ChaosObject
from tests.core.examples import lives
from tests.core.given import (
    HASH,
    START,
    analysis_run,
    pod,
    replica_set,
    rollout,
    scope_inputs,
    with_patch,
)
from tests.core.test_registry_model import GIVEN, Gates
from tests.core.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

_News = tuple[ChaosObject, bool] | AnalysisRun


class TwoPlugins(Gates):
    """The gate of `Gates`, at which two work; `world` is the one whose turn it is."""

    @initialize(remembers=st.booleans(), push=st.just(value=True), far=st.integers(0, 4))
    def begin(self, remembers: bool, push: bool, far: int = 0) -> None:
        """`far`: the first may be alone until the create, the injection, the recovery or the verdict."""
        self.told: list[tuple[Phase, str, str]] = []
        """answers that were not what stood on the AnalysisRun by then"""
        self.promoted = False
        self.on_the_way: list[Create] = []
        """of one of them, as the other's turn came"""
        self.worlds: list[World] = []
        self.news: dict[int, list[_News]] = {0: [], 1: []}
        self.read: dict[int, AnalysisRun] = {}
        """by command: the AnalysisRun as its reading has begun with it"""
        super().begin(remembers, push)
        self.worlds.append(self.world)
        other = World(push=push, by="there")
        self.worlds.append(other)
        other.start()
        for _ in range(2):
            self.turn()
            self.open_watches()
        steps: tuple[Callable[[], object], ...] = (
            bool,
            self.inject,
            self.recover,
            lambda: self.world.wait(6),
        )
        for step in steps[:far]:
            step()
            for _ in range(6 if step is not steps[3] else 0):
                self.ask()
                self.hear(9, objects=True)
                self.hear(9, objects=False)
                self.go_on()

    @property
    def recorded(self) -> ledger.VerdictRecord | None:
        return ledger.read_verdict(self.analysis_run, self.world.spec.identity)

    def patch(self, patch: dict[str, object]) -> None:
        super().patch(patch)
        for news in self.news.values():
            news.append(self.analysis_run)

    def tell(self, experiment: ChaosObject, *, gone: bool = False) -> None:
        for news in self.news.values():
            news.append((experiment, gone))

    def check_create(self, command: Create) -> None:
        """What the other one does while a create is on its way, nothing in a cluster can keep from it."""
        if not any(each is command for each in self.on_the_way):
            super().check_create(command)

    def perform(self, command: Command) -> Outcome:
        seen = self.read.pop(id(command), None) or self.analysis_run
        outcome = super().perform(command)
        match command:
            case ReadLedger() if isinstance(outcome, LedgerRead):
                return LedgerRead(analysis_run=seen, experiment=outcome.experiment, value=outcome.value)
            case ReadScope():
                current = rollout(stable=replica_set().metadata.labels["rollouts-pod-template-hash"])  # type: ignore[index]
                owner = current if self.promoted else rollout()
                return ScopeRead(scope_inputs(analysis_run=seen, rollout=owner))
            case _:
                return outcome

    # -- what may happen

    @rule()
    def turn(self) -> None:
        """It is the other one's turn: it shares the clock and what was created."""
        before = self.world
        self.on_the_way += [each for each in before.todo if isinstance(each, Create)]
        self.world = self.worlds[1 - self.worlds.index(before)]
        self.world.created = before.created
        self.world.wait((before.now - self.world.now).total_seconds())

    @rule(data=st.data())
    @precondition(lambda self: self.world.todo)
    def begin_to_read(self, data: st.DataObject) -> None:
        """A reading begins with the AnalysisRun, and what else it reads may be newer."""
        command = data.draw(st.sampled_from(self.world.todo))
        if isinstance(command, ReadLedger | ReadScope):
            self.read.setdefault(id(command), self.analysis_run)

    @rule(count=st.integers(1, 4), objects=st.booleans())
    def hear(self, count: int, objects: bool) -> None:
        """One watch tells some of its news, whatever the other one has still to tell."""
        news = self.news[self.worlds.index(self.world)]
        for each in [each for each in news if isinstance(each, tuple) is objects][:count]:
            news.remove(each)
            if isinstance(each, tuple):
                super().tell(each[0], gone=each[1])
            else:
                self.world.run_seen(each)

    @rule(most=st.integers(1, 12))
    def go_on(self, most: int = 12) -> None:
        """All goes well for a while."""
        for _ in range(most):
            if self.world.todo:
                command = self.world.todo.pop(0)
                self.world.done(command, self.perform(command))
                self.open_watches()

    @rule()
    @precondition(lambda self: self.recorded is not None and self.recorded.phase is Phase.SUCCESSFUL)
    def promote(self) -> None:
        """What the verdict has brought about makes whoever still looks at the canary refuse it."""
        self.promoted = True

    @rule()
    def die(self) -> None:
        self.news[self.worlds.index(self.world)].clear()
        super().die()
        if self.experiment is not None:
            self.hear(4, objects=True)

    @rule()
    def ask(self) -> None:
        """Argo asks, with the AnalysisRun as it is by then."""
        record = self.recorded
        self.stored = self.stored or self.begun
        world = self.world
        world.take(world.registry.start(world.now, world.spec, self.analysis_run, errors=0, given=GIVEN))
        answer = self.world.call(GIVEN)
        if not answer.phase.completed:
            return
        if record and (answer.phase, answer.message) != (record.phase, record.message):
            self.told.append((answer.phase, answer.message, record.message))
        if answer.phase is not Phase.ERROR:
            self.answers.add((answer.phase, answer.message))

    @rule(seconds=st.sampled_from([0.5, 2, 6]))
    def pass_time(self, seconds: float) -> None:
        self.do_at_once()
        super().pass_time(seconds)

    def do_at_once(self) -> None:
        """The API server takes a create, and a verdict's patch, in time."""
        for world in self.worlds:
            self.world, before = world, self.world
            while found := [each for each in world.todo if isinstance(each, Create | WriteVerdict)]:
                world.todo.remove(found[0])
                world.done(found[0], self.perform(found[0]))
            self.world = before

    # -- what must hold

    @invariant()
    def nobody_answers_over_a_recorded_verdict(self) -> None:
        assert not getattr(self, "told", None)

    def teardown(self) -> None:
        """Both end with the first one's."""
        if not hasattr(self, "worlds"):
            return
        for _ in range(2):
            for _ in range(2):
                self.do_at_once()
                self.turn()
                for objects in (True, False):
                    self.hear(1000, objects=objects)
            super().teardown()
            self.turn()


TestTwoPlugins = TwoPlugins.TestCase
TestTwoPlugins.settings = lives(300, steps=40)


def test_an_error_is_answered_only_once_no_verdict_of_another_was_seen_after_it() -> None:
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))
    world.prove(scope_inputs(rollout=rollout(stable=HASH)))  # the other one's verdict has promoted it
    before = world.resume()

    record = ledger.VerdictRecord(
        phase=Phase.SUCCESSFUL, message="Survived: x", value="{}", finished_at=START.isoformat()
    )
    patched = with_patch(ledger.verdict_patch(world.spec.identity, record, "w", "7"))
    world.done(world.expect(WriteWake), AnalysisRunSeen(patched))

    assert before.phase is Phase.RUNNING
    assert (world.resume().phase, world.resume().message) == (Phase.SUCCESSFUL, "Survived: x")
