import pytest

from chaosplugin.core import kinds
from chaosplugin.core.refusal import InvalidConfig, PolicyRefused, Refusal, ScopeRefused


def test_each_kind_has_the_plural_of_its_crd() -> None:
    assert {kind.plural for kind in kinds.KINDS.values()} == {
        "podchaos",
        "networkchaos",
        "stresschaos",
        "iochaos",
        "httpchaos",
        "timechaos",
        "dnschaos",
        "jvmchaos",
        "blockchaos",
        "schedules",
        "workflows",
    }


def test_each_kind_has_the_key_under_which_others_embed_it() -> None:
    assert {kind.key for kind in kinds.KINDS.values() if not kind.spawns} == {
        "podChaos",
        "networkChaos",
        "stressChaos",
        "ioChaos",
        "httpChaos",
        "timeChaos",
        "dnsChaos",
        "jvmChaos",
        "blockChaos",
    }


def test_podchaos_knows_what_each_action_does() -> None:
    effects = kinds.KINDS["PodChaos"].actions

    assert {action for action, effect in effects.items() if effect.one_shot} == {"pod-kill", "container-kill"}
    assert {action for action, effect in effects.items() if effect.replaces_pods} == {"pod-kill"}
    assert {action: effect.restarts for action, effect in effects.items()} == {
        "pod-kill": 0,
        "pod-failure": 2,
        "container-kill": 1,
    }
    assert all(effect.unready for effect in effects.values())


@pytest.mark.parametrize(
    ("name", "refusal", "said"),
    [
        ("AWSChaos", ScopeRefused, "an AWSChaos cannot be a gate: it acts on machines, not on pods"),
        ("AzureChaos", ScopeRefused, "on machines"),
        ("GCPChaos", ScopeRefused, "on machines"),
        ("PhysicalMachineChaos", ScopeRefused, "a PhysicalMachineChaos cannot"),
        ("KernelChaos", PolicyRefused, "Chaos Mesh itself cannot inject it"),
        ("podchaos", InvalidConfig, "did you mean PodChaos?"),
        ("Deployment", InvalidConfig, "known are BlockChaos"),
        (None, InvalidConfig, "met nothing"),
        (7, InvalidConfig, "met 7"),
    ],
)
def test_what_cannot_be_a_gate_is_refused_with_the_reason(
    name: object, refusal: type[Refusal], said: str
) -> None:
    with pytest.raises(refusal, match=said):
        kinds.find(name)
