"""What a collection holds, as last told; it turns states into changes, also across a gap."""

from collections.abc import Iterator
from dataclasses import dataclass

from chaosplugin.core.topics import Watched


@dataclass(frozen=True, slots=True)
class Present:
    """The object is there, new or changed."""

    object: Watched


@dataclass(frozen=True, slots=True)
class Absent:
    """The object is gone; as last seen."""

    object: Watched


@dataclass(frozen=True, slots=True)
class Complete:
    """All that is there has been told."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The collection cannot be watched now."""

    reason: str


Change = Present | Absent | Complete | Failing


class Store:
    """Objects by namespace and name. Every method yields the changes that it makes."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], Watched] = {}
        self._unconfirmed: set[tuple[str, str]] = set()

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def begin_replace(self) -> None:
        """Say that a full list follows: what it does not confirm was deleted unseen."""
        self._unconfirmed = set(self._objects)

    def apply(self, found: Watched) -> Iterator[Change]:
        """Take a state; one that is known already is no change."""
        key = _key(found)
        self._unconfirmed.discard(key)
        known = self._objects.get(key)
        if known is not None and known.metadata.uid != found.metadata.uid:
            yield Absent(known)  # deleted and created anew while we did not look
        elif known is not None and known.metadata.resource_version == found.metadata.resource_version:
            return
        self._objects[key] = found
        yield Present(found)

    def remove(self, found: Watched) -> Iterator[Change]:
        """Take a deletion."""
        key = _key(found)
        self._unconfirmed.discard(key)
        known = self._objects.get(key)
        if known is not None and known.metadata.uid == found.metadata.uid:
            del self._objects[key]
            yield Absent(found)

    def end_replace(self) -> Iterator[Change]:
        """Say that the full list is at its end."""
        for key in sorted(self._unconfirmed):
            yield Absent(self._objects.pop(key))
        self._unconfirmed = set()
        yield Complete()


def _key(found: Watched) -> tuple[str, str]:
    return found.metadata.namespace, found.metadata.name
