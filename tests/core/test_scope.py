"""The proof: whose pods a claim of label and value hits."""

from dataclasses import replace

import pytest

from chaosplugin.core.config import HASH_LABEL
from chaosplugin.core.objects import (
    AnalysisRun,
    BlueGreenStatus,
    CanaryStatus,
    CanaryStrategy,
    Experiment,
    Metadata,
    OwnerReference,
    Pod,
    PodStatus,
    ReplicaSet,
    ReplicaSetSpec,
    Rollout,
    RolloutSpec,
    RolloutStatus,
    Strategy,
    Weight,
    Weights,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig
from chaosplugin.core.scope import (
    Checked,
    Proof,
    Proven,
    Refused,
    ScopeInputs,
    Wait,
    check_targets,
    experiment_value,
    prove,
)
from chaosplugin.core.verdict import Reason


def _owner(kind: str, name: str) -> list[OwnerReference]:
    return [OwnerReference(kind=kind, name=name, uid=f"uid-{name}", controller=True)]


def _replica_set(
    name: str, hash_: str, owner: list[OwnerReference] | None, *, wants: int = 2, template: str = ""
) -> ReplicaSet:
    return ReplicaSet(
        metadata=Metadata(
            name=name,
            uid=f"uid-{name}",
            labels={HASH_LABEL: hash_},
            annotations={"experiment.argoproj.io/template-name": template} if template else None,
            owner_references=owner,
        ),
        spec=ReplicaSetSpec(replicas=wants),
    )


def _pods(replica_set: str, count: int = 2, kind: str = "ReplicaSet", phase: str = "Running") -> list[Pod]:
    return [
        Pod(
            metadata=Metadata(
                name=f"{replica_set}-{n}",
                uid=f"{replica_set}-{n}",
                owner_references=_owner(kind, replica_set),
            ),
            status=PodStatus(phase=phase),
        )
        for n in range(count)
    ]


def _rollout(
    *,
    current: str = "new",
    stable: str = "old",
    weight: int | None = None,
    active: str = "",
    routing: bool = True,
    most: int | None = None,
    pods: tuple[int, int] = (0, 0),
) -> Rollout:
    canary = CanaryStatus(weights=Weights(canary=Weight(weight=weight)) if weight is not None else None)
    routed: dict[str, object] = {"maxTrafficWeight": most} if most else {}
    return Rollout(
        metadata=Metadata(name="web", uid="uid-web"),
        spec=RolloutSpec(
            strategy=Strategy(canary=CanaryStrategy(traffic_routing=routed if routing else None))
        ),
        status=RolloutStatus(
            current_pod_hash=current,
            stable_rs=stable,
            replicas=pods[0],
            updated_replicas=pods[1],
            canary=canary,
            blue_green=BlueGreenStatus(active_selector=active),
        ),
    )


def _run(owner: list[OwnerReference] | None, **labels: str) -> AnalysisRun:
    named = {key.replace("_", "-"): value for key, value in labels.items()}
    return AnalysisRun(metadata=Metadata(name="run", labels=named, owner_references=owner))


_WEB = _owner("Rollout", "web")
_NEW = _replica_set("web-new", "new", _WEB)
_OLD = _replica_set("web-old", "old", _WEB, wants=8)
_CANARY = ScopeInputs(
    analysis_run=_run(_WEB),
    label=HASH_LABEL,
    value="new",
    policy=Policy(),
    rollout=_rollout(),
    replica_sets=[_NEW],
    stable=_OLD,
)
_EXPERIMENT = Experiment(metadata=Metadata(name="exp", uid="uid-exp", owner_references=_WEB))
_EXP = _owner("Experiment", "exp")
_EXP_RS = _replica_set("exp-canary", "e1", _EXP, wants=1, template="canary")
_IN_EXPERIMENT = replace(
    _CANARY, analysis_run=_run(_EXP), value="e1", experiment=_EXPERIMENT, replica_sets=[_EXP_RS]
)


def _refused(proof: Proof, said: str, reason: Reason = Reason.SCOPE_REFUSED) -> None:
    assert isinstance(proof, Refused), proof
    assert said in proof.message
    assert proof.reason is reason


def _waits(proof: Proof, said: str) -> None:
    assert isinstance(proof, Wait), proof
    assert said in proof.message


def test_the_canary_of_the_rollout_that_asks_is_proven() -> None:
    assert prove(_CANARY, _pods("web-new")) == Proven("uid-web-new", "web-new", 2)


def test_the_only_replica_set_of_the_experiment_that_asks_is_proven() -> None:
    assert prove(_IN_EXPERIMENT, _pods("exp-canary")) == Proven("uid-exp-canary", "exp-canary", 1)


def test_an_experiment_may_gate_the_canary_of_its_rollout() -> None:
    inputs = replace(_IN_EXPERIMENT, value="new", replica_sets=[_NEW])

    assert prove(inputs, _pods("web-new")) == Proven("uid-web-new", "web-new", 2)
    _refused(
        prove(replace(inputs, value="old", replica_sets=[_OLD]), _pods("web-old")), "is the stable version"
    )


@pytest.mark.parametrize("owner", [None, _owner("Job", "j")])
def test_an_analysis_that_nobody_we_know_controls_is_refused_unless_opened(
    owner: list[OwnerReference] | None,
) -> None:
    alone = replace(_CANARY, analysis_run=_run(owner), rollout=None)
    opened = replace(alone, policy=Policy(allow_unowned=True), rollout=_rollout())

    _refused(prove(alone, _pods("web-new")), "--allow-unowned")
    assert prove(opened, _pods("web-new")) == Proven("uid-web-new", "web-new", 2)
    deployed = replace(
        opened, rollout=None, replica_sets=[_replica_set("d", "new", _owner("Deployment", "d"))]
    )
    assert prove(deployed, _pods("d")) == Proven("uid-d", "d", 2)
    two = replace(opened, replica_sets=[_NEW, _OLD])
    _refused(prove(two, [*_pods("web-new"), *_pods("web-old")]), "pods of 2 ReplicaSets (web-new, web-old)")
    stable = replace(opened, rollout=_rollout(), value="old", replica_sets=[_OLD])
    _refused(prove(stable, _pods("web-old")), "--allow-stable")


@pytest.mark.parametrize("rollout", [None, Rollout(metadata=Metadata(name="web", uid="another"))])
def test_a_rollout_of_the_same_name_is_not_the_one_that_asked(rollout: Rollout | None) -> None:
    proof = prove(replace(_CANARY, rollout=rollout), _pods("web-new"))

    _refused(proof, "the Rollout web that started this analysis is gone", Reason.TERMINATED)


@pytest.mark.parametrize(
    "inputs",
    [
        replace(_IN_EXPERIMENT, value="new", replica_sets=[_NEW]),
        replace(_CANARY, analysis_run=_run(None), policy=Policy(allow_unowned=True)),
    ],
)
def test_pods_of_a_rollout_are_not_hit_unless_its_status_tells_which_they_are(inputs: ScopeInputs) -> None:
    proof = prove(replace(inputs, rollout=None), _pods("web-new"))

    _refused(proof, "the Rollout web, whose pods have", Reason.TERMINATED)


def test_an_experiment_that_is_gone_ends_the_gate() -> None:
    proof = prove(replace(_IN_EXPERIMENT, experiment=None), _pods("exp-canary"))

    _refused(proof, "the Experiment exp that started", Reason.TERMINATED)


def test_the_stable_version_is_refused_unless_opened() -> None:
    stable = replace(_CANARY, value="old", replica_sets=[_OLD])

    _refused(prove(stable, _pods("web-old")), f"{HASH_LABEL}=old is the stable version of Rollout web")
    _refused(prove(stable, []), "is the stable version")
    assert prove(replace(stable, policy=Policy(allow_stable=True)), _pods("web-old")) == Proven(
        "uid-web-old", "web-old", 8
    )


def test_a_superseded_canary_ends_the_gate() -> None:
    proof = prove(replace(_CANARY, rollout=_rollout(current="newer")), _pods("web-new"))

    _refused(proof, "has been superseded by newer", Reason.TERMINATED)


def test_a_rollout_without_status_is_waited_for() -> None:
    _waits(prove(replace(_CANARY, rollout=_rollout(current="")), _pods("web-new")), "no currentPodHash yet")


_EMPTY = _replica_set("web-old", "old", _WEB, wants=0)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (
            replace(_CANARY, analysis_run=_run(_WEB, rollout_type="PostPromotion")),
            "the analysis runs after the",
        ),
        (replace(_CANARY, rollout=_rollout(active="new")), "the active Service selects it"),
        (replace(_CANARY, rollout=_rollout(weight=100)), "its weight is 100 of 100"),
        (replace(_CANARY, rollout=_rollout(weight=1000, most=1000)), "its weight is 1000 of 1000"),
        (replace(_CANARY, rollout=_rollout(routing=False), stable=_EMPTY), "the stable ReplicaSet wants 0"),
        (replace(_CANARY, rollout=_rollout(routing=False), stable=None), "the stable ReplicaSet wants 0"),
        (
            replace(_CANARY, rollout=_rollout(routing=False, pods=(4, 4))),
            "all pods of the Rollout are the can",
        ),
    ],
)
def test_a_canary_with_all_traffic_is_refused_unless_opened(inputs: ScopeInputs, said: str) -> None:
    _refused(prove(inputs, _pods("web-new")), f"carries all production traffic ({said}")
    opened = replace(inputs, policy=Policy(allow_full_traffic=True))
    assert isinstance(prove(opened, _pods("web-new")), Proven)


