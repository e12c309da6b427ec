"""The manifest: what is created can hit the canary only, whatever the template says."""

import json
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core import config, experiment, template
from chaosplugin.core.config import HASH_LABEL, Config
from chaosplugin.core.kinds import KINDS
from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import AnalysisRun, ChaosObject, Metadata
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, Refusal, ScopeRefused

_RUN = AnalysisRun(metadata=Metadata(name="web-1-2", namespace="shop", uid="uid-of-run"))
_IDENTITY = Identity("uid-of-run", "chaos", 1)
_CANARY = "698d4b6c6f"
_CLAUSE = {"key": HASH_LABEL, "operator": "In", "values": [_CANARY]}


def _object(kind: str = "PodChaos", metadata: object = None, **spec: object) -> dict[str, object]:
    action = {"PodChaos": {"action": "pod-failure"}, "NetworkChaos": {"action": "delay"}}.get(kind, {})
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": kind,
        "metadata": metadata or {},
        "spec": {**action, "mode": "all", **spec},
    }


def _config(given_: object, *, timeout: str = "5m", policy: Policy | None = None) -> Config:
    return config.parse(
        {"chaos": json.dumps({"chaosExperimentCRD": given_, "timeout": timeout}).encode()},
        labels={HASH_LABEL: _CANARY},
        namespace="shop",
        policy=policy or Policy(),
        load_yaml=lambda text: text,
    )


def _build(given_: object, *, timeout: str = "5m", policy: Policy | None = None) -> dict[str, object]:
    policy = policy or Policy()
    return experiment.build(
        _config(given_, timeout=timeout, policy=policy),
        value=_CANARY,
        run=_RUN,
        identity=_IDENTITY,
        policy=policy,
        origin="uid-of-kube-system",
        annotations={"chaosplugin.io/traceparent": "00-1-2-01"},
    )


def _part(manifest: dict[str, object], *path: str) -> dict[str, object]:
    found: object = manifest
    for key in path:
        assert isinstance(found, dict)
        found = found[key]
    assert isinstance(found, dict)
    return found


def test_a_manifest_is_complete() -> None:
    assert _build(_object(metadata={"name": "Kill it!", "labels": {"team": "a"}}, duration="30s")) == {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "PodChaos",
        "metadata": {
            "name": f"kill-it-{_IDENTITY.digest}",
            "namespace": "shop",
            "labels": {
                "team": "a",
                "app.kubernetes.io/managed-by": "chaosplugin",
                "chaosplugin.io/run": _IDENTITY.digest,
                "chaosplugin.io/analysisrun-uid": "uid-of-run",
                "chaosplugin.io/origin": "uid-of-kube-system",
            },
            "annotations": {
                "chaosplugin.io/run": "shop/web-1-2",
                "chaosplugin.io/metric": "chaos",
                "chaosplugin.io/intent": "1",
                "chaosplugin.io/config-digest": _config(
                    _object(metadata={"name": "Kill it!", "labels": {"team": "a"}}, duration="30s")
                ).digest,
                "chaosplugin.io/traceparent": "00-1-2-01",
            },
            "ownerReferences": [
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "AnalysisRun",
                    "name": "web-1-2",
                    "uid": "uid-of-run",
                }
            ],
        },
        "spec": {
            "action": "pod-failure",
            "mode": "all",
            "duration": "30s",
            "selector": {
                "namespaces": ["shop"],
                "expressionSelectors": [_CLAUSE],
                "podPhaseSelectors": ["Running"],
            },
        },
    }


def test_an_exported_object_loses_what_the_server_and_others_own() -> None:
    exported = {
        **_object(
            metadata={
                "name": "x",
                "uid": "1",
                "resourceVersion": "2",
                "generation": 3,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "managedFields": [{}],
                "finalizers": ["chaos-mesh/records", "foreign/one"],
                "ownerReferences": [{"uid": "other"}],
                "labels": {
                    "managed-by": "nightly",
                    "app.kubernetes.io/managed-by": "Helm",
                    "chaos-mesh.org/workflow": "w",
                    "chaosplugin.io/keep": "true",
                },
                "annotations": {
                    "experiment.chaos-mesh.org/pause": "true",
                    "chaos-mesh.chaos-mesh.org/cleanFinalizer": "forced",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                    "example.com/ours": "stays",
                },
            }
        ),
        "status": {"experiment": {"containerRecords": []}},
    }
    built = _build(exported)

    assert set(built) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(_part(built, "metadata")) == {"name", "namespace", "labels", "annotations", "ownerReferences"}
    assert _part(built, "metadata", "labels")["app.kubernetes.io/managed-by"] == "chaosplugin"
    assert not {"managed-by", "chaos-mesh.org/workflow", "chaosplugin.io/keep"} & set(
        _part(built, "metadata", "labels")
    )
    assert [key for key in _part(built, "metadata", "annotations") if "chaosplugin.io" not in key] == [
        "example.com/ours"
    ]


