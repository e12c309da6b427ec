"""A Kubernetes API server, as the provider wants it (`Cluster` of provider/ports.py).

Importing this module costs a tenth of a second, because aiohttp does: do it in a thread, and not before it
is needed.
"""

import base64
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import lru_cache, partial

import anyio
import msgspec

from chaosplugin.core import objects
from chaosplugin.core.config import HASH_LABEL
from chaosplugin.core.objects import (
    AnalysisRun,
    ChaosObject,
    Experiment,
    Metadata,
    Pod,
    ReplicaSet,
    Rollout,
)
from chaosplugin.core.topics import (
    OthersTopic,
    PodsTopic,
    ReplicaSetsTopic,
    Synced,
    Topic,
    Watched,
    WatchEvent,
)
from chaosplugin.imports import import_modules
from chaosplugin.kube import history, resources
from chaosplugin.kube.connection import Connection, in_cluster
from chaosplugin.kube.limiter import Limiter, Priority
from chaosplugin.kube.reflector import Pace
from chaosplugin.kube.resources import Collection
from chaosplugin.kube.reviews import Review, Reviews
from chaosplugin.kube.secret import SecretCredential
from chaosplugin.kube.session import Limits, Session
from chaosplugin.kube.streams import Streams
from chaosplugin.kube.verbs import Verbs
from chaosplugin.provider.facts import Observer, gate
from chaosplugin.provider.ports import (
    Access,
    AlreadyExists,
    ClusterError,
    Denied,
    Invalid,
    NotFound,
    Tell,
)

_MANY = 100  # streams of single canaries; beyond that one stream tells the pods of all
_REMEMBER_S = 600.0  # that the origin may not be read
_LATELY_S = 5.0  # how long a reading is kept for whoever takes one of that age
DEFAULT_RATE = 50.0  # requests per second


class _Secret(msgspec.Struct):
    metadata: Metadata
    data: dict[str, str] | None = None


class _Namespace(msgspec.Struct):
    metadata: Metadata


class _Written(msgspec.Struct):
    """An object of which nothing counts but that it was written."""


