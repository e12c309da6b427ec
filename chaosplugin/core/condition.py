"""successCondition and failureCondition: the part of Argo's condition language that a gate needs.

Argo evaluates them with expr-lang on `result` (utils/evaluate/evaluate.go), but for plugins it trusts
the phase, so the plugin must do it. Every condition that is accepted here means what expr-lang makes of
it, precedence included (`not a == b` is `(not a) == b`); everything else is refused by its token, before
any fault. `result` is the JSON object of Measurement.value: its numbers are floats, so `%` wants asInt().

    comparison  == != < <= > >=   in     neither chained (a < b < c) nor negated (not in)
    logic       and && or || not !
    arithmetic  + - * / %
    operands    1  2.5  "text"  'text'  true  false  nil  [1, 2]  result.seconds  result["seconds"]
                asInt(x)  asFloat(x)  len(x)
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from chaosplugin.core import operators
from chaosplugin.core.operators import OperandError
from chaosplugin.core.refusal import InvalidConfig, nearest, quote
from chaosplugin.core.verdict import Figures, Reason

_MAX_LENGTH = 1024
_MAX_TOKENS = 200
_MAX_DEPTH = 32

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w.]))
    | (?P<string>"(?:[^"\\\n]|\\["'\\nrt])*"|'(?:[^'\\\n]|\\["'\\nrt])*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>==|!=|<=|>=|&&|\|\||[-+*/%<>!()\[\].,])
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_SAME = {"&&": "and", "||": "or", "!": "not"}
_COMPARISON, _UNARY_NOT, _UNARY_SIGN = 20, 50, 90
_BINARY: Mapping[str, int] = {
    "or": 10,
    "and": 15,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), _COMPARISON),
    **dict.fromkeys("+-", 30),
    **dict.fromkeys("*/%", 60),
}
_PREFIX = {"not": ("not", _UNARY_NOT), "-": ("unary -", _UNARY_SIGN), "+": ("unary +", _UNARY_SIGN)}
_LITERALS: Mapping[str, object] = {"true": True, "false": False, "nil": None}
_FUNCTIONS = {"asInt": operators.as_int, "asFloat": operators.as_float, "len": operators.length}


def check(key: str, text: str) -> None:
    """Refuse a condition that could not be judged on a gate's figures, before any fault.

    Raises:
        InvalidConfig: names the token, the field or the operands that do not fit.
    """
    figures = Figures(targets=1, injected=1, recovered=1, min_ready=1, seconds=1.0)
    sample: object = json.loads(figures.as_json(Reason.SURVIVED))
    _evaluate(key, text, sample, strict=True)


def holds(text: str, result: object) -> bool:
    """Tell whether a condition holds on the JSON object of Measurement.value.

    Raises:
        InvalidConfig: it cannot be evaluated on this result.
    """
    return _evaluate("condition", text, result, strict=False)


def _evaluate(key: str, text: str, result: object, *, strict: bool) -> bool:
    wanted = "a condition on result that is true or false"
    try:
        found = _Evaluation(result, strict=strict).of(_Parser(text).parse())
    except OperandError as error:
        raise InvalidConfig(key, quote(text), wanted, str(error)) from None
    if not isinstance(found, bool):
        raise InvalidConfig(key, f"{quote(text)}, which gives {operators.name(found)}", wanted)
    return found


@dataclass(frozen=True, slots=True)
class _Node:
    """A literal, or an operation on nodes."""

    sign: str
    operands: tuple["_Node", ...] = ()
    value: object = None
    bare: bool = False
    """an operation that no parentheses enclose"""


class _Parser:
    """Precedence climbing, with expr-lang's precedences (parser/operator)."""

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_LENGTH:
            raise OperandError(f"it is longer than {_MAX_LENGTH} characters")
        self._tokens = _tokens(text)
        self._position = 0
        self._depth = 0

    def parse(self) -> _Node:
        node = self._expression(0)
        if self._kind != "end":
            raise self._unexpected()
        return node

    @property
    def _kind(self) -> str:
        return self._tokens[self._position][0]

    @property
    def _text(self) -> str:
        kind, text = self._tokens[self._position]
        return "" if kind == "string" else text

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _unexpected(self) -> OperandError:
        kind, text = self._tokens[self._position]
        return OperandError("it ends too early" if kind == "end" else f"{text} is not understood here")

    def _expect(self, sign: str) -> None:
        if self._text != sign:
            raise self._unexpected()
        self._position += 1

    def _expression(self, least: int) -> _Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise OperandError(f"it is deeper than {_MAX_DEPTH} levels")
        left = self._operand()
        while (power := _BINARY.get(sign := self._binary(), -1)) >= least:
            if power == _COMPARISON and left.bare and _BINARY.get(left.sign) == _COMPARISON:
                raise OperandError(
                    f"{sign} after a comparison: join two comparisons by and, or use parentheses"
                )
            self._position += 1
            left = _Node(sign, (left, self._expression(power + 1)), bare=True)
        self._depth -= 1
        return left

    def _binary(self) -> str:
        if self._text == "not" and self._tokens[self._position + 1] == ("name", "in"):
            # expr-lang 1.16 forgets the not where its left side is more than one word
            raise OperandError("not in is not understood: write not (... in ...)")
        return _SAME.get(self._text, self._text)

    def _operand(self) -> _Node:
        sign = _SAME.get(self._text, self._text)
        if sign in _PREFIX:
            self._position += 1
            return _Node(_PREFIX[sign][0], (self._expression(_PREFIX[sign][1]),))
        if sign == "(":
            self._position += 1
            inner = self._expression(0)
            self._expect(")")
            return _Node("()", (inner,))
        if sign == "[":
            self._position += 1
            return _Node("[]", self._list("]"))
        return self._word()

    def _word(self) -> _Node:
        match self._next():
            case ("number", text):
                return _Node("literal", value=_number(text))
            case ("string", text):
                return _Node("literal", value=_ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1]))
            case ("name", text) if text in _LITERALS:
                return _Node("literal", value=_LITERALS[text])
            case ("name", text) if text in _FUNCTIONS:
                return self._call(text)
            case ("name", "result"):
                return self._field()
            case _:
                self._position -= 1
                raise self._unexpected()

    def _call(self, function: str) -> _Node:
        self._expect("(")
        operands = self._list(")")
        if len(operands) != 1:
            raise OperandError(f"{function} takes one operand")
        return _Node(function, operands)

    def _field(self) -> _Node:
        node = _Node("result")
        if self._text == ".":
            self._position += 1
            kind, text = self._next()
            if kind != "name":
                self._position -= 1
                raise self._unexpected()
            node = _Node("field", value=text)
        elif self._text == "[":
            self._position += 1
            node = _Node("item", (self._expression(0),))
            self._expect("]")
        return node

    def _list(self, end: str) -> tuple[_Node, ...]:
        items: list[_Node] = []
        while self._text != end:
            if items:
                self._expect(",")
            items.append(self._expression(0))
        self._position += 1
        return tuple(items)


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    while not found or found[-1][0] != "end":
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise OperandError(f"{quote(text[position : position + 20].strip())} is not understood")
        found.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
        if len(found) > _MAX_TOKENS:
            raise OperandError(f"it has more than {_MAX_TOKENS} words and signs")
    return found


