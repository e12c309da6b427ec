"""What a collection holds, as last told; it turns states into changes, also across a gap."""

from collections.abc import Iterator, Sequence
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from chaosplugin.core.topics import Watched


class Present(Struct, frozen=True, gc=False):
    """The object is there, new or changed."""

    object: Watched


class Absent(Struct, frozen=True, gc=False):
    """The object is gone; as last seen."""

    object: Watched


class Complete(Struct, frozen=True):
    """All that is there has been told."""


class Failing(Struct, frozen=True):
    """The collection cannot be watched now."""

    reason: str


Change = Present | Absent | Complete | Failing


class Store:
    """Objects of one type by namespace and name. Every method returns the changes that it makes."""

    def __init__(self, type_: type[Watched]) -> None:
        self._objects: dict[tuple[str, str], Watched] = {}
        self._unconfirmed: set[tuple[str, str]] = set()
        self._all_but_metadata = attrgetter(*(name for name in type_.__struct_fields__ if name != "metadata"))

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._objects.values()))

    def get(self, namespace: str, name: str) -> Watched | None:
        return self._objects.get((namespace, name))

    def __len__(self) -> int:
        return len(self._objects)

    def begin_replace(self) -> None:
        """Say that a full list follows: what it does not confirm was deleted unseen."""
        self._unconfirmed = set(self._objects)

    def apply(self, found: Watched) -> Sequence[Change]:
        """Take a state; one that differs in nothing but its version is no change."""
        key = _key(found)
        self._unconfirmed.discard(key)
        known = self._objects.get(key)
        self._objects[key] = found
        if known is None:
            return (Present(found),)
        if known.metadata.uid != found.metadata.uid:
            return (Absent(known), Present(found))  # deleted and created anew while we did not look
        return () if self._same(known, found) else (Present(found),)

    def remove(self, found: Watched) -> Sequence[Change]:
        """Take a deletion."""
        key = _key(found)
        known = self._objects.get(key)
        if known is None or known.metadata.uid != found.metadata.uid:
            return ()
        self._unconfirmed.discard(key)
        del self._objects[key]
        return (Absent(found),)

    def end_replace(self) -> Sequence[Change]:
        """Say that the full list is at its end."""
        missed = [Absent(self._objects.pop(key)) for key in sorted(self._unconfirmed)]
        self._unconfirmed = set()
        return (*missed, Complete())

    def _same(self, known: Watched, found: Watched) -> bool:
        """Compare what is read of two states; most writes are of others, about fields that are not."""
        if self._all_but_metadata(known) != self._all_but_metadata(found):
            return False
        version = known.metadata.resource_version
        return replace(found.metadata, resource_version=version) == known.metadata


def _key(found: Watched) -> tuple[str, str]:
    metadata = found.metadata
    return metadata.namespace, metadata.name
