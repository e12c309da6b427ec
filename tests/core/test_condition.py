"""Conditions, held against what Argo's own evaluator answers (tests/core/conditions)."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core.condition import check, holds
from chaosplugin.core.refusal import InvalidConfig

_GOLDEN = json.loads((Path(__file__).parent / "conditions" / "conditions.json").read_text())
_RESULT = {"targets": 3, "seconds": 12.5, "reason": "Survived", "restarts": 0}


def test_what_is_accepted_means_what_argo_makes_of_it() -> None:
    accepted = 0
    for text, argo in _GOLDEN["conditions"].items():
        try:
            check("successCondition", text)
        except InvalidConfig:
            pass  # refused before any fault: no disagreement
        else:
            accepted += 1
            assert holds(text, _GOLDEN["result"]) is argo, text

    assert accepted > 300


def test_what_holds_without_a_check_agrees_with_argo_wherever_argo_has_an_answer() -> None:
    for text, argo in _GOLDEN["conditions"].items():
        try:
            found: bool | None = holds(text, _GOLDEN["result"])
        except InvalidConfig:
            continue

        assert argo is None or found is argo, text


@pytest.mark.parametrize(
    "text",
    [
        "result.targets >= 3 and result.reason == 'Survived'",
        'not (result["seconds"] > 60)',
        "asInt(result.targets) % 2 == 1",
        "result.reason in ['Survived', \"x\"]",
        "len(result.reason) / 2 == 4.0",
        "'targets' in result && result.restarts + 1 < 2",
    ],
)
def test_a_condition_on_the_figures_holds(text: str) -> None:
    check("successCondition", text)

    assert holds(text, _RESULT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("result.minRedy > 1", "did you mean minReady?"),
        ("result.targets == '3'", "float and string are never equal"),
        ("result.targets", "which gives float"),
        ("result", "which gives map"),
        ("not result.targets == 3", "not wants bool, met float"),
        ("result.targets % 2 == 1", "use asInt()"),
        ("1 < 2 < 3", "< after a comparison"),
        ("'x' not in ['y']", "write not (... in ...)"),
        ("true ? true : false", '"? true : false" is not understood'),
        ("result.reason matches 'S.*'", "matches is not understood here"),
        ("__import__('os')", "__import__ is not understood here"),
        ("result.__class__", "no field __class__"),
        ("true or result.nothing > 1", "no field nothing"),
        ("true and", "it ends too early"),
        ("(true", "it ends too early"),
        ("", "it ends too early"),
        ("len(1, 2) == 1", "len takes one operand"),
        ("len() == 1", "len takes one operand"),
        ("len('é') == 1", "only ASCII"),
        ("len(1) == 1", "len does not take int"),
        ("asInt(result.reason) == 1", "asInt does not take string 'Survived'"),
        ("asInt(1 / 0) == 1", "asInt does not take float inf"),
        ("asFloat(nil) == 1", "asFloat does not take nil None"),
        ("9223372036854775808 > 1", "beyond 64 bits"),
        ("1e999 > 1", "1e999 is beyond"),
        ("nil * 2 > 1", "* does not go with nil and int"),
        ("9223372036854775807 + 1 > 1", "beyond 64 bits"),
        ("1 % 0 == 1", "% by 0"),
        ("-'a' == 1", "- wants a number, met string"),
        ("'a' + 1 == 'a1'", "+ does not go with string and int"),
        ("'a' < 1", "< does not go with string and int"),
        ("1 in 'abc'", "in does not go with int and string"),
        ("[1] == [1]", "== does not compare array and array"),
        ("result[0] == 1", "result has no member 0"),
        ("result.'a' == 1", "is not understood here"),
        ("(" * 40 + "true" + ")" * 40, "deeper than 32 levels"),
        ("true and " * 150 + "true", "longer than 1024 characters"),
        ("!" * 500 + "true", "more than 200 words"),
    ],
)
def test_a_condition_that_could_not_be_judged_is_refused_by_its_token(text: str, said: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        check("failureCondition", text)

    assert str(refused.value).startswith("failureCondition: met ")
    assert said in str(refused.value)
    assert len(str(refused.value).encode()) <= 1024


def test_a_field_that_is_missing_at_run_time_is_nil_as_in_argo() -> None:
    assert holds("result.minReady == nil", {})
    assert not holds("result.reason == 5", _RESULT)


@given(st.text(alphabet="result.asInt()[]!<>=&|+-*/%'\" 0123456789,notadrue", max_size=60) | st.text())
def test_any_text_gives_an_answer_or_a_refusal(text: str) -> None:
    try:
        found: object = holds(text, _RESULT)
    except InvalidConfig as refused:
        found = "\n" in str(refused)

    assert isinstance(found, bool)