class KubernetesCluster:
    """One API server: typed requests, access reviews that are remembered, shared watches."""

    def __init__(self, session: Session, streams: Streams) -> None:
        self._session = session
        self._streams = streams
        self._verbs = Verbs(session)
        self._reviews = Reviews(partial(self._verbs.answer, type_=Review))
        self._read_lately: OrderedDict[tuple[str, str], tuple[float, AnalysisRun]] = OrderedDict()
        self._origin: tuple[float, str] | None = None

    @property
    def idle(self) -> bool:
        """Nothing is asked for or followed now."""
        return self._session.idle and self._streams.idle

    @property
    def clock_offset(self) -> timedelta:
        return self._session.clock_offset

    async def allowed(self, access: Access) -> bool:
        return await self._reviews.allowed(access)

    def allowed_lately(self, access: Access) -> bool | None:
        return self._reviews.remembered(access)

    async def origin(self) -> str:
        if self._origin is None or time.monotonic() >= self._origin[0]:
            try:
                found = await self._verbs.read(resources.NAMESPACES, "", "kube-system", _Namespace)
            except (Denied, NotFound):
                self._origin = (time.monotonic() + _REMEMBER_S, "")
            else:
                self._origin = (float("inf"), found.metadata.uid)
        return self._origin[1]

    # -- Argo's objects and those that it controls

    async def read_analysis_run(self, namespace: str, name: str, *, within_s: float = 0.0) -> AnalysisRun:
        lately = self._read_lately
        now = time.monotonic()
        while lately and next(iter(lately.values()))[0] < now - _LATELY_S:
            lately.popitem(last=False)
        at, found = lately.get((namespace, name), (0.0, None))
        if found is not None and at >= now - within_s:
            return found
        read = await self._verbs.read(resources.ANALYSIS_RUNS, namespace, name, AnalysisRun)
        lately[namespace, name] = now, read  # as it was after that time
        lately.move_to_end((namespace, name))
        return read

    async def list_analysis_runs(self, namespace: str, selector: str) -> list[AnalysisRun]:
        query = {"labelSelector": selector} if selector else {}
        return await self._verbs.list(resources.ANALYSIS_RUNS, namespace, query, AnalysisRun)

    async def patch_analysis_run(self, namespace: str, name: str, patch: Mapping[str, object]) -> AnalysisRun:
        asker = gate.get()
        priority = Priority.VERDICT if asker is None or asker.pressing else Priority.MARK
        return await self._verbs.patch(resources.ANALYSIS_RUNS, namespace, name, patch, AnalysisRun, priority)

    async def read_rollout(self, namespace: str, name: str) -> Rollout:
        return await self._verbs.read(resources.ROLLOUTS, namespace, name, Rollout)

    async def read_experiment(self, namespace: str, name: str) -> Experiment:
        return await self._verbs.read(resources.EXPERIMENTS, namespace, name, Experiment)

    async def list_replica_sets(self, namespace: str, selector: str) -> list[ReplicaSet]:
        label, _, value = selector.partition("=")
        if label == HASH_LABEL and value:
            shared = await self._shared(ReplicaSetsTopic(namespace))
            told = await self._streams.look(shared, (namespace, value))
            if told is not None:
                return [each for each in told if isinstance(each, ReplicaSet)]
        query = {"labelSelector": selector}
        return await self._verbs.list(resources.REPLICA_SETS, namespace, query, ReplicaSet)

    async def read_replica_set(self, namespace: str, name: str) -> ReplicaSet:
        return await self._verbs.read(resources.REPLICA_SETS, namespace, name, ReplicaSet)

    async def find_pod(self, namespace: str, name: str) -> Pod | None:
        query = {"fieldSelector": f"metadata.name={name}"}
        return next(iter(await self._verbs.list(resources.PODS, namespace, query, Pod)), None)

    async def list_pods(self, namespace: str, selector: str) -> list[Pod]:
        return await self._verbs.list(resources.PODS, namespace, {"labelSelector": selector}, Pod)

    async def read_secret(self, namespace: str, name: str) -> tuple[Mapping[str, str], Mapping[str, bytes]]:
        found = await self._verbs.read(resources.SECRETS, namespace, name, _Secret)
        try:
            data = {key: base64.b64decode(text, validate=True) for key, text in (found.data or {}).items()}
        except ValueError:
            raise Invalid(f"Secret {namespace}/{name}: its data is not base64") from None
        return found.metadata.labels or {}, data

    # -- experiments

    async def create_chaos(self, manifest: Mapping[str, object]) -> ChaosObject:
        resource = resources.chaos_resource(str(manifest.get("kind")))
        strict = {"fieldValidation": "Strict"}
        return await self._verbs.create(
            resource, manifest, ChaosObject, Priority.CREATE, query=strict, repeat=False
        )

    async def read_chaos(self, kind: str, namespace: str, name: str) -> ChaosObject:
        return await self._verbs.read(resources.chaos_resource(kind), namespace, name, ChaosObject)

    async def created_since(self, kind: str, namespace: str, name: str, version: str) -> bool | None:
        resource = resources.chaos_resource(kind)
        return await history.created_since(self._session, resource, namespace, name, version)

    async def list_chaos(self, kind: str, namespace: str, selector: str) -> list[ChaosObject]:
        query = {"labelSelector": selector}
        return await self._verbs.list(resources.chaos_resource(kind), namespace, query, ChaosObject)

    async def list_workflow_nodes(self, namespace: str, workflow: str) -> list[ChaosObject]:
        query = {"labelSelector": f"chaos-mesh.org/workflow={workflow}"}
        return await self._verbs.list(resources.WORKFLOW_NODES, namespace, query, ChaosObject)

    async def list_events(self, namespace: str, reason: str) -> list[objects.Event]:
        query = {"fieldSelector": f"reason={reason}"}
        return await self._verbs.list(resources.EVENTS, namespace, query, objects.Event)

    async def patch_chaos(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, object]
    ) -> ChaosObject:
        return await self._verbs.patch(resources.chaos_resource(kind), namespace, name, patch, ChaosObject)

    async def delete_chaos(self, kind: str, namespace: str, name: str, uid: str) -> None:
        resource = resources.chaos_resource(kind)
        await self._verbs.delete(resource, namespace, name, uid, Priority.CLEAN_UP)

    async def release_chaos(self, kind: str, namespace: str, name: str, uid: str) -> None:
        patch = {"metadata": {"uid": uid, "finalizers": None}}  # a wrong uid cannot be patched: 422
        await self._verbs.patch(resources.chaos_resource(kind), namespace, name, patch, ChaosObject)

    # -- Events

    async def create_event(self, manifest: Mapping[str, object]) -> bool:
        if not self._session.ample:
            return False
        with suppress(AlreadyExists):  # sent twice, as its first answer was lost
            await self._verbs.create(resources.EVENTS, manifest, _Written, Priority.EVENT)
        return True

    async def patch_event(self, namespace: str, name: str, patch: Mapping[str, object]) -> bool:
        if not self._session.ample:
            return False
        await self._verbs.patch(resources.EVENTS, namespace, name, patch, _Written, Priority.EVENT)
        return True

    # -- watches

    @asynccontextmanager
    async def watch(self, topic: Topic) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        with self._streams.subscribe(await self._collection(topic), topic) as subscription:
            yield subscription

    async def follow(self, topic: Topic, tell: Tell) -> Callable[[], None]:
        collection = await self._collection(topic)
        if isinstance(topic, OthersTopic) and collection.namespace and not await self._may_watch(collection):
            tell(Synced(topic))
            return _leave
        return self._streams.follow(collection, topic, tell)

    def follow_now(self, topic: Topic, tell: Tell) -> Callable[[], None] | None:
        collection = None if type(topic) is OthersTopic else self._collection_now(topic)
        return self._streams.follow(collection, topic, tell) if collection else None

    async def _collection(self, topic: Topic) -> Collection:
        """Choose a stream: where we may, all namespaces share one, and each topic gets its part."""
        return self._collection_now(topic) or await self._shared(topic)

    def _collection_now(self, topic: Topic) -> Collection | None:
        """Choose it by what is remembered of our rights; None: that is not enough."""
        if type(topic) is PodsTopic and self._streams.count(resources.PODS) < _MANY:
            return resources.collection(topic)
        everywhere, found = resources.shared(topic)
        known = [self._reviews.remembered(access) for access in _watching(everywhere)]
        if None in known:
            return None
        return everywhere if all(known) else found

    async def settled(self, topic: Topic) -> None:
        await self._streams.settle(await self._collection(topic))

    def follows(self, topic: Topic) -> bool:
        return self._streams.in_sync((resources.collection(topic), *resources.shared(topic)))

    def told(self, topic: Topic, name: str, *, listed_within_s: float = float("inf")) -> Watched | None:
        for collection in resources.shared(topic):
            told = self._streams.find(collection, topic.namespace, name, listed_within_s=listed_within_s)
            if told is not None:
                return told
        return None

    async def _shared(self, topic: Topic) -> Collection:
        """Return the largest collection that holds the topic and may be watched."""
        everywhere, found = resources.shared(topic)
        try:
            return everywhere if await self._may_watch(everywhere) else found
        except ClusterError:
            return found  # it needs no more rights to watch the one namespace, and its failure will be told

    async def _may_watch(self, found: Collection) -> bool:
        """Raises: ClusterError."""
        for access in _watching(found):
            if not await self._reviews.allowed(access):
                return False
        return True


