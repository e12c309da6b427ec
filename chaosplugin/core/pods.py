"""The pods of one canary, as the watch tells them.

Deletions are kept while a run needs the store: a record may name a pod that is gone by the time the
record is read, and it must still be known whose pod that was.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from chaosplugin.core.objects import Pod


class PodStore:
    """Live and departed pods by uid; `synced` once the watch has told all that is there."""

    __slots__ = ("_departed", "_live", "lost", "synced", "version")

    def __init__(self) -> None:
        self.synced = False
        self.lost = ""
        self.version = 0
        """grows with each change, so that a decision can tell whether it has seen this state"""
        self._live: dict[str, Pod] = {}
        self._departed: dict[str, Pod] = {}

    def apply(self, pod: Pod) -> None:
        self._live[pod.metadata.uid] = pod
        self.version += 1

    def delete(self, pod: Pod) -> None:
        self._live.pop(pod.metadata.uid, None)
        self._departed[pod.metadata.uid] = pod
        self.version += 1

    @property
    def live(self) -> list[Pod]:
        return list(self._live.values())

    def of(self, replica_set: str) -> list[Pod]:
        """Return the live pods that the ReplicaSet of this uid controls."""
        return [
            pod
            for pod in self._live.values()
            if (held := pod.metadata.controller) and held.uid == replica_set
        ]

    def shows(self, found: Iterable[Pod]) -> bool:
        """Tell whether these are the live pods, each as it is known but for its version.

        A watch tells of no change of what is not read.
        """
        return _states(self._live.values()) == _states(found)

    @property
    def targets(self) -> list[Pod]:
        """Pods that a fault can hit: neither ended nor on their way out."""
        return [
            pod
            for pod in self._live.values()
            if not pod.completed and pod.metadata.deletion_timestamp is None
        ]

    @property
    def known(self) -> Iterable[Pod]:
        """Every pod seen, live ones last so that they win by name."""
        yield from self._departed.values()
        yield from self._live.values()


def _states(pods: Iterable[Pod]) -> dict[str, Pod]:
    """Return them by uid, without their versions."""
    return {
        pod.metadata.uid: replace(pod, metadata=replace(pod.metadata, resource_version="")) for pod in pods
    }
