"""The configuration of a metric: any bytes are a Config or a Refusal of one line."""

from collections.abc import Iterator, Mapping

import msgspec

from chaosplugin.core import config
from chaosplugin.core.config import HASH_LABEL
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import Refusal
from chaosplugin.kube.yaml import load

_POLICIES = (
    Policy(),
    Policy(allow_cross_namespace=True, allow_endpoints=("a.example",), allow_network_target=True),
)
_SPEC = {"action": "pod-failure", "mode": "all", "duration": "30s"}
_POD_CHAOS = {
    "apiVersion": "chaos-mesh.org/v1alpha1",
    "kind": "PodChaos",
    "metadata": {"name": "kill", "labels": {"a": "b"}},
    "spec": _SPEC,
}
_YAML = (
    "apiVersion: chaos-mesh.org/v1alpha1\nkind: PodChaos\n"
    "metadata: {name: kill}\nspec: {action: pod-kill, mode: one}\n"
)
_SEEDS: tuple[Mapping[str, object], ...] = (
    {"chaosExperimentCRD": _YAML},
    {"chaosExperimentCRD": _POD_CHAOS},
    {
        "chaosExperimentCRD": _POD_CHAOS,
        "timeout": "5m",
        "targetTimeout": "1m",
        "onNoTargets": "fail",
        "cleanupOnFinish": "false",
        "targetReplicaSetLabel": HASH_LABEL,
        "targetReplicaSetValue": "abc",
        "steadyState": {"enabled": True, "minReady": "80%", "maxRestarts": 1, "recoverWithin": "30s"},
    },
    {
        "chaosExperimentCRD": {**_POD_CHAOS, "spec": {**_SPEC, "selector": {"namespaces": ["shop"]}}},
        "chaosMeshEndpoint": "https://a.example:6443",
        "credentials": {"secretName": "s"},
    },
    {
        "chaosExperimentCRD": {
            **_POD_CHAOS,
            "kind": "NetworkChaos",
            "spec": {
                "action": "delay",
                "mode": "fixed",
                "value": "2",
                "delay": {"latency": "90ms"},
                "target": {"mode": "all", "selector": {"labelSelectors": {"app": "db"}}},
            },
        },
        "scheduleFor": "2m",
    },
)
_WORDS = {
    word.encode()
    for seed in _SEEDS
    for word in msgspec.json.encode(seed).decode().replace("\\n", '"').split('"')
    if 2 < len(word) < 30
}
TOKENS = (
    *sorted(_WORDS),
    *(
        b"null",
        b"true",
        b'"{{args.x}}"',
        b"\\ud800",
        b"1e400",
        b"StressChaos",
        b"Schedule",
        b"IOChaos",
        b"50%",
        b"-1s",
    ),
)


def check(data: bytes) -> None:
    """The first byte chooses the policy and whether the AnalysisRun has the canary's label."""
    choice = data[0] if data else 0
    try:
        found = config.parse(
            {"chaosplugin/chaos-mesh": data[1:]},
            labels={HASH_LABEL: "698d4b6c6f"} if choice & 2 else None,
            namespace="shop",
            policy=_POLICIES[choice & 1],
            load_yaml=load,
        )
    except Refusal as refusal:
        text = str(refusal)
        assert "\n" not in text
        assert 0 < len(text.encode()) <= 1024
        return
    assert len(found.digest) == 16
    assert found.timeout.total_seconds() > 0


def seeds() -> Iterator[bytes]:
    for number, seed in enumerate(_SEEDS):
        yield bytes((number,)) + msgspec.json.encode(seed)
