"""What the operators and functions of a condition do, as expr-lang's vm/runtime does it in Argo.

Values are bool, int (64 bits, of literals, len and asInt), float (of everything in `result`), str, None
and lists. Booleans are no numbers. A division is always one of floats; `%` takes whole numbers only.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping

_INT64 = 1 << 63
_INT = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_NAMES = {bool: "bool", int: "int", float: "float", str: "string", list: "array"}
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


class OperandError(ValueError):
    """Operands that do not fit; `str()` names them."""


def name(value: object) -> str:
    """Name a value's type as expr-lang does."""
    return "nil" if value is None else _NAMES.get(type(value), "map")


def number(value: object) -> int | float | None:
    """Return the value if it is a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def truth(sign: str, value: object) -> bool:
    """Return the value if it is a boolean."""
    if not isinstance(value, bool):
        raise OperandError(f"{sign} wants bool, met {name(value)}")
    return value


def equal(left: object, right: object) -> bool:
    """Compare: numbers by value, others by type and value."""
    one, other = number(left), number(right)
    if one is not None and other is not None:
        return one == other if isinstance(one, type(other)) else float(one) == float(other)
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        raise OperandError(f"== does not compare {name(left)} and {name(right)} here")
    return type(left) is type(right) and left == right


def order(sign: str, left: object, right: object) -> bool:
    """Compare two numbers or two texts."""
    one, other = number(left), number(right)
    if one is not None and other is not None:
        alike = isinstance(one, type(other))
        return _ORDER[sign](one, other) if alike else _ORDER[sign](float(one), float(other))
    if isinstance(left, str) and isinstance(right, str):
        both = -1 if left < right else int(left > right)
        return _ORDER[sign](both, 0)
    raise _misfit(sign, left, right)


def contains(item: object, holder: object) -> bool:
    """Find an item in a list, or a key in an object."""
    match holder:
        case list():
            return any(equal(item, member) for member in holder)
        case dict() if isinstance(item, str):
            return item in holder
        case _:
            raise _misfit("in", item, holder)


def calculate(sign: str, left: object, right: object) -> object:
    """Calculate; `+` joins texts, too."""
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    one, other = number(left), number(right)
    if one is None or other is None:
        raise _misfit(sign, left, right)
    if sign == "/":
        return _divide(float(one), float(other))
    if sign == "%":
        return _remainder(one, other)
    if isinstance(one, float) or isinstance(other, float):
        return _ARITHMETIC[sign](float(one), float(other))
    return _int64(_ARITHMETIC[sign](one, other))


def negate(sign: str, value: object) -> object:
    """Apply a sign before a number."""
    found = number(value)
    if found is None:
        raise OperandError(f"{sign} wants a number, met {name(value)}")
    return -found if sign == "-" else found


def as_int(value: object) -> int:
    """Argo's asInt: cuts a float off, reads a text."""
    if isinstance(value, str) and _INT.fullmatch(value):
        return _int64(int(value))
    found = number(value)
    if found is None or (isinstance(found, float) and not math.isfinite(found)):
        raise OperandError(f"asInt does not take {name(value)} {value!r}")
    return _int64(int(found))


def as_float(value: object) -> float:
    """Argo's asFloat: reads a text, too."""
    if isinstance(value, str) and _FLOAT.fullmatch(value):
        return float(value)
    found = number(value)
    if found is None:
        raise OperandError(f"asFloat does not take {name(value)} {value!r}")
    return float(found)


def length(value: object) -> int:
    """Count the characters of a text, the members of a list or an object.

    Text beyond ASCII is refused: expr-lang 1.16 counts its bytes, 1.17 its characters.
    """
    if isinstance(value, str) and not value.isascii():
        raise OperandError("len takes only ASCII text")
    if isinstance(value, str | list | dict):
        return len(value)
    raise OperandError(f"len does not take {name(value)}")


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _remainder(left: float, right: float) -> int:
    if isinstance(left, float) or isinstance(right, float):
        raise OperandError("% takes whole numbers: use asInt()")
    if right == 0:
        raise OperandError("% by 0")
    return int(math.copysign(abs(left) % abs(right), left))


def _int64(value: float) -> int:
    if not -_INT64 <= value < _INT64:
        raise OperandError("a whole number beyond 64 bits")
    return int(value)


def _misfit(sign: str, left: object, right: object) -> OperandError:
    return OperandError(f"{sign} does not go with {name(left)} and {name(right)}")