@pytest.mark.parametrize(
    "inputs",
    [
        replace(_CANARY, rollout=_rollout(weight=50), stable=_EMPTY),
        replace(_CANARY, rollout=_rollout(weight=100, most=1000)),
        replace(_CANARY, rollout=_rollout(routing=False)),
        replace(_CANARY, rollout=_rollout(routing=False, pods=(4, 2))),
        replace(_CANARY, rollout=_rollout(active="old")),
        replace(_CANARY, analysis_run=_run(_WEB, rollout_type="PrePromotion")),
    ],
)
def test_a_canary_with_part_of_the_traffic_may_be_hit(inputs: ScopeInputs) -> None:
    assert isinstance(prove(inputs, _pods("web-new")), Proven)


def test_a_label_that_stable_pods_carry_too_is_refused() -> None:
    wide = replace(_CANARY, label="app", value="web", replica_sets=[_NEW, _OLD])

    _refused(
        prove(wide, [*_pods("web-new"), *_pods("web-old")]),
        "app=web matches pods of 2 ReplicaSets (web-new, web-old) (the stable pods among them)",
    )


def test_old_revisions_without_pods_are_no_rivals() -> None:
    older = _replica_set("web-older", "older", _WEB, wants=0)
    wide = replace(_CANARY, label="app", value="web", replica_sets=[older, _NEW])

    assert prove(wide, _pods("web-new")) == Proven("uid-web-new", "web-new", 2)


