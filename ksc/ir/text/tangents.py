"""Values of any type seen as vectors: zero, sum, difference, multiple, inner product, equality.

The tangent type of Float is Float, of Integer, Bool and String the empty tuple, of a tensor or a tuple elementwise.
"""

from __future__ import annotations

from collections.abc import Callable

from ksc.ir.nodes import Atom, const
from ksc.ir.text.elaborate import Elaborator, Values
from ksc.ir.text.syntax import Position, misread
from ksc.ir.types import (
    BoolType,
    FloatType,
    IntegerType,
    StringType,
    TensorType,
    TupleType,
    Type,
    is_scalar,
)

NOTHING = TupleType(())


def tangent_type(type_: Type) -> Type:
    """The type of a tangent or cotangent of a value of this type."""
    match type_:
        case FloatType():
            return type_
        case TensorType(rank=rank, elem=elem, sizes=sizes):
            return TensorType(rank, tangent_type(elem), sizes)
        case TupleType(elems=elems):
            return TupleType(tuple(map(tangent_type, elems)))
        case _:
            return NOTHING


def zero(e: Elaborator, like: Atom, at: Position) -> Atom:
    """The zero of the type and the sizes of a value."""
    match like.type:
        case FloatType():
            return const(0.0)
        case IntegerType():
            return const(0)
        case BoolType():
            return const(False)
        case StringType():
            return const("")
        case TupleType():
            return e.tupled([zero(e, element, at) for element in e.elements(like, at)], at)
        case TensorType():
            return elementwise(e, [like], lambda element: zero(e, element, at), at)
        case _:
            raise misread(f"there is no zero of type {like.type}", at)


def zero_of(e: Elaborator, type_: Type, at: Position) -> Atom:
    """Some value of a type: zero, an empty tensor."""
    match type_:
        case FloatType():
            return const(0.0)
        case IntegerType():
            return const(0)
        case BoolType():
            return const(False)
        case StringType():
            return const("")
        case TupleType(elems=elems):
            return e.tupled([zero_of(e, elem, at) for elem in elems], at)
        case TensorType(rank=rank, elem=elem, sizes=sizes):
            counts = [const(size or 0) for size in sizes]
            assert len(counts) == rank
            return e.build(counts, lambda _: (zero_of(e, elem, at),), at)[0]
        case _:
            raise misread(f"there is no value of type {type_}", at)


def elementwise(e: Elaborator, tensors: list[Atom], element: Callable[..., Atom], at: Position) -> Atom:
    """The tensor of ``element`` of the elements of tensors of one size; other sizes stop the program."""
    same_sizes(e, tensors, at)

    def at_index(indices: Values) -> Values:
        return (element(*(e.one("index", [tensor, *indices], at) for tensor in tensors)),)

    return e.build(e.sizes(tensors[0], at), at_index, at)[0]


def same_sizes(e: Elaborator, tensors: list[Atom], at: Position) -> None:
    """Assert that tensors have the same sizes."""
    first = e.sizes(tensors[0], at) if len(tensors) > 1 else ()
    for other in tensors[1:]:
        for mine, theirs in zip(first, e.sizes(other, at), strict=True):
            same = e.one("eq", [mine, theirs], at)
            e.emit("assert", [same], at, message="tensors that are combined elementwise differ in size")


def add(e: Elaborator, a: Atom, b: Atom, at: Position) -> Atom:
    """A value plus a tangent of it, or the sum of two tangents; b is of the tangent type of a."""
    match a.type, b.type:
        case FloatType(), FloatType():
            return e.one("add", [a, b], at)
        case IntegerType(), IntegerType():
            return e.one("add", [a, b], at)
        case TupleType(elems=elems), TupleType(elems=others) if len(elems) == len(others):
            pairs = zip(e.elements(a, at), e.elements(b, at), strict=True)
            return e.tupled([add(e, x, y, at) for x, y in pairs], at)
        case TensorType(rank=m), TensorType(rank=n) if m == n:
            return elementwise(e, [a, b], lambda x, y: add(e, x, y, at), at)
        case _, TupleType(elems=()):
            return a
        case _:
            raise misread(f"values of type {a.type} and {b.type} cannot be added", at)


