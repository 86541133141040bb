"""Types, names and parameters as they are written."""

from __future__ import annotations

from dataclasses import dataclass

from ksc.ir.text.names import is_identifier, is_integer
from ksc.ir.text.printer import type_text
from ksc.ir.text.syntax import Group, Node, Position, Text, Word, misread, show
from ksc.ir.types import AccType, Bool, BoxType, Float, Integer, String, TensorType, TupleType, Type

SCALAR_TYPES = {"Float": Float, "Integer": Integer, "Bool": Bool, "String": String}
CONSTRUCTORS = frozenset({"Tensor", "Vec", "Tuple", "Lam", "Acc", "Box", "Values"})


@dataclass(frozen=True, slots=True)
class LamType(Type):
    """The type of a function value, which occurs in the signatures of external functions only."""

    argument: Type
    result: Type

    def __str__(self) -> str:
        return f"(Lam {self.argument} {self.result})"


@dataclass(frozen=True, slots=True)
class Name:
    """A name: ``base``, ``[base type]``, or ``[base of]`` where base is a derivation."""

    base: str
    type: Type | None = None
    of: Name | None = None
    quoted: bool = False

    def __str__(self) -> str:
        if self.type is not None:
            return f"[{self.base} {type_text(self.type)}]"
        return f"[{self.base} {self.of}]" if self.of is not None else self.base

    @property
    def untyped(self) -> Name:
        """The name without the type that picks an overload."""
        if self.of is not None:
            return Name(self.base, of=self.of.untyped)
        return Name(self.base, quoted=self.quoted)

    @property
    def innermost_type(self) -> Type | None:
        """The type that picks an overload, under any derivations."""
        return self.type if self.of is None else self.of.innermost_type


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a definition or a lambda."""

    name: str
    type: Type
    at: Position


def is_type(node: Node) -> bool:
    """Whether a node is written as a type."""
    match node:
        case Word(text=text, quoted=False):
            return text in SCALAR_TYPES
        case Group(square=False, items=items):
            return node.head in CONSTRUCTORS or (len(items) == 1 and is_type(items[0]))
        case _:
            return False


def read_type(node: Node) -> Type:
    """The type that a node stands for. Raises InvalidIRError at its place."""
    match node:
        case Word(text=text) if text in SCALAR_TYPES:
            return SCALAR_TYPES[text]
        case Group(square=False, items=(inner,)) if node.head not in CONSTRUCTORS:
            return read_type(inner)
        case Group(square=False, items=(_, *parts)):
            match node.head, parts:
                case "Tensor", [Word(text=rank), elem, *sizes] if is_integer(rank) and int(rank) > 0:
                    if sizes and len(sizes) != int(rank):
                        raise misread(f"expected {rank} sizes, or none, in {show(node)}", node.at)
                    return TensorType(int(rank), read_type(elem), tuple(map(_size, sizes)))
                case "Vec", [elem]:
                    return TensorType(1, read_type(elem))
                case "Tuple", _:
                    return TupleType(tuple(map(read_type, parts)))
                case "Lam", [argument, result]:
                    return LamType(read_type(argument), read_type(result))
                case "Acc", [value]:
                    return AccType(read_type(value))
                case "Box", [name]:
                    return BoxType(str(read_name(name)))
    raise misread(f"expected a type, not {show(node)}", node.at)


def _size(node: Node) -> int | None:
    match node:
        case Word(text="_"):
            return None
        case Word(text=text) if is_integer(text) and int(text) >= 0:
            return int(text)
    raise misread(f"expected a size or _, not {show(node)}", node.at)


def read_result_types(node: Node) -> tuple[Type, ...]:
    """The types of the results of a function: one, or those of ``(Values type*)``."""
    if isinstance(node, Group) and node.head == "Values":
        return tuple(map(read_type, node.items[1:]))
    return (read_type(node),)


def read_name(node: Node) -> Name:
    """A plain or structured name of a function. Raises InvalidIRError at its place."""
    match node:
        case Word(text=text, quoted=True):
            return Name(text, quoted=True)
        case Word(text=text) if is_identifier(text):
            return Name(text)
        case Group(square=True, items=(Word(text=base, quoted=False), inner)):
            if is_type(inner):
                return Name(base, type=read_type(inner))
            return Name(base, of=read_name(inner))
    raise misread(f"expected a name, not {show(node)}", node.at)


def read_variable(node: Node) -> str:
    """The name of a variable that is bound here."""
    if isinstance(node, Word) and (node.quoted or is_identifier(node.text)):
        return node.text
    raise misread(f"expected the name of a variable, not {show(node)}", node.at)


def is_param(node: Node) -> bool:
    """Whether a node is written as ``(x : type)``."""
    return (
        isinstance(node, Group)
        and not node.square
        and len(node.items) == 3
        and isinstance(node.items[1], Word)
        and node.items[1].text == ":"
    )


def read_param(node: Node) -> Param:
    """``(x : type)``. Raises InvalidIRError at its place."""
    if not isinstance(node, Group) or not is_param(node):
        raise misread(f"expected a parameter (x : type), not {show(node)}", node.at)
    return Param(read_variable(node.items[0]), read_type(node.items[2]), node.at)


def read_params(node: Node) -> tuple[Param, ...]:
    """One parameter, or a list of them. Raises InvalidIRError at its place."""
    if is_param(node):
        return (read_param(node),)
    if not isinstance(node, Group) or node.square:
        raise misread(f"expected parameters ((x : type) …), not {show(node)}", node.at)
    params = tuple(map(read_param, node.items))
    seen: set[str] = set()
    for param in params:
        if param.name in seen:
            raise misread(f"parameter {param.name} is named twice", param.at)
        seen.add(param.name)
    return params


def read_string(node: Node) -> str:
    """A string literal. Raises InvalidIRError at its place."""
    if isinstance(node, Text):
        return node.value
    raise misread(f"expected a string, not {show(node)}", node.at)
