"""The store: every object at its latest version, and the changes that led there.

One counter numbers all changes of all resources, as in etcd. Changes of a resource stay in a ring, so that a
watch can begin at a past version; what fell out of the ring is expired. All methods are synchronous, and a
listener hears a change before the write returns, so what a watcher sees is in order and complete.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from chaosplugin.sandbox.api.errors import too_old
from chaosplugin.sandbox.api.resources import Object, Resource

RING = 4096  # changes a resource; kube-apiserver's watch cache starts at 100 and grows to 102,400

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one object."""

    resource: Resource
    namespace: str
    name: str
    revision: int
    object: Object = field(repr=False)  # never mutated
    raw: bytes = field(repr=False)

    def copy(self) -> Object:
        return _decode(self.raw)

    @property
    def metadata(self) -> Object:
        metadata: Object = self.object["metadata"]
        return metadata

    @property
    def uid(self) -> str:
        return str(self.metadata["uid"])

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.metadata


@dataclass(frozen=True, slots=True)
class Change:
    """One write: the object as it is now (of a deletion: as it last was) and as it was before."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    stored: Stored
    previous: Stored | None = None


Listener = Callable[[Change], None]


class _Ring:
    """Recent changes of one resource; `floor` is the oldest version from which a watch can begin."""

    def __init__(self) -> None:
        self.changes: deque[Change] = deque()
        self.floor = 0

    def append(self, change: Change) -> None:
        if len(self.changes) >= RING:
            self.floor = self.changes.popleft().stored.revision
        self.changes.append(change)


class Store:
    """Objects, changes and listeners of one cluster."""

    def __init__(self) -> None:
        self.revision = 1
        self._objects: defaultdict[Resource, dict[str, dict[str, Stored]]] = defaultdict(dict)
        """by namespace and name, as a list of one namespace must not cost a look at all others"""
        self._rings: defaultdict[Resource, _Ring] = defaultdict(_Ring)
        self._listeners: defaultdict[Resource, dict[int, Listener]] = defaultdict(dict)
        self._everything: dict[int, Listener] = {}
        self._next_listener = 0

    def get(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        return self._objects[resource].get(namespace, {}).get(name)

    def list(self, resource: Resource, namespace: str = "") -> list[Stored]:
        """Return objects ordered by namespace and name, as etcd's keys are."""
        found = self._objects[resource]
        namespaces = (namespace,) if namespace else sorted(found)
        return [each for key in namespaces for _, each in sorted(found.get(key, {}).items())]

    def write(self, resource: Resource, obj: Object) -> Stored:
        """Store `obj` as the next version; it belongs to the store from here on."""
        self.revision += 1
        metadata = obj["metadata"]
        metadata["resourceVersion"] = str(self.revision)
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        stored = Stored(resource, namespace, name, self.revision, obj, _encode(obj))
        objects = self._objects[resource].setdefault(namespace, {})
        previous = objects.get(name)
        objects[name] = stored
        self._emit(Change("MODIFIED" if previous else "ADDED", stored, previous))
        return stored

    def remove(self, stored: Stored) -> Stored:
        """Forget an object; the change shows it as it last was, under a new version."""
        self.revision += 1
        last = stored.copy()
        last["metadata"]["resourceVersion"] = str(self.revision)
        gone = Stored(stored.resource, stored.namespace, stored.name, self.revision, last, _encode(last))
        previous = self._objects[stored.resource][stored.namespace].pop(stored.name)
        self._emit(Change("DELETED", gone, previous))
        return gone

    def changes_after(self, resource: Resource, revision: int) -> Iterator[Change]:
        """Yield what is known to have happened after `revision`.

        Raises:
            ApiError: 410, when some of it is no longer known.
        """
        ring = self._rings[resource]
        if revision < ring.floor:
            raise too_old(revision, ring.floor)
        return iter([change for change in ring.changes if change.stored.revision > revision])

    def oldest(self, resource: Resource) -> int:
        return self._rings[resource].floor

    def expire(self, resource: Resource | None = None) -> None:
        """Forget past changes (of a resource): every version but the present one is too old to watch from."""
        self.revision += 1
        for each in [resource] if resource else {*self._objects, *self._rings}:
            ring = self._rings[each]
            ring.changes.clear()
            ring.floor = self.revision

    def renumber(self) -> None:
        """Give all objects lower versions, in their order, as a restored backup has; nobody is told."""
        everything = [each for resource in list(self._objects) for each in self.list(resource)]
        self.revision = 1
        for old in sorted(everything, key=lambda each: each.revision):
            self.revision += 1
            obj = old.copy()
            obj["metadata"]["resourceVersion"] = str(self.revision)
            again = Stored(old.resource, old.namespace, old.name, self.revision, obj, _encode(obj))
            self._objects[old.resource][old.namespace][old.name] = again
        self.expire()

    def listen(self, listener: Listener, resource: Resource | None = None) -> Callable[[], None]:
        """Call `listener` at each change (of `resource`, or of all); returns what ends it."""
        self._next_listener += 1
        number = self._next_listener
        into = self._everything if resource is None else self._listeners[resource]
        into[number] = listener
        return lambda: void(into.pop(number, None))

    def _emit(self, change: Change) -> None:
        self._rings[change.stored.resource].append(change)
        for listener in list(self._listeners[change.stored.resource].values()):
            listener(change)
        for listener in list(self._everything.values()):
            listener(change)


def void(_: object) -> None:
    """Drop a value where a callback must return nothing."""
