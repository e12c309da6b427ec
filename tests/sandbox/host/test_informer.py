"""What the host's controllers know of the cluster."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio

from chaosplugin.sandbox.api.resources import CONFIG_MAPS
from chaosplugin.sandbox.cluster import Cluster
from chaosplugin.sandbox.host.informer import Informer
from chaosplugin.sandbox.host.requests import Login, connect


async def test_a_restored_backup_is_followed_though_its_versions_are_lower(
    running: Callable[..., AbstractAsyncContextManager[Cluster]],
) -> None:
    key = "default", "a"
    async with running() as cluster, connect(Login(cluster.url, cluster.token())) as requests:
        cluster.api.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default")
        for count in range(200):
            cluster.api.merge(CONFIG_MAPS, *key, {"data": {"count": str(count)}})
        informer = Informer(requests, CONFIG_MAPS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(informer.run)
            with anyio.fail_after(10):
                while not cluster.server.watches:
                    await anyio.sleep(0.01)

                cluster.faults.restore_backup()
                cluster.api.merge(CONFIG_MAPS, *key, {"data": {"count": "restored"}})

                while (informer.get(key) or {})["data"]["count"] != "restored":
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
