"""What Chaos Mesh has selected, against the proof: the last look at the blast radius."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from chaosplugin.core.objects import Record
from chaosplugin.core.scope import Proven


@dataclass(frozen=True, slots=True)
class Violation:
    """Chaos Mesh has selected a pod that is not the canary's: the experiment must go at once."""

    message: str


@dataclass(frozen=True, slots=True)
class Strangers:
    """Selected pods of which nothing is known yet, by name: wait, then look them up."""

    pods: frozenset[str]


def check(
    records: Iterable[Record],
    *,
    namespace: str,
    replica_set: Proven,
    owners: Mapping[str, str],
    absent: Collection[str] = (),
) -> Violation | Strangers | None:
    """Compare what Chaos Mesh has selected with the proof; None: all of it is the canary's.

    `owners`: uid of the controller by name of each pod ever seen, "" for none. `absent`: names that a
    look-up did not find; such a pod counts as the canary's if it is named after its ReplicaSet.
    """
    unknown = set()
    for record in records:
        if record.selector_key != ".":
            continue  # spec.target of a NetworkChaos: a destination
        space, _, rest = record.id.partition("/")
        pod = rest.partition("/")[0]
        owner = owners.get(pod)
        if owner is None and space == namespace and pod not in absent:
            unknown.add(pod)
        elif space != namespace or (
            owner != replica_set.uid if owner is not None else not _named_after(pod, replica_set.name)
        ):
            return Violation(
                f"Chaos Mesh has selected pod {space}/{pod}, which is not of the canary's ReplicaSet "
                f"{replica_set.name}; the experiment is deleted"
            )
    return Strangers(frozenset(unknown)) if unknown else None


def _named_after(pod: str, replica_set: str) -> bool:
    """Pods of a ReplicaSet are named <ReplicaSet>-<5 characters>, the former perhaps shortened."""
    stem, _, suffix = pod.rpartition("-")
    return len(suffix) == 5 and stem == replica_set[:57]
