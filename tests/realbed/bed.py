"""The bed: real etcd, kube-apiserver and controllers on loopback, with nodes and pods that are only played.

`rollouts` and `chaosmesh` put their controllers into it. Everything ends with `close`, or with this process.
"""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from tests.realbed import pki
from tests.realbed.api import Api, Conflict, Json
from tests.realbed.kubelet import Kubelet
from tests.realbed.processes import Processes, free_port

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_CONTROLLERS = (
    "replicaset-controller",
    "deployment-controller",
    "job-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
)


class Bed:
    """`cache` is what `build` filled; `work` holds state and logs. `api` calls as an administrator."""

    def __init__(self, cache: Path, work: Path, nodes: int = 2) -> None:
        self.cache, self.work = cache, work
        self.processes = Processes(work)
        self._kubebed = cache / "bin" / "kubebed"
        self.pki = work / "pki"
        pki.make(self.pki)
        token = base64.b16encode(os.urandom(16)).decode()
        tokens = self.pki / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f"{token},admin,admin,system:masters\n")
        self._port = free_port()
        self.api = Api(f"https://127.0.0.1:{self._port}", token=token, ca=self.pki / "ca.crt")
        self.kubeconfig = work / "kubeconfig"
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(self.api.kubeconfig())
        self.kubelet = Kubelet(self.api, nodes)

    def start(self) -> None:
        """Start the control plane, and wait until it works."""
        self._etcd_port = self._start_etcd()
        self.start_apiserver()
        self.start_controllers()
        self.kubelet.make_nodes()
        self.kubelet.start()

    def _start_etcd(self) -> int:
        port, peer = free_port(), free_port()
        self.processes.start(
            "etcd",
            self._kubebed,
            "etcd",
            f"--data-dir={self.work}/etcd",
            "--unsafe-no-fsync",
            "--logger=zap",
            "--log-level=warn",
            f"--listen-client-urls=http://127.0.0.1:{port}",
            f"--advertise-client-urls=http://127.0.0.1:{port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        )
        return port

    def start_apiserver(self) -> None:
        self.processes.start(
            "apiserver",
            self._kubebed,
            "apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self.pki}/tls.crt",
            f"--tls-private-key-file={self.pki}/tls.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.pki}/sa.key",
            f"--service-account-signing-key-file={self.pki}/sa.key",
            f"--cert-dir={self.pki}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.pki}/tokens.csv",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--v=1",
        )
        self.processes.until(
            "apiserver ready", "apiserver", lambda: self.api.open("GET", "/readyz").read() == b"ok"
        )

    def start_controllers(self) -> None:
        self.processes.start(
            "controllers",
            self._kubebed,
            "controllers",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.pki}/sa.key",
            f"--root-ca-file={self.pki}/ca.crt",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=300",
            f"--controllers={','.join(_CONTROLLERS)}",
        )
        self._until_accounts("default")

    def _until_accounts(self, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        self.processes.until(f"namespace {namespace}", "controllers", lambda: self.api.get(path))

    def make_namespace(self, name: str) -> None:
        """Make sure that the namespace is there, and ready for pods."""
        with suppress(Conflict):
            self.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        self._until_accounts(name)

    def install_crds(self, folder: Path) -> None:
        """Apply every CustomResourceDefinition in the files of `folder`, and wait until they are served."""
        manifests = [manifest for file in sorted(folder.glob("*.yaml")) for manifest in load_yaml(file)]
        names = {
            self.api.apply(CRDS, manifest)["metadata"]["name"]
            for manifest in manifests
            if manifest.get("kind") == "CustomResourceDefinition"
        }
        what = f"{len(names)} CRDs of {folder.name}"
        self.processes.until(what, "apiserver", lambda: names <= self._established())

    def _established(self) -> set[str]:
        return {
            crd["metadata"]["name"]
            for crd in self.api.items(CRDS)
            for condition in crd["status"].get("conditions") or []
            if condition["type"] == "Established" and condition["status"] == "True"
        }

    def close(self) -> None:
        """End everything. Argo is asked, since it ends its plugins; the others would wait for each other."""
        self.kubelet.stop()
        for name in reversed(list(self.processes.running)):
            self.processes.stop(name, kill=name != "argo")

    def describe(self) -> Json:
        return {
            "kubeconfig": str(self.kubeconfig),
            "work": str(self.work),
            "pids": {name: process.pid for name, process in self.processes.running.items()},
            "seconds": self.processes.times,
            "rss_mib": self.processes.resident_mib(),
        }


def load_yaml(file: Path) -> Iterator[Json]:
    """Yield the objects of a YAML file that is ours or comes with a component."""
    with file.open() as stream:
        yield from (manifest for manifest in yaml.load_all(stream, yaml.CSafeLoader) if manifest)


@contextmanager
def running(cache: Path, work: Path, nodes: int = 2) -> Iterator[Bed]:
    """Give a bed with a control plane, and end it."""
    bed = Bed(cache, work, nodes)
    try:
        bed.start()
        yield bed
    finally:
        bed.close()
