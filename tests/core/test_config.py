"""The configuration of a gate, and what bad input gets."""

import json
from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core import config
from chaosplugin.core.analysis import Phase
from chaosplugin.core.config import HASH_LABEL, Config
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, PolicyRefused, Refusal, ScopeRefused
from chaosplugin.kube.yaml import load

_YAML = """
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata: {name: kill}
spec: {action: pod-failure, mode: all, duration: 30s}
"""
_LABELS = {HASH_LABEL: "698d4b6c6f"}


def _parse(
    *, labels: Mapping[str, str] | None = _LABELS, policy: Policy | None = None, **more: object
) -> Config:
    return _parse_all(more, labels, policy)


def _parse_all(
    more: Mapping[str, object], labels: Mapping[str, str] | None = _LABELS, policy: Policy | None = None
) -> Config:
    return config.parse(
        {"acme/chaos": json.dumps({"chaosExperimentCRD": _YAML, **more}).encode()},
        labels=labels,
        namespace="shop",
        policy=policy or Policy(),
        load_yaml=load,
    )


def _with_spec(**spec: object) -> dict[str, object]:
    """Return an experiment as an object; a field of None is left out."""
    full = {"action": "pod-failure", "mode": "all", **spec}
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "PodChaos",
        "spec": {key: value for key, value in full.items() if value is not None},
    }


def test_only_the_experiment_is_required() -> None:
    found = _parse()

    assert (found.namespace, found.label, found.value) == ("shop", HASH_LABEL, "698d4b6c6f")
    assert (found.timeout, found.target_timeout) == (timedelta(minutes=5), timedelta(seconds=60))
    assert (found.cleanup, found.on_no_targets) == (True, Phase.INCONCLUSIVE)
    assert (found.endpoint, found.credentials) == ("", "")
    assert (found.rules.enabled, found.rules.min_ready, found.rules.min_ready_percent) == (True, None, 100)
    assert (found.rules.max_restarts, found.rules.recover_within) == (0, timedelta(seconds=60))
    assert (found.rules.unready_by_intent, found.rules.restarts_by_fault) == (True, 2)


def test_the_experiment_may_be_an_object() -> None:
    assert _parse(chaosExperimentCRD=load(_YAML)).template == _parse().template


def test_arguments_are_text_so_text_is_taken_for_what_it_says() -> None:
    steady = {"enabled": "false", "minReady": "3", "maxRestarts": "2", "recoverWithin": "1m30s"}
    found = _parse(
        timeout="2m", cleanupOnFinish="false", targetTimeout="5s", onNoTargets="fail", steadyState=steady
    )

    assert (found.timeout, found.cleanup) == (timedelta(minutes=2), False)
    assert (found.target_timeout, found.on_no_targets) == (timedelta(seconds=5), Phase.FAILED)
    assert (found.rules.enabled, found.rules.min_ready, found.rules.max_restarts) == (False, 3, 2)
    assert found.rules.recover_within == timedelta(seconds=90)


def test_min_ready_may_be_a_share() -> None:
    rules = _parse(steadyState={"minReady": "80%"}).rules

    assert (rules.min_ready, rules.min_ready_percent) == (None, 80)


def test_a_setting_of_null_is_not_set() -> None:
    assert _parse(timeout=None, targetReplicaSetValue=None).value == "698d4b6c6f"


def test_a_given_value_wins_over_the_label_of_the_analysis_run() -> None:
    label = "example.com/track"
    found = _parse(labels={label: "stable"}, targetReplicaSetLabel=label, targetReplicaSetValue=" canary ")

    assert (found.label, found.value) == ("example.com/track", "canary")


def test_without_value_and_label_the_value_is_left_open() -> None:
    assert _parse(labels=None).value == ""
    assert "valueFrom: {podTemplateHashValue: Latest}" in str(config.unknown_value(HASH_LABEL))


def test_the_digest_is_of_what_is_said_not_of_how() -> None:
    assert _parse().digest == _parse(chaosExperimentCRD=load(_YAML)).digest
    assert _parse().digest != _parse(timeout="4m").digest


