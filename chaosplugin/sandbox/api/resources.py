"""Which resources the server serves, and which of their rules differ."""

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as JSON. Objects inside the store are never mutated; callers get copies."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource.

    `status` says whether there is a /status subresource; `generation` whether metadata.generation is kept;
    `custom` whether it comes from a CRD, which decides pruning, texts and the shape of lists.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False
    generation: bool = True
    custom: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`podchaos.chaos-mesh.org`, `pods`: how errors name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """`PodChaos.chaos-mesh.org`, `Pod`: how validation errors name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


def _core(plural: str, kind: str, *, namespaced: bool = True, status: bool = False) -> Resource:
    return Resource("", "v1", plural, kind, namespaced, status, generation=plural == "pods", custom=False)


def _built_in(
    group: str, plural: str, kind: str, *, namespaced: bool = True, status: bool = False
) -> Resource:
    return Resource(group, "v1", plural, kind, namespaced, status, generation=status, custom=False)


def _argo(plural: str, kind: str, *, namespaced: bool = True, status: bool = False) -> Resource:
    return Resource("argoproj.io", "v1alpha1", plural, kind, namespaced, status)


def _chaos(kind: str, plural: str = "", *, status: bool = False) -> Resource:
    return Resource("chaos-mesh.org", "v1alpha1", plural or kind.lower(), kind, status=status)


NAMESPACES = _core("namespaces", "Namespace", namespaced=False, status=True)
PODS = _core("pods", "Pod", status=True)
EVENTS = _core("events", "Event")
SECRETS = _core("secrets", "Secret")
SERVICES = _core("services", "Service", status=True)
CONFIG_MAPS = _core("configmaps", "ConfigMap")
NODES = _core("nodes", "Node", namespaced=False, status=True)
REPLICA_SETS = _built_in("apps", "replicasets", "ReplicaSet", status=True)
DEPLOYMENTS = _built_in("apps", "deployments", "Deployment", status=True)
LEASES = _built_in("coordination.k8s.io", "leases", "Lease")
_RBAC = "rbac.authorization.k8s.io"
ROLES = _built_in(_RBAC, "roles", "Role")
ROLE_BINDINGS = _built_in(_RBAC, "rolebindings", "RoleBinding")
CLUSTER_ROLES = _built_in(_RBAC, "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = _built_in(_RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
CRDS = _built_in(
    "apiextensions.k8s.io",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
    status=True,
)
ROLLOUTS = _argo("rollouts", "Rollout", status=True)
ANALYSIS_RUNS = _argo("analysisruns", "AnalysisRun")
ANALYSIS_TEMPLATES = _argo("analysistemplates", "AnalysisTemplate")
CLUSTER_ANALYSIS_TEMPLATES = _argo("clusteranalysistemplates", "ClusterAnalysisTemplate", namespaced=False)
EXPERIMENTS = _argo("experiments", "Experiment")
POD_CHAOS = _chaos("PodChaos")
CHAOS_KINDS = (
    POD_CHAOS,
    *map(
        _chaos,
        (
            "NetworkChaos",
            "StressChaos",
            "IOChaos",
            "HTTPChaos",
            "TimeChaos",
            "DNSChaos",
            "KernelChaos",
            "JVMChaos",
            "BlockChaos",
        ),
    ),
)
"""Chaos Mesh's experiment kinds that select pods. None of them has a /status subresource."""
SCHEDULES = _chaos("Schedule", "schedules")
WORKFLOWS = _chaos("Workflow", "workflows", status=True)
WORKFLOW_NODES = _chaos("WorkflowNode", "workflownodes", status=True)

TOKEN_REVIEWS = _built_in("authentication.k8s.io", "tokenreviews", "TokenReview", namespaced=False)
"""Not in the table: nothing is stored of it."""

TABLE: tuple[Resource, ...] = (
    NAMESPACES,
    PODS,
    EVENTS,
    SECRETS,
    SERVICES,
    CONFIG_MAPS,
    NODES,
    REPLICA_SETS,
    DEPLOYMENTS,
    LEASES,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    CRDS,
    ROLLOUTS,
    ANALYSIS_RUNS,
    ANALYSIS_TEMPLATES,
    CLUSTER_ANALYSIS_TEMPLATES,
    EXPERIMENTS,
    *CHAOS_KINDS,
    SCHEDULES,
    WORKFLOWS,
    WORKFLOW_NODES,
)
BY_PATH = {(r.group, r.version, r.plural): r for r in TABLE}
BY_KIND = {(r.api_version, r.kind): r for r in TABLE}