def scale(e: Elaborator, factor: Atom, a: Atom, at: Position) -> Atom:
    """A multiple of a tangent."""
    match a.type:
        case FloatType():
            return e.one("mul", [factor, a], at)
        case TupleType():
            return e.tupled([scale(e, factor, x, at) for x in e.elements(a, at)], at)
        case TensorType():
            return elementwise(e, [a], lambda x: scale(e, factor, x, at), at)
        case _:
            raise misread(f"a value of type {a.type} has no multiples", at)


def negative(e: Elaborator, a: Atom, at: Position) -> Atom:
    """A tangent with the other sign."""
    match a.type:
        case FloatType() | IntegerType():
            return e.one("neg", [a], at)
        case TupleType():
            return e.tupled([negative(e, x, at) for x in e.elements(a, at)], at)
        case TensorType():
            return elementwise(e, [a], lambda x: negative(e, x, at), at)
        case _:
            raise misread(f"a value of type {a.type} has no negative", at)


def dot(e: Elaborator, a: Atom, b: Atom, at: Position) -> Atom:
    """The inner product of a tangent with a tangent or a value, of which Integers and the like count nothing."""
    match a.type, b.type:
        case FloatType(), FloatType():
            return e.one("mul", [a, b], at)
        case TupleType(elems=()), _:
            return const(0.0)
        case _, TupleType(elems=()):
            return const(0.0)
        case TupleType(elems=elems), TupleType(elems=others) if len(elems) == len(others):
            terms = [
                dot(e, x, y, at)
                for x, y, elem in zip(e.elements(a, at), e.elements(b, at), elems, strict=True)
                if not _is_empty(elem)
            ]
            total: Atom = terms[0] if terms else const(0.0)
            for term in terms[1:]:
                total = e.one("add", [total, term], at)
            return total
        case TensorType(rank=m), TensorType(rank=n) if m == n:
            same_sizes(e, [a, b], at)

            def term_at(indices: Values) -> Values:
                return (dot(e, e.one("index", [a, *indices], at), e.one("index", [b, *indices], at), at),)

            return e.reduce("add", e.sizes(a, at), term_at, at)[0]
        case _:
            raise misread(f"values of type {a.type} and {b.type} have no inner product", at)


def _is_empty(type_: Type) -> bool:
    return isinstance(type_, TupleType) and all(map(_is_empty, type_.elems))


def equal(e: Elaborator, a: Atom, b: Atom, at: Position) -> Atom:
    """Whether two values of one type are equal, sizes included."""
    match a.type, b.type:
        case TupleType(elems=elems), TupleType(elems=others) if len(elems) == len(others):
            holds: Atom = const(True)
            for x, y in zip(e.elements(a, at), e.elements(b, at), strict=True):
                holds = e.one("and", [holds, equal(e, x, y, at)], at)
            return holds
        case TensorType(rank=m), TensorType(rank=n) if m == n:
            same: Atom = const(True)
            sizes = e.sizes(a, at)
            for mine, theirs in zip(sizes, e.sizes(b, at), strict=True):
                same = e.one("and", [same, e.one("eq", [mine, theirs], at)], at)

            def all_equal() -> Values:
                def at_index(indices: Values) -> Values:
                    x, y = (e.one("index", [tensor, *indices], at) for tensor in (a, b))
                    return (equal(e, x, y, at),)

                return e.reduce("and", sizes, at_index, at)

            return e.if_(same, all_equal, lambda: (const(False),), at)[0]
        case x, y if is_scalar(x) and x == y:
            return e.one("eq", [a, b], at)
        case _:
            raise misread(f"values of type {a.type} and {b.type} cannot be compared", at)


def relative_error(e: Elaborator, d1: Atom, d2: Atom, at: Position) -> Atom:
    """|d1 - d2| / (|d1| + |d2|), 0 where both are 0."""
    size = e.one("add", [e.one("abs", [d1], at), e.one("abs", [d2], at)], at)
    apart = e.one("abs", [e.one("sub", [d1, d2], at)], at)
    both_zero = e.one("eq", [size, const(0.0)], at)
    return e.if_(both_zero, lambda: (const(0.0),), lambda: (e.one("div", [apart, size], at),), at)[0]
