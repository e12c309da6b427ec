"""What a plain YAML scalar means to Kubernetes' tools.

Source: resolve.go of goyaml.v2, on which sigs.k8s.io/yaml (kubectl, the API server, Argo) is built, and
the JSON conversion of the latter: a float without a fraction is sent as an integer. Dates stay text, as
there. What JSON cannot say (.inf, .nan) is refused here instead of further down.
"""

import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_JSON = frozenset(
    sign + word
    for word in (".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN")
    for sign in ("", "+", "-")
    if not (sign and word.lower() == ".nan")
)
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]?([0-7]+)|0[bB]([01]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 64  # characters; converting digits costs the square of their number
_LARGEST_WHOLE = 1e21  # from here Go writes floats with an exponent


def resolve(text: str) -> Scalar:
    """Give a plain scalar its value.

    Raises:
        ValueError: an infinity or a not-a-number.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text in _NOT_JSON:
        raise ValueError(f"{text} is no number in JSON")
    if len(text) > _LONGEST_NUMBER or text[0] not in "+-.0123456789":
        return text
    # An underscore may group digits, but not behind a leading dot: there goyaml parses the text as it is.
    digits = text if text[0] == "." else text.replace("_", "")
    if (found := _INTEGER.fullmatch(digits)) and (whole := _integer(found)) is not None:
        return whole
    if _FLOAT.fullmatch(digits):
        return _float(text, digits)
    return text


def _integer(found: re.Match[str]) -> int | None:
    """Read an integer that fits int64 or uint64; larger ones are floats if written in decimal, else text."""
    sign, sixteen, eight, two, ten = found.groups()
    value = int(sixteen, 16) if sixteen else int(eight, 8) if eight else int(two, 2) if two else int(ten)
    value = -value if sign == "-" else value
    largest = 1 << (63 if sign == "+" else 64)  # ParseUint, which reaches further, takes no sign
    return value if -(1 << 63) <= value < largest else None


def _float(text: str, digits: str) -> Scalar:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        return text
    return int(value) if value.is_integer() and abs(value) < _LARGEST_WHOLE else value
