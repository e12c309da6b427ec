"""Chaos Mesh in the bed: its CRDs, the real controller with its webhooks, and a daemon that only answers.

The daemon's calls are in `work`/daemon.jsonl; `work`/daemon-rules.json makes calls fail or hang, e.g.
`{"ExecStressors": {"Error": "no"}, "CancelStressors": {"Delay": "5s"}}`, and is read on every call.
"""

import base64
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path

from tests.realbed.api import Json
from tests.realbed.bed import CRDS, Bed
from tests.realbed.processes import free_port

NAMESPACE = "chaos-mesh"
_KINDS = (
    *(
        "podchaos",
        "iochaos",
        "timechaos",
        "networkchaos",
        "kernelchaos",
        "stresschaos",
        "awschaos",
        "azurechaos",
    ),
    *("gcpchaos", "dnschaos", "jvmchaos", "httpchaos", "blockchaos", "physicalmachinechaos", "remotecluster"),
    *("schedule", "workflow", "physicalmachine", "statuscheck"),
)
_PLURAL_WITH_S = {"schedule", "workflow", "physicalmachine", "statuscheck"}
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"


def install(bed: Bed) -> None:
    """Start Chaos Mesh, and wait until its admission works."""
    bed.make_namespace(NAMESPACE)
    bed.install_crds(bed.cache / "manifests" / "chaos")
    _add_partition_behavior(bed)
    daemon, hook = free_port(), free_port()
    _start_daemon(bed, daemon)
    _start_controller(bed, daemon, hook)
    _register_webhooks(bed, hook)


def _add_partition_behavior(bed: Bed) -> None:
    """Give the CRDs the one field of NetworkChaos that only the newer API module has.

    No two published modules of Chaos Mesh are of one commit: the API module's webhook fills partitionBehavior
    in, and the older CRDs would prune it, so that every update were refused as a change of the spec.
    """
    for name in ("networkchaos", "schedules", "workflows", "workflownodes"):
        path = f"{CRDS}/{name}.chaos-mesh.org"
        crd = bed.api.get(path)
        if _add_to_schema(crd["spec"]):
            bed.api.replace(path, crd)


def _add_to_schema(schema: object) -> bool:
    if isinstance(schema, list):
        return _add_to_each(schema)
    if not isinstance(schema, dict):
        return False
    changed = _add_to_each(schema.values())
    properties = schema.get("properties")
    if (
        isinstance(properties, dict)
        and "externalTargets" in properties
        and "partitionBehavior" not in properties
    ):
        properties["partitionBehavior"] = {"type": "string"}
        changed = True
    return changed


def _add_to_each(schemas: Iterable[object]) -> bool:
    changed = False
    for schema in schemas:
        changed |= _add_to_schema(schema)
    return changed


def _start_daemon(bed: Bed, port: int) -> None:
    binary, log, rules = (
        bed.cache / "bin" / "fakedaemon",
        bed.work / "daemon.jsonl",
        bed.work / "daemon-rules.json",
    )
    bed.processes.start("daemon", binary, "-listen", f"127.0.0.1:{port}", "-log", log, "-rules", rules)
    # EndpointSlices may not hold loopback addresses: these are made up, and the daemon is the proxy to them
    endpoints = [
        {"addresses": [f"10.254.0.{n}"], "nodeName": name} for n, name in enumerate(bed.kubelet.nodes, 1)
    ]
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "chaos-daemon-bed"},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"port": port}],
    }
    bed.api.apply(f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices", endpoint_slice)


def _start_controller(bed: Bed, daemon: int, hook: int) -> None:
    environment = {
        "KUBECONFIG": str(bed.kubeconfig),
        "NAMESPACE": NAMESPACE,
        "CERTS_DIR": str(bed.pki),
        "WEBHOOK_HOST": "127.0.0.1",
        "WEBHOOK_PORT": str(hook),
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": str(free_port()),
        "ENABLE_LEADER_ELECTION": "false",
        "CHAOS_DAEMON_SERVICE_PORT": str(daemon),
        "HTTPS_PROXY": f"http://127.0.0.1:{daemon}",
        "QPS": "200",
        "BURST": "300",
    }
    bed.processes.start("chaos", bed.cache / "bin" / "chaos-controller-manager", env=environment)
    bed.processes.until("chaos webhooks", "chaos", lambda: _serves_tls(hook, bed.pki / "ca.crt"))


def _serves_tls(port: int, ca: Path) -> bool:
    context = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection(("127.0.0.1", port), 1) as s,
        context.wrap_socket(s, server_hostname="127.0.0.1"),
    ):
        return True


def _register_webhooks(bed: Bed, port: int) -> None:
    ca = base64.b64encode((bed.pki / "ca.crt").read_bytes()).decode()

    def hook(name: str, path: str, resource: str) -> Json:
        rule = {
            "apiGroups": ["chaos-mesh.org"],
            "apiVersions": ["v1alpha1"],
            "operations": ["CREATE", "UPDATE"],
        }
        return {
            "name": name,
            "clientConfig": {"url": f"https://127.0.0.1:{port}{path}", "caBundle": ca},
            "rules": [{**rule, "resources": [resource]}],
            "failurePolicy": "Fail",
            "timeoutSeconds": 5,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }

    def configure(kind: str, verb: str, extra: list[Json]) -> None:
        hooks = [
            hook(
                f"{verb[0]}{k}.kb.io",
                f"/{verb}-chaos-mesh-org-v1alpha1-{k}",
                k + "s" if k in _PLURAL_WITH_S else k,
            )
            for k in _KINDS
        ]
        manifest = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "webhooks": [*hooks, *extra],
        }
        name = {"metadata": {"name": f"chaos-mesh-{verb}"}}
        bed.api.apply(f"{_ADMISSION}/{kind.lower()}s", {**manifest, **name})

    configure("MutatingWebhookConfiguration", "mutate", [])
    configure("ValidatingWebhookConfiguration", "validate", [hook("vauth.kb.io", "/validate-auth", "*")])
    bed.processes.until("chaos admission", "chaos", lambda: _admits(bed))


def _admits(bed: Bed) -> bool:
    probe = {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "PodChaos",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"action": "pod-kill", "mode": "one", "selector": {}},
    }
    made = bed.api.create("/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos?dryRun=All", probe)
    return bool(made["spec"]["selector"].get("namespaces") == ["default"])
