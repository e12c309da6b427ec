"""All that a Workflow spawns is one fault: how it is gathered, judged and ended."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Confirm,
    Confirmed,
    Find,
    Found,
    LedgerRead,
    ReadLedger,
    ReadReplicas,
    Recalled,
    ReplicasRead,
)
from chaosplugin.core.family import OF_WORKFLOW
from chaosplugin.core.objects import Event, InvolvedObject, Metadata, Record
from chaosplugin.core.topics import ChildrenTopic, Lost
from chaosplugin.core.verdict import Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered
from tests.core.spawning import FAIL, KILL, Spawning, killed, node, recall, workflow


def test_a_workflow_is_survived_when_each_step_has_hit() -> None:
    world = workflow()
    world.child("fail-1", hit("web-a"), hit("web-b"), step="fail")
    world.pods(pod("web-a", ready=False, restarts=1), pod("web-b", ready=False, restarts=1))
    world.wait(3)
    ended = world.now
    world.child("fail-1", recovered("web-a", ended), recovered("web-b", ended), step="fail", gone=True)
    world.pods(pod("web-a", restarts=2, since=ended), pod("web-b", restarts=2, since=ended))
    world.wait(1)
    world.child("kill-1", killed("web-a", world.now), step="kill")
    world.pod_gone(pod("web-a"))
    world.wait(3)
    world.child("kill-1", killed("web-a", world.now), step="kill", gone=True)
    world.pods(pod("web-c", since=world.now))

    world.see_parent(world.parent(accomplished=world.now))
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert "2 faults, 3 targets hit" in world.message


def test_a_step_that_hit_nothing_was_not_tested() -> None:
    world = workflow()
    world.child("fail-1", hit("web-a"), step="fail")
    world.child("fail-1", recovered("web-a", world.now), step="fail", gone=True)
    world.child("kill-1", step="kill")
    world.child("kill-1", step="kill", gone=True)

    world.see_parent(world.parent(accomplished=world.now))
    recall(world, Recalled([node("fail"), node("kill")], ()))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "of template kill nothing was hit" in world.message


def test_an_experiment_that_is_stuck_at_its_step_s_end_is_not_recovered() -> None:
    world = workflow()
    world.child("fail-1", hit("web-a"), step="fail")
    world.child("fail-1", hit("web-a"), step="fail", desired="Stop", deletion_timestamp=world.now)
    world.child("kill-1", killed("web-b", world.now), step="kill", gone=True)
    world.see_parent(world.parent(accomplished=world.now))
    world.pods(pod("web-a", ready=False))

    world.wait(61)
    world.confirm()

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)


def test_a_fault_whose_end_nobody_was_told_is_not_held_against_the_canary() -> None:
    """Its experiment went while the watch was cut: the Workflow's own end is no evidence of the fault's."""
    world = workflow()
    world.child("kill-1", killed("web-b", world.now), step="kill")
    world.pod_gone(pod("web-b"))
    world.pods(pod("web-c", since=world.now))
    world.child("fail-1", hit("web-a"), step="fail")
    world.see_parent(world.parent(accomplished=world.now))
    world.wait(15)
    world.pods(pod("web-a", restarts=2, since=world.now))

    world.child("fail-1", hit("web-a"), step="fail", gone=True)
    world.child("kill-1", killed("web-b", START), step="kill", gone=True)
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_kill_that_has_hit_is_over_though_its_experiment_is_stuck() -> None:
    world = workflow()
    world.child("fail-1", hit("web-a"), step="fail")
    world.child("fail-1", recovered("web-a", world.now), step="fail", desired="Stop", gone=True)
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.child("kill-1", killed("web-b", world.now), step="kill", deletion_timestamp=world.now)
    world.pod_gone(pod("web-b"))
    world.pods(pod("web-c", since=world.now))
    world.see_parent(world.parent(accomplished=world.now))

    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_schedule_within_a_workflow_passes_no_label_on_and_its_firings_are_found() -> None:
    schedule = {"schedule": "@every 2s", "type": "PodChaos", "podChaos": FAIL}
    inner = {"name": "again", "templateType": "Schedule", "deadline": "7s", "schedule": schedule}
    world = Spawning("Workflow", {"entry": "again", "templates": [inner]})
    world.begin()

    world.child("firing-1", hit("web-a"), owner="uid-inner")  # the streams may be apart
    assert world.registry.run(world.spec.id).fault.targets == ()  # type: ignore[union-attr]
    world.child("inner", kind="Schedule", step="again")

    assert world.registry.run(world.spec.id).fault.targets == ("default/web-a",)  # type: ignore[union-attr]


@pytest.mark.parametrize("missed", [(), ("web-b",), ("web-a", "web-b")])
def test_a_firing_that_its_step_s_end_cuts_short_does_not_count(missed: tuple[str, ...]) -> None:
    """The Schedule fires once more as its step ends, and what it has fired is deleted before it has hit."""
    schedule = {"schedule": "@every 2s", "type": "PodChaos", "podChaos": FAIL}
    inner = {"name": "again", "templateType": "Schedule", "deadline": "4s", "schedule": schedule}
    world = Spawning("Workflow", {"entry": "again", "templates": [inner]})
    world.begin()
    world.child("inner", kind="Schedule", step="again")
    world.child("firing-1", hit("web-a"), owner="uid-inner")
    world.pods(pod("web-a", ready=False, restarts=1))
    world.wait(1)
    ended = recovered("web-a", world.now)
    world.child("firing-1", ended, owner="uid-inner", desired="Stop")
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(1)

    cut = [Record(id=f"default/{name}", phase="Not Injected") for name in missed]
    world.child("firing-2", *cut, owner="uid-inner", desired="Stop", deletion_timestamp=world.now)
    for name, records in {"firing-1": [ended], "firing-2": cut}.items():
        end = {"desired": "Stop", "deletion_timestamp": world.now}
        world.child(name, *records, owner="uid-inner", gone=True, **end)  # type: ignore[arg-type]
    world.see_parent(world.parent(accomplished=world.now))
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


@pytest.mark.parametrize("chaos", [{**FAIL, "duration": "2s"}, KILL])
def test_a_firing_that_had_its_time_before_its_step_s_end_counts_as_ever(chaos: dict[str, object]) -> None:
    """It is deleted with its Schedule as those are that the step's end cuts short."""
    schedule = {"schedule": "@every 4s", "type": "PodChaos", "podChaos": chaos}
    inner = {"name": "again", "templateType": "Schedule", "deadline": "9s", "schedule": schedule}
    world = Spawning("Workflow", {"entry": "again", "templates": [inner]})
    world.begin()
    world.child("inner", kind="Schedule", step="again")
    missed, done = Record(id="default/web-a", phase="Not Injected"), killed("web-b", world.now)
    made = {"creation_timestamp": world.now, "owner": "uid-inner"}
    world.child("firing-1", missed, **made)  # type: ignore[arg-type]
    world.wait(4)
    later = {"creation_timestamp": world.now, "owner": "uid-inner"}
    world.wait(4)

    end = {"desired": "Stop", "deletion_timestamp": world.now, "gone": True}
    world.child("firing-1", missed, **made, **end)  # type: ignore[arg-type]
    world.child("firing-2", replace(done, phase="Not Injected"), **later, **end)  # type: ignore[arg-type]
    world.see_parent(world.parent(accomplished=world.now))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "1 of 2 targets were hit" in world.message