def test_pods_of_another_owner_are_refused() -> None:
    other = _replica_set("api-1", "new", _owner("Deployment", "api"))
    mixed = replace(_CANARY, replica_sets=[_NEW, other])

    _refused(
        prove(mixed, [*_pods("web-new"), *_pods("api-1")]), "controlled by Deployment api, which did not"
    )
    nobody = replace(_CANARY, replica_sets=[_replica_set("bare", "new", None)])
    _refused(prove(nobody, _pods("bare")), "controlled by nobody")


def test_pods_without_a_replica_set_are_refused() -> None:
    _refused(
        prove(_CANARY, _pods("db", kind="StatefulSet")),
        "matches pod db-0, which is controlled by StatefulSet db",
    )
    loose = Pod(metadata=Metadata(name="loose", uid="1"))
    _refused(prove(_CANARY, [loose]), "controlled by nobody")


def test_pods_of_an_ended_experiment_are_waited_for() -> None:
    ended = _replica_set("exp0-canary", "e1", _owner("Experiment", "exp0"), wants=1)
    inputs = replace(_IN_EXPERIMENT, replica_sets=[_EXP_RS, ended])
    both = [*_pods("exp-canary"), *_pods("exp0-canary")]

    _waits(prove(inputs, both), "pods of ReplicaSet exp0-canary of another Experiment")
    scaled_down = replace(inputs, replica_sets=[_EXP_RS, replace_wants(ended, 0)])
    _waits(prove(scaled_down, both), "scaleDownDelaySeconds")
    assert prove(scaled_down, _pods("exp-canary")) == Proven("uid-exp-canary", "exp-canary", 1)


