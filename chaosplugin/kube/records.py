"""A cluster in which ConfigMaps of ours stand for AnalysisRuns: the one provider gates by them as by those.

What `core/record.py` says of such a record is translated here, in both directions; pods, Rollouts and
experiments are those of the cluster.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from chaosplugin.core import record
from chaosplugin.core.objects import AnalysisRun, ChaosObject
from chaosplugin.core.record import Record
from chaosplugin.core.topics import AnalysisRunsTopic, Applied, Deleted, OthersTopic, Topic, WatchEvent
from chaosplugin.kube import resources
from chaosplugin.kube.client import KubernetesCluster
from chaosplugin.kube.leases import Lease
from chaosplugin.kube.resources import Collection
from chaosplugin.kube.tokens import TokenReviews
from chaosplugin.provider.ports import Access, NotFound, Tell

_ORIGIN = ".gates"
"""ends the origin of their experiments: a plugin's sweep, which knows no records, leaves them alone"""


class RecordCluster(KubernetesCluster):
    """`Cluster` of provider/ports.py, and `Records` of provider/gates.py."""

    @classmethod
    def beside(cls, cluster: KubernetesCluster) -> "RecordCluster":
        """Share the connections and the watches of a cluster."""
        return cls(cluster._session, cluster._streams)  # noqa: SLF001 - it is one itself

    async def origin(self) -> str:
        found = await super().origin()
        return found and found + _ORIGIN

    async def allowed(self, access: Access) -> bool:
        return await super().allowed(_translated_access(access))

    def allowed_lately(self, access: Access) -> bool | None:
        return super().allowed_lately(_translated_access(access))

    async def read_analysis_run(self, namespace: str, name: str, *, within_s: float = 0.0) -> AnalysisRun:
        del within_s  # a record has one gate, so nobody else has read it
        return record.as_analysis_run((await self.read_record(namespace, name)).metadata)

    async def patch_analysis_run(self, namespace: str, name: str, patch: Mapping[str, object]) -> AnalysisRun:
        return record.as_analysis_run((await self.patch_record(namespace, name, patch)).metadata)

    async def create_chaos(self, manifest: Mapping[str, object]) -> ChaosObject:
        return await super().create_chaos(record.owned(manifest))

    async def create_event(self, manifest: Mapping[str, object]) -> bool:
        return await super().create_event(record.about(manifest))

    @asynccontextmanager
    async def watch(self, topic: Topic) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async with super().watch(topic) as events:
            yield _all_translated(events) if isinstance(topic, AnalysisRunsTopic) else events

    async def follow(self, topic: Topic, tell: Tell) -> Callable[[], None]:
        if isinstance(topic, AnalysisRunsTopic):
            return await super().follow(topic, lambda *events: tell(*map(_translated, events)))
        return await super().follow(topic, tell)

    def follow_now(self, topic: Topic, tell: Tell) -> Callable[[], None] | None:
        translated = isinstance(topic, AnalysisRunsTopic | OthersTopic)
        return None if translated else super().follow_now(topic, tell)

    async def _collection(self, topic: Topic) -> Collection:
        match topic:  # what stands for AnalysisRuns, and what is the other sort here
            case AnalysisRunsTopic(namespace):
                return await super()._collection(OthersTopic(namespace))
            case OthersTopic(namespace):
                return await super()._collection(AnalysisRunsTopic(namespace))
            case _:
                return await super()._collection(topic)

    # -- what only servers need

    def tokens(self, audiences: Sequence[str]) -> TokenReviews:
        """Return what reviews tokens that are for one of these audiences; without any, for the API server."""
        return TokenReviews(self._verbs, audiences)

    def lease(self, namespace: str, name: str, holder: str) -> Lease:
        """Return a Lease that may be taken."""
        return Lease(self._session, namespace, name, holder)

    # -- records themselves

    async def may_follow(self, namespace: str) -> bool:
        """Tell whether the records of a namespace, or of all (""), may be followed. Raises: ClusterError."""
        for verb in ("list", "watch"):
            if not await self.allowed(Access(verb, "", "configmaps", namespace)):
                return False
        return True

    async def create_record(self, manifest: Mapping[str, object]) -> Record:
        return await self._verbs.create(resources.CONFIG_MAPS, manifest, Record)

    async def read_record(self, namespace: str, name: str) -> Record:
        """Raises: NotFound, also for a ConfigMap that is none of ours."""
        found = await self._verbs.read(resources.CONFIG_MAPS, namespace, name, Record)
        if record.asked_of(found) is None:
            raise NotFound(f"ConfigMap {namespace}/{name} is no gate of chaosplugin")
        return found

    async def patch_record(self, namespace: str, name: str, patch: Mapping[str, object]) -> Record:
        return await self._verbs.patch(resources.CONFIG_MAPS, namespace, name, patch, Record)

    async def list_records(self, namespace: str) -> list[Record]:
        query = {"labelSelector": record.SELECTOR}
        return await self._verbs.list(resources.CONFIG_MAPS, namespace, query, Record)

    async def delete_record(self, namespace: str, name: str, uid: str) -> None:
        await self._verbs.delete(resources.CONFIG_MAPS, namespace, name, uid)


def _translated_access(access: Access) -> Access:
    if access.resource != "analysisruns":
        return access
    return access._replace(group="", resource="configmaps")


async def _all_translated(events: AsyncIterator[WatchEvent]) -> AsyncIterator[WatchEvent]:
    async for event in events:
        yield _translated(event)


def _translated(event: WatchEvent) -> WatchEvent:
    match event:
        case Applied(topic, AnalysisRun() as found):
            return Applied(topic, record.as_analysis_run(found.metadata))
        case Deleted(topic, AnalysisRun() as found):
            return Deleted(topic, record.as_analysis_run(found.metadata))
        case _:
            return event
