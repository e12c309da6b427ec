"""The controllers of Workflow and WorkflowNode: Serial, Parallel, Suspend, experiments, nested Schedules.

Upstream has one for each type of node and of condition; here one pass goes over a whole Workflow. Over does
not mean passed: a node ends when its work is done, its deadline is over or it is aborted, and what it had
created is deleted then. Task and StatusCheck are not played: such a node only ends by its deadline.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from chaosplugin.sandbox.api.deletion import FOREGROUND
from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.metadata import owner_reference, timestamp
from chaosplugin.sandbox.api.resources import (
    BY_KIND,
    CHAOS_KINDS,
    SCHEDULES,
    WORKFLOW_NODES,
    WORKFLOWS,
    Object,
    Resource,
)
from chaosplugin.sandbox.api.store import Change, Stored
from chaosplugin.sandbox.api.verbs import Api
from chaosplugin.sandbox.chaosmesh import events
from chaosplugin.sandbox.chaosmesh.durations import parse
from chaosplugin.sandbox.chaosmesh.schemas import EMBEDDED
from chaosplugin.sandbox.chaosmesh.writing import SYSTEM_WRITE, tell
from chaosplugin.sandbox.workqueue import Unfinished, WorkQueue

WORKFLOW = "chaos-mesh.org/workflow"
CONTROLLED_BY = "chaos-mesh.org/controlled-by"
ABORT = "workflow.chaos-mesh.org/abort"
_STEPS = ("Serial", "Parallel")
_ENDS = ("Accomplished", "DeadlineExceed", "Aborted")
_KEYS = {kind: key for key, kind in EMBEDDED.items()}

_Key = tuple[str, str]


class WorkflowController:
    """Works on a Workflow whenever it, a node or an experiment of it has changed."""

    def __init__(self, api: Api, pause: Callable[[], Awaitable[None]]) -> None:
        self._api = api
        self._pause = pause
        self.queue: WorkQueue[_Key] = WorkQueue()
        api.store.listen(self._hear, WORKFLOWS)
        for kind in (WORKFLOW_NODES, SCHEDULES, *CHAOS_KINDS):
            api.store.listen(self._hear_child, kind)

    async def run(self) -> None:
        await self.queue.work(self._look)

    def look_at_all(self) -> None:
        """Look at every one, as after a restart."""
        self.queue.forget_all()
        for each in self._api.list(WORKFLOWS):
            self.queue.add((each.namespace, each.name))

    def _hear(self, change: Change) -> None:
        if change.type != "DELETED":
            self.queue.add((change.stored.namespace, change.stored.name))

    def _hear_child(self, change: Change) -> None:
        name = _label(change.stored, WORKFLOW)
        if (name and change.type != "MODIFIED") or change.stored.resource is WORKFLOW_NODES:
            self.queue.add((change.stored.namespace, name))

    async def _look(self, key: _Key) -> None:
        """Go over the nodes, those of the entry first; each change makes another look."""
        await self._pause()
        stored = self._api.find(WORKFLOWS, *key)
        if stored is None or stored.deleting:
            return
        nodes = self._nodes(stored)
        entries = [node for node in nodes if _label(node, CONTROLLED_BY) == stored.name]
        if not entries:
            self._create_node(stored, stored.object, str(stored.object["spec"]["entry"]))
            raise Unfinished
        if (stored.metadata.get("annotations") or {}).get(ABORT) == "true":
            self._set(entries[0], "Aborted", "True", "WorkflowAborted")
        for node in nodes:
            self._reconcile(stored, node, [n for n in nodes if _label(n, CONTROLLED_BY) == node.name])
        self._sync(stored, entries[0])
        deadlines = [left for node in self._nodes(stored) if (left := self._left(node)) is not None]
        if deadlines:
            self.queue.add(key, max(0.0, min(deadlines)) + 0.001)

    # -- nodes

    def _nodes(self, workflow: Stored) -> list[Stored]:
        found = self._api.list(WORKFLOW_NODES, workflow.namespace)
        own = [node for node in found if _label(node, WORKFLOW) == workflow.name and not node.deleting]
        return sorted(own, key=lambda node: (str(node.metadata["creationTimestamp"]), node.revision))

    def _reconcile(self, workflow: Stored, node: Stored, children: list[Stored]) -> None:
        kind = node.object["spec"]["type"]
        if kind in _STEPS:
            self._step(workflow, node, children)
        elif kind == "Schedule" or kind in _KEYS:
            self._spawn(workflow, node)
        left = self._left(node)
        if left is not None and left < 0:
            done = _holds(node, "Accomplished")
            self._set(node, "DeadlineExceed", "True", "NodeDeadlineOmitted" if done else "NodeDeadlineExceed")
        elif left is not None:
            self._set(node, "DeadlineExceed", "False", "NodeDeadlineNotExceed")
        for condition, reason in (
            ("DeadlineExceed", "ParentNodeDeadlineExceed"),
            ("Aborted", "ParentNodeAborted"),
        ):
            if kind in _STEPS and _holds(node, condition):
                for child in (child for child in children if not _ended(child)):
                    self._set(child, condition, "True", reason)

    def _step(self, workflow: Stored, node: Stored, children: list[Stored]) -> None:
        names: list[str] = node.object["spec"].get("children") or []
        ended = [child for child in children if _ended(child)]
        if not _ended(node):
            if node.object["spec"]["type"] == "Parallel":
                due = names if not children else []
            else:
                due = names[len(ended) : len(ended) + 1] if len(ended) == len(children) else []
            for name in due:
                self._create_node(workflow, node.object, name)
        self._set(node, "Accomplished", str(len(ended) == len(names)), "")

    def _create_node(self, workflow: Stored, parent: Object, name: str) -> None:
        template = next(each for each in workflow.object["spec"]["templates"] if each["name"] == name)
        now = self._api.clock()
        spec = {key: value for key, value in template.items() if key not in {"name", "templateType"}}
        spec |= {
            "templateName": name,
            "workflowName": workflow.name,
            "type": template["templateType"],
            "startTime": timestamp(now),
        }
        if "deadline" in spec:
            spec["deadline"] = timestamp(now + parse(spec["deadline"]))
        metadata = {
            "generateName": f"{name}-",
            "finalizers": [FOREGROUND],
            "labels": {CONTROLLED_BY: parent["metadata"]["name"], WORKFLOW: workflow.name},
            "ownerReferences": [owner_reference(parent)],
        }
        made = self._api.create(
            WORKFLOW_NODES, {"metadata": metadata, "spec": spec}, workflow.namespace, SYSTEM_WRITE
        )
        if parent["kind"] == "Workflow":
            happening = events.told("EntryCreated", f"entry node created, entry node {made.name}")
        else:
            happening = events.told("NodesCreated", f"child nodes created, {made.name}")
        tell(self._api, parent, "workflow-entry", happening)

    def _left(self, node: Stored) -> float | None:
        deadline = node.object["spec"].get("deadline")
        if deadline is None or _holds(node, "DeadlineExceed"):
            return None
        return (datetime.fromisoformat(deadline) - self._api.clock()).total_seconds()

    # -- what a node creates

    def _spawn(self, workflow: Stored, node: Stored) -> None:
        spec = node.object["spec"]
        kind = _resource(spec["type"])
        there = [
            each for each in self._api.list(kind, node.namespace) if _label(each, CONTROLLED_BY) == node.name
        ]
        if _ended(node):
            for each in there:
                if not each.deleting:
                    self._api.delete(kind, each.namespace, each.name)
                    text = f"chaos CR {each.name} deleted"
                    tell(self._api, node.object, "workflow-chaos-node", events.told("ChaosCRDeleted", text))
        elif not there:
            there = self._create(workflow, node, kind, spec)
        injected = ("True", "ChaosCRCreated") if there else ("False", "ChaosCRNotExists")
        self._set(node, "ChaosInjected", *injected)

    def _create(self, workflow: Stored, node: Stored, kind: Resource, spec: Object) -> list[Stored]:
        metadata = {
            "generateName": f"{node.name}-",
            "labels": {CONTROLLED_BY: node.name, WORKFLOW: workflow.name},
            "ownerReferences": [owner_reference(node.object)],
        }
        embedded = spec["schedule"] if kind is SCHEDULES else spec[_KEYS[spec["type"]]]
        child = {"metadata": metadata, "spec": embedded}
        try:
            made = self._api.create(kind, child, node.namespace, SYSTEM_WRITE)
        except ApiError:
            happening = events.told("ChaosCRCreateFailed", "failed to create chaos CR", warning=True)
            tell(self._api, node.object, "workflow-chaos-node", happening)
            return []
        text = f"chaos CR {made.name} created"
        tell(self._api, node.object, "workflow-chaos-node", events.told("ChaosCRCreated", text))
        return [made]

    # -- status

    def _set(self, node: Stored, kind: str, status: str, reason: str) -> None:
        condition = {"type": kind, "status": status, "reason": reason}
        fresh = self._api.find(WORKFLOW_NODES, node.namespace, node.name)
        if fresh is None or condition in _conditions(fresh.object):
            return
        others = [each for each in _conditions(fresh.object) if each["type"] != kind]
        self._api.merge(
            WORKFLOW_NODES,
            node.namespace,
            node.name,
            {"status": {"conditions": [*others, condition]}},
            "status",
            SYSTEM_WRITE,
        )

    def _sync(self, workflow: Stored, entry: Stored) -> None:
        fresh = self._api.find(WORKFLOW_NODES, entry.namespace, entry.name)
        known: Object = workflow.object.get("status") or {}
        over = fresh is not None and _ended(fresh)
        now = timestamp(self._api.clock())
        status = {
            "entryNode": entry.name,
            "startTime": known.get("startTime") or now,
            "conditions": [
                {"type": "Scheduled", "status": "True", "reason": ""},
                {"type": "Accomplished", "status": str(over), "reason": ""},
            ],
        }
        if over:
            status["endTime"] = known.get("endTime") or now
            if not known.get("endTime"):
                text = "workflow accomplished"
                happening = events.told("WorkflowAccomplished", text)
                tell(self._api, workflow.object, "workflow-entry", happening)
        if status != known:
            self._api.merge(
                WORKFLOWS, workflow.namespace, workflow.name, {"status": status}, "status", SYSTEM_WRITE
            )


def _resource(kind: str) -> Resource:
    return BY_KIND["chaos-mesh.org/v1alpha1", kind]


def _label(stored: Stored, key: str) -> str:
    return str((stored.metadata.get("labels") or {}).get(key, ""))


def _conditions(obj: Object) -> Iterable[Object]:
    return list((obj.get("status") or {}).get("conditions") or ())


def _holds(node: Stored, kind: str) -> bool:
    return any(each["type"] == kind and each["status"] == "True" for each in _conditions(node.object))


def _ended(node: Stored) -> bool:
    return any(_holds(node, kind) for kind in _ENDS)