@pytest.mark.parametrize("lasting", ["1s", "24h"])
def test_the_duration_of_a_one_shot_action_does_not_count(lasting: str) -> None:
    found = _parse(chaosExperimentCRD=_with_spec(action="pod-kill", duration=lasting))

    assert found.template.parts[0].duration is None
    assert found.template.one_shot


def test_metadata_of_null_is_none_as_to_kubernetes() -> None:
    assert _parse(chaosExperimentCRD=_YAML.replace("{name: kill}", "")).template.name == ""


def test_of_a_schedule_that_fires_as_a_second_begins_a_second_is_enough() -> None:
    plain = {"action": "pod-failure", "mode": "all", "duration": "1s"}
    for spec in (
        {**plain, "scheduler": {"cron": "@every 1m"}},
        {"schedule": "@every 1m", "type": "PodChaos", "podChaos": plain},
    ):
        found = _parse(
            chaosExperimentCRD={
                "apiVersion": "chaos-mesh.org/v1alpha1",
                "kind": "PodChaos" if "scheduler" in spec else "Schedule",
                "spec": spec,
            }
        )
        assert found.template.parts[0].duration == timedelta(seconds=1)


def test_no_timeout_is_proposed_that_would_be_refused() -> None:
    with pytest.raises(InvalidConfig) as refused:
        _parse(chaosExperimentCRD=_with_spec(duration="100h"))

    assert str(refused.value).endswith("of it are for injection and recovery; shorten it")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"timout": "5m"}, 'met the unknown key "timout", wanted known keys only; did you mean timeout?'),
        ({"steadyState": {"minRedy": 1}}, "did you mean minReady?"),
        ({"credentials": {"secret": "x"}}, "did you mean secretName?"),
        ({"xyz": 1}, "known are chaosExperimentCRD, "),
        ({"timeout": "5 minutes"}, 'timeout: met "5 minutes", wanted a Go duration such as 90s or 5m'),
        ({"timeout": "1d"}, "there is no unit d: write 24h"),
        ({"timeout": 300}, "to 24h; the unit is missing: write 300s or 300m"),
        ({"timeout": 1e3}, "the unit is missing: write 1000.0s or 1000.0m"),
        ({"timeout": 0}, "timeout: met 0, wanted a Go duration"),
        ({"timeout": "5"}, "the unit is missing: write 5s or 5m"),
        ({"timeout": "14s"}, "from 15s to 24h"),
        ({"timeout": "25h"}, "from 15s to 24h"),
        ({"targetTimeout": "0s"}, "targetTimeout: met"),
        ({"timeout": "35s"}, "set timeout to at least 40s"),
        ({"cleanupOnFinish": "yes"}, 'cleanupOnFinish: met "yes", wanted true or false'),
        ({"cleanupOnFinish": 1}, "cleanupOnFinish: met 1, wanted true or false"),
        ({"onNoTargets": "ignore"}, "wanted one of inconclusive, fail, succeed"),
        ({"steadyState": False}, "write {enabled: false}"),
        ({"steadyState": [1]}, "steadyState: met a list of 1, wanted an object"),
        ({"steadyState": {"minReady": "101%"}}, "a share such as 80%"),
        ({"steadyState": {"minReady": 1.5}}, "steadyState.minReady: met 1.5"),
        ({"steadyState": {"minReady": True}}, "steadyState.minReady: met true"),
        ({"steadyState": {"maxRestarts": -1}}, "a whole number from 0 to 10000"),
        ({"targetReplicaSetValue": ""}, "targetReplicaSetValue: met empty text"),
        ({"targetReplicaSetValue": 7}, "met 7, wanted text; put it between quotes"),
        ({"targetReplicaSetValue": "{{rollouts.new.podTemplateHash}}"}, "which Argo has not resolved"),
        ({"targetReplicaSetValue": "{{x}}"}, "valueFrom: {podTemplateHashValue: Latest}"),
        ({"targetReplicaSetValue": "{{x}}"}, "{{templates.<name>.podTemplateHash}}"),
        ({"targetReplicaSetValue": "a b"}, "wanted the value of a label"),
        ({"targetReplicaSetLabel": "a b"}, "wanted the key of a label"),
        ({"scheduleFor": "2m"}, 'met "2m" beside a PodChaos, wanted it only with a Schedule'),
        ({"scheduleFor": "soon"}, "scheduleFor: met"),
        ({"chaosMeshEndpoint": "https://api"}, "credentials.secretName: met nothing"),
        ({"credentials": {"secretName": "x"}}, "chaosMeshEndpoint: met nothing"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_met_and_wanted(more: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        _parse_all(more)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ("", "chaosExperimentCRD: met nothing, wanted one chaos experiment"),
        ("{{args.spec}}", "the argument is not resolved"),
        ("a: [", "text that is not accepted as YAML (line"),
        ("a: 1\na: 2", "not accepted as YAML"),
        ("a: &x 1\nb: *x", "not accepted as YAML"),
        ("a: !!python/name:os 1", "not accepted as YAML"),
        (f"{_YAML}\n---\n{_YAML}", "not accepted as YAML"),
        ("[" * 1000, "not accepted as YAML"),
        ("x" * (1 << 20) + "y", "not accepted as YAML"),
        ("just text", 'chaosExperimentCRD: met "just text", wanted an object'),
        (7, "chaosExperimentCRD: met 7, wanted an object"),
        ("apiVersion: v1\nkind: Pod", 'wanted "chaos-mesh.org/v1alpha1"'),
        ("apiVersion: chaos-mesh.org/v1alpha1\nkind: PodChoas", "did you mean PodChaos?"),
        ("apiVersion: chaos-mesh.org/v1alpha1\nkind: PodChaos", "chaosExperimentCRD.spec: met nothing"),
        ({**_with_spec(), "specs": 1}, "did you mean spec?"),
        ({**_with_spec(), "metadata": {"nme": "x"}}, "did you mean name?"),
        ({**_with_spec(), "metadata": {"name": 7}}, "metadata.name: met 7, wanted text"),
        (_with_spec(scheduler={"cron": "soon"}), 'spec.scheduler.cron: met "soon", wanted when to fire'),
        (_with_spec(scheduler={"every": "1m"}), "wanted known keys only; known are cron"),
        (_with_spec(scheduler="@every 1m"), 'spec.scheduler: met "@every 1m", wanted an object'),
        (_with_spec(action=None), "spec.action: met nothing, wanted an action of PodChaos"),
        (_with_spec(action="pod-kil"), "did you mean pod-kill?"),
        (_with_spec(action="container-kill"), "the containers that container-kill is to kill"),
        (_with_spec(action="container-kill", containerNames="app"), "wanted a list of texts"),
        (_with_spec(mode=None), "spec.mode: met nothing, wanted one of one, all"),
        (_with_spec(mode="fixed"), 'a number as text for mode fixed, such as "50"'),
        (_with_spec(mode="fixed", value=2), "spec.value: met 2"),
        (_with_spec(duration="1d"), "there is no unit d: write 24h"),
        *(
            (_with_spec(duration=short), f'spec.duration: met "{short}", wanted a Go duration of at least 2s')
            for short in ("0s", "500ms", "1s", "1.999s", "-5s")
        ),
        (_with_spec(duration=""), "such as 30s or 1m30s; it is empty"),
        (_with_spec(duration=30), "such as 30s or 1m30s; the unit is missing: write 30s or 30m"),
        (_with_spec(duration=True), "spec.duration: met true"),
        (_with_spec(duration="4m51s"), "at most 4m50s: timeout is 5m, and 10s of it are for injection"),
        (_with_spec(duration="23h59m50s"), "shorten it, or set timeout to at least 24h"),
    ],
)
def test_a_wrong_experiment_is_refused_by_the_field(given_: object, said: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        _parse(chaosExperimentCRD=given_)

    assert said in str(refused.value)
    assert len(str(refused.value).encode()) <= 1024
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ({}, "provider.plugin: met nothing, wanted one key"),
        ({"a": b"{}", "b": b"{}"}, "met 2 keys (a, b), wanted one key"),
        ({"a": b"{}"}, "provider.plugin.a: met nothing, wanted an object with at least chaosExperimentCRD"),
        ({"a": b""}, "provider.plugin.a: met nothing"),
        ({"a": b"null"}, "provider.plugin.a: met nothing"),
        ({"a": b"[1]"}, "met a list of 1, wanted an object"),
        ({"a": b"{"}, "met broken JSON"),
        ({"a": b'{"x": "\xff"}'}, "met broken JSON"),
        ({"a": b"[" * 100_000}, "met broken JSON"),
        ({"a": b" " * ((2 << 20) + 1)}, "wanted at most 2097152"),
        ({"a": b'{"timeout": "5m"}'}, "chaosExperimentCRD: met nothing"),
        ({"a": b'{"chaosExperimentCRD": ' + b'{"a":' * 70 + b"1" + b"}" * 71}, "deeper than 64 levels"),
    ],
)
def test_a_plugin_section_that_is_no_configuration_is_refused(plugin: dict[str, bytes], said: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        config.parse(plugin, labels=_LABELS, namespace="shop", policy=Policy(), load_yaml=load)

    assert said in str(refused.value)


def test_another_namespace_is_refused_unless_the_operator_opens_it() -> None:
    elsewhere = {**_with_spec(), "metadata": {"namespace": "prod"}}
    with pytest.raises(ScopeRefused, match="names namespace prod, the canary is in shop"):
        _parse(chaosExperimentCRD=elsewhere)

    assert _parse(chaosExperimentCRD=elsewhere, policy=Policy(allow_cross_namespace=True)).namespace == "prod"


def test_several_namespaces_are_never_one_canary() -> None:
    wide = _with_spec(selector={"namespaces": ["shop", "prod"]})
    with pytest.raises(ScopeRefused, match="names 2 namespaces"):
        _parse(chaosExperimentCRD=wide, policy=Policy(allow_cross_namespace=True))
    with pytest.raises(ScopeRefused, match="names namespace prod"):
        _parse(chaosExperimentCRD=wide)


_SECRET = {"secretName": "remote"}


def test_another_api_server_is_used_where_the_operator_allows_its_host() -> None:
    found = _parse(
        chaosMeshEndpoint="https://API.example.com:6443/",
        policy=Policy(allow_endpoints=("api.example.com",)),
        credentials=_SECRET,
    )

    assert (found.endpoint, found.credentials) == ("https://API.example.com:6443", "remote")


def test_another_api_server_is_refused_without_the_operator() -> None:
    with pytest.raises(PolicyRefused, match=r"host api\.example\.com:443 is not allowed"):
        _parse(chaosMeshEndpoint="https://api.example.com", credentials=_SECRET)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "https://user@api.example.com",
        "https://api.example.com?x=1",
        "https://api.example.com#x",
        "https://api.example.com:99999",
        "https://",
        "https://api.example.com@evil.example.com",
        "https://api.example.com\\@evil.example.com",
        "dashboard:2333",
    ],
)
def test_only_a_plain_https_url_is_another_api_server(url: str) -> None:
    with pytest.raises(InvalidConfig, match="the https URL of another Kubernetes API server"):
        _parse(
            chaosMeshEndpoint=url, policy=Policy(allow_endpoints=("api.example.com",)), credentials=_SECRET
        )


def test_the_name_of_a_secret_is_no_path() -> None:
    with pytest.raises(InvalidConfig, match=r"credentials\.secretName: met \"\.\./x\""):
        _parse(chaosMeshEndpoint="https://api", credentials={"secretName": "../x"})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(config._KEYS), _JSON)
def test_any_value_of_any_key_is_taken_or_refused_in_one_line(key: str, value: object) -> None:
    try:
        found: object = _parse_all({key: value})
    except Refusal as refused:
        assert "\n" not in str(refused)  # noqa: PT017 # either end is right
        found = refused

    assert isinstance(found, Config | Refusal)
