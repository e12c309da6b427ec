"""Templates as a user has them in a file, and what is asked of them."""

import json
from typing import Any

import pytest

from chaosplugin.core.analysis_template import read
from chaosplugin.core.refusal import InvalidConfig

CHAOS = {"kind": "PodChaos", "spec": {"duration": "{{args.lasting}}"}}


def template(*metrics: dict[str, Any], args: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    declared = args if args is not None else [{"name": "lasting", "value": "5s"}, {"name": "hash"}]
    return {"kind": "AnalysisTemplate", "spec": {"args": declared, "metrics": list(metrics)}}


def metric(name: str = "chaos", **config: object) -> dict[str, Any]:
    return {
        "name": name,
        "successCondition": "result.restarts < {{args.lasting}}",
        "provider": {"plugin": {"a/b": {"chaosExperimentCRD": CHAOS, **config}}},
    }


def config_of(found: object, **arguments: str) -> Any:
    return json.loads(bytes(read(found, arguments, "", {}).config))


def test_a_condition_of_null_is_none() -> None:
    found = template({**metric(), "successCondition": None, "failureCondition": None})

    asked = read(found, {}, "", {})

    assert (asked.success_condition, asked.failure_condition) == ("", "")


def test_arguments_are_put_in_their_places_however_deep() -> None:
    asked = read(template(metric()), {"lasting": "7s"}, "", {"timeout": "1m"})

    assert json.loads(bytes(asked.config)) == {
        "chaosExperimentCRD": {"kind": "PodChaos", "spec": {"duration": "7s"}},
        "timeout": "1m",
    }
    assert asked.success_condition == "result.restarts < 7s"


def test_an_argument_that_is_not_given_has_the_templates_value() -> None:
    assert config_of(template(metric()))["chaosExperimentCRD"]["spec"]["duration"] == "5s"


def test_the_canarys_hash_need_not_be_given() -> None:
    with_hash = template(metric(targetReplicaSetValue="{{args.hash}}"))

    assert "targetReplicaSetValue" not in config_of(with_hash)
    assert config_of(with_hash, hash="abc")["targetReplicaSetValue"] == "abc"


def test_an_experiment_alone_is_a_configuration() -> None:
    assert config_of({"kind": "PodChaos", "spec": {}}) == {
        "chaosExperimentCRD": {"kind": "PodChaos", "spec": {}}
    }


@pytest.mark.parametrize(
    ("found", "arguments", "chosen", "words"),
    [
        ("text", {}, "", "wanted an AnalysisTemplate"),
        ({"kind": "PodChoas"}, {}, "", "did you mean PodChaos?"),
        (template(), {}, "", "met 0 metrics"),
        (template(metric("a"), metric("b")), {}, "", "choose one by --metric"),
        (template(metric("checkout"), metric("b")), {}, "chekout", "did you mean checkout?"),
        ({"kind": "PodChaos"}, {"x": "1"}, "", "--arg: met x, wanted an AnalysisTemplate"),
        ({"kind": "PodChaos"}, {}, "chaos", "--metric: met chaos, wanted an AnalysisTemplate"),
        (template(metric()), {"lastin": "5s"}, "", "hash, lasting"),
        (template(metric(timeout="{{args.hash}}")), {}, "", "--arg hash=VALUE"),
        (template({"provider": {"plugin": {"a/b": {}, "c/d": {}}}}), {}, "", "met 0 metrics"),
    ],
)
def test_what_is_missing_is_named(found: object, arguments: dict[str, str], chosen: str, words: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        read(found, arguments, chosen, {})

    assert words in str(refused.value)


def test_of_several_metrics_one_is_chosen_by_its_name() -> None:
    asked = read(template(metric("a"), metric("b", timeout="9s")), {}, "b", {})

    assert json.loads(bytes(asked.config))["timeout"] == "9s"
