"""The clusters of this process: home, and the endpoints that configurations name.

An endpoint's connection is kept by a task of its own, made by the first gate that wants it, and shared
by all gates that name the same URL and Secret.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import anyio
from anyio.abc import TaskGroup, TaskStatus

from chaosplugin.kube.client import KubernetesCluster, connect, connect_endpoint


class KubernetesClusters:
    """`Clusters` of provider/ports.py."""

    def __init__(self, home: KubernetesCluster, tasks: TaskGroup, clock: Callable[[], datetime]) -> None:
        self._home = home
        self._tasks = tasks
        self._clock = clock
        self._endpoints: dict[tuple[str, str, str], KubernetesCluster] = {}
        self._connecting = anyio.Lock()

    async def home(self) -> KubernetesCluster:
        return self._home

    async def endpoint(self, url: str, namespace: str, secret: str) -> KubernetesCluster:
        key = (url, namespace, secret)
        async with self._connecting:
            if key not in self._endpoints:
                self._endpoints[key] = await self._tasks.start(self._hold, key)
        return self._endpoints[key]

    async def _hold(self, key: tuple[str, str, str], *, task_status: TaskStatus[KubernetesCluster]) -> None:
        url, namespace, secret = key
        labels, data = await self._home.read_secret(namespace, secret)
        async with connect_endpoint(url, labels, data, clock=self._clock) as cluster:
            task_status.started(cluster)
            await anyio.sleep_forever()


@asynccontextmanager
async def open_clusters(
    kubeconfig: str | None, *, clock: Callable[[], datetime]
) -> AsyncIterator[KubernetesClusters]:
    """Use the home cluster, and further ones as they are asked for.

    Raises:
        NoCluster: there is no usable configuration of the home cluster.
    """
    async with connect(kubeconfig, clock=clock) as home, anyio.create_task_group() as tasks:
        yield KubernetesClusters(home, tasks, clock)
        tasks.cancel_scope.cancel()
