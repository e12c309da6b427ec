"""What the provider needs of the outside: a cluster. `kube` implements it, and is not imported here."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NamedTuple, Protocol

from chaosplugin.core.objects import (
    AnalysisRun,
    ChaosObject,
    Event,
    Experiment,
    Pod,
    ReplicaSet,
    Rollout,
)
from chaosplugin.core.topics import Topic, Watched, WatchEvent


class ClusterError(Exception):
    """A request that the API server did not fulfil. `str()` is one line for a user.

    `status` is the HTTP status, 0 where there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFound(ClusterError):
    """404: no such object, or no such kind (the CRD is not installed): see `no_kind`."""

    def __init__(self, message: str, *, no_kind: bool = False) -> None:
        super().__init__(message, status=404)
        self.no_kind = no_kind


class AlreadyExists(ClusterError):
    """409 on create: the name is taken, perhaps by an object that is being deleted."""


class Conflict(ClusterError):
    """409 on patch or delete: the object has changed, or is another one (uid precondition)."""


class Denied(ClusterError):
    """401 or 403: RBAC or an admission webhook refused."""


class Invalid(ClusterError):
    """400, 413, 415 or 422: the API server understood, and refuses the object."""


class Unavailable(ClusterError):
    """No answer, or 429 or 5xx after all retries. `sent` says whether a request may have arrived."""

    def __init__(self, message: str, *, status: int = 0, sent: bool) -> None:
        super().__init__(message, status=status)
        self.sent = sent


class Overdue(ClusterError):
    """A create that was not sent, as its turn has not come in time: what it rests on may be so no more."""


class Tell(Protocol):
    """Is told events of a watch, in their order: several at once, if they come together."""

    def __call__(self, *events: WatchEvent) -> None: ...


class Access(NamedTuple):
    """A question to SelfSubjectAccessReview; an empty namespace means cluster-wide."""

    verb: str
    group: str
    resource: str
    namespace: str = ""


class Cluster(Protocol):
    """One Kubernetes API server. Every method raises only ClusterError, and can be cancelled.

    Idempotent requests are repeated within a bounded time; a create is sent once, so that
    `Unavailable.sent` is the truth.
    """

    @property
    def clock_offset(self) -> timedelta:
        """API server's clock minus ours: the largest `Date` header minus local time seen lately."""
        ...

    async def allowed(self, access: Access) -> bool:
        """Ask whether we may; answers are cached for 10 minutes."""
        ...

    def allowed_lately(self, access: Access) -> bool | None:
        """Return what is remembered of such a question; None: it has to be asked."""
        ...

    async def origin(self) -> str:
        """Return the uid of namespace kube-system, or "" where it may not be read."""
        ...

    async def read_analysis_run(self, namespace: str, name: str, *, within_s: float = 0.0) -> AnalysisRun:
        """Read, or take what was read within the last seconds."""
        ...

    async def list_analysis_runs(self, namespace: str, selector: str) -> list[AnalysisRun]:
        """List by label selector; an empty namespace means all of them."""
        ...

    async def patch_analysis_run(self, namespace: str, name: str, patch: Mapping[str, object]) -> AnalysisRun:
        """Merge-patch; a `metadata.resourceVersion` in it makes Conflict possible."""
        ...

    async def read_rollout(self, namespace: str, name: str) -> Rollout: ...

    async def read_experiment(self, namespace: str, name: str) -> Experiment: ...

    async def list_replica_sets(self, namespace: str, selector: str) -> list[ReplicaSet]:
        """List; those of one hash of Argo's label are taken from a watch, so they may be moments old."""
        ...

    async def read_replica_set(self, namespace: str, name: str) -> ReplicaSet: ...

    async def find_pod(self, namespace: str, name: str) -> Pod | None:
        """LIST by field selector: upstream's role allows no GET of pods."""
        ...

    async def list_pods(self, namespace: str, selector: str) -> list[Pod]: ...

    async def read_secret(self, namespace: str, name: str) -> tuple[Mapping[str, str], Mapping[str, bytes]]:
        """Return labels and decoded data."""
        ...

    async def create_chaos(self, manifest: Mapping[str, object]) -> ChaosObject:
        """POST with fieldValidation=Strict; Overdue where others went first for long."""
        ...

    async def read_chaos(self, kind: str, namespace: str, name: str) -> ChaosObject: ...

    async def created_since(self, kind: str, namespace: str, name: str, version: str) -> bool | None:
        """Whether the experiment was created after that resourceVersion; None: that is not known any more."""
        ...

    async def list_chaos(self, kind: str, namespace: str, selector: str) -> list[ChaosObject]:
        """List by label selector; an empty namespace means all of them."""
        ...

    async def list_workflow_nodes(self, namespace: str, workflow: str) -> list[ChaosObject]:
        """List the nodes of a Workflow."""
        ...

    async def list_events(self, namespace: str, reason: str) -> list[Event]: ...

    async def patch_chaos(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, object]
    ) -> ChaosObject: ...

    async def delete_chaos(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """DELETE with uid precondition: Conflict if another object bears the name, NotFound if none."""
        ...

    async def release_chaos(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Remove all finalizers; Invalid if another object bears the name, NotFound if none."""
        ...

    async def create_event(self, manifest: Mapping[str, object]) -> bool:
        """POST a core/v1 Event; False: not sent, as requests of more weight wait, or may soon."""
        ...

    async def patch_event(self, namespace: str, name: str, patch: Mapping[str, object]) -> bool:
        """Merge-patch an Event, likewise."""
        ...

    async def follow(self, topic: Topic, tell: Tell) -> Callable[[], None]:
        """Let `tell` be called with all that is there of a topic, and then as it changes.

        It is called by the loop, and must not wait; what this returns ends it. One stream per topic is
        shared, and closed 60 s after its last follower; its failures are told as `Lost`.
        """
        ...

    def follow_now(self, topic: Topic, tell: Tell) -> Callable[[], None] | None:
        """Do the same without waiting; None: what may be watched has to be asked for first."""
        ...

    async def settled(self, topic: Topic) -> None:
        """Wait until a watch of the topic has told all that is there, or has failed; some seconds at most."""
        ...

    def follows(self, topic: Topic) -> bool:
        """Tell whether a watch of the topic is open, and has told all that is there by now.

        Where one was just opened again that is not known for some seconds.
        """
        ...

    def told(self, topic: Topic, name: str, *, listed_within_s: float = float("inf")) -> Watched | None:
        """Return an object as an open watch has told it last; None where it has told of none.

        `listed_within_s`: only if all that is there was told anew within the last seconds.
        """
        ...


class Clusters(Protocol):
    """The clusters of this process: home, and endpoints that the operator allowed."""

    async def home(self) -> Cluster:
        """Return the cluster of the AnalysisRuns.

        Raises:
            ClusterError: nobody could say how to reach it.
        """
        ...

    def home_now(self) -> Cluster | None:
        """Return the same without waiting; None: it is not known yet."""
        ...

    async def endpoint(self, url: str, namespace: str, secret: str, *, begins: bool = False) -> Cluster:
        """Return the cluster at `url`, reached by the Secret of that namespace and name only.

        A gate that `begins` wants the Secret as it is now; one that runs keeps what it has begun with, as
        long as the endpoint accepts it.

        Raises:
            ClusterError: the Secret cannot be read, or is refused; the message names the key.
        """
        ...