def test_a_schedule_whose_only_firing_its_step_s_end_cuts_short_tested_nothing() -> None:
    schedule = {"schedule": "@every 2s", "type": "PodChaos", "podChaos": FAIL}
    inner = {"name": "again", "templateType": "Schedule", "deadline": "2s", "schedule": schedule}
    world = Spawning("Workflow", {"entry": "again", "templates": [inner]})
    world.begin()
    world.child("inner", kind="Schedule", step="again")
    cut = Record(id="default/web-a", phase="Not Injected")
    world.child("firing-1", cut, owner="uid-inner", deletion_timestamp=world.now, gone=True)

    world.see_parent(world.parent(accomplished=world.now))
    recall(world, Recalled([node("again")], ()))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)


@pytest.mark.parametrize(
    ("checked", "verdict"),
    [
        (True, (Phase.FAILED, Reason.STEADY_STATE_BROKEN)),
        (False, (Phase.INCONCLUSIVE, Reason.PAUSED)),
    ],
)
def test_an_aborted_workflow_fails_only_where_a_check_of_its_own_aborts_it(
    checked: bool, verdict: tuple[Phase, Reason]
) -> None:
    ask = {"name": "ask", "templateType": "StatusCheck", "deadline": "31s", "statusCheck": {}}
    world = workflow(*([{**ask, "abortWithStatusCheck": True}] if checked else []))

    world.see_parent(world.parent(annotations={ledger.ABORT: "true"}))

    assert world.verdict == verdict


