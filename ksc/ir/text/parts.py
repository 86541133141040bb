"""Between a value with tuples and nested tensors and its parts, as ``ksc.passes.flatten_tuples`` takes it apart."""

from __future__ import annotations

from collections.abc import Iterator

from ksc.ir.nodes import Atom, const
from ksc.ir.text.elaborate import Elaborator, Values
from ksc.ir.text.syntax import Position
from ksc.ir.types import FloatType, TensorType, TupleType, Type, is_differentiable, is_scalar
from ksc.passes.flatten_tuples import flat_types


def take_apart(e: Elaborator, atom: Atom, at: Position) -> Values:
    """The parts of a value. Tensors of tensors whose elements differ in size stop the program."""
    match atom.type:
        case TupleType():
            return tuple(part for element in e.elements(atom, at) for part in take_apart(e, element, at))
        case TensorType(elem=elem) if not is_scalar(elem):

            def parts_at(indices: Values) -> Values:
                return take_apart(e, e.one("index", [atom, *indices], at), at) or (const(False),)

            return e.build(e.sizes(atom, at), parts_at, at, nested=False)
        case _:
            return (atom,)


def put_together(e: Elaborator, type_: Type, parts: Iterator[Atom], at: Position) -> Atom:
    """The value of a type from its parts, which are used up."""
    match type_:
        case TupleType(elems=elems):
            return e.tupled([put_together(e, elem, parts, at) for elem in elems], at)
        case TensorType(rank=rank, elem=elem) if not is_scalar(elem):
            tensors = [next(parts) for _ in flat_types(type_)]
            sizes = e.sizes(tensors[0], at)[:rank]

            def element(indices: Values) -> Values:
                elements = iter([e.one("index", [tensor, *indices], at) for tensor in tensors])
                return (put_together(e, elem, elements, at),)

            return e.build(sizes, element, at)[0]
        case _:
            return next(parts)


def tangent_parts(e: Elaborator, tangent: Atom, at: Position) -> Values:
    """The parts of a tangent that are the tangents of the differentiable parts of its value."""
    return tuple(part for part in take_apart(e, tangent, at) if is_differentiable(part.type))


def tangent_of(e: Elaborator, primal: Atom, parts: Iterator[Atom], at: Position) -> Atom:
    """The tangent of a value from the tangents of its differentiable parts, which are used up."""
    match primal.type:
        case FloatType():
            return next(parts)
        case TupleType():
            return e.tupled([tangent_of(e, element, parts, at) for element in e.elements(primal, at)], at)
        case TensorType(elem=FloatType()):
            return next(parts)
        case TensorType():
            tensors = [next(parts) for part in flat_types(primal.type) if is_differentiable(part)]

            def element(indices: Values) -> Values:
                elements = iter([e.one("index", [tensor, *indices], at) for tensor in tensors])
                return (tangent_of(e, e.one("index", [primal, *indices], at), elements, at),)

            return e.build(e.sizes(primal, at), element, at)[0]
        case _:
            return e.tupled((), at)