@lru_cache(1024)
def _watching(found: Collection) -> Sequence[Access]:
    """What must be allowed to watch it."""
    resource = found.resource
    return [Access(verb, resource.group, resource.plural, found.namespace) for verb in ("list", "watch")]


@asynccontextmanager
async def connect(
    kubeconfig: str | None,
    *,
    clock: Callable[[], datetime],
    rate: float = DEFAULT_RATE,
    limits: Limits | None = None,
    pace: Pace | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[KubernetesCluster]:
    """Use the cluster of a kubeconfig's current context; without one, the cluster that we run in.

    No request is made yet.

    Raises:
        NoCluster: neither is usable.
    """
    connection = await (_from_kubeconfig(kubeconfig, clock) if kubeconfig else in_cluster())
    async with _serve(
        connection, clock=clock, rate=rate, limits=limits, pace=pace, observer=observer
    ) as cluster:
        yield cluster


@asynccontextmanager
async def connect_endpoint(
    credential: SecretCredential,
    *,
    clock: Callable[[], datetime],
    rate: float = DEFAULT_RATE,
    limits: Limits | None = None,
    pace: Pace | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[KubernetesCluster]:
    """Use another API server, with the credentials of a Secret and no others.

    Raises:
        ClusterError: the Secret cannot be read; the endpoint is no https URL, or the Secret holds something
            that is not taken.
    """
    connection = await credential.connection()
    async with _serve(
        connection, clock=clock, rate=rate, limits=limits, pace=pace, observer=observer
    ) as cluster:
        yield cluster


async def _from_kubeconfig(path: str, clock: Callable[[], datetime]) -> Connection:
    await import_modules("chaosplugin.kube.kubeconfig")
    from chaosplugin.kube.kubeconfig import from_kubeconfig  # noqa: PLC0415 - it has been imported

    return await from_kubeconfig(path, clock=clock)


@asynccontextmanager
async def _serve(
    connection: Connection,
    *,
    clock: Callable[[], datetime],
    rate: float,
    limits: Limits | None,
    pace: Pace | None,
    observer: Observer | None,
) -> AsyncIterator[KubernetesCluster]:
    session = Session(
        connection,
        clock=clock,
        limiter=Limiter(rate, burst=max(50, round(rate))),
        limits=limits or Limits(),
        observer=observer,
    )
    try:
        async with anyio.create_task_group() as group:
            yield KubernetesCluster(session, Streams(session, group, pace or Pace(), observer))
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await session.aclose()


def _leave() -> None:
    """End nothing, as nothing is followed."""
