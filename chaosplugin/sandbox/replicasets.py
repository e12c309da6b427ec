"""The ReplicaSet controller: as many pods as asked for, made from the template, replaced when they go."""

from chaosplugin.sandbox.api.access import User
from chaosplugin.sandbox.api.deletion import DeleteOptions
from chaosplugin.sandbox.api.resources import PODS, REPLICA_SETS, Object
from chaosplugin.sandbox.api.selectors import label_selector
from chaosplugin.sandbox.api.store import Change, Stored
from chaosplugin.sandbox.api.verbs import Api, Write
from chaosplugin.sandbox.workqueue import WorkQueue

_WRITE = Write(User("system:serviceaccount:kube-system:replicaset-controller", ("system:masters",)))

_Key = tuple[str, str]


class ReplicaSetController:
    """Follows ReplicaSets and pods."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._queue: WorkQueue[_Key] = WorkQueue()
        api.store.listen(self._hear_set, REPLICA_SETS)
        api.store.listen(self._hear_pod, PODS)

    async def run(self) -> None:
        await self._queue.work(self._look)

    def _hear_set(self, change: Change) -> None:
        self._queue.add((change.stored.namespace, change.stored.name))

    def _hear_pod(self, change: Change) -> None:
        for owner in change.stored.metadata.get("ownerReferences") or ():
            if owner.get("controller") and owner["kind"] == "ReplicaSet":
                self._queue.add((change.stored.namespace, owner["name"]))

    async def _look(self, key: _Key) -> None:
        stored = self._api.find(REPLICA_SETS, *key)
        if stored is None or stored.deleting:
            return
        spec = stored.object["spec"]
        pods = [
            pod for pod in self._api.list(PODS, stored.namespace) if _active(pod) and _controls(stored, pod)
        ]
        wanted = int(spec.get("replicas", 1))
        pods += [self._make(stored) for _ in range(wanted - len(pods))]
        surplus = sorted(pods, key=ready)[: max(0, len(pods) - wanted)]
        for pod in surplus:
            self._api.delete(PODS, pod.namespace, pod.name, DeleteOptions(uid=pod.uid))
        self._report(stored, [pod for pod in pods if pod not in surplus])

    def _make(self, owner: Stored) -> Stored:
        template: Object = owner.object["spec"]["template"]
        given: Object = template.get("metadata") or {}
        reference = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": owner.name,
            "uid": owner.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata: Object = {"generateName": f"{owner.name}-", "ownerReferences": [reference]}
        for key in ("labels", "annotations"):
            if given.get(key):
                metadata[key] = given[key]
        spec = template.get("spec") or {"containers": []}
        return self._api.create(PODS, {"metadata": metadata, "spec": spec}, owner.namespace, _WRITE)

    def _report(self, stored: Stored, pods: list[Stored]) -> None:
        count = sum(map(ready, pods))
        status: Object = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": count,
            "availableReplicas": count,
            "observedGeneration": stored.metadata["generation"],
        }
        self._api.merge(
            REPLICA_SETS,
            stored.namespace,
            stored.name,
            {"status": status},
            subresource="status",
            write=_WRITE,
        )


def ready(pod: Stored) -> bool:
    """Say whether a pod's Ready condition is True."""
    conditions = (pod.object.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _active(pod: Stored) -> bool:
    return not pod.deleting and pod.object["status"].get("phase") not in {"Succeeded", "Failed"}


def _controls(stored: Stored, pod: Stored) -> bool:
    owners = pod.metadata.get("ownerReferences") or ()
    owned = any(each["uid"] == stored.uid and each.get("controller") for each in owners)
    return owned and label_selector(stored.object["spec"].get("selector"))(pod.metadata.get("labels") or {})
