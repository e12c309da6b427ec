"""A gate that waits is shown to other processes: its AnalysisRun bears our label before the mark."""

from msgspec.structs import replace

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.beginning import SHOW
from chaosplugin.core.commands import AnalysisRunSeen, Failed, LedgerRead, ReadLedger, ReadScope, WriteWake
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.run import Stage
from chaosplugin.core.verdict import Reason
from tests.core.given import HASH, analysis_run, pod
from tests.core.test_turns import mark, other, proved
from tests.core.world import World


def waiting(world: World) -> World:
    """A gate whose only pod is not Ready."""
    world.start()
    world.resume()
    ledger_read = LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH)
    world.done(world.expect(ReadLedger), ledger_read)
    world.pods(pod("web-a", ready=False))
    world.prove()
    world.todo.clear()
    return world


def labelled(run: AnalysisRun) -> AnalysisRun:
    return replace(run, metadata=replace(run.metadata, labels={ledger.GATE: "true"}))


def shows(world: World) -> list[WriteWake]:
    return [command for command in world.todo if isinstance(command, WriteWake)]


def test_a_gate_that_waits_for_pods_is_shown_once() -> None:
    world = waiting(World())
    world.wait(SHOW.total_seconds() - 1)
    assert not shows(world)
    world.wait(2)

    world.done(world.expect(WriteWake), AnalysisRunSeen(labelled(analysis_run())))
    world.wait(20)

    assert not shows(world)
    assert world.stage is Stage.PROVING


def test_that_it_could_not_be_shown_holds_nothing_up() -> None:
    world = waiting(World())
    world.wait(6)
    world.done(world.expect(WriteWake), Failed("it is away"))

    world.pods(pod("web-a"))

    world.expect(ReadScope)
    assert not shows(world)


def test_a_gate_that_waits_is_ended_by_the_end_of_its_analysis_run() -> None:
    world = waiting(World())
    world.wait(6)
    world.done(world.expect(WriteWake), AnalysisRunSeen(labelled(analysis_run())))

    ends = labelled(analysis_run())
    world.run_seen(replace(ends, spec=replace(ends.spec, terminate=True)))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)


def test_a_gate_that_waits_for_its_turn_is_shown() -> None:
    world = proved(other(mark()))
    assert world.stage is Stage.QUEUED

    world.wait(6)

    assert len(shows(world)) == 1


def test_who_asks_for_a_reading_or_bears_the_label_already_is_not_shown() -> None:
    asking = World()
    asking.start()
    asking.resume()
    asking.done(
        asking.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH)
    )
    asking.pods(pod("web-a"))
    asking.expect(ReadScope)
    asking.wait(20)  # of which the answer is late
    second = waiting(World(analysis_run=labelled(analysis_run())))
    second.wait(20)

    assert not shows(asking)
    assert not shows(second)
