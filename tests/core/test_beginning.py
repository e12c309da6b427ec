"""From the proof to the create: what is waited for, and in which order things are done."""

from datetime import timedelta

import pytest

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.beginning import RESUME_WAIT, REVIEW_GRACE
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Create,
    Failed,
    Find,
    Found,
    HistoryRead,
    ReadHistory,
    ReadScope,
    ScopeRead,
    WriteMark,
)
from chaosplugin.core.run import SINCE, Stage
from chaosplugin.core.verdict import Reason
from tests.core.given import hit, pod, scope_inputs
from tests.core.world import World, marked


def test_an_experiment_that_a_twin_creates_during_the_proof_is_adopted() -> None:
    world = World()
    world.start()
    world.resume()
    world.found()
    world.pods(pod("web-a"), pod("web-b", ready=False))
    reading = world.expect(ReadScope)

    world.experiment(hit("web-a"), desired="Run")

    assert world.stage is Stage.OBSERVING
    world.done(reading, ScopeRead(None))
    world.wait(40)
    assert world.verdict is None or world.verdict[1] is not Reason.NOT_STEADY


def to_ready_targets(world: World) -> None:
    world.start()
    world.found()
    world.pods(pod("web-a"), pod("web-b"))


def test_nothing_is_patched_or_created_before_the_first_resume() -> None:
    world = World()
    to_ready_targets(world)
    assert world.todo == []

    world.resume()

    world.prove()
    assert world.expect(WriteMark).mark.version == "7", "from there on the create can be looked for"
    assert world.todo == []


def test_a_proof_that_was_asked_for_before_all_were_ready_begins_nothing_before_the_first_resume() -> None:
    world = World()
    world.start()
    world.found()
    world.pods(pod("web-a"), pod("web-b", ready=False))
    reading = world.expect(ReadScope)
    world.pods(pod("web-b"))

    world.done(reading, ScopeRead(scope_inputs()))

    assert world.todo == [], "Argo has not stored that it has begun, and it is not marked"
    world.resume()
    world.prove()
    world.expect(WriteMark)


def test_a_gate_waits_for_its_resume_however_slow_other_metrics_are() -> None:
    world = World()
    to_ready_targets(world)
    world.wait(RESUME_WAIT.total_seconds() - 1)
    assert world.verdict is None, "which does not count for the targets"

    world.resume()

    world.prove()
    world.expect(WriteMark)


def test_a_gate_whose_resume_never_comes_creates_nothing() -> None:
    world = World()
    to_ready_targets(world)

    world.wait(RESUME_WAIT.total_seconds() + 1)

    assert world.verdict == (Phase.ERROR, Reason.UNAVAILABLE)
    assert "has not asked again for 10 minutes" in world.message


@pytest.mark.parametrize("push", [False, None])
def test_what_cannot_be_marked_is_created_once_argo_has_stored_its_beginning(push: bool | None) -> None:
    world = World(push=push)
    begun = world.start()
    assert begun.metadata[SINCE] == "7", "the AnalysisRun's version, by which the create can be looked for"
    assert begun.resume_at == world.now + timedelta(seconds=1 if push is False else 2)
    to_ready_targets(world)
    assert world.todo == []

    world.resume()
    world.wait(0 if push is False else REVIEW_GRACE.total_seconds())

    world.prove()
    world.expect(Create)


@pytest.mark.parametrize(
    ("created", "reason"), [(True, Reason.DELETED), (None, Reason.UNKNOWN), (False, None)]
)
def test_what_was_created_without_a_mark_is_not_created_again(
    created: bool | None, reason: Reason | None
) -> None:
    """The process died, and somebody deleted the experiment: only what Argo has stored tells of it."""
    world = World(push=False)
    world.start(resume=True, since="7")
    world.resume()
    world.found()
    history = world.expect(ReadHistory)
    assert history.version == "7"

    world.done(history, HistoryRead(created=created))
    if created:
        world.done(world.expect(Find), Found(None))

    assert world.verdict == (reason and (Phase.INCONCLUSIVE, reason))
    assert world.resume().metadata[SINCE] == "7", "the answer is the same whoever gives it"


def test_pods_that_change_while_the_mark_is_made_are_proved_again() -> None:
    world = World()
    to_ready_targets(world)
    world.resume()
    world.prove()
    mark = world.expect(WriteMark)
    world.pods(pod("web-c"))

    world.done(mark, AnalysisRunSeen(marked(world)))

    assert not [command for command in world.todo if isinstance(command, Create)]
    world.wanted = 3
    world.prove()
    world.expect(Create)


def test_what_was_proved_before_a_create_that_never_left_is_proved_anew() -> None:
    """Other requests went first for so long that the proof holds no more."""
    world = World()
    create = world.to_create()
    world.wait(16)

    world.done(create, Failed("other requests went first for 15 s"))
    world.wait(2)

    run = world.registry.run(world.spec.id)
    assert run is not None
    assert not run.holds_canary
    assert not [command for command in world.todo if isinstance(command, Create)]
    world.prove()
    world.expect(Create)


def to_a_watch_that_is_behind() -> World:
    """Let a reading show a restart that the watch has not told."""
    world = World()
    to_ready_targets(world)
    world.resume()
    read = [pod("web-a", restarts=1), pod("web-b")]
    world.done(world.expect(ReadScope), ScopeRead(scope_inputs(), read))
    assert world.todo == []
    return world


def test_what_a_watch_that_is_behind_has_still_to_tell_is_part_of_the_state_before() -> None:
    world = to_a_watch_that_is_behind()

    world.pods(pod("web-a", restarts=1))

    world.prove()
    world.done(world.expect(WriteMark), AnalysisRunSeen(marked(world)))
    annotations = world.expect(Create).manifest["annotations"]
    assert isinstance(annotations, dict)
    assert "uid-web-a=1" in annotations[ledger.BASELINE]


def test_a_watch_that_stays_behind_is_an_error_in_the_end() -> None:
    world = to_a_watch_that_is_behind()
    for _ in range(40):
        for command in [each for each in world.todo if isinstance(each, ReadScope)]:
            world.todo.remove(command)
            world.done(command, ScopeRead(scope_inputs(), [pod("web-a", restarts=1), pod("web-b")]))
        world.wait(1)

    assert world.verdict == (Phase.ERROR, Reason.UNAVAILABLE)
    assert "their watch is behind" in world.message