@given(st.text(max_size=80))
def test_any_name_becomes_one_that_kubernetes_takes(name: str) -> None:
    built = experiment.name(template.read(_object(metadata={"name": name}), Policy()), _IDENTITY)

    assert len(built) <= 50
    assert built.endswith(f"-{_IDENTITY.digest}")
    assert template.read(_object(metadata={"name": built}), Policy()).name == built
    assert all(c.isascii() and (c.isalnum() or c == "-") and c == c.lower() for c in built)
    assert built[0].isalnum()


def test_a_name_to_be_generated_is_a_prefix_too() -> None:
    generated = template.read(_object(metadata={"generateName": "nightly-"}), Policy())

    assert experiment.name(generated, _IDENTITY) == f"nightly-{_IDENTITY.digest}"


@pytest.mark.parametrize(
    ("timeout", "seconds"), [("5m", "1m"), ("90s", "1m"), ("80s", "50s"), ("35s", "5s"), ("15s", "5s")]
)
def test_a_lasting_fault_without_a_duration_gets_one(timeout: str, seconds: str) -> None:
    assert _part(_build(_object(), timeout=timeout), "spec")["duration"] == seconds


def test_a_one_shot_fault_gets_no_duration() -> None:
    assert "duration" not in _part(_build(_object(action="pod-kill")), "spec")


def test_what_the_template_selects_stays_and_the_canary_is_added() -> None:
    given_ = {
        "namespaces": ["shop"],
        "labelSelectors": {"app": "web", HASH_LABEL: _CANARY},
        "expressionSelectors": [{"key": "tier", "operator": "Exists"}],
        "podPhaseSelectors": ["Pending"],
        "nodes": ["n1"],
    }

    assert _part(_build(_object(selector=given_)), "spec", "selector") == {
        **given_,
        "expressionSelectors": [{"key": "tier", "operator": "Exists"}, _CLAUSE],
    }


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ({"pods": {"shop": ["web-0"]}}, "selector.pods selects by name and bypasses"),
        ({"labelSelectors": {HASH_LABEL: "stable"}}, f'wants {HASH_LABEL}="stable", the canary has'),
        ({"expressionSelectors": [{**_CLAUSE, "values": ["x"]}]}, "excludes the canary"),
        ({"expressionSelectors": [{**_CLAUSE, "operator": "NotIn"}]}, "excludes the canary"),
        ({"expressionSelectors": [{"key": HASH_LABEL, "operator": "DoesNotExist"}]}, "excludes the canary"),
        ({"namespaces": ["prod"]}, "names namespace prod, the canary is in shop"),
    ],
)
def test_a_selector_that_tries_to_leave_the_canary_is_refused(selector: dict[str, object], said: str) -> None:
    with pytest.raises(ScopeRefused) as refused:
        _build(_object(selector=selector))

    assert said in str(refused.value)


def test_an_expression_that_holds_for_the_canary_may_stay() -> None:
    for operator, values in (("In", [_CANARY, "x"]), ("NotIn", ["x"]), ("Exists", [])):
        _build(
            _object(
                selector={
                    "expressionSelectors": [{"key": HASH_LABEL, "operator": operator, "values": values}]
                }
            )
        )