def replace_wants(replica_set: ReplicaSet, wants: int) -> ReplicaSet:
    return ReplicaSet(metadata=replica_set.metadata, spec=ReplicaSetSpec(replicas=wants))


def test_two_templates_with_the_same_pods_are_refused_by_name() -> None:
    twin = _replica_set("exp-baseline", "e1", _EXP, wants=1, template="baseline")
    inputs = replace(_IN_EXPERIMENT, replica_sets=[_EXP_RS, twin])

    _refused(prove(inputs, _pods("exp-canary")), "the Experiment's templates canary, baseline")


def test_without_pods_the_gate_waits_and_says_why() -> None:
    none = replace(_CANARY, replica_sets=[])
    zero = replace(_CANARY, replica_sets=[_replica_set("web-new", "new", _WEB, wants=0)])

    _waits(prove(none, []), f"there are no pods with {HASH_LABEL}=new")
    _waits(prove(_CANARY, []), "ReplicaSet web-new has no pods yet")
    assert prove(zero, []) == Wait(
        "ReplicaSet web-new wants 0 pods (an analysis before the first setWeight, or a Rollout scaled to 0)",
        0,
    )
    _waits(prove(_CANARY, _pods("web-new", phase="Succeeded")), "has no pods yet")
    several = [_replica_set(f"web-{n}", n, _WEB, wants=0) for n in ("a", "b")]
    _waits(prove(replace(_CANARY, label="app", value="web", replica_sets=several), []), "there are no pods")


def test_a_replica_set_that_cannot_be_read_is_waited_for() -> None:
    _waits(prove(replace(_CANARY, replica_sets=[]), _pods("web-new")), "cannot be read")


def test_in_another_cluster_all_pods_must_be_of_one_replica_set() -> None:
    remote = replace(_CANARY, remote=True, rollout=None, replica_sets=[])

    assert prove(remote, _pods("far-1")) == Proven("uid-far-1", "far-1", None)
    _refused(prove(remote, [*_pods("far-1"), *_pods("far-2")]), "pods of 2 ReplicaSets (far-1, far-2)")


def test_an_experiment_s_only_replica_set_tells_the_hash() -> None:
    assert experiment_value(_EXPERIMENT.metadata, [_EXP_RS, _NEW], HASH_LABEL) == "e1"
    assert experiment_value(_EXPERIMENT.metadata, [_NEW], HASH_LABEL) is None


def test_an_experiment_of_several_templates_must_be_asked_for_one() -> None:
    other = _replica_set("exp-base", "e2", _EXP, template="base")
    with pytest.raises(InvalidConfig) as refused:
        experiment_value(_EXPERIMENT.metadata, [_EXP_RS, other], HASH_LABEL)

    assert "{{templates.base.podTemplateHash}} or {{templates.canary.podTemplateHash}}" in str(refused.value)


def test_selected_pods_are_ours_or_foreign_or_unknown() -> None:
    seen = [*_pods("web-new"), *_pods("web-old", 1)]
    checked = check_targets(["web-new-0", "web-new-1", "web-old-0", "web-new-x"], seen, "uid-web-new")

    assert checked == Checked(frozenset({"web-old-0"}), frozenset({"web-new-x"}))
