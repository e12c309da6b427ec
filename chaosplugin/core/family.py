"""What a Schedule or a Workflow has spawned, and what all of it together says of the fault.

A Schedule's experiments are told by their owner; those of a Workflow by its name, which no other one has,
as they are owned by its nodes. A Schedule within a Workflow passes no label on: its experiments are found
once it is known itself. Experiments that are gone are kept as last seen: a Workflow deletes each of them
at its step's end, and they are the evidence.
Source: chaos-mesh controllers/schedule (cron, pause, gc), pkg/workflow/controllers (chaos_node, new_node).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chaosplugin.core import fault, ledger, moments
from chaosplugin.core.fault import Fault
from chaosplugin.core.kinds import SCHEDULE, WORKFLOW
from chaosplugin.core.objects import ChaosObject, Event
from chaosplugin.core.part import Part
from chaosplugin.core.steady_state import SETTLE, Toll
from chaosplugin.core.template import Template
from chaosplugin.core.topics import Applied, ChildrenTopic, Deleted, Lost, Synced, WatchEvent
from chaosplugin.core.window import Window

MANAGED_BY = "managed-by"
OF_WORKFLOW = "chaos-mesh.org/workflow"
_CONTROLLED_BY = "chaos-mesh.org/controlled-by"
_TARGET = "chaos-mesh.org/id"
_ENDS = ("Accomplished", "DeadlineExceed", "Aborted")
_SECOND = timedelta(seconds=1)
_STEM = 58
"""How much of a name the API server leaves where it adds five characters."""


@dataclass(slots=True, kw_only=True)
class Member:
    """One spawned experiment."""

    part: Part
    node: str
    """the WorkflowNode that it is of"""
    fault: Fault
    gone: bool
    last: ChaosObject | None = None
    """as last told; None of one that was gone before"""
    ended_at: datetime | None = None
    healed: bool = False
    """the canary has been seen as before after it"""


class Children:
    """What a watch of spawned experiments tells of everybody's; `synced`: all that is there was told."""

    def __init__(self) -> None:
        self.synced = False
        self._live: dict[str, ChaosObject] = {}

    def take(self, event: WatchEvent) -> None:
        match event:
            case Applied(_, ChaosObject() as child):
                self._live[child.metadata.uid] = child
            case Deleted(_, ChaosObject() as child):
                self._live.pop(child.metadata.uid, None)
            case Synced():
                self.synced = True
            case Lost():
                self.synced = False  # what has come since is not told
            case _:
                pass

    @property
    def live(self) -> list[ChaosObject]:
        return list(self._live.values())


