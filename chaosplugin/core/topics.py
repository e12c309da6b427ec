"""What can be watched, and what a watch tells.

A topic is a set of objects in one cluster. Its events come in the order of the API server: first an
`Applied` for each object that is there, then `Synced`, then the changes. After a gap the reflector
tells what was missed as ordinary events and says `Synced` again; a deletion that happened in the gap
is told as `Deleted` with the object as last seen.

Nothing here has subclasses. Where each event passes, `type(event) is Applied` is asked: `isinstance`, and a
match, which asks it, cost five times as much where the answer is no, as these classes have a metaclass.
"""

from msgspec import Struct

from chaosplugin.core.objects import AnalysisRun, ChaosObject, Event, Pod, ReplicaSet


class _Topic(Struct, frozen=True, gc=False):
    """Hashed and compared at each event: a dataclass would do so in Python."""


class ChaosTopic(_Topic, frozen=True):
    """Experiments of one kind that carry our managed-by label, in one namespace."""

    kind: str  # key of core.kinds.KINDS, e.g. "PodChaos"
    namespace: str


class ChildrenTopic(_Topic, frozen=True):
    """Experiments of one kind that something has spawned: they carry the label `key`, whatever its value."""

    kind: str
    namespace: str
    key: str


class PodsTopic(_Topic, frozen=True):
    """Pods of one namespace with `label` = `value`."""

    namespace: str
    label: str
    value: str


class AnalysisRunsTopic(_Topic, frozen=True):
    """AnalysisRuns of one namespace, or of all (""), that carry our mark, the label chaosplugin.io/gate."""

    namespace: str


class OthersTopic(_Topic, frozen=True):
    """The same of the other sort: ConfigMaps of gates without an analysis, told as AnalysisRuns.

    Where these stand for AnalysisRuns it is the real ones. Who may not watch them is told of none.
    """

    namespace: str


class EventsTopic(_Topic, frozen=True):
    """Warning Events with reason Failed about chaos-mesh.org objects of one namespace."""

    namespace: str


class ReplicaSetsTopic(_Topic, frozen=True):
    """ReplicaSets of one namespace that carry Argo's label of the pod template's hash."""

    namespace: str


Topic = (
    ChaosTopic | ChildrenTopic | PodsTopic | AnalysisRunsTopic | OthersTopic | EventsTopic | ReplicaSetsTopic
)
Watched = ChaosObject | Pod | AnalysisRun | Event | ReplicaSet


class Applied(Struct, frozen=True, gc=False):
    """The object is there, or has changed."""

    topic: Topic
    object: Watched


class Deleted(Struct, frozen=True, gc=False):
    """The object is gone; `object` is its last state (which the real server sends, too)."""

    topic: Topic
    object: Watched


class Synced(Struct, frozen=True):
    """All that is there has been told."""

    topic: Topic


class Lost(Struct, frozen=True):
    """The watch cannot be had now, and is tried again: `reason` says why, in words."""

    topic: Topic
    reason: str


WatchEvent = Applied | Deleted | Synced | Lost
