"""The spans of gates that were played by hand."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Failed,
    LedgerRead,
    ReadLedger,
    VerdictWritten,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.ledger import TRACE_TIMES
from chaosplugin.core.objects import Record, RecordEvent
from chaosplugin.core.progress import Concluded, Transition
from chaosplugin.core.run import Stage
from chaosplugin.core.trace import ROOT
from chaosplugin.telemetry.spans import Span
from chaosplugin.telemetry.timeline import Timeline
from tests.core.given import HASH, START, analysis_run, pod, recovered
from tests.core.world import World, marked

STAGES = ["ledger", "proof", "create", "observe", "recover"]


def spans(world: World, timeline: Timeline | None = None) -> list[Span]:
    timeline = timeline or Timeline()
    found: list[Span] = []
    for fact in world.registry.progress:
        match fact:
            case Transition():
                found += timeline.follow(fact, world.registry.runs)
            case Concluded(run):
                found += timeline.conclude(run)
    return found


def survive(world: World) -> None:
    """From the fault's end to the verdict, which is recorded."""
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    world.record()


def named(found: list[Span], name: str) -> Span:
    (span,) = [span for span in found if span.name == name]
    return span


def test_the_stages_lie_end_to_end_from_begin_to_verdict() -> None:
    world = World(sampled=True)
    world.to_recovering()
    survive(world)
    found = spans(world)
    root = named(found, "chaos_gate PodChaos")
    stages = [named(found, name) for name in STAGES]

    (run,) = world.registry.runs.values()
    assert root.parent == ""
    assert (root.start, root.end) == (START, run.decided_at)
    assert [stage.parent for stage in stages] == [root.span_id] * 5
    assert [stage.start for stage in stages[1:]] == [stage.end for stage in stages[:-1]]
    assert (stages[0].start, stages[-1].end) == (root.start, root.end)
    assert named(found, "observe").end - named(found, "observe").start == timedelta(seconds=10)


def test_a_gate_is_told_by_the_process_whose_verdict_was_recorded() -> None:
    world = World(sampled=True)
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    write = world.expect(WriteVerdict)
    other = replace(write.record, by="elsewhere")
    world.done(write, VerdictWritten(other, analysis_run()))
    world.run_seen(phase="Successful")
    world.experiment(recovered("web-a", world.now), gone=True)

    assert world.stage is Stage.DONE
    assert spans(world) == []


def test_no_span_is_without_a_parent_and_no_id_is_there_twice() -> None:
    world = World(sampled=True)
    world.to_recovering()
    survive(world)
    found = spans(world)
    ids = {span.span_id for span in found}

    assert len(ids) == len(found)
    assert {span.parent for span in found if span.parent} <= ids
    assert {span.trace_id for span in found} == {found[0].trace_id}


@pytest.mark.parametrize(
    ("noted", "began", "created"),
    [
        (None, START, START),
        ("no times", START, START),
        ("2026-01-01T12:00:00.250000+00:00/2026-01-01T12:00:00.500000+00:00", 0.25, 0.5),
    ],
)
def test_a_process_that_takes_over_tells_the_stages_of_the_one_before(
    noted: str | None, began: float | datetime, created: float | datetime
) -> None:
    before = World()
    before.to_observing()
    world = World(sampled=True)
    world.created = {"annotations": {**before.notes(), **({TRACE_TIMES: noted} if noted else {})}}
    world.now = START + timedelta(seconds=8)
    world.start(resume=True)
    world.resume()
    experiment = world.chaos(hit_at("web-a", START + timedelta(seconds=1)), desired="Run")
    read = LedgerRead(analysis_run=marked(world), experiment=experiment, value=HASH)
    world.done(world.expect(ReadLedger), read)
    world.pods(pod("web-a", ready=False, restarts=1), pod("web-b"))
    world.now += timedelta(seconds=2)
    world.experiment(recovered("web-a", world.now), desired="Stop")
    survive(world)
    found = spans(world)
    root = named(found, "chaos_gate PodChaos")

    assert world.verdict is not None
    assert world.verdict[0] is Phase.SUCCESSFUL
    assert root.start == _at(began), "not when this process began"
    assert [event.name for event in root.events] == ["taken over by another process"]
    assert sum((named(found, name).end - named(found, name).start for name in STAGES), timedelta()) == (
        root.end - root.start
    )
    assert named(found, "observe").start == _at(created)


def _at(moment: float | datetime) -> datetime:
    return moment if isinstance(moment, datetime) else START + timedelta(seconds=moment)


def hit_at(name: str, at: object) -> Record:
    event = RecordEvent(type="Succeeded", operation="Apply", timestamp=at)  # type: ignore[arg-type]
    return Record(id=f"default/{name}", phase="Injected", injected_count=1, events=[event])


@pytest.mark.parametrize("resume", [False, True])
def test_a_gate_that_ends_before_anything_was_read_is_told_whole(resume: bool) -> None:
    world = World(sampled=True)
    world.start(resume=resume)
    if resume:
        world.resume()
    for _ in range(200):
        if world.verdict:
            break
        world.done(world.expect(ReadLedger), Failed("the API server is away"))
        world.wait(1)
    if resume:
        world.record()
    else:  # an Error stands once the AnalysisRun was seen after it
        world.done(world.expect(WriteWake), AnalysisRunSeen(world.spec.analysis_run))
    found = spans(world)
    root = named(found, "chaos_gate PodChaos")

    assert root.attributes["chaos.verdict"] == ("inconclusive" if resume else "error")
    assert bool(root.error) is not resume
    assert len([span for span in found if span.parent == root.span_id]) == (5 if resume else 1)


def test_records_are_events_without_secrets_and_not_too_many() -> None:
    world = World(sampled=True, secrets=("hunter2",))
    world.to_observing()
    event = RecordEvent(type="Failed", operation="Apply", message="no hunter2 here", timestamp=START)
    failing = Record(id="default/web-a", phase="Not Injected", events=[event] * 100)
    world.experiment(failing, desired="Run")
    world.terminate()
    world.record()
    observe = named(spans(world), "observe")

    assert len(observe.events) == 20
    assert observe.events[0].name == "Apply Failed"
    assert observe.events[0].attributes["message"] == "no ***** here"


def test_a_retry_is_linked_to_the_try_before_it() -> None:
    world = World(sampled=True)
    world.start(errors=1)
    world.terminate()
    world.record()
    (link,) = named(spans(world), "chaos_gate PodChaos").links
    run = world.registry.run(world.spec.id)

    assert run is not None
    assert link != (run.trace.id, run.trace.span(ROOT))


def test_what_is_not_cleaned_up_when_the_process_ends_is_told_all_the_same() -> None:
    world = World(sampled=True)
    world.to_recovering()
    survive(world)
    timeline = Timeline()
    found = spans(world, timeline)
    (cleanup,) = timeline.close(world.now + timedelta(seconds=3), world.registry.runs)

    assert "cleanup" not in {span.name for span in found}
    assert cleanup.name == "cleanup"
    assert cleanup.end == world.now + timedelta(seconds=3)