class Family:
    """The spawned experiments of one gate.

    `told`: all that are there have been told; `synced`: and all that were there before is known.
    """

    def __init__(self, template: Template, window: Window | None, *, restored: bool = False) -> None:
        self.kind = template.kind.name
        self.window = window
        self.told = self.synced = False
        self.hungry = True
        """there may be known experiments that were not seen to be of this family"""
        self.forgetful = restored and template.kind.name == WORKFLOW
        """what was spawned and deleted before this process came has still to be read"""
        self._read_last = False
        self.counted = template.kind.name != SCHEDULE
        """all that was spawned was read after its end, or tells by its absence that it was not"""
        self.unseen = ""
        """the template of a step that has ended, and of which nothing tells what it did"""
        self._parts = {part.step: part for part in template.parts}
        self._steps = template.steps
        self._checks = _has_checks(template)
        self._members: dict[str, Member] = {}
        self._schedules: dict[str, Part] = {}
        """of Schedules within a Workflow, by uid"""
        self._nodes: dict[str, str] = {}
        """theirs, by uid"""

    def topics(self, namespace: str) -> frozenset[ChildrenTopic]:
        """Return where its members are told."""
        found = set()
        for part in self._parts.values():
            key = MANAGED_BY if part.cron else OF_WORKFLOW
            found.add(ChildrenTopic(part.kind.name, namespace, key))
            if part.cron and part.step:
                found.add(ChildrenTopic(SCHEDULE, namespace, OF_WORKFLOW))
        return frozenset(found)

    @property
    def told_last(self) -> dict[str, ChaosObject | None]:
        """What was told last of each member, by uid."""
        return {uid: member.last for uid, member in self._members.items()}

    @property
    def alive(self) -> list[ChaosObject]:
        """What was spawned and is there still."""
        return [member.last for member in self._members.values() if member.last and not member.gone]

    @property
    def text(self) -> str:
        count = len(self._members)
        what = "firing" if self.kind == SCHEDULE else "fault"
        return f"{count} {what}{'' if count == 1 else 's'}"

    def holds(self, uid: str) -> bool:
        return uid in self._members

    # -- what is told

    def take(self, parent: ChaosObject, child: ChaosObject, *, gone: bool) -> bool:
        """Take in an experiment, if it is of this family."""
        uid = child.metadata.uid
        part = self._part_of(parent, child)
        if part is None:
            return False
        if child.kind == SCHEDULE:
            if uid not in self._schedules:
                self._schedules[uid] = part
                self._nodes[uid] = child.metadata.label(_CONTROLLED_BY) or ""
                self.hungry = True
            return True
        known = self._members.get(uid)
        if known is not None and known.gone:
            return False
        cut = self._is_cut(parent, child, part)
        seen = fault.read(child, one_shot=part.effect.one_shot, cut=cut)
        if known is None:
            owner = child.metadata.controller
            node = child.metadata.label(_CONTROLLED_BY) or self._nodes.get(owner.uid if owner else "", "")
            self._members[uid] = Member(part=part, node=node, fault=seen, gone=gone, last=child)
            return True
        known.fault, known.gone, known.last = seen, gone, child
        return True

    def take_all(
        self,
        parent: ChaosObject,
        children: Iterable[ChaosObject],
        told: Mapping[str, ChaosObject | None],
    ) -> None:
        """Take in all that was there: what is not among it is gone, as last seen.

        What was told since `told` is newer than that. Schedules come first: they tell whose a firing is.
        """
        there = {child.metadata.uid: child for child in children}
        newer = {uid for uid, member in self._members.items() if member.last is not told.get(uid)}
        for uid in sorted(there.keys() - newer, key=lambda uid: there[uid].kind != SCHEDULE):
            self.take(parent, there[uid], gone=False)
        for uid, member in self._members.items():
            member.gone = member.gone or (uid not in there and uid not in newer)

    def recall(self, nodes: Sequence[ChaosObject], events: Sequence[Event], *, last: bool) -> None:
        """Take in what is gone without having been watched, by the Events that it has left.

        `last`: they were read when it had ended, so that there is no more to be read. All that is there is
        known by now. They name a target, but not which selector has selected it: of a fault with two they
        are no use.
        """
        self.forgetful, self.hungry, self._read_last = False, True, self._read_last or last
        names = {node.metadata.name: str(node.spec.get("templateName")) for node in nodes}
        left: dict[str, list[Event]] = {}
        for event in events:
            left.setdefault(event.involved_object.uid, []).append(event)
        for uid, told in left.items():
            node = next((n for n in names if told[0].involved_object.name.startswith(f"{n}-")), "")
            part = self._parts.get(names.get(node, ""))
            known = self._members.get(uid)
            seen_well = known is not None and not (known.gone and known.fault.ended_at is None)
            if seen_well or part is None or part.spec.get("target"):
                continue
            seen = _recalled(told, one_shot=part.effect.one_shot)
            self._members[uid] = Member(part=part, node=node, fault=seen, gone=True)
        seen_nodes = {member.node for member in self._members.values()}
        self.unseen = next(
            (
                names[node.metadata.name]
                for node in nodes
                if names[node.metadata.name] in self._parts
                and any(map(node.condition, _ENDS))
                and node.metadata.name not in seen_nodes
            ),
            "",
        )

    def _is_cut(self, parent: ChaosObject, child: ChaosObject, part: Part) -> bool:
        """Tell whether its Schedule's end has cut a firing short, which had not had its time before."""
        begun, created = child.metadata.creation_timestamp, parent.metadata.creation_timestamp
        ended_at = child.metadata.deletion_timestamp if part.step else None
        if _over(parent) and _paused(child) and created:
            ended_at = self.ends_at(created)
        if part.cron is None or begun is None or ended_at is None:
            return False
        lasts = _SECOND if part.effect.one_shot else part.duration
        # it may have begun almost a second later
        return lasts is None or begun + _SECOND + lasts > ended_at

    def _part_of(self, parent: ChaosObject, child: ChaosObject) -> Part | None:
        owner = child.metadata.controller
        uid = owner.uid if owner else ""
        if uid == parent.metadata.uid:
            return self._parts.get("")
        if uid in self._schedules:
            return self._schedules[uid]
        if self.kind != WORKFLOW or child.metadata.label(OF_WORKFLOW) != parent.metadata.name:
            return None
        stem = (child.metadata.label(_CONTROLLED_BY) or "")[:-5]
        return next((part for step, part in self._parts.items() if f"{step}-"[:_STEM] == stem), None)

    # -- what it amounts to

    def read(self, parent: ChaosObject) -> Fault:
        """Judge all members as one fault."""
        members = list(self._members.values())
        faults = [member.fault for member in members]
        stopping = _over(parent) or parent.condition("Accomplished")
        targets = tuple(target for each in faults for target in each.targets)
        paused = _paused(parent) and not _over(parent)
        return Fault(
            targets=targets,
            injected=sum(each.injected for each in faults),
            recovered=sum(m.fault.injected if m.gone else m.fault.recovered for m in members),
            over=self.synced and stopping and not paused and all(self._is_over(m) for m in members),
            stopping=stopping,
            paused=paused or any(m.fault.paused and not m.gone and not _paused(parent) for m in members),
            deleting=parent.metadata.deletion_timestamp is not None,
            touched=bool(members or parent.status.conditions or parent.status.time or not self.synced),
            failure=next((each.failure for each in reversed(faults) if each.failure), ""),
            ended_at=self._ended(),
            shortfall=self._shortfall(),
            aborted=parent.metadata.annotation(ledger.ABORT) == "true",
            settled=self.synced and all(m.gone or m.fault.over or m.fault.complete for m in members),
        )

    def _is_over(self, member: Member) -> bool:
        """A Workflow deletes what it has spawned; of a Schedule, what selected nothing only has to end."""
        seen = member.fault
        if self.kind == WORKFLOW:
            return member.gone or (seen.over and member.part.effect.one_shot)
        return member.gone or seen.over or (not seen.targets and (seen.stopping or seen.deleting))

    @property
    def robbed(self) -> bool:
        """Somebody deletes what a Schedule has fired, before its end."""
        return self.kind == SCHEDULE and any(
            member.fault.deleting and not member.fault.over for member in self._members.values()
        )

    def _ended(self) -> datetime | None:
        """Return when the last fault was over; None where one is gone, and nobody was told when."""
        known = [m.fault.ended_at for m in self._members.values() if m.fault.targets]
        times = [at for at in known if at is not None]
        return max(times, default=None) if len(times) == len(known) else None

    def _shortfall(self) -> str:
        """Say what was to be hit, and was not, by each node of a Workflow."""
        if not self._members:
            return "nothing was spawned"
        seen = {(m.part.step, m.node) for m in self._members.values() if m.part.step}
        hit = {(m.part.step, m.node) for m in self._members.values() if m.fault.complete}
        times, runs = Counter(step for step, _ in hit), Counter(step for step, _ in seen)
        runs |= Counter(self._steps)
        missed = min((step for step in runs if times[step] < runs[step]), default="")
        if not missed or runs[missed] == 1 or not times[missed]:
            return f"of template {missed} nothing was hit" if missed else ""
        return f"template {missed} has hit something in {times[missed]} of its {runs[missed]} runs"

    def doubt(self) -> None:
        """Let it be read once what a Workflow did, where its end tells of less than was to be hit."""
        if self.kind == WORKFLOW and not self._read_last:
            self.forgetful = self._read_last = True

    @property
    def restarting(self) -> bool:
        """One of its faults restarts containers."""
        return any(part.effect.restarts for part in self._parts.values())

    @property
    def checks_itself(self) -> bool:
        """One of its steps aborts it where a check fails."""
        return self._checks

    # -- a Schedule's window

    def first(self, created: datetime) -> datetime:
        """Return when something is to be seen of it."""
        return (self.window.when.after(created) if self.window else None) or created

    def ends_at(self, created: datetime) -> datetime | None:
        """Return when a Schedule has to be stopped."""
        return created + self.window.length if self.window else None

    # -- what it takes from the canary by intent

    def toll(self, now: datetime, recover_within: timedelta, *, whole: bool, names: Iterable[str]) -> Toll:
        """Return whom its faults excuse now: those on, and those that the canary still recovers from.

        `whole`: as many pods are Ready as before; `names` are those of the pods that are there.
        """
        there = frozenset(names)
        spared: set[str] = set()
        excused: set[str] = set()
        until: list[datetime] = []
        restarts: Counter[str] = Counter()
        replaced: set[str] = set()
        for member in self._members.values():
            effect, seen = member.part.effect, member.fault
            hit = seen.hit if seen.injected else frozenset()
            if effect.restarts and seen.injected:
                restarts.update(dict.fromkeys(seen.targets, effect.restarts))
            if effect.replaces_pods:
                replaced |= hit
            if not effect.unready:
                continue
            excused |= hit
            if not (seen.over or member.gone):
                spared |= hit
                continue
            ended_at = member.ended_at = member.ended_at or seen.ended_at or now
            away = not effect.replaces_pods or hit.isdisjoint(there)
            if whole and away and now >= ended_at + SETTLE:
                member.healed = True
            if not member.healed and now < ended_at + recover_within:
                spared |= hit
                until.append(ended_at + recover_within)
        return Toll(
            frozenset(spared),
            frozenset(replaced),
            restarts,
            min(until, default=None),
            excused=frozenset(excused),
            replaces=any(part.effect.replaces_pods for part in self._parts.values()),
            known=all(member.last for member in self._members.values()),  # Events may not tell of all
        )


def _recalled(told: Sequence[Event], *, one_shot: bool) -> Fault:
    """Read the Events of one experiment: one for each target that it hit, and that recovered."""
    times = {
        reason: {
            event.metadata.annotation(_TARGET) or "": moments.usable(event.last_timestamp)
            for event in told
            if event.reason == reason
        }
        for reason in ("Applied", "Recovered")
    }
    ended = [at for at in times["Applied" if one_shot else "Recovered"].values() if at is not None]
    return Fault(
        targets=tuple(times["Applied"]),
        injected=len(times["Applied"]),
        recovered=len(times["Recovered"]),
        over=True,
        stopping=True,
        paused=False,
        deleting=False,
        touched=True,
        failure="",
        ended_at=max(ended, default=None),
        settled=True,
    )


def _over(parent: ChaosObject) -> bool:
    return _paused(parent) and parent.metadata.annotation(ledger.WINDOW_OVER) is not None


def _paused(experiment: ChaosObject) -> bool:
    return experiment.metadata.annotation(ledger.PAUSE) == "true"


def _has_checks(template: Template) -> bool:
    templates = template.spec.get("templates")
    found = templates if isinstance(templates, list) else []
    return any(isinstance(each, dict) and each.get("abortWithStatusCheck") is True for each in found)
