"""Applies a folder of deploy/ as `kubectl apply -k` would: its resources, in the namespace wanted."""

from pathlib import Path

from tests.realbed.api import Api, Json
from tests.realbed.bed import load_yaml

_DEPLOY = Path(__file__).parents[2] / "deploy"
_COLLECTIONS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
}


def resources(folder: str) -> list[Json]:
    """Return the objects that a kustomization names, those of other kustomizations included."""
    return [
        manifest for file in _files(_DEPLOY / folder / "kustomization.yaml") for manifest in load_yaml(file)
    ]


def _files(kustomization: Path) -> list[Path]:
    (content,) = load_yaml(kustomization)
    found: list[Path] = []
    for name in content["resources"]:
        path = kustomization.parent / name
        found += _files(path / "kustomization.yaml") if path.is_dir() else [path]
    return found


def apply(api: Api, folder: str, namespace: str = "") -> None:
    for manifest in resources(folder):
        create(api, manifest, namespace)


def create(api: Api, manifest: Json, namespace: str = "") -> None:
    api.create(_COLLECTIONS[manifest["kind"]].format(namespace=namespace), manifest)
