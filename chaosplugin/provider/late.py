"""Clusters that are there before anybody knows the way to them: requests wait, calls do not."""

import anyio

from chaosplugin.provider.ports import Cluster, ClusterError, Clusters


class LateClusters:
    """Stands for `Clusters` while Kubernetes is still being imported, or its configuration is not usable."""

    def __init__(self) -> None:
        self._found: Clusters | None = None
        self._why: ClusterError | None = None
        self._told = anyio.Event()

    def found(self, clusters: Clusters) -> None:
        """From now on requests reach these."""
        self._found = clusters
        self._told.set()

    def missing(self, why: ClusterError) -> None:
        """From now on requests fail, and are tried again as their commands are."""
        self._found, self._why = None, why
        self._told.set()

    async def home(self) -> Cluster:
        return await (await self._wait()).home()

    def home_now(self) -> Cluster | None:
        return self._found.home_now() if self._found is not None else None

    async def endpoint(self, url: str, namespace: str, secret: str, *, begins: bool = False) -> Cluster:
        return await (await self._wait()).endpoint(url, namespace, secret, begins=begins)

    async def _wait(self) -> Clusters:
        await self._told.wait()
        if self._found is not None:
            return self._found
        raise self._why or ClusterError("no cluster")
