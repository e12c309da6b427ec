import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core.redaction import CUT, MASK, Redactor, cut
from chaosplugin.core.refusal import quote

_SECRETS = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6, max_size=40)


@given(_SECRETS, st.text(), st.text())
def test_no_secret_is_left_however_it_was_quoted(secret: str, before: str, after: str) -> None:
    redactor = Redactor.of([secret])
    texts = [secret, json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret), quote(secret)]

    for form in texts:
        assert secret not in redactor.redact(f"{before} {form} {after}")
    assert redactor.redact(f"a {json.dumps(secret)} b") == f'a "{MASK}" b'


@given(_SECRETS, st.text(alphabet="xyz ", max_size=120), st.integers(0, 160))
def test_a_cut_secret_is_no_secret_told(secret: str, before: str, limit: int) -> None:
    shown = Redactor.of([secret]).redact(cut(before + secret, limit))

    assert not any(secret[:size] + CUT in shown for size in range(3, len(secret)))


@given(st.text(), st.integers(0, 50))
def test_a_cut_text_fits_and_is_a_beginning(text: str, limit: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    shown = cut(text, limit)

    assert len(shown.encode()) <= limit
    assert text.startswith(shown.removesuffix(CUT)) or shown == text


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert cut("grün", 5) == "grün"
    assert cut("grünes", 6) == "gr" + CUT


def test_the_longest_secret_goes_first() -> None:
    assert Redactor.of(["hunter", "hunter2-extra"]).redact("x hunter2-extra y hunter") == "x ***** y *****"


@pytest.mark.parametrize("secret", ["", " ", "\n"])
def test_nothing_is_no_secret(secret: str) -> None:
    assert Redactor.of([secret]).redact("a b\nc") == "a b\nc"


def test_a_short_secret_is_replaced_only_where_it_stands_alone() -> None:
    assert Redactor.of(["5"]).redact("5 of 15 pods, 50%") == "***** of 15 pods, 50%"


def test_each_line_of_a_secret_of_several_lines_is_secret() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nend\n-----END KEY-----"

    assert Redactor.of([key]).redact("line 2: MIIEvQIBADANBg, end") == "line 2: *****, end"


def test_go_escapes_html_and_yaml_doubles_quotes() -> None:
    redactor = Redactor.of(["a<b>&'c"])

    assert redactor.redact(r"a\u003cb\u003e\u0026'c") == MASK
    assert redactor.redact("'a<b>&''c'") == f"'{MASK}'"


def test_redaction_comes_before_cutting() -> None:
    assert Redactor.of(["topsecret"]).text("ab topsecret", 10) == "ab *****"
