"""The types of the IR.

    type ::= Float | Integer | Bool | String
           | (Tensor rank type) | (Tuple type*) | (Acc type) | (Box name)

``Float`` has no width here: a kernel instance fixes one compute width (f32 or f64) for all of them.
``Acc`` is a write-only accumulator, opened by ``withacc``. ``Box`` is a nominal pointer to the residuals of a
recursive function; the program lists what each one holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


class Type:
    """Base of all IR types; instances are immutable and compare by structure."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FloatType(Type):
    """A real number of the kernel instance's compute width."""

    def __str__(self) -> str:
        return "Float"


@dataclass(frozen=True, slots=True)
class IntegerType(Type):
    """A 64-bit signed integer."""

    def __str__(self) -> str:
        return "Integer"


@dataclass(frozen=True, slots=True)
class BoolType(Type):
    """A truth value."""

    def __str__(self) -> str:
        return "Bool"


@dataclass(frozen=True, slots=True)
class StringType(Type):
    """Text; it occurs only as a constant and as an argument of ``print``."""

    def __str__(self) -> str:
        return "String"


@dataclass(frozen=True, slots=True)
class TensorType(Type):
    """A dense array of ``rank`` dimensions; ``sizes`` holds an int where one is known, else None."""

    rank: int
    elem: Type
    sizes: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError("a tensor type has rank 1 or more")
        if not self.sizes:
            object.__setattr__(self, "sizes", (None,) * self.rank)
        if len(self.sizes) != self.rank:
            raise ValueError("one size per dimension is needed")

    def __str__(self) -> str:
        if all(size is None for size in self.sizes):
            return f"(Tensor {self.rank} {self.elem})"
        sizes = " ".join("_" if size is None else str(size) for size in self.sizes)
        return f"(Tensor {self.rank} {self.elem} {sizes})"


@dataclass(frozen=True, slots=True)
class TupleType(Type):
    """A product."""

    elems: tuple[Type, ...]

    def __str__(self) -> str:
        return f"(Tuple{''.join(f' {elem}' for elem in self.elems)})"


@dataclass(frozen=True, slots=True)
class AccType(Type):
    """A write-only accumulator of ``value``, alive inside the block of its ``withacc``."""

    value: Type

    def __str__(self) -> str:
        return f"(Acc {self.value})"


@dataclass(frozen=True, slots=True)
class BoxType(Type):
    """A pointer to a record ``name`` of the program's ``boxes``; the default value is the null box."""

    name: str

    def __str__(self) -> str:
        return f"(Box {self.name})"


Float = FloatType()
Integer = IntegerType()
Bool = BoolType()
String = StringType()


def is_scalar(type_: Type) -> bool:
    """Whether a value of this type is one number or truth value."""
    return isinstance(type_, FloatType | IntegerType | BoolType)


def is_differentiable(type_: Type) -> bool:
    """Whether the tangent type of ``type_`` is not empty."""
    match type_:
        case FloatType() | BoxType():
            return True
        case TensorType(elem=elem):
            return is_differentiable(elem)
        case TupleType(elems=elems):
            return any(is_differentiable(elem) for elem in elems)
        case AccType(value=value):
            return is_differentiable(value)
        case _:
            return False


def compatible(a: Type, b: Type) -> bool:
    """Whether the two types agree, an unknown size agreeing with any."""
    match a, b:
        case TensorType(), TensorType():
            if a.rank != b.rank or not compatible(a.elem, b.elem):
                return False
            return all(m is None or n is None or m == n for m, n in zip(a.sizes, b.sizes, strict=True))
        case TupleType(), TupleType():
            if len(a.elems) != len(b.elems):
                return False
            return all(compatible(m, n) for m, n in zip(a.elems, b.elems, strict=True))
        case AccType(), AccType():
            return compatible(a.value, b.value)
        case _:
            return a == b


def join(a: Type, b: Type) -> Type:
    """The least type that both compatible types belong to: sizes that differ become unknown.

    Raises ValueError where the types are not compatible apart from sizes.
    """
    match a, b:
        case TensorType(), TensorType() if a.rank == b.rank:
            sizes = tuple(m if m == n else None for m, n in zip(a.sizes, b.sizes, strict=True))
            return TensorType(a.rank, join(a.elem, b.elem), sizes)
        case TupleType(), TupleType() if len(a.elems) == len(b.elems):
            return TupleType(tuple(join(m, n) for m, n in zip(a.elems, b.elems, strict=True)))
        case _:
            if a != b:
                raise ValueError(f"{a} and {b} have no common type")
            return a


def leaves(type_: Type) -> Iterator[Type]:
    """The types of a flattened value, depth first."""
    if isinstance(type_, TupleType):
        for elem in type_.elems:
            yield from leaves(elem)
    else:
        yield type_
