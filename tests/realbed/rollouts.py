"""Argo Rollouts in the bed: upstream's CRDs, role and ServiceAccount, and the real controller."""

import json
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.realbed.api import Json
from tests.realbed.bed import Bed, load_yaml
from tests.realbed.processes import free_port

NAMESPACE = "argo-rollouts"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Version:
    """A release line of Argo Rollouts; `part` is its name in `build`."""

    part: str
    release: str

    @property
    def binary(self) -> str:
        return self.part.replace("argo", "rollouts-controller")


VERSIONS = (Version("argo", "v1.9.1"), Version("argo-next", "v1.10.1"))


class ArgoRollouts:
    """The controller in a bed; it reads its list of plugins when it starts.

    Its folder `work`/argo is its working directory, and holds plugin-bin and the kubeconfig of its
    ServiceAccount, which the plugin inherits.
    """

    def __init__(self, bed: Bed, version: Version) -> None:
        self.bed, self.version = bed, version
        self.folder = bed.work / "argo"
        self.folder.mkdir(exist_ok=True)

    def install(self) -> None:
        """Apply what upstream's install manifest does, without a Deployment."""
        bed, api = self.bed, self.bed.api
        manifests = bed.cache / "manifests" / self.version.part
        bed.make_namespace(NAMESPACE)
        bed.install_crds(manifests / "crds")
        for role in load_yaml(manifests / "argo-rollouts-clusterrole.yaml"):
            api.apply(f"{_RBAC}/clusterroles", role)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAMESPACE}}
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        api.apply(accounts, account)
        subject = {"kind": "ServiceAccount", "name": NAMESPACE, "namespace": NAMESPACE}
        role_ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAMESPACE}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
        binding_spec = {"metadata": {"name": NAMESPACE}, "roleRef": role_ref, "subjects": [subject]}
        api.apply(f"{_RBAC}/clusterrolebindings", {**binding, **binding_spec})
        day = {"spec": {"expirationSeconds": 86400}}
        token = api.create(f"{accounts}/{NAMESPACE}/token", day)["status"]["token"]
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(api.kubeconfig(NAMESPACE, token))

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def configure(self, plugins: Sequence[Json]) -> None:
        """Register metric plugins: each with name, location and perhaps args."""
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argo-rollouts-config"}}
        data = {"metricProviderPlugins": json.dumps(list(plugins))}
        self.bed.api.apply(f"/api/v1/namespaces/{NAMESPACE}/configmaps", {**config, "data": data})

    def start(self, *flags: str) -> None:
        health = free_port()
        self.bed.processes.start(
            "argo",
            self.bed.cache / "bin" / self.version.binary,
            f"--kubeconfig={self.kubeconfig}",
            f"--healthzPort={health}",
            f"--metricsPort={free_port()}",
            "--leader-elect=false",
            "--loglevel=debug",
            *flags,
            cwd=self.folder,
            env={"POD_NAMESPACE": NAMESPACE, "KUBECONFIG": str(self.kubeconfig)},
            parent_died=signal.SIGTERM,
        )
        self.bed.processes.until("argo healthy", "argo", lambda: _healthy(health))

    @property
    def pid(self) -> int:
        return self.bed.processes.running["argo"].pid

    def stop(self, *, kill: bool = False) -> None:
        self.bed.processes.stop("argo", kill=kill)


def _healthy(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1) as s:
        s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return b" 200 " in s.recv(100)
