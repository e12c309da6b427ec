"""Go types, as an encoder needs to know them to write what Go would.

Values for them are plain Python: bool, int, float, complex, str, bytes, sequences, mappings (a struct is a
mapping by Go field name; an absent field is zero), bytes for a type that encodes itself, `Named` or None for
an interface, None for a nil pointer or map.

Types are compared by identity, as one Go type is one type: share a description, or it is defined twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Basic(Enum):
    """The kinds that need no definition, by the name Go gives them within `[]` and `map[]`."""

    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    FLOAT = "float64"
    COMPLEX = "complex128"
    STRING = "string"
    BYTES = "[]uint8"


@dataclass(frozen=True, slots=True, eq=False)
class Struct:
    """`package` only shows in the names of slices and maps of it."""

    name: str
    fields: tuple[tuple[str, "GoType"], ...]
    package: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """`name` is for a named slice type."""

    element: "GoType"
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """Always sent whole; `[N]byte` is no exception. `name` is for a named array type."""

    element: "GoType"
    length: int
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """`name` is for a named map type."""

    key: "GoType"
    value: "GoType"
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SelfEncoding:
    """A GobEncoder (`kind` 5) or BinaryMarshaler (6).

    Go needlessly defines the types of its exported fields too: `surplus`. metav1.Time embeds time.Time.
    """

    name: str
    surplus: tuple["GoType", ...] = ()
    package: str = ""
    kind: int = 5


@dataclass(frozen=True, slots=True, eq=False)
class Pointer:
    """Not seen on the wire, but for what is left out of a struct, and for how SelfEncoding is defined."""

    to: "GoType"


@dataclass(frozen=True, slots=True, eq=False)
class Interface:
    """`concrete` holds the types registered by name."""

    concrete: Mapping[str, "GoType"]


GoType = Basic | Struct | Slice | Array | Map | SelfEncoding | Pointer | Interface

BOOL = Basic.BOOL
INT = Basic.INT
UINT = Basic.UINT
FLOAT = Basic.FLOAT
COMPLEX = Basic.COMPLEX
STRING = Basic.STRING
BYTES = Basic.BYTES

EMPTY = Struct("", ())  # struct{}: net/rpc's body of an error, go-plugin's answer to Ping and Quit
TIME = SelfEncoding("Time", package="time")
METAV1_TIME = SelfEncoding("Time", surplus=(TIME,), package="v1")


def type_string(type_: GoType) -> str:
    """How Go prints the type; the wire shows it as the name of slices, arrays and maps."""
    match type_:
        case Basic():
            text = type_.value
        case Struct(name=name, package=package) | SelfEncoding(name=name, package=package):
            text = f"{package}.{name}" if package else name or "struct {}"
        case Slice(element=element, name=name):
            text = name or f"[]{type_string(element)}"
        case Array(element=element, length=length, name=name):
            text = name or f"[{length}]{type_string(element)}"
        case Map(key=key, value=value, name=name):
            text = name or f"map[{type_string(key)}]{type_string(value)}"
        case Pointer(to=to):
            text = f"*{type_string(to)}"
        case _:
            text = "interface {}"
    return text
