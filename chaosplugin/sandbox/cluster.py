"""The embedded cluster as one object: API server, users, controllers."""

import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import msgspec

from chaosplugin.sandbox import certificate
from chaosplugin.sandbox.api.access import (
    ARGO_ROLLOUTS,
    MASTERS,
    PLUGIN_ROLE,
    SYSTEM,
    UPSTREAM_ROLE,
    Access,
    Rule,
    User,
)
from chaosplugin.sandbox.api.faults import Faults
from chaosplugin.sandbox.api.resources import NAMESPACES, TABLE, Object
from chaosplugin.sandbox.api.server import Server
from chaosplugin.sandbox.api.store import Store
from chaosplugin.sandbox.api.verbs import Api, Clock
from chaosplugin.sandbox.chaosmesh.controller import ChaosMesh
from chaosplugin.sandbox.chaosmesh.controller import Pace as ChaosPace
from chaosplugin.sandbox.crds import CrdController
from chaosplugin.sandbox.garbage import DELAY, GarbageCollector
from chaosplugin.sandbox.kubelet import Kubelet
from chaosplugin.sandbox.namespaces import NamespaceController
from chaosplugin.sandbox.namespaces import Pace as NamespacePace
from chaosplugin.sandbox.replicasets import ReplicaSetController

HOME = ("default", "kube-system", "argo-rollouts", "chaos-mesh")
"""Namespaces that are there from the start."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a cluster is set up. Times in seconds; the defaults are those measured on the real components."""

    host: str = "127.0.0.1"
    port: int = 0  # 0 picks a free one
    tls: ssl.SSLContext | None = None
    ca: Path | None = None  # named in kubeconfigs
    bookmark_every: float = 60.0
    garbage_delay: float = DELAY
    nodes: int = 2
    chaos: ChaosPace = field(default_factory=ChaosPace)
    namespaces: NamespacePace = field(default_factory=NamespacePace)


class Cluster:
    """A running cluster. `api` makes calls in process, as the system; `url` takes them over HTTP."""

    def __init__(self, clock: Clock, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self.api = Api(clock)
        self.server = Server(self.api, bookmark_every=settings.bookmark_every)
        self.kubelet = Kubelet(self.api, settings.nodes)
        self.chaos = ChaosMesh(self.api, self.kubelet.restart, settings.chaos)
        self._workers = (
            self.kubelet.run,
            self.chaos.run,
            ReplicaSetController(self.api).run,
            GarbageCollector(self.api, settings.garbage_delay).run,
            NamespaceController(self.api, settings.namespaces).run,
            CrdController(self.api, self.server.faults).run,
        )
        self.add_user(SYSTEM.name, groups=(MASTERS,))
        self.add_user(ARGO_ROLLOUTS, (*UPSTREAM_ROLE, *PLUGIN_ROLE))
        for resource in TABLE:
            if resource.custom:
                self.api.install(resource)
        for namespace in HOME:
            self.add_namespace(namespace)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def store(self) -> Store:
        return self.api.store

    @property
    def faults(self) -> Faults:
        return self.server.faults

    @property
    def access(self) -> Access:
        return self.api.access

    def add_namespace(self, name: str) -> Object:
        return self.api.create(NAMESPACES, {"metadata": {"name": name}}).copy()

    def add_user(self, name: str, rules: Iterable[Rule] = (), groups: tuple[str, ...] = ()) -> str:
        """Give a user rules, and a token, which is returned."""
        token = secrets.token_urlsafe(24)
        self.access.tokens[token] = User(name, groups)
        self.access.grant(name, rules)
        return token

    def token(self, user: str = SYSTEM.name) -> str:
        """Return the token of a user that was added."""
        return next(token for token, known in self.access.tokens.items() if known.name == user)

    def kubeconfig(self, user: str = SYSTEM.name, namespace: str = "default") -> Path:
        """Write the kubeconfig of a user (JSON, which is YAML), readable by its owner only."""
        cluster: Object = {"server": self.url}
        if self._settings.ca is not None:
            cluster["certificate-authority"] = str(self._settings.ca.absolute())
        context = {"cluster": "sandbox", "user": user, "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sandbox",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.token(user)}}],
            "contexts": [{"name": "sandbox", "context": context}],
        }
        path = self._folder / f"{user.replace(':', '-')}.kubeconfig"
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(config)))
        return path

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve and play all controllers until the end of the block."""
        settings = self._settings
        async with (
            self.server.serve(settings.host, settings.port, settings.tls),
            anyio.create_task_group() as tasks,
        ):
            for worker in self._workers:
                tasks.start_soon(worker)
            yield
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def start(clock: Clock, folder: Path, settings: Settings | None = None) -> AsyncIterator[Cluster]:
    """Run a cluster until the end of the block; `folder` takes its kubeconfigs."""
    cluster = Cluster(clock, folder, settings or Settings())
    async with cluster.run():
        yield cluster


async def serve(clock: Clock, folder: Path, announce: Callable[[Cluster], None], port: int = 0) -> None:
    """Run a cluster over TLS until cancelled, for a command line; `announce` is told when it answers.

    `folder` has the kubeconfigs of an administrator and of Argo's controller, and so of a plugin.
    """
    tls, authority = certificate.make(folder, clock())
    async with start(clock, folder, Settings(port=port, tls=tls, ca=authority)) as cluster:
        for user in (SYSTEM.name, ARGO_ROLLOUTS):
            cluster.kubeconfig(user)
        announce(cluster)
        await anyio.sleep_forever()
