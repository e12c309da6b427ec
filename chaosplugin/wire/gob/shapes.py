"""What a reader wants of a value: the local half of gob's schema evolution.

The sender's types say what is on the wire, a Shape says what of it is to be built, and into what:

    SKIP                     nothing; it is passed over without being built
    ANY                      everything, as plain Python values (see below)
    BOOL INT UINT FLOAT COMPLEX STRING BYTES
    StructShape              a dict of the fields named, or what `build` makes of them; others are skipped
    ListShape, MapShape      a slice as list, a map as dict
    OpaqueShape              the bytes of a type that encodes itself, through `build`
    InterfaceShape           a `Named`, its value shaped by its registered name; None for nil

ANY gives bool, int, float, complex, str, bytes, `Opaque`, list, dict for structs and maps, `Named` for
interfaces; a map whose keys are not scalars becomes a list of pairs, because they may not be hashable, and
so does one with complex keys (see `readers.collector`).

Shapes are compared by identity and readers are compiled for each, so make them once, as constants.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Whole(Enum):
    """Shapes that take any type: nothing of it, or all."""

    SKIP = "skip"
    ANY = "any"


class Scalar(Enum):
    """Basic types, by the names of Go's local types in its error texts."""

    __hash__ = object.__hash__  # Enum's own runs Python code, for each call with such an argument

    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    FLOAT = "float64"
    COMPLEX = "complex128"
    STRING = "string"
    BYTES = "[]uint8"


@dataclass(frozen=True, slots=True, eq=False)
class StructShape:
    """`fields` gives for each Go name the key in the dict and the shape; `go` names the type in error texts.

    A field that was not sent is left out of the dict, but a scalar is zero, as in Go, unless its Go name is
    among the `pointers`: nil and a pointer to zero look the same on the wire.
    `build` gets the dict, which is its own; a ValueError of it is a TypeMismatch with its text.
    """

    go: str
    fields: Mapping[str, tuple[str, "Shape"]]
    pointers: frozenset[str] = frozenset()
    build: Callable[[dict[str, object]], object] | None = None

    def zeros(self) -> dict[str, object]:
        return {
            key: _ZEROS[shape]
            for name, (key, shape) in self.fields.items()
            if isinstance(shape, Scalar) and name not in self.pointers
        }


@dataclass(frozen=True, slots=True, eq=False)
class ListShape:
    """A slice, whose elements are all wanted as one shape."""

    element: "Shape"


@dataclass(frozen=True, slots=True, eq=False)
class MapShape:
    """A map with scalar keys, but for COMPLEX."""

    key: Scalar
    value: "Shape"


@dataclass(frozen=True, slots=True, eq=False)
class OpaqueShape:
    """`build` gets the bytes; a ValueError of it is a TypeMismatch with its text."""

    go: str
    build: Callable[[bytes], object]


@dataclass(frozen=True, slots=True, eq=False)
class InterfaceShape:
    """`concrete` holds shapes by registered name; `others` is for all other names, which None refuses."""

    concrete: Mapping[str, "Shape"]
    others: Whole | None = None


Shape = Whole | Scalar | StructShape | ListShape | MapShape | OpaqueShape | InterfaceShape

SKIP = Whole.SKIP
ANY = Whole.ANY
BOOL = Scalar.BOOL
INT = Scalar.INT
UINT = Scalar.UINT
FLOAT = Scalar.FLOAT
COMPLEX = Scalar.COMPLEX
STRING = Scalar.STRING
BYTES = Scalar.BYTES
ANY_INTERFACE = InterfaceShape({}, others=ANY)
NO_INTERFACE = InterfaceShape({}, others=SKIP)

_ZEROS: dict[Scalar, object] = {
    BOOL: False,
    INT: 0,
    UINT: 0,
    FLOAT: 0.0,
    COMPLEX: 0j,
    STRING: "",
    BYTES: b"",
}


class Named(NamedTuple):
    """The content of an interface; `value` is None if its shape was SKIP."""

    name: str
    value: object


@dataclass(frozen=True, slots=True)
class Opaque:
    """What a type that encodes itself wrote."""

    data: bytes


def go_name(shape: Shape) -> str:
    """The Go type that this shape stands for, as Go's error texts would print it."""
    match shape:
        case Whole() | InterfaceShape():
            return "interface {}"
        case Scalar():
            return shape.value
        case StructShape() | OpaqueShape():
            return shape.go
        case ListShape():
            return f"[]{go_name(shape.element)}"
        case MapShape():
            return f"map[{shape.key.value}]{go_name(shape.value)}"