def _event(reason: str, step: str, target: str, seconds: float) -> Event:
    name = f"{step}-abcde-12345"
    return Event(
        metadata=Metadata(annotations={"chaos-mesh.org/id": f"default/{target}"}),
        involved_object=InvolvedObject(uid=f"uid-{name}", name=name, kind="PodChaos"),
        reason=reason,
        last_timestamp=START + timedelta(seconds=seconds),
    )


FAILED = [
    _event("Applied", "fail", "web-a", 1),
    _event("Applied", "fail", "web-b", 1),
    _event("Recovered", "fail", "web-a", 4),
    _event("Recovered", "fail", "web-b", 4),
    _event("Applied", "other", "stable-x", 4),
]
KILLED = [_event("Applied", "kill", "web-z", 5), _event("Recovered", "kill", "web-z", 8)]


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([*FAILED, *KILLED], None),
        (FAILED, (Phase.INCONCLUSIVE, Reason.UNOBSERVED)),
        ([], (Phase.INCONCLUSIVE, Reason.UNOBSERVED)),
    ],
)
def test_steps_that_ended_while_the_plugin_was_away_are_told_by_their_events(
    events: list[Event], verdict: tuple[Phase, Reason] | None
) -> None:
    before = workflow()
    world = Spawning("Workflow", before.parent_spec)
    world.created = before.created
    world.now = START + timedelta(seconds=20)
    world.start(resume=True)
    found = world.parent(accomplished=START + timedelta(seconds=9))
    world.done(
        world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=found, value=HASH)
    )
    world.pods(pod("web-a", restarts=2), pod("web-b", restarts=2))

    world.synced()
    assert world.verdict is None, "its Events may tell"

    recall(world, Recalled([node("fail"), node("kill")], events))

    assert world.verdict == verdict


def test_a_fault_that_came_and_went_unseen_is_told_by_its_events_and_fails_nobody() -> None:
    """The watch was cut meanwhile: what it did to the canary looked like the canary's own doing."""
    world = workflow()
    world.wait(5)
    world.pods(pod("web-a", restarts=2), pod("web-b", restarts=2))
    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    read = Recalled([node("fail")], FAILED)

    world.done(world.expect(Confirm), Confirmed(list(world.canary.values()), (), read))

    assert world.verdict is None


