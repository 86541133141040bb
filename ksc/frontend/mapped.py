"""Calls of kernels that map, inside a kernel: ``vmap`` is a loop over lanes, ``elementwise`` one over elements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ksc.errors import ArgumentError
from ksc.frontend.annotations import annotated_template, parameter_annotations
from ksc.frontend.calls import bind_arguments, call, defaults_of
from ksc.frontend.derived import call_derived
from ksc.frontend.frame import Frame
from ksc.frontend.functions import locate, parameters
from ksc.frontend.join import abstract_leaves
from ksc.frontend.rows import comprehension_rows
from ksc.frontend.source import plain_function
from ksc.frontend.special import TracedCallable, derived_function
from ksc.frontend.tensors import shapes
from ksc.frontend.tensors.array import same_size, size_of
from ksc.frontend.tensors.elementwise import elementwise
from ksc.frontend.tensors.indexing import place_of, read_place
from ksc.frontend.tensors.integers import below, bounded
from ksc.frontend.tensors.op import Op
from ksc.frontend.values import (
    Abstract,
    Array,
    Closure,
    Dynamic,
    Ref,
    Static,
    Struct,
    Value,
    describe,
    leaves,
    make_slice,
    scalar_type,
)
from ksc.ir.nodes import Atom, Var
from ksc.ir.types import Float, Integer

if TYPE_CHECKING:
    from ksc.kernel import Kernel
    from ksc.mapping import InDims, Level

Lane = Callable[[Sequence[Value]], Value]
"""The function that is mapped."""


def call_mapped(
    frame: Frame, kernel: Kernel, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST
) -> Value:
    """The value of a call of a kernel made by ``vmap`` or ``elementwise``.

    Raises TypeMismatchError (KS208) where sizes do not fit.
    """
    derived = derived_function(kernel)
    values, told = _arguments(frame, kernel, args, kwargs, node)
    numbers = [isinstance(template, Abstract) and not template.is_tensor for template in told]
    floats = [numeric and isinstance(template, Abstract) and template.type == Float
              for numeric, template in zip(numbers, told, strict=True)]  # fmt: skip

    def lane(inner: Sequence[Value]) -> Value:
        given = [
            _as_float(frame, value, node) if wanted else value for wanted, value in zip(floats, inner, strict=True)
        ]
        if derived is not None:
            return call_derived(frame, derived, given, {}, node)
        return call(frame, Static(kernel.__wrapped__), given, {}, node)

    if kernel.mapping.lift == "broadcast":
        return elementwise(Op(frame, kernel.__name__, node), lane, values)
    levels = list(kernel.mapping.levels)
    if all(numbers) and kernel.mapping.is_plain:
        # A function of numbers alone is mapped over every dimension.
        ranks = {leaf.rank for value in values for leaf in leaves(value) if isinstance(leaf, Ref | Array) and leaf.rank}
        if len(ranks) > 1:
            reason = f"{kernel.__name__}() maps over tensors of different numbers of dimensions"
            frame.refuse(node, reason, "give tensors of one shape, or use knossos.elementwise", code="KS208")
        levels += levels[-1:] * (max(ranks, default=0) - len(levels))
    try:
        return _mapped(frame, lane, levels, values, node)
    except ArgumentError as error:
        frame.refuse(node, f"{kernel.__name__}(): {error.message}", "correct in_dims or out_dims", code="KS204")


def _arguments(
    frame: Frame, kernel: Kernel, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST
) -> tuple[list[Value], list[Value | None]]:
    """The value of each parameter, and what its annotation tells."""
    wrapped = kernel.__wrapped__
    if isinstance(wrapped, TracedCallable):
        local = wrapped.value
        if isinstance(local, Closure):
            values = bind_arguments(frame, local.name, local.node, args, kwargs, local.defaults, node)
            return values, [_told(local, arg.annotation) for arg in parameters(local.node)]
        if kwargs:
            frame.refuse(node, f"{describe(local)} is given arguments by name", "pass them by position", code="KS204")
        return list(args), [None] * len(args)
    function = plain_function(wrapped)
    if function is None:
        frame.refuse(node, f"{kernel.__name__} has no Python source", "write it with `def`", code="KS109")
    _, definition, _ = locate(function)
    values = bind_arguments(frame, kernel.__name__, definition, args, kwargs, defaults_of(frame, function, node), node)
    annotations = parameter_annotations(function)
    return values, [annotated_template(annotations.get(arg.arg)) for arg in parameters(definition)]


def _told(closure: Closure, annotation: ast.expr | None) -> Value | None:
    from ksc.frontend.expressions import evaluate

    value = None if annotation is None else evaluate(closure.frame, annotation)
    return annotated_template(value.value) if isinstance(value, Static) else None


def _as_float(frame: Frame, value: Value, node: ast.AST) -> Value:
    if isinstance(value, Ref | Array) and not value.rank:
        value = Dynamic(frame.array(value, node).atom)
    if isinstance(value, Dynamic) and scalar_type(value) != Float:
        return Dynamic(frame.cast(value.atom, Float, node))
    return value


def _mapped(frame: Frame, lane: Lane, levels: Sequence[Level], values: Sequence[Value], node: ast.AST) -> Value:
    """The value of a function mapped by ``levels``, the outermost first."""
    if not levels:
        return lane(values)
    dims = levels[0].of_parameters(len(values))
    count: Atom | None = None

    def sized(value: Value, at: InDims) -> None:
        nonlocal count
        if isinstance(value, Struct):
            for k, item in enumerate(value.items):
                sized(item, _entry(at, k, len(value.items)))
        elif isinstance(value, Ref | Array) and value.rank and at is not None:
            size = size_of(frame, node, value, _place(frame, at, value.rank, node))
            count = size if count is None else same_size(frame, node, count, size)

    index = Var("k", Integer)

    def picked(value: Value, at: InDims) -> Value:
        if isinstance(value, Struct):
            parts = enumerate(value.items)
            return value.with_items(tuple(picked(item, _entry(at, k, len(value.items))) for k, item in parts))
        if not (isinstance(value, Ref | Array) and value.rank) or at is None:
            return value
        whole = [make_slice()] * _place(frame, at, value.rank, node)
        return read_place(frame, place_of(frame, value, [*whole, Dynamic(index)], node), node)

    for value, at in zip(values, dims, strict=True):
        sized(value, at)
    if count is None:
        return _mapped(frame, lane, levels[1:], values, node)
    bounded(frame, index, 0)
    below(frame, index, count)

    def code() -> Value:
        inner = [picked(value, at) for value, at in zip(values, dims, strict=True)]
        return _mapped(frame, lane, levels[1:], inner, node)

    rows = comprehension_rows(frame, count, frame.aside(code), index, node)
    places = levels[0].of_results(len(abstract_leaves(rows.template)))
    parts = iter(zip(rows.parts, places, strict=True))
    op = Op(frame, "vmap", node)

    def rebuilt(template: Value) -> Value:
        if isinstance(template, Struct):
            return template.with_items(tuple(map(rebuilt, template.items)))
        if not isinstance(template, Abstract):
            return template
        part, at = next(parts)
        # The lanes were copied, so the result is a tensor like any other.
        made = frame.fresh(frame.array(part, node), node)
        assert isinstance(made, Ref)
        order = list(range(1, made.rank))
        order.insert(_place(frame, at, made.rank, node), 0)
        return shapes.permuted(op, made, order)

    return rebuilt(rows.template)


def _entry(dims: InDims, k: int, count: int) -> InDims:
    from ksc.mapping import entry

    return entry(dims, k, count, "")


def _place(frame: Frame, at: InDims, rank: int, node: ast.AST) -> int:
    if not isinstance(at, int) or not -rank <= at < rank:
        reason = f"dimension {at} of a tensor of rank {rank} is mapped"
        frame.refuse(node, reason, "correct in_dims or out_dims", code="KS209")
    return at % rank
