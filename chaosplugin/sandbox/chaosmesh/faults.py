"""What chaos does to pods, and failures of it on command."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from chaosplugin.sandbox.api.deletion import DeleteOptions
from chaosplugin.sandbox.api.resources import PODS, Object
from chaosplugin.sandbox.api.store import Stored
from chaosplugin.sandbox.api.verbs import Api
from chaosplugin.sandbox.chaosmesh.experiment import INJECTED, NOT_INJECTED, WAIT, Operation

PAUSE_IMAGE = "gcr.io/google-containers/pause:latest"  # upstream's default
TWO_STEPS = frozenset({"NetworkChaos", "IOChaos", "HTTPChaos"})
"""Kinds that act through a Pod*Chaos child, so a record waits between the order and its end."""

Restart = Callable[[str, str, str], None]  # namespace, pod, container


class InjectionError(Exception):
    """Apply or Recover failed; the text goes into the record and an Event."""


@dataclass(slots=True)
class Trouble:
    """A failure on command, of `left` tries or (None) until it is mended."""

    operation: Operation
    message: str
    accepts: Callable[[Object, str], bool]
    left: int | None = None

    def mend(self) -> None:
        self.left = 0

    def strikes(self, what: Operation, obj: Object, identity: str) -> bool:
        if self.left == 0 or what != self.operation or not self.accepts(obj, identity):
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Injector:
    """Applies and recovers one record at a time; returns the record's next phase."""

    def __init__(self, api: Api, restart: Restart, child: float) -> None:
        self._api = api
        self._restart = restart
        self._child = child
        self._due: dict[tuple[str, str], float] = {}  # when a child will have done as ordered
        self._troubles: list[Trouble] = []

    def trouble(self, trouble: Trouble) -> None:
        self._troubles = [each for each in self._troubles if each.left != 0]
        self._troubles.append(trouble)

    def act(self, what: Operation, obj: Object, record: Object) -> str:
        """Perform one step.

        Raises:
            InjectionError: when it fails; the record keeps its phase.
        """
        identity, key = record["id"], (obj["metadata"]["uid"], record["id"])
        if obj["kind"] in TWO_STEPS and not record["phase"].endswith(WAIT):
            self._pod(identity, what)
            self._due[key] = anyio.current_time() + self._child
            return f"{record['phase']}{WAIT}"
        for trouble in self._troubles:
            if trouble.strikes(what, obj, identity):
                raise InjectionError(trouble.message)
        if anyio.current_time() < self._due.get(key, 0):
            return str(record["phase"])
        self._due.pop(key, None)
        if record["phase"].endswith(WAIT) and self._pod(identity, "Recover") is None:
            return NOT_INJECTED  # the child went with its pod: nothing is waited for
        if what == "Apply":
            self._apply(obj, identity)
            return INJECTED
        self._recover(obj, identity)
        return NOT_INJECTED

    def _pod(self, identity: str, what: Operation) -> Stored | None:
        """Return the pod of a record; one that is gone needs no recovery."""
        namespace, name = identity.split("/")[:2]
        pod = self._api.find(PODS, namespace, name)
        if pod is None and what == "Apply":
            raise InjectionError(f'Pod "{name}" not found')
        return pod

    def _apply(self, obj: Object, identity: str) -> None:
        pod = self._pod(identity, "Apply")
        if pod is None or obj["kind"] != "PodChaos":
            return
        match obj["spec"]["action"]:
            case "pod-kill":
                options = DeleteOptions(grace=obj["spec"].get("gracePeriod", 0))
                self._api.delete(PODS, pod.namespace, pod.name, options)
            case "container-kill":
                self._restart(pod.namespace, pod.name, identity.split("/")[2])
            case _:
                self._api.update(PODS, pod.namespace, pod.name, lambda old: _pause(obj, old))

    def _recover(self, obj: Object, identity: str) -> None:
        pod = self._pod(identity, "Recover")
        if pod is not None and obj["kind"] == "PodChaos" and obj["spec"]["action"] == "pod-failure":
            self._api.update(PODS, pod.namespace, pod.name, lambda old: _resume(obj, old))


def _key(obj: Object, container: str) -> str:
    """Return the annotation that keeps the image of a container while it is paused."""
    key = f"chaos-mesh-{obj['metadata']['name']}-{obj['spec']['action']}-{container}-image"
    return key if len(key) <= 63 else container  # of an annotation's name


def _pause(obj: Object, pod: Object) -> Object:
    annotations = pod["metadata"].setdefault("annotations", {})
    for container in pod["spec"]["containers"]:
        key = _key(obj, container["name"])
        if key not in annotations:
            annotations[key] = container.get("image", "")
            container["image"] = PAUSE_IMAGE
    return pod


def _resume(obj: Object, pod: Object) -> Object:
    annotations = pod["metadata"].get("annotations") or {}
    for container in pod["spec"]["containers"]:
        image = annotations.pop(_key(obj, container["name"]), None)
        if image is not None:
            container["image"] = image
    return pod
