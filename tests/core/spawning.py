"""A world whose experiment is a Schedule or a Workflow, and what they spawn."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

import msgspec

from chaosplugin.core import ledger, template
from chaosplugin.core.commands import Confirm, Confirmed, Recalled
from chaosplugin.core.cron import Every
from chaosplugin.core.family import MANAGED_BY, OF_WORKFLOW, Family
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import (
    ChaosObject,
    ChaosStatus,
    Condition,
    ExperimentStatus,
    Metadata,
    OwnerReference,
    Record,
    RecordEvent,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.steady_state import Rules
from chaosplugin.core.topics import Applied, ChaosTopic, ChildrenTopic, Deleted, Lost, Synced
from chaosplugin.core.window import Window
from tests.core.given import START, hit, pod, recovered
from tests.core.world import World

KILL = {"action": "pod-kill", "mode": "one"}
FAIL = {"action": "pod-failure", "mode": "all", "duration": "2s"}
SELF = "parent-1"
_POLICY = Policy()


def _read(kind: str, spec: dict[str, object]) -> template.Template:
    given = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "spec": spec}
    return template.read(given, Policy(allow_status_check=True, allow_workflow_task=True))


class Spawning(World):
    """A world whose experiment spawns others."""

    def __init__(
        self,
        kind: str,
        spec: dict[str, object],
        window: Window | None = None,
        policy: Policy = _POLICY,
    ) -> None:
        self.kind, self.parent_spec = kind, spec
        self.read = _read(kind, spec)
        self.there: dict[str, ChaosObject] = {}
        super().__init__(
            kind=kind,
            family=partial(Family, self.read, window),
            one_shot=self.read.one_shot,
            rules=Rules(recover_within=timedelta(seconds=10)),
            policy=policy,
        )

    @property
    def children(self) -> list[ChaosObject]:
        return list(self.there.values())

    def chaos(self, *_: Record, **changes: object) -> ChaosObject:
        return self.parent()

    def parent(
        self,
        *,
        over: bool = False,
        deleting: bool = False,
        annotations: dict[str, str] | None = None,
        accomplished: datetime | None = None,
    ) -> ChaosObject:
        status = ChaosStatus()
        if accomplished:
            condition = Condition(type="Accomplished", status="True")
            status = ChaosStatus(conditions=[condition])
        marks = {ledger.PAUSE: "true", ledger.WINDOW_OVER: "true"} if over else {}
        identity = self.spec.identity
        metadata = Metadata(
            name=self.spec.name,
            namespace="default",
            uid=SELF,
            creation_timestamp=START,
            deletion_timestamp=self.now if deleting else None,
            labels={
                ledger.MANAGED_BY: ledger.MANAGER,
                ledger.RUN: identity.digest,
                ledger.ANALYSIS_RUN_UID: identity.analysis_run_uid,
            },
            annotations={ledger.WINDOW: "30s", **self.notes(), **marks, **(annotations or {})},
        )
        return ChaosObject(
            kind=self.kind,
            metadata=metadata,
            raw_spec=msgspec.Raw(msgspec.json.encode(self.parent_spec)),
            status=status,
        )

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
        node: str = "abcde",
        told: bool = True,
        **metadata: object,
    ) -> None:
        owner, labels = owner or SELF, {MANAGED_BY: "x"}
        if step:
            owner = "a-node"
            labels = {OF_WORKFLOW: self.spec.name, "chaos-mesh.org/controlled-by": f"{step}-{node}"}
        reference = OwnerReference(kind="x", name="x", uid=owner, controller=True)
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
        if gone:
            self.there.pop(name, None)
        else:
            self.there[name] = found
        topic = ChildrenTopic(kind, "default", OF_WORKFLOW if step else MANAGED_BY)
        if told:
            self.tell(Deleted(topic, found) if gone else Applied(topic, found))

    def untold(self, name: str, *records: Record, desired: str, step: str = "") -> None:
        """Let something happen of which the watch does not tell."""
        self.child(name, *records, desired=desired, step=step, told=False)

    def begin(self) -> None:
        self.to_observing()
        self.synced()


def schedule(chaos: Mapping[str, object] | None = None, policy: Policy = _POLICY) -> Spawning:
    """A Schedule every 10 s, for 30 s."""
    spec: dict[str, object] = {"schedule": "@every 10s", "type": "PodChaos", "podChaos": dict(chaos or FAIL)}
    world = Spawning("Schedule", spec, Window(Every(timedelta(seconds=10)), timedelta(seconds=30)), policy)
    world.begin()
    return world


def step(name: str, **chaos: object) -> dict[str, object]:
    return {"name": name, "templateType": "PodChaos", "deadline": "3s", "podChaos": {"mode": "all", **chaos}}


def workflow(*more: dict[str, object]) -> Spawning:
    """A Workflow that fails pods, then kills one."""
    both = {"name": "all", "templateType": "Serial", "children": ["fail", "kill"]}
    steps = [both, step("fail", action="pod-failure"), step("kill", action="pod-kill"), *more]
    world = Spawning("Workflow", {"entry": "all", "templates": steps})
    world.begin()
    return world


def recall(world: Spawning, read: Recalled) -> None:
    """Let all be read that is left, and what is there."""
    command = world.expect(Confirm)
    pods = list(world.canary.values()) if command.version >= 0 else []
    world.done(command, Confirmed(pods, world.children, read))


def node(of: str, suffix: str = "abcde") -> ChaosObject:
    """A WorkflowNode that has ended."""
    return ChaosObject(
        kind="WorkflowNode",
        metadata=Metadata(name=f"{of}-{suffix}"),
        raw_spec=msgspec.Raw(msgspec.json.encode({"templateName": of})),
        status=ChaosStatus(conditions=[Condition(type="DeadlineExceed", status="True")]),
    )


def killed(name: str, at: datetime) -> Record:
    event = RecordEvent(type="Succeeded", operation="Apply", timestamp=at)
    return Record(id=f"default/{name}", phase="Injected", injected_count=1, events=[event])


def fire(world: Spawning, name: str, seconds: float = 2) -> None:
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