def _number(text: str) -> int | float:
    found = operators.as_int(text) if text.isdigit() else float(text)
    if found == math.inf:
        raise OperandError(f"{text} is beyond what a float holds")
    return found


class _Evaluation:
    """One evaluation. A strict one looks at both sides of and/or, and knows which fields there are."""

    def __init__(self, result: object, *, strict: bool) -> None:
        self._result = result
        self._strict = strict

    def of(self, node: _Node) -> object:
        match node.sign:
            case "literal":
                return node.value
            case "result":
                return self._result
            case "field":
                return self._member(node.value)
            case "and" | "or":
                return self._logic(node)
            case _:
                return self._operation(node.sign, [self.of(operand) for operand in node.operands])

    def _operation(self, sign: str, values: list[object]) -> object:
        if sign == "[]":
            return values
        if len(values) == 1:
            return self._single(sign, values[0])
        return self._binary(sign, *values)

    def _single(self, sign: str, value: object) -> object:
        match sign:
            case "()":
                return value
            case "item":
                return self._member(value)
            case "not":
                return not operators.truth("not", value)
            case "unary +" | "unary -":
                return operators.negate(sign[-1], value)
            case _:
                return _FUNCTIONS[sign](value)

    def _logic(self, node: _Node) -> bool:
        left = operators.truth(node.sign, self.of(node.operands[0]))
        if left is (node.sign == "or") and not self._strict:
            return left
        right = operators.truth(node.sign, self.of(node.operands[1]))
        return (left or right) if node.sign == "or" else (left and right)

    def _binary(self, sign: str, left: object, right: object) -> object:
        match sign:
            case "==" | "!=":
                if self._strict and not _comparable(left, right):
                    raise OperandError(f"{operators.name(left)} and {operators.name(right)} are never equal")
                return operators.equal(left, right) is (sign == "==")
            case "in":
                return operators.contains(left, right)
            case "<" | "<=" | ">" | ">=":
                return operators.order(sign, left, right)
            case _:
                return operators.calculate(sign, left, right)

    def _member(self, key: object) -> object:
        if not isinstance(self._result, dict) or not isinstance(key, str):
            raise OperandError(f"result has no member {key!r}: it is an object of named fields")
        if key not in self._result and self._strict:
            raise OperandError(f"result has no field {key}: {nearest(key, map(str, self._result))}")
        value: object = self._result.get(key)
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _comparable(left: object, right: object) -> bool:
    numbers = operators.number(left) is not None and operators.number(right) is not None
    return numbers or left is None or right is None or type(left) is type(right)
