"""The kinds of chaos-mesh.org/v1alpha1: which may be used as a gate, and what each does to its targets.

Source: Chaos Mesh's CRDs (config/crd/bases) and the `oneshot` markers of api/v1alpha1; the reasons for
a refusal were seen on a running chaos-controller-manager 2.8.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from chaosplugin.core.refusal import InvalidConfig, PolicyRefused, Refusal, ScopeRefused, nearest, quote

API_VERSION = "chaos-mesh.org/v1alpha1"
SCHEDULE = "Schedule"
WORKFLOW = "Workflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an action does to the pods that it hits."""

    one_shot: bool = False
    """done once it has hit: Chaos Mesh ignores its duration, and there is nothing to recover"""
    unready: bool = False
    """a pod that is hit cannot be Ready, by intent"""
    replaces_pods: bool = False
    """a pod that is hit does not come back: another takes its place"""
    restarts: int = 0
    """restarts that the fault itself causes of each container that it hits"""
    needs_containers: bool = False


_LASTING = Effect()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of experiment with a pod selector at `spec.selector`, or one that spawns such experiments."""

    name: str
    actions: Mapping[str, Effect] = field(default_factory=lambda: MappingProxyType({}))
    """values of spec.action; empty: the CRD checks the action, and each one lasts"""
    second_selector: bool = False
    """spec.target selects pods, too"""
    spawns: bool = False
    """it hits nothing itself: it creates experiments of the other kinds"""

    @property
    def plural(self) -> str:
        """The resource's name: for experiments the kind in lower case, without an s."""
        return self.name.lower() + ("s" if self.spawns else "")

    @property
    def key(self) -> str:
        """Under which a Schedule or a Workflow's template holds a spec of this kind, such as podChaos."""
        return self.name.removesuffix("Chaos").lower() + "Chaos"

    def effect(self, action: str) -> Effect:
        return self.actions.get(action, _LASTING)


_PODCHAOS = {
    "pod-kill": Effect(one_shot=True, unready=True, replaces_pods=True),
    "pod-failure": Effect(unready=True, restarts=2),  # its image is swapped, and swapped back
    "container-kill": Effect(one_shot=True, unready=True, restarts=1, needs_containers=True),
}
_NETWORKCHAOS = ("netem", "delay", "loss", "duplicate", "corrupt", "bandwidth", "rate", "partition")

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(name="PodChaos", actions=MappingProxyType(_PODCHAOS)),
            Kind(
                name="NetworkChaos",
                actions=MappingProxyType(dict.fromkeys(_NETWORKCHAOS, _LASTING)),
                second_selector=True,
            ),
            Kind(name="HTTPChaos"),
            Kind(name="StressChaos"),
            Kind(name="IOChaos"),
            Kind(name="TimeChaos"),
            Kind(name="DNSChaos"),
            Kind(name="JVMChaos"),
            Kind(name="BlockChaos"),
            Kind(name=SCHEDULE, spawns=True),
            Kind(name=WORKFLOW, spawns=True),
        )
    }
)

_MACHINES = "it acts on machines, not on pods, so it cannot be kept within the canary"
_REFUSED: Mapping[str, type[PolicyRefused | ScopeRefused]] = MappingProxyType(
    {
        "AWSChaos": ScopeRefused,
        "AzureChaos": ScopeRefused,
        "GCPChaos": ScopeRefused,
        "PhysicalMachineChaos": ScopeRefused,
        "KernelChaos": PolicyRefused,
    }
)
_WHY = MappingProxyType(
    {
        "KernelChaos": "Chaos Mesh itself cannot inject it: every try ends in "
        '"too few parts of namespacedname"',
    }
)


def find(name: object, where: str = "chaosExperimentCRD.kind", *, spawned: bool = False) -> Kind:
    """Return the kind that may be used as a gate; `spawned`: within a Schedule or a Workflow.

    Raises:
        ScopeRefused: it has no pods as targets.
        PolicyRefused: it cannot be judged.
        InvalidConfig: it is no experiment.
    """
    usable = {key: kind for key, kind in KINDS.items() if not (spawned and kind.spawns)}
    if isinstance(name, str):
        if name in usable:
            return usable[name]
        if name in _REFUSED:
            raise _refusal(name)
    raise InvalidConfig(
        where,
        quote(name) if name is not None else "nothing",
        "a kind of chaos experiment",
        nearest(str(name or ""), usable),
    )


def _refusal(name: str) -> Refusal:
    article = "an" if name[0] == "A" else "a"
    return _REFUSED[name](f"{article} {name} cannot be a gate: {_WHY.get(name, _MACHINES)}")
