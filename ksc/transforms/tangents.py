"""Tangent types and the arithmetic of tangents and cotangents: zero, sum, the default of a type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ksc.errors import DifferentiationError
from ksc.ir.builder import Builder
from ksc.ir.nodes import PLACEHOLDER, Atom, Block, Const, Eqn, Var, const, default_value
from ksc.ir.types import (
    AccType,
    BoxType,
    FloatType,
    Integer,
    TensorType,
    Type,
    is_differentiable,
)

FLATTEN = "flatten tuples before differentiating"


def refuse_accumulators(eqn: Eqn) -> None:
    """Raise DifferentiationError for a call that hands an accumulator to its callee."""
    if any(isinstance(arg.type, AccType) for arg in eqn.args):
        raise DifferentiationError(
            f"{eqn.params['callee']} adds to an accumulator of its caller, so a call of it cannot be differentiated",
            remedy="inline it",
            span=eqn.span,
        )


def refuse_callback(eqn: Eqn) -> NoReturn:
    """Raise DifferentiationError for a callback on the way of a derivative."""
    raise DifferentiationError(
        f"the callback {eqn.params['name']} is Python, and its derivative is not known",
        remedy="give it one: knossos.callback(function, result_type, vjp=...)",
        span=eqn.span,
    )


def null_box(type_: BoxType) -> Const:
    """The null box of a type."""
    nothing: Any = None
    return Const(nothing, type_)


def tangent_box(name: str) -> str:
    """The name of the box that holds the tangents, or cotangents, of the fields of box ``name``."""
    return f"[d {name}]"


def tangent_type(type_: Type) -> Type:
    """The type of a tangent, and of a cotangent, of a value of this differentiable type."""
    match type_:
        case FloatType():
            return type_
        case BoxType(name=name):
            return BoxType(tangent_box(name))
        case TensorType(rank=rank, elem=elem, sizes=sizes):
            return TensorType(rank, tangent_type(elem), sizes)
        case AccType(value=value):
            return AccType(tangent_type(value))
        case _:
            raise DifferentiationError(f"values of type {type_} cannot be differentiated", remedy=FLATTEN)


def declare_tangent_box(name: str, boxes: dict[str, tuple[Type, ...]]) -> None:
    """Enter the box of tangents of box ``name``, and those it refers to, in ``boxes``."""
    derived = tangent_box(name)
    if derived in boxes:
        return
    fields = [field for field in boxes[name] if is_differentiable(field)]
    boxes[derived] = tuple(tangent_type(field) for field in fields)
    for field in fields:
        while isinstance(field, TensorType):
            field = field.elem
        if isinstance(field, BoxType):
            declare_tangent_box(field.name, boxes)


def rename(atom: Atom, name: str, builder: Builder) -> Atom:
    """Give the variable that the last equation of the builder has bound a better name."""
    if isinstance(atom, Var) and builder.eqns and atom in builder.eqns[-1].outs:
        atom.name = name
    return atom


def filled(builder: Builder, like: Atom, skip: int, value: Atom, name: str = "zeros") -> Atom:
    """A tensor with the sizes of ``like``, its ``skip`` leading dimensions left out, and ``value`` everywhere."""
    assert isinstance(like.type, TensorType)
    dims = range(skip, like.type.rank)
    sizes = [builder.emit("size", [like], [Integer], names=["n"], params={"dim": dim})[0] for dim in dims]
    params = tuple(Var("i", Integer) for _ in dims)
    type_ = TensorType(len(dims), value.type, like.type.sizes[skip:])
    return builder.emit("build", sizes, [type_], names=[name], blocks=[Block(params, (), (value,))])[0]


def zero(builder: Builder, like: Atom, suffix: str = "_bar") -> Atom:
    """The zero tangent of the value ``like``, a tensor named after it: what is added to it is its adjoint."""
    match like.type:
        case TensorType(elem=elem):
            return filled(builder, like, 0, scalar_zero(tangent_type(elem)), f"{atom_name(like)}{suffix}")
        case type_:
            return scalar_zero(tangent_type(type_))


def zero_of_part(builder: Builder, tensor: Atom, depth: int) -> Atom:
    """The zero tangent of what stands in ``tensor`` at ``depth`` indices."""
    assert isinstance(tensor.type, TensorType)
    elem = scalar_zero(tangent_type(tensor.type.elem))
    return elem if depth == tensor.type.rank else filled(builder, tensor, depth, elem)


def scalar_zero(type_: Type) -> Const:
    """The zero of a tangent type that is not a tensor."""
    return null_box(type_) if isinstance(type_, BoxType) else const(0.0)


def default(type_: Type) -> Const:
    """Any value of a type that is not a tensor, for a place that is not read."""
    if isinstance(type_, BoxType):
        return null_box(type_)
    value = default_value(type_)
    if value is None:
        raise DifferentiationError(f"values of type {type_} cannot be kept for the reverse sweep", remedy=FLATTEN)
    return value


def add(builder: Builder, a: Atom, b: Atom, name: str) -> Atom:
    """The sum of two tangents of one type, which is no record."""
    match a.type:
        case FloatType():
            return rename(builder.apply("add", a, b), name, builder)
        case TensorType(elem=FloatType()):
            acc = Var(name, AccType(a.type))
            inner = Builder(builder.span)
            inner.emit("acc_add", [acc, b], [])
            return builder.emit("withacc", [a], [a.type], names=[name], blocks=[inner.block([acc], ())])[0]
        case _:
            raise DifferentiationError(f"two cotangents of type {a.type} cannot be added", span=builder.span)


def emit_box(builder: Builder, name: str, fields: Sequence[Atom]) -> Var:
    """Box ``fields`` in a record ``name``."""
    return builder.emit("box", fields, [BoxType(name)], names=["saved"], params={"name": name})[0]


def emit_unbox(
    builder: Builder, box: Atom, boxes: Mapping[str, tuple[Type, ...]], names: Sequence[str]
) -> tuple[Var, ...]:
    """Open a box."""
    assert isinstance(box.type, BoxType)
    return builder.emit("unbox", [box], boxes[box.type.name], names=names)


def atom_name(atom: Atom) -> str:
    """The name of a variable, or a name for a constant."""
    return atom.name if isinstance(atom, Var) else "c"


def result_name(atom: Atom) -> str:
    """The name of a result, ``y`` where it has none of its own."""
    name = atom_name(atom)
    return "y" if isinstance(atom, Const) or name == PLACEHOLDER else name
