"""The embedded cluster as one object: API server, users, controllers."""

import secrets
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

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
from chaosplugin.sandbox.api.resources import NAMESPACES, Object
from chaosplugin.sandbox.api.server import Server
from chaosplugin.sandbox.api.store import Store
from chaosplugin.sandbox.api.verbs import Api, Clock

HOME = ("default", "kube-system", "argo-rollouts", "chaos-mesh")  # namespaces that are there from the start


class Cluster:
    """A running cluster. `api` makes calls in process, as the system; `url` takes them over HTTP."""

    def __init__(self, api: Api, server: Server, folder: Path, ca: Path | None) -> None:
        self.api = api
        self.server = server
        self._folder = folder
        self._ca = ca
        self.add_user(SYSTEM.name, groups=(MASTERS,))
        self.add_user(ARGO_ROLLOUTS, (*UPSTREAM_ROLE, *PLUGIN_ROLE))
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
        return next(token for token, known in self.access.tokens.items() if known.name == user)

    def kubeconfig(self, user: str = SYSTEM.name, namespace: str = "default") -> Path:
        """Write the kubeconfig of a user (JSON, which is YAML) and return its path."""
        cluster: Object = {"server": self.url}
        if self._ca is not None:
            cluster["certificate-authority"] = str(self._ca)
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
async def start(
    clock: Clock,
    folder: Path,
    *,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    ca: Path | None = None,
    bookmark_every: float = 60.0,
) -> AsyncIterator[Cluster]:
    """Run a cluster until the end of the block; `folder` takes its kubeconfigs."""
    api = Api(clock)
    server = Server(api, bookmark_every=bookmark_every)
    async with server.serve(port=port, tls=tls):
        yield Cluster(api, server, folder, ca)