def test_a_workflow_that_seems_to_have_hit_too_little_is_judged_by_its_events() -> None:
    world = workflow()
    world.child("kill-1", killed("web-b", world.now), step="kill", gone=True)
    world.pod_gone(pod("web-b"))
    world.pods(pod("web-a", restarts=2), pod("web-c", since=world.now))
    world.wait(8)
    world.see_parent(world.parent(accomplished=world.now))
    assert world.verdict is None

    told = [event for event in FAILED if event.metadata.annotation("chaos-mesh.org/id") != "default/web-b"]
    recall(world, Recalled([node("fail")], told))
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_workflow_is_not_over_while_it_is_not_told_what_it_has_spawned() -> None:
    """A step that is used twice has hit; whether it did again, and is over, the watch has still to tell."""
    world = workflow()
    ended = world.now
    world.child("fail-1", recovered("web-a", ended), recovered("web-b", ended), step="fail", gone=True)
    world.child("kill-1", killed("web-b", world.now), step="kill", gone=True)
    world.pod_gone(pod("web-b"))
    world.pods(pod("web-a", restarts=2), pod("web-c", since=world.now))
    world.tell(Lost(ChildrenTopic("PodChaos", "default", OF_WORKFLOW), "410: too old"))

    world.see_parent(world.parent(accomplished=world.now))
    world.wait(10)

    assert world.verdict is None
    world.child("fail-2", hit("web-a"), desired="Stop", step="fail")
    world.synced()
    world.wait(10)
    assert world.verdict is None


def test_what_its_events_tell_of_is_not_gone_for_that() -> None:
    """A watch that was cut in the midst of what is there has not told of an experiment that is stuck."""
    world = workflow()
    world.child("kill-1", killed("web-b", world.now), step="kill", gone=True)
    world.pod_gone(pod("web-b"))
    world.pods(pod("web-a", restarts=1), pod("web-c", since=world.now))
    world.untold("fail-1", hit("web-a"), desired="Stop", step="fail")
    world.see_parent(world.parent(accomplished=world.now))

    applied = FAILED[0]
    about = InvolvedObject(uid="uid-fail-1", name=applied.involved_object.name, kind="PodChaos")
    recall(world, Recalled([node("fail"), node("kill")], [replace(applied, involved_object=about)]))
    world.wait(10)

    assert world.verdict is None
    run = world.registry.run(world.spec.id)
    assert run is not None
    assert run.fault is not None
    assert not run.fault.over


def test_what_is_found_gone_is_told_by_the_events_that_were_read_with_it() -> None:
    world = workflow()
    world.child("fail-1", step="fail")  # and its watch is cut
    world.child("kill-1", killed("web-b", world.now), step="kill", gone=True)
    world.pod_gone(pod("web-b"))
    world.pods(pod("web-a", restarts=2), pod("web-c", since=world.now))
    world.see_parent(world.parent(accomplished=world.now))
    world.now = START + world.spec.timeout + timedelta(seconds=1)
    world.take(world.registry.tick(world.now))
    world.there.clear()

    told = [event for event in FAILED if event.metadata.annotation("chaos-mesh.org/id") != "default/web-b"]
    about = InvolvedObject(uid="uid-fail-1", name=told[0].involved_object.name, kind="PodChaos")
    told = [replace(event, involved_object=about) for event in told]
    read = Recalled([node("fail"), node("kill")], told)
    world.done(world.expect(Confirm), Confirmed(list(world.canary.values()), (), read))

    assert world.verdict is None  # the canary has to hold, now that all was hit


def test_events_that_were_read_too_early_are_read_again_at_its_end() -> None:
    world = workflow()
    world.wait(5)
    world.pods(pod("web-a", restarts=2), pod("web-b", restarts=2))
    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    read = Recalled([node("fail")], FAILED)
    world.done(world.expect(Confirm), Confirmed(list(world.canary.values()), (), read))

    world.see_parent(world.parent(accomplished=world.now))
    assert world.verdict is None

    recall(world, Recalled([node("fail"), node("kill")], [*FAILED, *KILLED]))
    assert world.verdict is None


def test_what_is_past_its_deadline_is_asked_for_every_five_seconds_whatever_is_answered_first() -> None:
    """Each answer asked anew at once, and the reading that was missing never had its turn."""
    world = workflow()
    world.child("fail-1", hit("web-a"), step="fail")
    world.now = START + world.spec.timeout + timedelta(seconds=1)
    world.take(world.registry.tick(world.now))

    world.done(world.expect(Find), Found(world.parent()))

    assert not [each for each in world.todo if isinstance(each, Find)]
    world.wait(6)
    world.expect(Find)
    world.expect(Confirm)
