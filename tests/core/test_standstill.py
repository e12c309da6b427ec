"""A process that stands still for a while, and goes on as if nothing had happened, acts on no old news.

Another one may have taken its gates over meanwhile. A create of which nobody hears any more, of the one that
stood still or of one that died, comes to nothing as long as its name is taken.
"""

from datetime import timedelta

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Create,
    Delete,
    Done,
    Failed,
    Find,
    Found,
    HistoryRead,
    LedgerRead,
    NameExists,
    ReadHistory,
    ReadLedger,
    ReadScope,
    Unanswered,
    WriteMark,
)
from chaosplugin.core.run import LATE, STOOD_STILL, Stage
from chaosplugin.core.verdict import Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered, scope_inputs, with_patch
from tests.core.world import World, marked


def stand_still(world: World, seconds: float) -> None:
    """Let time pass, in which nothing is looked at."""
    world.now += timedelta(seconds=seconds)


def proven() -> World:
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    return world


def test_who_stood_still_after_its_mark_proves_again_before_it_creates() -> None:
    world = proven()
    mark = world.expect(WriteMark)
    stand_still(world, 17)
    world.done(mark, AnalysisRunSeen(marked(world)))
    assert not [each for each in world.todo if isinstance(each, Create)]

    record = ledger.VerdictRecord(
        phase=Phase.SUCCESSFUL, message="Survived: x", value="{}", finished_at=START.isoformat(), by="there"
    )
    judged = with_patch(ledger.verdict_patch(world.spec.identity, record, "1", "8"))
    world.prove(scope_inputs(analysis_run=judged))

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert not [each for each in world.todo if isinstance(each, Create)]


def test_a_mark_that_was_answered_soon_is_followed_by_the_create_without_another_proof() -> None:
    world = proven()
    mark = world.expect(WriteMark)
    stand_still(world, 9)
    world.done(mark, AnalysisRunSeen(marked(world)))

    world.expect(Create)


def test_a_wait_for_targets_that_was_slept_through_ends_no_gate() -> None:
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b", ready=False))
    proof = world.expect(ReadScope)
    stand_still(world, 60 + STOOD_STILL.total_seconds())
    world.take(world.registry.tick(world.now))
    world.done(proof, Failed("no answer in time"))
    assert world.verdict is None
    world.wait(1)

    begun = world.chaos(created_at=world.now)
    found = LedgerRead(analysis_run=marked(world), experiment=begun, value=HASH)
    world.done(world.expect(ReadLedger), found)

    assert world.stage is Stage.OBSERVING


def test_a_create_without_an_answer_is_looked_for_again_by_who_stood_still() -> None:
    world = World()
    world.done(world.to_create(), Unanswered("lost"))
    world.wait(2)
    world.done(world.expect(Find), Failed("away"))
    stand_still(world, 90)
    world.take(world.registry.tick(world.now))
    assert world.verdict is None

    world.done(world.expect(Find), Found(world.chaos(created_at=world.now)))

    assert world.stage is Stage.OBSERVING


def taken_over() -> World:
    """Return a gate that another process has marked, and of which nothing was created."""
    world = World()
    world.start(resume=True)
    world.resume()
    found = LedgerRead(analysis_run=marked(world), experiment=None, value=HASH)
    world.done(world.expect(ReadLedger), found)
    world.done(world.expect(ReadHistory), HistoryRead(created=False))
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    return world


def judged(world: World) -> World:
    """Let its canary survive."""
    world.experiment(hit("web-a"), desired="Run")
    world.pods(pod("web-a", ready=False, restarts=1))
    world.wait(4)
    world.experiment(recovered("web-a", world.now), desired="Stop")
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(5)
    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    world.record()
    world.run_seen(phase="Successful")
    return world


def test_a_name_stays_taken_as_long_as_the_create_of_another_process_may_arrive() -> None:
    world = taken_over()
    create = world.expect(Create)
    world.created = dict(create.manifest)
    world.done(create, Found(world.chaos()))
    judged(world)
    world.wait(LATE.total_seconds() - 15)
    assert not [each for each in world.todo if isinstance(each, Delete)]

    world.wait(15)

    world.done(world.expect(Delete), Done())
    world.experiment(gone=True)
    assert world.stage is Stage.DONE


def test_a_name_that_was_taken_by_the_late_create_is_free_at_once() -> None:
    world = taken_over()
    create = world.expect(Create)
    world.created = dict(create.manifest)
    world.done(create, NameExists())
    world.done(world.expect(Find), Found(world.chaos()))
    judged(world)

    world.expect(Delete)


def test_a_late_create_is_undone_also_after_the_experiment_that_was_ended_early() -> None:
    world = taken_over()
    world.done(world.expect(Create), Found(world.chaos()))
    world.experiment(hit("web-a"), desired="Run")
    world.run_seen(phase="Failed")
    world.done(world.expect(Delete), Done())
    world.experiment(recovered("web-a", world.now), deleting=True, gone=True)
    assert world.stage is Stage.DECIDED
    world.wait(5)

    late = world.chaos(hit("web-b"), desired="Run", uid="chaos-2")
    world.told(late)

    delete = world.expect(Delete)
    assert delete.uid == "chaos-2"
    world.done(delete, Done())
    world.told(late, gone=True)
    assert not world.registry.attends(world.spec.id)
