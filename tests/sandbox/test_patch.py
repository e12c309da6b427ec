"""Patches by the examples of their RFCs, and Go's durations by those of its documentation."""

from datetime import timedelta
from typing import Any

import pytest

from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.patch import apply, merge
from chaosplugin.sandbox.chaosmesh.durations import parse


@pytest.mark.parametrize(
    ("target", "change", "result"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, change: Any, result: Any) -> None:
    assert merge(target, change) == result


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [  # RFC 6902, appendix A
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": "qux"}, {"foo": "bar", "baz": "qux"}),
        (
            {"foo": ["bar", "baz"]},
            {"op": "add", "path": "/foo/1", "value": "q"},
            {"foo": ["bar", "q", "baz"]},
        ),
        ({"foo": ["bar"]}, {"op": "add", "path": "/foo/-", "value": "q"}, {"foo": ["bar", "q"]}),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/a"}, {"b": 2}),
        ({"foo": ["a", "b"]}, {"op": "remove", "path": "/foo/0"}, {"foo": ["b"]}),
        ({"a": 1}, {"op": "replace", "path": "/a", "value": 2}, {"a": 2}),
        ({"a": {"b": 1}, "c": {}}, {"op": "move", "from": "/a/b", "path": "/c/d"}, {"a": {}, "c": {"d": 1}}),
        ({"a": 1}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": 1, "b": 1}),
        ({"~1": 10, "a/b": 1}, {"op": "test", "path": "/~01", "value": 10}, {"~1": 10, "a/b": 1}),
        ({"a": 1}, {"op": "replace", "path": "", "value": {}}, {}),
    ],
)
def test_json_patch(document: Any, operation: Any, result: Any) -> None:
    assert apply(document, [operation]) == result


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "remove", "path": "/none"}, 422),
        ({"op": "replace", "path": "/none", "value": 1}, 422),
        ({"op": "test", "path": "/a", "value": 2}, 422),
        ({"op": "add", "path": "/a/b/c", "value": 1}, 422),
        ({"op": "unknown", "path": "/a"}, 400),
        ({"op": "add", "path": "a", "value": 1}, 400),
        ({"op": "remove", "path": ""}, 400),
        ("text", 400),
    ],
)
def test_json_patches_that_do_not_fit(operation: Any, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        apply({"a": 1}, [operation])

    assert refused.value.code == code


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("-1.5h", -5400), ("2h45m", 9900), ("0", 0), ("1us", 1e-6), (".5s", 0.5), ("+5s", 5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("s", 'time: invalid duration "s"'),
        ("1s x", 'time: unknown unit "s x" in duration "1s x"'),
    ],
)
def test_texts_that_are_no_durations(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="time: ") as refused:
        parse(text)

    assert str(refused.value) == why
