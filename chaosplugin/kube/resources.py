"""Paths and selectors of the API resources that we read, watch and write."""

from functools import lru_cache
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from chaosplugin.core import record
from chaosplugin.core.config import HASH_LABEL
from chaosplugin.core.kinds import KINDS
from chaosplugin.core.objects import AnalysisRun, ChaosObject, Event, Pod, ReplicaSet
from chaosplugin.core.topics import (
    AnalysisRunsTopic,
    ChaosTopic,
    ChildrenTopic,
    EventsTopic,
    OthersTopic,
    PodsTopic,
    ReplicaSetsTopic,
    Topic,
    Watched,
)
from chaosplugin.provider.ports import Invalid, NotFound

CHAOS_GROUP = "chaos-mesh.org"
MANAGED_BY = "app.kubernetes.io/managed-by=chaosplugin"
GATE_LABEL = "chaosplugin.io/gate"


class Resource(Struct, frozen=True, cache_hash=True):
    """A resource of one API version; `singular` is for messages."""

    group: str  # "" for the core group
    version: str
    plural: str
    singular: str

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the URL path of one object, or of the collection if `name` is empty.

        Raises:
            Invalid: a name that no object can have, and that would lead to another path.
        """
        for segment in (namespace, name):
            if segment in {".", ".."}:
                raise Invalid(f"{self.singular} {namespace}/{name}: {segment!r} is no name")
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/".join(parts)


PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
EVENTS = Resource("", "v1", "events", "Event")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
ROLLOUTS = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
EXPERIMENTS = Resource("argoproj.io", "v1alpha1", "experiments", "Experiment")
ANALYSIS_RUNS = Resource("argoproj.io", "v1alpha1", "analysisruns", "AnalysisRun")
WORKFLOW_NODES = Resource(CHAOS_GROUP, "v1alpha1", "workflownodes", "WorkflowNode")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview")
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")


def chaos_resource(kind: str) -> Resource:
    """Return the resource of a kind of Chaos Mesh.

    Raises:
        NotFound: a kind that the table of kinds does not hold.
    """
    if kind not in KINDS:
        raise NotFound(f"{kind}: no kind of experiment that is known here", no_kind=True)
    return Resource(CHAOS_GROUP, "v1alpha1", KINDS[kind].plural, kind)


class Collection(Struct, frozen=True, cache_hash=True):
    """A set of objects that one stream can tell; an empty `namespace` means all of them."""

    resource: Resource
    type: type[Watched]
    namespace: str
    selectors: tuple[tuple[str, str], ...]  # query parameters
    label: str = ""
    """objects are told apart by its value, where the selector takes any"""

    @property
    def path(self) -> str:
        return self.resource.path(self.namespace)

    @property
    def what(self) -> str:
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"watch {self.resource.plural} {where}"


def belongs(found: Watched, topic: Topic) -> bool:
    """Whether an object of the topic's collection, perhaps of all namespaces, is of the topic itself."""
    if topic.namespace and found.metadata.namespace != topic.namespace:
        return False
    return type(found) is not Event or found.involved_object.kind in KINDS


Part = tuple[str, str]
"""A namespace, and a value of the collection's label: what one topic is about."""
EVERYTHING: Part = ("", "")
"""Of a topic in all namespaces"""


def part_of(found: Watched, label: str) -> Part:
    """Return where an object belongs in a collection of this label."""
    metadata = found.metadata
    return metadata.namespace, (metadata.label(label) or "") if label else ""


def shared(topic: Topic) -> tuple[Collection, Collection]:
    """Return the collections that hold a topic and many more: those of all namespaces, and of its own."""
    if type(topic) is PodsTopic:
        topic = PodsTopic(topic.namespace, topic.label, "")  # any value; so what is remembered serves all
    return _shared(topic)


@lru_cache(1024)
def _shared(topic: Topic) -> tuple[Collection, Collection]:
    own = collection(topic, wide=True)
    return replace(own, namespace=""), own


def collection(  # noqa: PLR0911 - one flat match over the topics
    topic: Topic, *, wide: bool = False
) -> Collection:
    """Return what to watch for a topic, in its own namespace; `wide`: whatever the value of its label."""
    match topic:
        case PodsTopic(namespace, label, _) if wide:
            return Collection(PODS, Pod, namespace, (("labelSelector", label),), label)
        case ReplicaSetsTopic(namespace):
            selectors = (("labelSelector", HASH_LABEL),)
            return Collection(REPLICA_SETS, ReplicaSet, namespace, selectors, HASH_LABEL)
        case ChaosTopic(kind, namespace):
            selectors = (("labelSelector", MANAGED_BY),)
            return Collection(chaos_resource(kind), ChaosObject, namespace, selectors)
        case ChildrenTopic(kind, namespace, key):
            return Collection(chaos_resource(kind), ChaosObject, namespace, (("labelSelector", key),))
        case PodsTopic(namespace, label, value):
            return Collection(PODS, Pod, namespace, (("labelSelector", f"{label}={value}"),))
        case AnalysisRunsTopic(namespace):
            return Collection(ANALYSIS_RUNS, AnalysisRun, namespace, (("labelSelector", GATE_LABEL),))
        case OthersTopic(namespace):
            return Collection(CONFIG_MAPS, AnalysisRun, namespace, (("labelSelector", record.SELECTOR),))
        case EventsTopic(namespace):
            return Collection(EVENTS, Event, namespace, (("fieldSelector", "reason=Failed,type=Warning"),))
