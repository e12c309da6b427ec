"""All that a Schedule or a Workflow spawns is one fault: how it is gathered, judged and ended."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

import pytest

from chaosplugin.core import ledger, template
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Delete,
    Done,
    Found,
    LedgerRead,
    ReadLedger,
    ReadReplicas,
    Recall,
    Recalled,
    ReplicasRead,
    Stop,
    VerdictWritten,
    WriteVerdict,
)
from chaosplugin.core.cron import Every
from chaosplugin.core.family import MANAGED_BY, OF_WORKFLOW, Family
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import (
    ChaosObject,
    ChaosStatus,
    Condition,
    Event,
    ExperimentStatus,
    InvolvedObject,
    Metadata,
    OwnerReference,
    Record,
    RecordEvent,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.run import Stage
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.topics import Applied, ChaosTopic, ChildrenTopic, Deleted, Lost, Synced
from chaosplugin.core.verdict import Reason
from chaosplugin.core.window import Window
from tests.core.world import HASH, START, World, analysis_run, hit, pod, recovered

_KILL = {"action": "pod-kill", "mode": "one"}
_FAIL = {"action": "pod-failure", "mode": "all", "duration": "2s"}
_SELF = "parent-1"


def _read(kind: str, spec: dict[str, object]) -> template.Template:
    given = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "spec": spec}
    return template.read(given, Policy(allow_status_check=True))


class Spawning(World):
    """A world whose experiment spawns others."""

    def __init__(self, kind: str, spec: dict[str, object], window: Window | None = None) -> None:
        self.kind, self.parent_spec = kind, spec
        self.read = _read(kind, spec)
        super().__init__(
            kind=kind,
            family=partial(Family, self.read, window),
            one_shot=self.read.one_shot,
            rules=Rules(recover_within=timedelta(seconds=10)),
        )

    def chaos(self, *_: Record, **changes: object) -> ChaosObject:
        return self.parent()

    def parent(
        self,
        *,
        over: bool = False,
        annotations: dict[str, str] | None = None,
        accomplished: datetime | None = None,
    ) -> ChaosObject:
        status = ChaosStatus()
        if accomplished:
            condition = Condition(type="Accomplished", status="True")
            status = ChaosStatus(conditions=[condition], end_time=accomplished)
        marks = {ledger.PAUSE: "true", ledger.WINDOW_OVER: "true"} if over else {}
        identity = self.spec.identity
        metadata = Metadata(
            name=self.spec.name,
            namespace="default",
            uid=_SELF,
            creation_timestamp=START,
            labels={
                ledger.MANAGED_BY: ledger.MANAGER,
                ledger.RUN: identity.digest,
                ledger.ANALYSIS_RUN_UID: identity.analysis_run_uid,
            },
            annotations={ledger.WINDOW: "30s", **self.notes(), **marks, **(annotations or {})},
        )
        return ChaosObject(kind=self.kind, metadata=metadata, spec=self.parent_spec, status=status)

    def see_parent(self, found: ChaosObject, *, gone: bool = False) -> None:
        topic = ChaosTopic(self.kind, "default")
        event = Deleted(topic, found) if gone else Applied(topic, found)
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), event))

    def tell(self, event: Applied | Deleted | Synced | Lost) -> None:
        self.take(self.registry.observe(self.now, Watch("", "", "", event.topic), event))

    def synced(self) -> None:
        for topic in Family(self.read, None).topics("default"):
            self.tell(Synced(topic))

    def child(
        self,
        name: str,
        *records: Record,
        desired: str = "Run",
        gone: bool = False,
        kind: str = "PodChaos",
        owner: str = "",
        step: str = "",
        **metadata: object,
    ) -> None:
        owner, labels = owner or _SELF, {MANAGED_BY: "x"}
        if step:
            owner = "a-node"
            node = f"{step}-abcde"
            labels = {OF_WORKFLOW: self.spec.name, "chaos-mesh.org/controlled-by": node}
        reference = OwnerReference(api_version="x", kind="x", name="x", uid=owner, controller=True)
        given: dict[str, object] = {"creation_timestamp": self.now, **metadata}
        experiment = ExperimentStatus(
            desired_phase=desired,  # type: ignore[arg-type]
            container_records=list(records) or None,
        )
        found = ChaosObject(
            kind=kind,
            metadata=Metadata(
                name=name,
                namespace="default",
                uid=f"uid-{name}",
                labels=labels,
                owner_references=[reference],
                **given,  # type: ignore[arg-type]
            ),
            status=ChaosStatus(experiment=experiment),
        )
        topic = ChildrenTopic(kind, "default", OF_WORKFLOW if step else MANAGED_BY)
        self.tell(Deleted(topic, found) if gone else Applied(topic, found))

    def begin(self) -> None:
        self.to_observing()
        self.synced()


def _schedule(chaos: Mapping[str, object] | None = None) -> Spawning:
    """A Schedule every 10 s, for 30 s."""
    spec: dict[str, object] = {"schedule": "@every 10s", "type": "PodChaos", "podChaos": dict(chaos or _FAIL)}
    world = Spawning("Schedule", spec, Window(Every(timedelta(seconds=10)), timedelta(seconds=30)))
    world.begin()
    return world


def _step(name: str, **chaos: object) -> dict[str, object]:
    return {"name": name, "templateType": "PodChaos", "deadline": "3s", "podChaos": {"mode": "all", **chaos}}


def _workflow(*more: dict[str, object]) -> Spawning:
    """A Workflow that fails pods, then kills one."""
    both = {"name": "all", "templateType": "Serial", "children": ["fail", "kill"]}
    steps = [both, _step("fail", action="pod-failure"), _step("kill", action="pod-kill"), *more]
    world = Spawning("Workflow", {"entry": "all", "templates": steps})
    world.begin()
    return world


def _killed(name: str, at: datetime) -> Record:
    event = RecordEvent(type="Succeeded", operation="Apply", timestamp=at)
    return Record(id=f"default/{name}", phase="Injected", injected_count=1, events=[event])


def _fire(world: Spawning, name: str, seconds: float = 2) -> None:
    """Let both pods fail, recover after some seconds, and be Ready again a second later."""
    world.child(name)
    world.child(name, hit("web-a"), hit("web-b"))
    restarts = 2 * int(name[-1])
    world.pods(
        pod("web-a", ready=False, restarts=restarts - 1), pod("web-b", ready=False, restarts=restarts - 1)
    )
    world.wait(seconds)
    world.child(name, recovered("web-a", world.now), recovered("web-b", world.now), desired="Stop")
    world.wait(1)
    since = world.now
    world.pods(pod("web-a", restarts=restarts, since=since), pod("web-b", restarts=restarts, since=since))


# -- Schedules


def test_firings_that_the_canary_survives_are_one_success() -> None:
    world = _schedule()
    for number in (1, 2):
        world.wait(7)
        _fire(world, f"firing-{number}")
    world.wait(9)
    assert world.verdict is None
    world.wait(2)

    world.done(world.expect(Stop), Found(world.parent(over=True)))
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert "2 firings, 4 targets hit" in world.message


def test_a_firing_that_comes_with_the_pause_is_waited_for() -> None:
    world = _schedule(_KILL)
    world.wait(31)
    world.child("firing-1", _killed("web-a", world.now))
    world.done(world.expect(Stop), Found(world.parent(over=True)))
    before = world.stage

    world.child("firing-2", Record(id="default/web-b", phase="Not Injected"))

    assert (before, world.stage) == (Stage.RECOVERING, Stage.OBSERVING)


def test_a_schedule_that_never_fires_tested_nothing() -> None:
    world = _schedule()
    world.wait(31)
    assert world.verdict is None
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "nothing was spawned" in world.message


def test_the_silence_before_the_first_firing_is_not_held_against_chaos_mesh() -> None:
    spec: dict[str, object] = {"schedule": "@every 40s", "type": "PodChaos", "podChaos": _KILL}
    world = Spawning("Schedule", spec, Window(Every(timedelta(seconds=40)), timedelta(seconds=50)))
    world.begin()

    world.wait(45)

    assert world.verdict is None


def test_what_our_own_pause_cuts_short_does_not_count() -> None:
    world = _schedule()
    world.wait(10)
    _fire(world, "firing-1")
    world.wait(18)
    missed = Record(id="default/web-a", phase="Not Injected")
    world.child("firing-2", missed)
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    world.child("firing-2", missed, desired="Stop", annotations={ledger.PAUSE: "true"})
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


@pytest.mark.parametrize(("pause", "reason"), [("true", Reason.PAUSED), (None, Reason.DELETED)])
def test_interference_with_a_schedule_is_inconclusive(pause: str | None, reason: Reason) -> None:
    world = _schedule()
    world.wait(10)
    world.child("firing-1", hit("web-a"))

    if pause:
        world.see_parent(world.parent(annotations={ledger.PAUSE: pause}))
    else:
        world.child("firing-1", hit("web-a"), deletion_timestamp=world.now)

    assert world.verdict == (Phase.INCONCLUSIVE, reason)


def test_a_canary_that_does_not_come_back_between_two_firings_fails() -> None:
    world = _schedule()
    world.wait(10)
    _fire(world, "firing-1")
    world.pods(pod("web-a", ready=False, restarts=2))
    world.wait(9)
    assert world.verdict is None, "it has 10 s to recover"

    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.read_pods()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 pods Ready, 2 wanted" in world.message
    assert world.expect(Delete).uid == _SELF


def test_a_pod_that_falls_over_after_it_has_recovered_fails() -> None:
    world = _schedule()
    world.wait(10)
    _fire(world, "firing-1")
    world.wait(6)
    world.pods(pod("web-a", restarts=2))  # the canary was seen whole for long enough
    world.pods(pod("web-a", ready=False, restarts=2))
    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.read_pods()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)


def test_a_pod_that_is_down_just_before_its_firing_is_told_is_no_breach() -> None:
    world = _schedule()
    world.wait(10)

    world.pods(pod("web-a", ready=False), pod("web-b", ready=False))
    world.wait(1)
    world.child("firing-1", hit("web-a"), hit("web-b"))
    world.wait(3)

    assert world.verdict is None


def test_a_firing_of_the_last_moment_that_has_not_selected_yet_is_not_over() -> None:
    world = _schedule()
    world.wait(10)
    _fire(world, "firing-1")
    world.wait(18)
    world.child("firing-2", desired="")
    world.done(world.expect(Stop), Found(world.parent(over=True)))

    world.pods(pod("web-a", ready=False, restarts=2))
    world.wait(15)

    assert world.stage is Stage.OBSERVING, "whom it hits is to be told yet"
    assert world.verdict is None


def test_restarts_add_up_with_the_firings_and_no_further() -> None:
    world = _schedule()
    for number in (1, 2):
        world.wait(7)
        _fire(world, f"firing-{number}")
    assert world.verdict is None
    world.wait(5)

    world.pods(pod("web-a", restarts=5))
    world.wait(3)
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.read_pods()

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 container restarts" in world.message


def test_a_firing_that_hits_another_s_pod_ends_all_at_once() -> None:
    world = _schedule()
    world.pods(pod("stable-x", owner="rs-stable"))
    world.wait(10)

    world.child("firing-1", hit("stable-x"))

    assert world.verdict == (Phase.FAILED, Reason.SCOPE_VIOLATION)
    assert world.expect(Delete).uid == _SELF


def test_what_others_have_spawned_is_nothing_to_this_gate() -> None:
    world = _schedule()
    world.wait(10)

    world.child("other", hit("stable-x"), owner="another-schedule")

    assert world.verdict is None


def test_a_schedule_that_is_gone_is_not_done_before_what_it_has_fired_is() -> None:
    world = _schedule()
    world.wait(10)
    world.child("firing-1", hit("web-a"), hit("web-b"))
    world.take(world.registry.allow(world.now, world.spec.id, push=True))
    world.terminate()
    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    world.done(world.expect(Delete), Done())
    world.see_parent(world.parent(), gone=True)
    world.run_seen(phase="Successful")
    before = world.stage
    run = world.registry.run(world.spec.id)
    assert run
    assert run.holds_canary, "others have to wait for the fault's end"

    world.child("firing-1", recovered("web-a", world.now), recovered("web-b", world.now), gone=True)

    assert (before, world.stage) == (Stage.DECIDED, Stage.DONE)


def test_a_schedule_that_was_adopted_is_judged_once_its_firings_are_told() -> None:
    before = _schedule()
    world = Spawning(
        "Schedule", before.parent_spec, Window(Every(timedelta(seconds=10)), timedelta(seconds=30))
    )
    world.created = before.created
    world.now = START + timedelta(seconds=40)
    world.start(resume=True)
    found = world.parent(over=True)
    world.done(
        world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=found, value=HASH)
    )
    world.pods(pod("web-a", restarts=2), pod("web-b", restarts=2))
    assert world.verdict is None
    ended = START + timedelta(seconds=12)
    world.child("firing-1", recovered("web-a", ended), recovered("web-b", ended), desired="Stop")
    assert world.verdict is None, "there may be more"

    world.synced()

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_firings_that_cannot_be_watched_are_unobserved_at_the_timeout() -> None:
    world = Spawning(
        "Schedule",
        {"schedule": "@every 10s", "type": "PodChaos", "podChaos": _KILL},
        Window(Every(timedelta(seconds=10)), timedelta(seconds=30)),
    )
    world.to_observing()
    world.tell(Lost(ChildrenTopic("PodChaos", "default", MANAGED_BY), "403: no"))

    for _ in range(30):
        world.wait(5)
        world.todo.clear()

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNOBSERVED)


# -- Workflows


def test_a_workflow_is_survived_when_each_step_has_hit() -> None:
    world = _workflow()
    world.child("fail-1", hit("web-a"), hit("web-b"), step="fail")
    world.pods(pod("web-a", ready=False, restarts=1), pod("web-b", ready=False, restarts=1))
    world.wait(3)
    ended = world.now
    world.child("fail-1", recovered("web-a", ended), recovered("web-b", ended), step="fail", gone=True)
    world.pods(pod("web-a", restarts=2, since=ended), pod("web-b", restarts=2, since=ended))
    world.wait(1)
    world.child("kill-1", _killed("web-a", world.now), step="kill")
    world.pod_gone(pod("web-a"))
    world.wait(3)
    world.child("kill-1", _killed("web-a", world.now), step="kill", gone=True)
    world.pods(pod("web-c", since=world.now))

    world.see_parent(world.parent(accomplished=world.now))
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert "2 faults, 3 targets hit" in world.message


def test_a_step_that_hit_nothing_was_not_tested() -> None:
    world = _workflow()
    world.child("fail-1", hit("web-a"), step="fail")
    world.child("fail-1", recovered("web-a", world.now), step="fail", gone=True)
    world.child("kill-1", step="kill")
    world.child("kill-1", step="kill", gone=True)

    world.see_parent(world.parent(accomplished=world.now))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "of template kill nothing was hit" in world.message


def test_an_experiment_that_is_stuck_at_its_step_s_end_is_not_recovered() -> None:
    world = _workflow()
    world.child("fail-1", hit("web-a"), step="fail")
    world.child("fail-1", hit("web-a"), step="fail", desired="Stop", deletion_timestamp=world.now)
    world.child("kill-1", _killed("web-b", world.now), step="kill", gone=True)
    world.see_parent(world.parent(accomplished=world.now))
    world.pods(pod("web-a", ready=False))

    world.wait(61)

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)


def test_a_schedule_within_a_workflow_passes_no_label_on_and_its_firings_are_found() -> None:
    schedule = {"schedule": "@every 2s", "type": "PodChaos", "podChaos": _FAIL}
    inner = {"name": "again", "templateType": "Schedule", "deadline": "7s", "schedule": schedule}
    world = Spawning("Workflow", {"entry": "again", "templates": [inner]})
    world.begin()

    world.child("firing-1", hit("web-a"), owner="uid-inner")  # the streams may be apart
    assert world.registry.run(world.spec.id).fault.targets == ()  # type: ignore[union-attr]
    world.child("inner", kind="Schedule", step="again")

    assert world.registry.run(world.spec.id).fault.targets == ("default/web-a",)  # type: ignore[union-attr]


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
    check = {"name": "ask", "templateType": "StatusCheck", "abortWithStatusCheck": True}
    world = _workflow(*([check] if checked else []))

    world.see_parent(world.parent(annotations={ledger.ABORT: "true"}))

    assert world.verdict == verdict


def _node(step: str) -> ChaosObject:
    ended = ChaosStatus(conditions=[Condition(type="DeadlineExceed", status="True")])
    name = Metadata(name=f"{step}-abcde")
    return ChaosObject(kind="WorkflowNode", metadata=name, spec={"templateName": step}, status=ended)


def _event(reason: str, step: str, target: str, seconds: float) -> Event:
    name = f"{step}-abcde-12345"
    return Event(
        metadata=Metadata(annotations={"chaos-mesh.org/id": f"default/{target}"}),
        involved_object=InvolvedObject(uid=f"uid-{name}", name=name, kind="PodChaos"),
        reason=reason,
        last_timestamp=START + timedelta(seconds=seconds),
    )


_FAILED = [
    _event("Applied", "fail", "web-a", 1),
    _event("Applied", "fail", "web-b", 1),
    _event("Recovered", "fail", "web-a", 4),
    _event("Recovered", "fail", "web-b", 4),
    _event("Applied", "other", "stable-x", 4),
]
_KILLED = [_event("Applied", "kill", "web-z", 5), _event("Recovered", "kill", "web-z", 8)]


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([*_FAILED, *_KILLED], None),
        (_FAILED, (Phase.INCONCLUSIVE, Reason.UNOBSERVED)),
        ([], (Phase.INCONCLUSIVE, Reason.UNOBSERVED)),
    ],
)
def test_steps_that_ended_while_the_plugin_was_away_are_told_by_their_events(
    events: list[Event], verdict: tuple[Phase, Reason] | None
) -> None:
    before = _workflow()
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

    world.done(world.expect(Recall), Recalled([_node("fail"), _node("kill")], events))

    assert world.verdict == verdict
