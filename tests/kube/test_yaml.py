import contextlib
import json
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.kube.yaml import YAMLError, load


@pytest.fixture(params=["libyaml", "pure Python"])
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure Python":
        monkeypatch.setattr("chaosplugin.kube.yaml._Loader", yaml.SafeLoader)
    else:
        assert yaml.__with_libyaml__


@pytest.mark.usefixtures("_parser")
def test_a_manifest_is_read_as_kubectl_reads_it() -> None:
    text = """
kind: PodChaos
spec:
  mode: one
  gracePeriod: 0
  selector: {namespaces: [shop], labelSelectors: {app: "yes", "on": 'off'}}
  note: |
    two
    lines
"""
    assert load(text) == {
        "kind": "PodChaos",
        "spec": {
            "mode": "one",
            "gracePeriod": 0,
            "selector": {"namespaces": ["shop"], "labelSelectors": {"app": "yes", "on": "off"}},
            "note": "two\nlines\n",
        },
    }


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("On", True),
        ("y", True),
        ("n", False),
        ("OFF", False),
        ("yEs", "yEs"),
        ("~", None),
        ("", None),
        ("null", None),
        ("0777", 511),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("-0b11", -3),
        ("+5", 5),
        ("1_000", 1000),
        ("09", 9),
        ("1e3", 1000),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1e999", "1e999"),
        ("1e400e", "1e400e"),
        ("9223372036854775808", 2**63),
        ("18446744073709551615", 2**64 - 1),
        ("1" * 65, "1" * 65),
        ("2001-12-14", "2001-12-14"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("190:20:30", "190:20:30"),
        ("1.2.3", "1.2.3"),
        ("30s", "30s"),
        ("50%", "50%"),
        ("!!str 5", "5"),
        ("'5'", "5"),
    ],
)
def test_plain_scalars_mean_what_goyaml_takes_them_for(text: str, value: object) -> None:
    found = load(f"a: {text}")

    assert found == {"a": value}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(value)


def test_keys_are_always_text_as_written() -> None:
    assert load("{on: 1, 1: 2, null: 3, 0x10: 4}") == {"on": 1, "1": 2, "null": 3, "0x10": 4}


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize("end", ["---", "---\n", "...\n", "---\n# nothing\n---\n"])
def test_documents_in_which_nothing_is_do_not_count(end: str) -> None:
    assert load(f"---\na: 1\n{end}") == {"a": 1}


@pytest.mark.usefixtures("_parser")
@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("", 0, 0, "empty"),
        ("# only a comment", 0, 0, "empty"),
        ("a: 1\n---\nb: 2", 2, 1, "second document"),
        ("a: 1\n---\n---\nb: 2", 3, 1, "second document"),
        ("a: 1\n--- ''", 2, 1, "second document"),
        ("a: 1\nb:\n  c: 1\n  c: 2", 4, 3, "'c' for the second time"),
        ("a: &x [1]\nb: *x", 2, 4, "alias *x"),
        ("a: &a [*a]", 1, 8, "alias *a"),
        ("a:\n  <<: {b: 1}", 2, 3, "merge key"),
        ("? [a]\n: 1", 1, 3, "as a key"),
        ("a: !!python/object:os.system x", 1, 4, "python/object"),
        ("a: !!int 5", 1, 4, "int"),
        ("a: !local x", 1, 4, "!local"),
        ("a: .inf", 1, 4, "no number in JSON"),
        ("a: -.Inf", 1, 4, "no number in JSON"),
        ("a: [1, 2", 1, 9, ""),
        ("a: b: c", 1, 5, "not allowed"),
        ("a: \x01", 0, 0, "not allowed"),
        ("a: \ud800", 0, 0, "surrogate"),
        ("[" * 100_000, 1, 65, "nested deeper than 64"),
        ("- " * 100, 1, 129, "nested deeper than 64"),
        ("a: " + "x" * (300 << 10), 1, 4, "262144"),
        ("#" * (1 << 20) + "#", 0, 0, "1048577 bytes"),
        ("# a\n%TAG !a! tag:a,2000:\n---\na: 1", 2, 1, "%TAG"),
        ("\ufeff%TAG !a! x\n---\na: 1", 1, 1, "%TAG"),
        ("[" + "1," * 100_001 + "]", 1, 200_000, "100000 values"),
    ],
)
def test_what_no_object_needs_is_refused_with_its_place(text: str, line: int, column: int, says: str) -> None:
    with pytest.raises(YAMLError) as caught:
        load(text)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    if line and "b: c" not in text and "[1, 2" not in text:  # the parsers differ by a column on these
        assert (caught.value.line, caught.value.column) == (line, column)


def test_bombs_are_refused_before_they_grow() -> None:
    laughs = "a: &a [x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]\n" for n in range(20)
    )
    digits = "a: " + "1:" * 100_000 + "1"
    directives = "".join(f"%TAG !a{n}! x\n" for n in range(60_000)) + "---\na: 1"
    began = time.process_time()

    with pytest.raises(YAMLError):
        load(laughs)
    with pytest.raises(YAMLError):
        load(directives)
    assert load(digits) == {"a": digits[3:]}

    assert time.process_time() - began < 10, "minutes, or no end, when they grow"


# JSON escapes what lies beyond as two surrogates, which YAML (goyaml as well) refuses
bmp_text = st.text(st.characters(max_codepoint=0xD7FF))
short_text = st.text(st.characters(max_codepoint=0xD7FF), max_size=100)  # a key has at most 1024 characters
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer())
    | bmp_text,
    lambda inner: st.lists(inner) | st.dictionaries(short_text, inner),
    max_leaves=20,
)


@given(values)
def test_json_is_yaml_and_keeps_its_meaning(value: object) -> None:
    assert load(json.dumps(value)) == value


@given(st.text(alphabet=st.sampled_from("ab:-[]{},&*!?|>'\"#%@` \n\t~<.0159exo_+y")))
def test_any_text_is_read_or_refused_by_a_yaml_error(text: str) -> None:
    with contextlib.suppress(YAMLError):
        load(text)
