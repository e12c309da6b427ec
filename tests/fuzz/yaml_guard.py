"""The YAML guard: any text is plain values that JSON can say, or a YAMLError of one line."""

from collections.abc import Iterator

import msgspec

from chaosplugin.kube.yaml import YAMLError, load

TOKENS = (
    *(b"- ", b": ", b"\n  ", b"{", b"}", b"[", b"]", b"&a ", b"*a", b"<<: ", b"!!str ", b"!!map ", b"!!seq "),
    *(
        b"|\n",
        b">-\n",
        b"---\n",
        b"...\n",
        b"%YAML 1.2\n",
        b"%TAG !a! x\n",
        b"? ",
        b"# ",
        b"'",
        b'"',
        b"\\u0041",
        b"\\x41",
    ),
    *(b"0x1F", b"0o17", b"0b101", b"1e3", b".inf", b".nan", b"~", b"null", b"yes", b"2026-01-01", b"1_000"),
    *(b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\t", b"!<tag:yaml.org,2002:str> ", b"190:20:30"),
)


def check(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        value = load(text)
    except YAMLError as error:
        _check_line(str(error))
        return
    assert msgspec.json.decode(msgspec.json.encode(value)) == value or _has_big_number(value)


def _check_line(text: str) -> None:
    assert "\n" not in text
    assert 0 < len(text) < 1000


def _has_big_number(value: object) -> bool:
    """Whether JSON would read a number of it as a float that is another one."""
    if isinstance(value, dict):
        return any(map(_has_big_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_big_number, value))
    return isinstance(value, int) and abs(value) >= 1 << 53


def seeds() -> Iterator[bytes]:
    yield b"apiVersion: chaos-mesh.org/v1alpha1\nkind: PodChaos\nmetadata: {name: kill}\nspec:\n  mode: all\n"
    yield b"a: &x [1, 2.5, 0x1f, 1e3, yes, ~, 'q', \"\\u0041\"]\nb: *x\n"
    yield b"? [k]\n: !!str 1\n<<: {a: b}\n"
    yield b"text: |\n  line\n\n  line\nfolded: >-\n  a\n  b\n# end\n"
    yield b"%YAML 1.1\n---\n- 1\n- - 2\n...\n---\nb\n"
    yield b"k: 1\nk: 2\n"
