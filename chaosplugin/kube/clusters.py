"""The clusters of this process: home, and the endpoints that configurations name.

An endpoint's connection is kept by a task of its own, made by the first gate that wants it, and shared
by all gates that name the same URL and Secret. It is closed some minutes after the last of them: until a gate
is over it follows its experiment there, and undoes it with the credentials that were good when it began.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import anyio
from anyio.abc import TaskGroup, TaskStatus

from chaosplugin.kube.client import DEFAULT_RATE, KubernetesCluster, connect, connect_endpoint
from chaosplugin.kube.records import RecordCluster
from chaosplugin.kube.secret import SecretCredential
from chaosplugin.provider.facts import Observer

_KEPT_S = 300.0
"""How long an endpoint's connection is kept after its last use."""


@dataclass(slots=True)
class _Endpoint:
    credential: SecretCredential
    cluster: KubernetesCluster
    used_at: float
    """by time.monotonic()"""


class KubernetesClusters:
    """`Clusters` of provider/ports.py."""

    def __init__(
        self,
        home: KubernetesCluster,
        tasks: TaskGroup,
        clock: Callable[[], datetime],
        rate: float = DEFAULT_RATE,
        observer: Observer | None = None,
        kept_s: float = _KEPT_S,
    ) -> None:
        self._home = home
        self._tasks = tasks
        self._clock = clock
        self._rate = rate
        self._observer = observer
        self._kept_s = kept_s
        self._endpoints: dict[tuple[str, str, str], _Endpoint] = {}
        self._connecting: defaultdict[tuple[str, str, str], anyio.Lock] = defaultdict(anyio.Lock)
        """a lock for each endpoint, as a Secret that cannot be read is to hold up nobody else"""
        self.records = RecordCluster.beside(home)
        """home once more, with records in the place of AnalysisRuns"""

    def of_records(self) -> "KubernetesClusters":
        """Return the same, with records for AnalysisRuns at home."""
        return KubernetesClusters(self.records, self._tasks, self._clock, self._rate, self._observer)

    async def home(self) -> KubernetesCluster:
        return self._home

    def home_now(self) -> KubernetesCluster:
        return self._home

    async def endpoint(
        self, url: str, namespace: str, secret: str, *, begins: bool = False
    ) -> KubernetesCluster:
        key = (url, namespace, secret)
        known = self._endpoints.get(key)
        if known is None:
            async with self._connecting[key]:
                known = self._endpoints.get(key)
                if known is None:
                    known = await self._tasks.start(self._hold, key)
                    begins = False  # it has just been read
        known.used_at = time.monotonic()
        if begins:
            await known.credential.refresh()
        return known.cluster

    async def _hold(self, key: tuple[str, str, str], *, task_status: TaskStatus[_Endpoint]) -> None:
        """Keep a connection until nobody has used it for a while."""
        url, namespace, secret = key
        credential = SecretCredential(
            url, f"{namespace}/{secret}", partial(self._home.read_secret, namespace, secret)
        )
        async with connect_endpoint(
            credential, clock=self._clock, rate=self._rate, observer=self._observer
        ) as cluster:
            made = self._endpoints[key] = _Endpoint(credential, cluster, used_at=time.monotonic())
            task_status.started(made)
            while time.monotonic() - made.used_at < self._kept_s:
                await anyio.sleep(self._kept_s / 4)
                if not cluster.idle:
                    made.used_at = time.monotonic()
            del self._endpoints[key]
            self._connecting.pop(key, None)


@asynccontextmanager
async def open_clusters(
    kubeconfig: str | None,
    *,
    clock: Callable[[], datetime],
    rate: float = DEFAULT_RATE,
    observer: Observer | None = None,
) -> AsyncIterator[KubernetesClusters]:
    """Use the home cluster, and further ones as they are asked for, each at `rate` requests per second.

    Raises:
        NoCluster: there is no usable configuration of the home cluster.
    """
    async with (
        connect(kubeconfig, clock=clock, rate=rate, observer=observer) as home,
        anyio.create_task_group() as tasks,
    ):
        yield KubernetesClusters(home, tasks, clock, rate, observer)
        tasks.cancel_scope.cancel()