def test_another_cluster_is_refused() -> None:
    with pytest.raises(ScopeRefused, match=r"spec\.remoteCluster moves the experiment"):
        _build(_object(remoteCluster="eu"))


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ([], "an object"),
        ({"labelSelector": {}}, "did you mean labelSelectors?"),
        ({"labelSelectors": {"a": 1}}, "selector.labelSelectors.a: met 1, wanted text"),
        ({"labelSelectors": ["a"]}, "met a list of 1, wanted an object"),
        ({"expressionSelectors": {"a": "b"}}, "wanted a list of {key, operator, values}"),
        ({"expressionSelectors": ["a"]}, "expressionSelectors[0]: met"),
        ({"namespaces": "shop"}, "wanted a list of texts"),
    ],
)
def test_a_selector_of_another_form_is_refused_by_the_field(selector: object, said: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        _build(_object(selector=selector))

    assert said in str(refused.value)


_KEYS = st.sampled_from([HASH_LABEL, "app", "tier"])
_VALUES = st.sampled_from([_CANARY, "stable", "web"])
_SELECTORS = st.fixed_dictionaries(
    {},
    optional={
        "namespaces": st.lists(st.sampled_from(["shop", "prod"]), max_size=2),
        "labelSelectors": st.dictionaries(_KEYS, _VALUES),
        "expressionSelectors": st.lists(
            st.fixed_dictionaries(
                {
                    "key": _KEYS,
                    "operator": st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
                    "values": st.lists(_VALUES),
                }
            )
        ),
        "pods": st.dictionaries(st.just("shop"), st.lists(st.just("web-0"))),
        "podPhaseSelectors": st.lists(st.just("Running")),
        "annotationSelectors": st.dictionaries(_KEYS, _VALUES),
    },
)


@given(
    st.sampled_from(sorted(KINDS)),
    _SELECTORS,
    st.none() | st.fixed_dictionaries({"mode": st.just("all"), "selector": _SELECTORS}),
    st.sampled_from(["to", "from", "both"]),
    st.booleans(),
)
def test_no_template_gets_past_the_canary(
    kind: str, selector: dict[str, object], target: object, direction: str, opened: bool
) -> None:
    spec = {"selector": selector, "direction": direction, **({"target": target} if target else {})}
    policy = Policy(allow_network_target=opened)
    try:
        built = _part(_build(_object(kind, **spec), policy=policy), "spec", "selector")
    except Refusal:
        return

    expressions = built["expressionSelectors"]
    assert isinstance(expressions, list)
    assert expressions[-1] == _CLAUSE
    assert built["namespaces"] == ["shop"]
    assert "pods" not in built
    for name, value in selector.items():
        if name not in {"namespaces", "expressionSelectors", "podPhaseSelectors", "pods"}:
            assert built[name] == value
    given_ = selector.get("expressionSelectors", [])
    assert expressions[:-1] == given_


_TARGET = {"mode": "all", "selector": {"labelSelectors": {"app": "db"}}}


def test_a_network_target_is_a_destination() -> None:
    built = _build(_object("NetworkChaos", action="delay", target=_TARGET))

    assert _part(built, "spec", "target", "selector") == {
        "labelSelectors": {"app": "db"},
        "namespaces": ["shop"],
    }


@pytest.mark.parametrize(
    ("action", "direction"),
    [("delay", "from"), ("loss", "both"), ("partition", "to"), ("partition", None)],
)
def test_what_writes_rules_on_target_pods_is_refused_unless_the_operator_opens_it(
    action: str, direction: str | None
) -> None:
    given_ = _object("NetworkChaos", action=action, direction=direction, target=_TARGET)
    with pytest.raises(ScopeRefused, match="writes rules on the target's pods"):
        _build(given_)

    assert _build(given_, policy=Policy(allow_network_target=True))


def test_a_partition_from_the_outside_is_the_canary_s_own() -> None:
    given_ = _object("NetworkChaos", action="partition", direction="from", externalTargets=["example.com"])

    assert _part(_build(given_), "spec")["externalTargets"] == ["example.com"]


def test_the_target_of_another_kind_is_no_selector() -> None:
    assert _part(_build(_object("HTTPChaos", target="Request", port=80)), "spec")["target"] == "Request"


def test_an_experiment_in_another_namespace_has_no_owner() -> None:
    policy = Policy(allow_cross_namespace=True)

    assert "ownerReferences" not in _part(
        _build(_object(metadata={"namespace": "b"}), policy=policy), "metadata"
    )


def test_a_created_experiment_is_judged_as_it_was_created() -> None:
    def adopt(kind: str, **spec: object) -> template.Template | None:
        return experiment.adopt(
            ChaosObject(
                kind=kind,
                metadata=Metadata(),
                raw_spec=msgspec.Raw(msgspec.json.encode({"mode": "all", **spec})),
            )
        )

    lasting = adopt("PodChaos", action="pod-failure", duration="30s")
    once = adopt("PodChaos", action="pod-kill", duration="30s")

    assert lasting
    assert (lasting.parts[0].duration, lasting.parts[0].effect.unready) == (timedelta(seconds=30), True)
    assert once
    assert (once.parts[0].duration, once.one_shot) == (None, True)
    assert adopt("PodNetworkChaos") is None
