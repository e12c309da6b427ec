"""The life of a gate at the pure level: every step by hand, no loop, no cluster."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from chaosplugin.core import ledger, scope
from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Command,
    Create,
    Delete,
    Done,
    Failed,
    Find,
    FindPods,
    Found,
    Keep,
    LedgerRead,
    NameExists,
    Outcome,
    PodsFound,
    ReadLedger,
    ReadReplicas,
    ReadScope,
    Refused,
    ReplicasRead,
    ScopeRead,
    Unanswered,
    VerdictWritten,
    WriteMark,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    ChaosObject,
    ChaosStatus,
    Condition,
    Container,
    ContainerStatus,
    ExperimentStatus,
    Metadata,
    MetricResult,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    Record,
    RecordEvent,
    ReplicaSet,
    ReplicaSetSpec,
    Rollout,
    RolloutStatus,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.registry import Registry, Watch
from chaosplugin.core.run import Spec, Stage
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.topics import AnalysisRunsTopic, Applied, ChaosTopic, Deleted, PodsTopic, Synced
from chaosplugin.core.verdict import Finding, Reason

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HASH = "5d4f7c9b6d"
HASH_LABEL = "rollouts-pod-template-hash"
C = TypeVar("C", bound=Command)


def analysis_run(**status: object) -> AnalysisRun:
    owner = OwnerReference(
        api_version="argoproj.io/v1alpha1", kind="Rollout", name="web", uid="rollout-1", controller=True
    )
    metadata = Metadata(
        name="web-1", namespace="default", uid="run-1", resource_version="7", owner_references=[owner]
    )
    return AnalysisRun(metadata=metadata, status=AnalysisRunStatus(**status))  # type: ignore[arg-type]


def pod(
    name: str, *, ready: bool = True, restarts: int = 0, owner: str = "rs-1", since: datetime = START
) -> Pod:
    holder = OwnerReference(
        api_version="apps/v1", kind="ReplicaSet", name=f"web-{HASH}", uid=owner, controller=True
    )
    metadata = Metadata(
        name=name,
        namespace="default",
        uid=f"uid-{name}",
        labels={HASH_LABEL: HASH},
        owner_references=[holder],
    )
    condition = Condition(type="Ready", status="True" if ready else "False", last_transition_time=since)
    return Pod(
        metadata=metadata,
        spec=PodSpec(containers=[Container(name="app")]),
        status=PodStatus(
            phase="Running",
            conditions=[condition],
            container_statuses=[ContainerStatus(name="app", restart_count=restarts, ready=ready)],
        ),
    )


def rollout(current: str = HASH, stable: str = "stable") -> Rollout:
    return Rollout(
        metadata=Metadata(name="web", namespace="default", uid="rollout-1"),
        status=RolloutStatus(current_pod_hash=current, stable_rs=stable),
    )


def replica_set(replicas: int = 2) -> ReplicaSet:
    owner = OwnerReference(
        api_version="argoproj.io/v1alpha1", kind="Rollout", name="web", uid="rollout-1", controller=True
    )
    metadata = Metadata(
        name=f"web-{HASH}",
        namespace="default",
        uid="rs-1",
        labels={HASH_LABEL: HASH},
        owner_references=[owner],
    )
    return ReplicaSet(metadata=metadata, spec=ReplicaSetSpec(replicas=replicas))


def make_spec(**changes: object) -> Spec:
    run = analysis_run()
    identity = Identity("run-1", "chaos", 1)

    def manifest(value: str, notes: Mapping[str, str]) -> dict[str, object]:
        return {"value": value, "annotations": dict(notes)}

    given: dict[str, object] = {
        "identity": identity,
        "metric": Metric(name="chaos"),
        "analysis_run": run,
        "endpoint": "",
        "credentials": "",
        "kind": "PodChaos",
        "namespace": "default",
        "name": f"kill-{identity.digest}",
        "label": HASH_LABEL,
        "value": HASH,
        "manifest": manifest,
        "one_shot": False,
        "rules": Rules(unready_by_intent=True, restarts_by_fault=2),
        "timeout": timedelta(seconds=60),
        "target_timeout": timedelta(seconds=30),
        "on_no_targets": Phase.INCONCLUSIVE,
        "keep": False,
        "dry_run": False,
        "secrets": (),
        "policy": Policy(),
    }
    return Spec(**{**given, **changes})  # type: ignore[arg-type]


def scope_inputs(**changes: object) -> scope.ScopeInputs:
    given: dict[str, object] = {
        "analysis_run": analysis_run(),
        "label": HASH_LABEL,
        "value": HASH,
        "policy": Policy(),
        "rollout": rollout(),
        "replica_sets": [replica_set()],
        "stable": replica_set(3),
    }
    return scope.ScopeInputs(**{**given, **changes})  # type: ignore[arg-type]


class World:
    """A registry, a clock, and the commands that nobody has performed yet."""

    def __init__(self, *, push: bool = True, **changes: object) -> None:
        self.now = START
        self.spec = make_spec(**changes)
        self.registry = Registry()
        self.todo: list[Command] = []
        self.push = push
        self.wanted = 2
        self.created: dict[str, object] = {}

    def take(self, commands: list[Command]) -> None:
        self.todo += commands

    def start(self, *, errors: int = 0, resume: bool = False) -> Measurement:
        self.take(self.registry.start(self.now, self.spec, errors=errors, resume=resume))
        self.take(self.registry.allow(self.now, self.spec.id, push=self.push))
        return self.call(None)

    def call(self, given: Measurement | None) -> Measurement:
        answer, commands = self.registry.answer(self.now, self.spec.id, given)
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

    def pods(self, *pods: Pod, synced: bool = True) -> None:
        topic = PodsTopic("default", HASH_LABEL, HASH)
        for one in pods:
            self.take(self.registry.observe(self.now, Watch("", "", "", topic), Applied(topic, one)))
        if synced:
            self.take(self.registry.observe(self.now, Watch("", "", "", topic), Synced(topic)))

    def pod_gone(self, one: Pod) -> None:
        topic = PodsTopic("default", HASH_LABEL, HASH)
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), Deleted(topic, one)))

    def experiment(
        self,
        *records: Record,
        desired: str = "Run",
        gone: bool = False,
        annotations: dict[str, str] | None = None,
        deleting: bool = False,
    ) -> None:
        topic = ChaosTopic("PodChaos", "default")
        thing = self.chaos(*records, desired=desired, annotations=annotations, deleting=deleting)
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
            annotations={**self.notes(), **(annotations or {})},
            finalizers=["chaos-mesh/records"] if desired else None,
        )
        status = ChaosStatus(
            experiment=ExperimentStatus(desired_phase=desired, container_records=list(records) or None)  # type: ignore[arg-type]
        )
        action = "pod-kill" if self.spec.one_shot else "pod-failure"
        return ChaosObject(kind="PodChaos", metadata=metadata, spec={"action": action}, status=status)

    def notes(self) -> dict[str, str]:
        found = self.created.get("annotations", {})
        assert isinstance(found, dict)
        return found

    def run_seen(self, run: AnalysisRun | None = None, **status: object) -> None:
        topic = AnalysisRunsTopic("default")
        seen = run or analysis_run(**status)
        self.take(self.registry.observe(self.now, Watch("", "", "", topic), Applied(topic, seen)))

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

    def prove(self, inputs: scope.ScopeInputs | None = None) -> None:
        inputs = inputs or scope_inputs(replica_sets=[replica_set(self.wanted)])
        self.done(self.expect(ReadScope), ScopeRead(inputs))

    def to_create(self) -> Create:
        self.start()
        self.resume()
        self.done(
            self.expect(ReadLedger),
            LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH),
        )
        self.pods(pod("web-a"), pod("web-b"))
        self.prove()
        create = self.expect(Create)
        self.created = dict(create.manifest)
        return create

    def to_observing(self) -> None:
        self.done(self.to_create(), Found(self.chaos()))
        self.done(self.expect(WriteMark), AnalysisRunSeen(marked(self)))

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


def marked(world: World) -> AnalysisRun:
    mark = ledger.Mark(kind="PodChaos", namespace="default", name=world.spec.name, uid="chaos-1")
    patch = ledger.mark_patch(world.spec.identity, mark)
    return with_patch(patch)


def with_patch(patch: dict[str, object]) -> AnalysisRun:
    metadata = patch["metadata"]
    assert isinstance(metadata, dict)
    run = analysis_run()
    return AnalysisRun(
        metadata=Metadata(
            name=run.metadata.name,
            namespace=run.metadata.namespace,
            uid=run.metadata.uid,
            labels=metadata["labels"],
            annotations=metadata["annotations"],
            owner_references=run.metadata.owner_references,
        )
    )


def hit(name: str) -> Record:
    return Record(id=f"default/{name}", phase="Injected", injected_count=1)


def recovered(name: str, at: datetime) -> Record:
    event = RecordEvent(type="Succeeded", operation="Recover", timestamp=at)
    return Record(
        id=f"default/{name}", phase="Not Injected", injected_count=1, recovered_count=1, events=[event]
    )


def test_a_canary_that_survives_is_successful_and_nothing_is_left() -> None:
    world = World()
    world.to_recovering()
    world.now += timedelta(seconds=2)
    world.pods(pod("web-a", restarts=2, since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert Delete not in {type(command) for command in world.todo}, "the verdict is recorded first"
    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    delete = world.expect(Delete)
    assert delete.uid == "chaos-1"
    world.done(delete, Done())
    answer = world.resume()
    assert answer.phase is Phase.SUCCESSFUL
    assert json.loads(answer.value)["reason"] == "Survived"
    assert answer.finished_at is not None
    world.experiment(recovered("web-a", world.now), desired="Stop", gone=True)
    world.run_seen(metric_results=[MetricResult(name="chaos", count=1)])
    assert world.stage is Stage.DONE
    world.todo.clear()
    world.wait(120)
    assert world.todo == []


def test_resume_answers_the_very_same_while_nothing_changes() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    first = world.resume()

    world.now += timedelta(seconds=5)

    assert world.resume() == first
    assert first.phase is Phase.RUNNING
    assert first.resume_at is None


def test_until_the_right_to_patch_is_known_resume_comes_by_time() -> None:
    world = World()
    world.take(world.registry.start(world.now, world.spec, errors=0, resume=False))

    answer = world.call(None)

    assert answer.resume_at == START + timedelta(seconds=2)


def test_where_nothing_may_be_patched_the_controller_asks_by_itself() -> None:
    world = World(push=False)

    answer = world.start()

    assert answer.resume_at is not None
    assert START < answer.resume_at <= START + timedelta(seconds=15)


def test_pods_that_stay_down_after_the_fault_fail_the_gate() -> None:
    world = World()
    world.to_recovering()

    world.wait(59)
    assert world.verdict is None
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.wait(2)

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 of 2 pods Ready 60s after the fault" in world.message


def test_a_canary_scaled_down_meanwhile_needs_no_more_pods_than_it_wants() -> None:
    world = World()
    world.to_recovering()
    world.pod_gone(pod("web-a", ready=False))

    world.done(world.expect(ReadReplicas), ReplicasRead(1))
    world.wait(10)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_pod_that_falls_over_just_after_the_recovery_does_not_survive() -> None:
    world = World()
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(3)
    world.pods(pod("web-a", restarts=2, ready=False, since=world.now))
    world.done(world.expect(ReadReplicas), ReplicasRead(2))

    world.wait(70)

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)


def test_a_pod_not_hit_that_goes_down_ends_the_experiment_at_once() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.pods(pod("web-b", ready=False))
    world.done(world.expect(ReadReplicas), ReplicasRead(2))

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert world.expect(Delete).uid == "chaos-1", "a fault that is on is undone at once"
    world.expect(WriteVerdict)


def test_a_pod_that_is_down_before_its_record_is_no_breach() -> None:
    world = World()
    world.to_observing()

    world.pods(pod("web-a", ready=False))
    assert world.verdict is None
    world.experiment(hit("web-a"), desired="Run")

    assert world.verdict is None


def test_restarts_beyond_those_of_the_fault_fail_the_gate() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.pods(pod("web-b", restarts=1))
    world.done(world.expect(ReadReplicas), ReplicasRead(2))

    assert world.verdict == (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
    assert "1 container restarts" in world.message


def test_killed_pods_that_are_replaced_survive() -> None:
    world = World(one_shot=True, rules=Rules(unready_by_intent=True, replaces_pods=True))
    world.to_observing()
    event = RecordEvent(type="Succeeded", operation="Apply", timestamp=world.now)
    record = Record(id="default/web-a", phase="Injected", injected_count=1, events=[event])
    world.experiment(record, desired="Run")
    assert world.verdict is None, "the killed pod still looks Ready, and does not count"
    world.pod_gone(pod("web-a"))
    world.pods(pod("web-c", ready=False))
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.now += timedelta(seconds=4)
    world.pods(pod("web-c", since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_fault_that_is_on_at_the_timeout_fails() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.wait(61)

    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)


def test_a_fault_that_does_not_recover_fails() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Stop")

    world.wait(61)

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)


def test_nothing_injected_is_inconclusive_with_chaos_meshs_own_words() -> None:
    world = World()
    world.to_observing()
    failed = RecordEvent(type="Failed", operation="Apply", message="no daemon", timestamp=START)
    world.experiment(Record(id="default/web-a", phase="Not Injected", events=[failed]), desired="Run")

    world.wait(61)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "no daemon" in world.message


def test_an_experiment_that_ended_with_a_target_not_hit_is_inconclusive() -> None:
    world = World()
    world.to_observing()
    missed = Record(id="default/web-b", phase="Not Injected")

    world.experiment(recovered("web-a", world.now), missed, desired="Stop")

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "1 of 2 targets were hit" in world.message


def test_a_chaos_mesh_that_is_not_running_is_told_after_half_a_minute() -> None:
    world = World()
    world.to_observing()

    world.wait(31)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "controller-manager running" in world.message


def test_a_record_of_another_replica_set_is_a_violation_at_once() -> None:
    world = World()
    world.to_observing()
    world.pods(pod("stable-x", owner="rs-stable"))

    world.experiment(hit("stable-x"), desired="Run")

    assert world.verdict == (Phase.FAILED, Reason.SCOPE_VIOLATION)
    world.expect(Delete)


def test_an_unknown_pod_is_waited_for_then_looked_up() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("other-x"), desired="Run")
    world.wait(4)
    assert world.verdict is None

    world.wait(2)
    look = world.expect(FindPods)
    world.done(look, PodsFound({"other-x": None}))

    assert look.names == {"other-x"}
    assert world.verdict == (Phase.FAILED, Reason.SCOPE_VIOLATION)


def test_an_unknown_pod_that_is_gone_and_named_after_the_replica_set_is_fine() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit(f"web-{HASH}-abcde"), desired="Run")
    world.wait(6)

    world.done(world.expect(FindPods), PodsFound({f"web-{HASH}-abcde": None}))

    assert world.verdict is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"gone": True}, Reason.DELETED), ({"annotations": {ledger.PAUSE: "true"}}, Reason.PAUSED)],
)
def test_interference_is_inconclusive(change: dict[str, object], reason: Reason) -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.experiment(hit("web-a"), desired="Run", **change)  # type: ignore[arg-type]

    assert world.verdict == (Phase.INCONCLUSIVE, reason)


def test_terminate_answers_in_one_call_and_removes_the_fault() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.take(world.registry.terminate(world.now, world.spec.id, "aborted"))

    assert world.resume().phase is Phase.INCONCLUSIVE
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)
    world.expect(Delete)


def test_terminate_keeps_a_verdict() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Stop")
    world.wait(61)

    world.take(world.registry.terminate(world.now, world.spec.id, "aborted"))

    assert world.verdict == (Phase.FAILED, Reason.NOT_RECOVERED)


def test_an_analysis_run_that_wants_its_end_ends_the_gate() -> None:
    world = World()
    world.to_observing()
    ending = analysis_run()

    world.run_seen(AnalysisRun(metadata=ending.metadata, spec=AnalysisRunSpec(terminate=True)))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)
    world.expect(Delete)


def test_an_analysis_run_that_is_gone_ends_the_gate_and_is_forgotten() -> None:
    world = World()
    world.to_observing()
    topic = AnalysisRunsTopic("default")
    world.take(world.registry.observe(world.now, Watch("", "", "", topic), Deleted(topic, analysis_run())))
    world.done(world.expect(Delete), Done())

    world.experiment(gone=True)

    assert world.registry.run(world.spec.id) is None
    assert world.registry.watches() == frozenset()


def test_no_pods_until_the_timeout_is_as_configured() -> None:
    world = World(on_no_targets=Phase.FAILED)
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods()
    world.prove()

    world.wait(31)

    assert world.verdict == (Phase.FAILED, Reason.NO_TARGETS)


def test_pods_that_do_not_get_ready_are_not_hit() -> None:
    world = World()
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b", ready=False))
    world.prove()

    world.wait(31)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_STEADY)
    assert "1 of 2 canary pods Ready" in world.message
    assert not [command for command in world.todo if isinstance(command, Create)]


def test_a_canary_without_all_its_replicas_is_waited_for() -> None:
    world = World()
    world.wanted = 3
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    assert world.stage is Stage.PROVING

    world.pods(pod("web-c"))
    world.prove()

    world.expect(Create)


def test_the_stable_hash_is_refused_before_any_pod_is_ready() -> None:
    world = World()
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a", ready=False))

    world.prove(scope_inputs(rollout=rollout(current="new", stable=HASH)))

    assert world.verdict == (Phase.ERROR, Reason.SCOPE_REFUSED)


def test_a_second_call_for_the_same_measurement_starts_nothing() -> None:
    world = World()
    world.to_create()

    world.start()

    assert not [command for command in world.todo if isinstance(command, ReadLedger | Create)]


def test_a_retry_after_an_error_begins_anew_and_a_stale_copy_does_not() -> None:
    world = World()
    world.start()
    refused = Refused(Finding(reason=Reason.DENIED, text="no"))
    world.done(world.expect(ReadLedger), refused)
    assert world.verdict == (Phase.ERROR, Reason.DENIED)

    assert world.start(errors=0).phase is Phase.ERROR
    assert world.start(errors=1).phase is Phase.RUNNING

    world.expect(ReadLedger)


def test_an_error_is_told_and_never_recorded() -> None:
    world = World()
    world.start()
    world.resume()

    world.done(world.expect(ReadLedger), Refused(Finding(reason=Reason.DENIED, text="no")))

    world.expect(WriteWake)
    assert not [command for command in world.todo if isinstance(command, WriteVerdict)]


def test_a_recorded_verdict_is_the_verdict() -> None:
    world = World()
    world.start(resume=True)
    record = ledger.VerdictRecord(
        phase=Phase.FAILED, message="Timeout: x", value="{}", finished_at=START.isoformat()
    )
    recorded = with_patch(ledger.verdict_patch(world.spec.identity, record, "1", "7"))

    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=recorded, experiment=None, value=HASH))

    assert world.verdict == (Phase.FAILED, Reason.TIMEOUT)
    assert world.resume().message == "Timeout: x"


def test_a_live_experiment_is_adopted_with_its_baseline() -> None:
    before = World()
    before.to_create()
    world = World()
    world.created = before.created
    world.start(resume=True)
    world.resume()
    world.done(
        world.expect(ReadLedger),
        LedgerRead(
            analysis_run=analysis_run(), experiment=world.chaos(hit("web-a"), desired="Run"), value=HASH
        ),
    )
    assert world.stage is Stage.OBSERVING
    world.pods(pod("web-a", restarts=1, ready=False), pod("web-b"))
    world.now += timedelta(seconds=10)
    world.experiment(recovered("web-a", world.now), desired="Stop")
    world.pods(pod("web-a", restarts=2, since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert not [command for command in world.todo if isinstance(command, Create)]


def test_a_mark_without_an_experiment_never_starts_a_second_one() -> None:
    world = World()
    world.start(resume=True)

    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=marked(world), experiment=None, value=HASH))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.DELETED)


def test_a_foreign_object_of_that_name_is_left_alone() -> None:
    world = World()
    world.start()
    mine = world.chaos(desired="Run")
    foreign = ChaosObject(
        kind=mine.kind, metadata=Metadata(name=mine.metadata.name, uid="x", labels={}), status=mine.status
    )

    world.done(
        world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=foreign, value=HASH)
    )
    world.wait(60)

    assert world.verdict == (Phase.ERROR, Reason.NAME_TAKEN)
    assert not [command for command in world.todo if isinstance(command, Delete)]


def test_a_create_that_was_not_answered_is_found_again() -> None:
    world = World()
    world.done(world.to_create(), Unanswered("reset"))
    world.wait(1.5)

    world.done(world.expect(Find), Found(world.chaos()))

    assert world.stage is Stage.OBSERVING


def test_a_create_that_never_arrived_is_sent_again() -> None:
    world = World()
    world.done(world.to_create(), Unanswered("reset"))
    world.wait(1.5)

    world.done(world.expect(Find), Found(None))

    world.expect(Create)


def test_a_create_whose_fate_stays_unknown_is_inconclusive_and_looked_for_further() -> None:
    world = World()
    world.done(world.to_create(), Unanswered("reset"))
    for _ in range(70):
        world.wait(1)
        for command in [c for c in world.todo if isinstance(c, Find)]:
            world.todo.remove(command)
            world.done(command, Failed("away"))
    assert world.verdict == (Phase.INCONCLUSIVE, Reason.UNKNOWN)

    world.wait(31)
    world.done(world.expect(Find), Found(world.chaos()))

    world.wait(31)
    world.expect(Delete)


def test_a_name_that_exists_is_adopted_if_it_is_ours() -> None:
    world = World()
    world.done(world.to_create(), NameExists())

    world.done(world.expect(Find), Found(world.chaos()))

    assert world.stage is Stage.OBSERVING


def test_a_refused_create_is_an_error_and_leaves_nothing_to_clean() -> None:
    world = World()

    world.done(world.to_create(), Refused(Finding(reason=Reason.DENIED, text="forbidden")))

    assert world.verdict == (Phase.ERROR, Reason.DENIED)
    world.wait(60)
    assert not [command for command in world.todo if isinstance(command, Find | Delete)]


def test_gates_of_one_replica_set_run_one_after_another() -> None:
    world = World()
    world.to_observing()
    second = make_spec(identity=Identity("run-1", "other", 1), name="other")
    world.take(world.registry.start(world.now, second, errors=0, resume=False))
    world.take(world.registry.allow(world.now, second.id, push=True))
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"))
    world.prove()
    other = world.registry.run(second.id)
    assert other is not None
    assert other.stage is Stage.QUEUED
    world.wait(40)
    assert other.verdict is None, "waiting does not count"

    world.experiment(hit("web-a"), desired="Run", gone=True)

    world.prove()
    assert world.expect(Create).run == second.id


def test_no_patch_before_the_first_resume() -> None:
    world = World()
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    world.done(world.expect(Create), Found(world.chaos()))
    assert not [command for command in world.todo if isinstance(command, WriteMark)]

    world.resume()

    world.expect(WriteMark)


def test_the_wake_is_repeated_with_a_new_value_until_argo_has_it() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run", annotations={ledger.PAUSE: "true"})
    write = world.expect(WriteVerdict)
    world.done(write, VerdictWritten(write.record, analysis_run()))
    wakes = set()
    for pause in (1.1, 5.1, 15.1, 30.1, 30.1):
        world.wait(pause)
        wake = world.expect(WriteWake)
        wakes.add(wake.wake)
        world.done(wake, AnalysisRunSeen(analysis_run()))
    assert len(wakes) == 5

    world.run_seen(metric_results=[MetricResult(name="chaos", count=1)])
    world.wait(120)

    assert not [command for command in world.todo if isinstance(command, WriteWake)]


def test_an_experiment_to_be_kept_is_labelled_and_paused_where_its_fault_is_on() -> None:
    world = World(keep=True)
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")

    world.wait(61)

    assert world.expect(Keep).pause
    assert not [command for command in world.todo if isinstance(command, Delete)]


def test_the_first_verdict_wins() -> None:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run", annotations={ledger.PAUSE: "true"})
    other = ledger.VerdictRecord(
        phase=Phase.SUCCESSFUL, message="Survived: x", value="{}", finished_at=START.isoformat()
    )

    world.done(world.expect(WriteVerdict), VerdictWritten(other, analysis_run()))

    assert world.resume().phase is Phase.SUCCESSFUL


def test_conditions_can_only_worsen_a_success() -> None:
    world = World(metric=Metric(name="chaos", success_condition="result.recoverySeconds < 1"))
    world.to_recovering()
    world.now += timedelta(seconds=3)
    world.pods(pod("web-a", restarts=2, since=world.now))

    world.wait(6)

    assert world.verdict == (Phase.FAILED, Reason.CONDITION_NOT_MET)


def test_a_secret_argument_is_in_nothing_that_is_answered() -> None:
    world = World(secrets=("hunter2hunter2",))
    world.to_create()
    finding = Finding(reason=Reason.DENIED, text='webhook said "hunter2hunter2"')
    world.registry.outcome(world.now, Create(world.spec.id, {}), Refused(finding))

    assert "hunter2" not in world.message


def test_a_dry_run_says_so() -> None:
    world = World(dry_run=True)
    world.done(world.to_create(), Refused(Finding(reason=Reason.DENIED, text="no")))

    assert world.message.startswith("dry run: Denied: ")
