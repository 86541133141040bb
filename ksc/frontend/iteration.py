"""Iterables: those that are known at compile time, as the list of their items; others by index."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from ksc.frontend import operators
from ksc.frontend.capture import capture
from ksc.frontend.frame import Frame
from ksc.frontend.rows import count_of, item_of
from ksc.frontend.tensors.array import same_size
from ksc.frontend.tensors.integers import ONE, at_least, bounded, least, sub
from ksc.frontend.values import Array, Dynamic, Iteration, Range, Ref, Rows, Static, Struct, Value, describe
from ksc.ir.nodes import Const, Var, const

UNROLL_LIMIT = 1024
"""The most iterations that a loop over static items may have."""


def static_items(frame: Frame, value: Value, node: ast.AST) -> list[Value]:
    """The items that iterating over ``value`` gives.

    Raises UnsupportedError where they are not known at compile time (KS111) or are too many (KS114).
    """
    match value:
        case Struct(cls=cls, items=items, keys=keys):
            if cls is dict:
                return [Static(key) for key in keys]
            if issubclass(cls, tuple | list):
                return list(items)
        case Range(start=start, stop=stop, step=step):
            instead = "loop over it with `for`, or give range constant bounds"
            bounds = [
                frame.require_static(part, node, "the bound of this range", instead) for part in (start, stop, step)
            ]
            return _limited(frame, range(*bounds), node)
        case Static(obj) if isinstance(obj, range | str | frozenset | bytes):
            return _limited(frame, obj, node)
        case Ref() | Array() | Iteration() | Rows():
            found = iteration_of(frame, value, node)
            if found is not None and isinstance(found.count, Const):
                count = _limited(frame, range(max(0, int(found.count.value))), node)
                return [found.item(frame, k) for k in count]
            if found is not None:
                reason = f"the number of items of {describe(value)} depends on the arguments"
                instead = "loop over it with `for`, and write into a tensor made before: `out[i] = …`"
                frame.refuse(node, reason, instead, code="KS111")
    instead = "iterate over a range, a tuple or a list"
    frame.refuse(node, f"{describe(value)} cannot be iterated over", instead, code="KS111")


def _limited(frame: Frame, obj: range | str | frozenset[object] | bytes, node: ast.AST) -> list[Value]:
    if len(obj) > UNROLL_LIMIT:
        reason = f"{len(obj)} items are too many to be handled one by one (the limit is {UNROLL_LIMIT})"
        frame.refuse(node, reason, "use `for … in range(…)` with plain arithmetic in its body", code="KS114")
    items = sorted(obj, key=repr) if isinstance(obj, frozenset) else obj
    return [capture(item, "an item", frame.span(node)) for item in items]


# Iterables whose length the arguments tell.


def is_lazy(value: Value) -> bool:
    """Whether what is iterated over is no list of items, but has one for each index."""
    if isinstance(value, Range):
        return not all(isinstance(part, Static) for part in (value.start, value.stop, value.step))
    return isinstance(value, Ref | Array | Iteration | Rows)


def iteration_of(frame: Frame, value: Value, node: ast.AST) -> Iteration | None:
    """The items of a tensor, a range, or what is made of them, by index; None for anything else.

    Raises TypeMismatchError (KS200) for a tensor of rank 0.
    """
    from ksc.frontend.loops import range_item, trip_count
    from ksc.frontend.tensors.array import size_of
    from ksc.frontend.tensors.indexing import place_of, read_place

    if isinstance(value, Static) and isinstance(value.value, range):
        fixed = value.value
        value = Range(Static(fixed.start), Static(fixed.stop), Static(fixed.step))
    match value:
        case Iteration():
            return value
        case Range() as bounds:
            count = at_least(frame, node, trip_count(frame, bounds, node), 0)
            return Iteration(count, lambda inner, k: range_item(inner, bounds, k, node))
        case Ref() | Array() as tensor:
            if not tensor.rank:
                frame.refuse(node, "a tensor of rank 0 has no items", "use the tensor itself", code="KS200")
            count = size_of(frame, node, tensor, 0)
            return Iteration(count, lambda inner, k: read_place(inner, place_of(inner, tensor, [k], node), node))
        case Rows() as rows:
            return Iteration(count_of(frame, rows, node), lambda inner, k: item_of(inner, rows, k, node))
        case _:
            return None


def zipped(frame: Frame, values: Sequence[Value], strict: bool, node: ast.AST) -> Value | None:
    """``zip`` of iterables one of which is lazy; None where all lengths are known, and one is a list of items."""
    parts = [iteration_of(frame, value, node) for value in values]
    if None in parts and all(part is None or isinstance(part.count, Const) for part in parts):
        return None
    lists = [static_items(frame, value, node) for part, value in zip(parts, values, strict=True) if part is None]
    if not strict and not all(lists):
        return Struct(tuple, ())
    found = [part or _of_list(frame, value, node) for part, value in zip(parts, values, strict=True)]
    count = found[0].count
    for part in found[1:]:
        count = (same_size if strict else least)(frame, node, count, part.count)
    return Iteration(count, lambda inner, k: Struct(tuple, tuple(part.item(inner, k) for part in found)))


def _of_list(frame: Frame, value: Value, node: ast.AST) -> Iteration:
    """The items of a list or tuple of numbers, by an index that the arguments tell."""
    from ksc.frontend.picking import stacked

    items = tuple(static_items(frame, value, node))
    rows, lists = stacked(frame, Struct(tuple, items), node)
    if isinstance(value, Struct) and value.cell is not None:
        for part in rows.parts:
            part.cell.may_be(value.cell)
    return Iteration(const(len(items)), lambda inner, k: item_of(inner, rows, k, node, lists))


def enumerated(frame: Frame, value: Value, start: Value, node: ast.AST) -> Value | None:
    """``enumerate`` of a lazy iterable; None for any other."""
    found = iteration_of(frame, value, node) if is_lazy(value) else None
    if found is None:
        return None

    def item(inner: Frame, k: Value) -> Value:
        number = (
            k if isinstance(start, Static) and start.value == 0 else operators.binary(inner, ast.Add(), k, start, node)
        )
        return Struct(tuple, (number, found.item(inner, k)))

    return Iteration(found.count, item)


def backwards(frame: Frame, value: Value, node: ast.AST) -> Value | None:
    """``reversed`` of a tensor; None for anything else."""
    found = iteration_of(frame, value, node) if isinstance(value, Ref | Array | Rows) else None
    if found is None:
        return None
    last = sub(frame, node, found.count, ONE)

    def item(inner: Frame, k: Value) -> Value:
        at = sub(inner, node, last, inner.atom(k, node))
        return found.item(inner, Dynamic(bounded(inner, at, 0)) if isinstance(at, Var) else Static(int(at.value)))

    return Iteration(found.count, item)


def reversed_range(frame: Frame, found: Range, node: ast.AST) -> Range:
    """A range of step 1 backwards."""
    if not (isinstance(found.step, Static) and found.step.value == 1):
        frame.refuse(node, "a range with a step is reversed", "write the range backwards", code="KS111")
    last = operators.binary(frame, ast.Sub(), found.stop, Static(1), node)
    before = operators.binary(frame, ast.Sub(), found.start, Static(1), node)
    return Range(last, before, Static(-1))
