"""Reshaping: the same elements in the same order under other sizes."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.array import sizes_of
from ksc.frontend.tensors.integers import ONE, ZERO, bounded, div, lower, product
from ksc.frontend.tensors.views import Axis, Fold, Pick, picked
from ksc.frontend.values import Array, Ref, describe
from ksc.ir.nodes import Atom, Const, const

INFERRED = const(-1)
"""A size that follows from the others."""


def reshaped(frame: Frame, node: ast.AST, ref: Ref, sizes: Sequence[Atom]) -> tuple[Ref, bool]:
    """The view of other sizes, one of which may be -1, and whether PyTorch makes a view here too.

    That is so where dimensions that are joined lie in storage as one, sizes that are not known being above 1. Raises
    TypeMismatchError (KS208) where the number of elements is known to differ.
    """
    have = list(sizes_of(frame, node, ref))
    want = _resolved(frame, node, ref, have, list(sizes))
    for size in want:
        _require_natural(frame, node, size)
    lead = 0
    while lead < min(len(have), len(want)) and have[lead] == want[lead]:
        lead += 1
    tail = 0
    while tail < min(len(have), len(want)) - lead and have[-1 - tail] == want[-1 - tail]:
        tail += 1
    inner = [(lead + k, size) for k, size in enumerate(have[lead : len(have) - tail]) if size != ONE]
    outer = [size for size in want[lead : len(want) - tail] if size != ONE]
    # Dimensions of size 1 come and go by themselves, so that what is left may need no arithmetic.
    dims = [*range(lead), *(k for k, _ in inner), *range(len(have) - tail, len(have))]
    base = _with_dims(frame, node, ref, dims)
    shares = True
    if [size for _, size in inner] != outer:
        shares = all(joins(base.steps, lead + k) for k in range(len(inner) - 1))
        fold = Fold(lead, tuple(size for _, size in inner), tuple(outer))
        total = (*want[:lead], *outer, *want[len(want) - tail :])
        base = Ref(base.cell, total, (*base.steps, fold))
    return _with_ones(frame, node, base, want, lead, tail), shares


def _with_dims(frame: Frame, node: ast.AST, ref: Ref, dims: Sequence[int]) -> Ref:
    """The view without the dimensions, all of size 1, that are not among ``dims``."""
    if len(dims) == ref.rank:
        return ref
    sizes = sizes_of(frame, node, ref)
    places = {dim: k for k, dim in enumerate(dims)}
    axes = [Axis(ZERO, ONE, places[k], full=True) if k in places else Axis(ZERO) for k in range(ref.rank)]
    return picked(frame, node, ref, axes, [sizes[k] for k in dims])


def _with_ones(frame: Frame, node: ast.AST, ref: Ref, want: Sequence[Atom], lead: int, tail: int) -> Ref:
    """The view with dimensions of size 1 put in, so that its sizes are ``want``."""
    if ref.rank == len(want):
        return ref
    places = [k for k, size in enumerate(want) if not lead <= k < len(want) - tail or size != ONE]
    return picked(frame, node, ref, [Axis(ZERO, ONE, k, full=True) for k in places], want)


def _resolved(frame: Frame, node: ast.AST, ref: Ref, have: list[Atom], want: list[Atom]) -> list[Atom]:
    """The sizes wanted with the one that was left open; the numbers of elements are compared."""
    inferred = [k for k, size in enumerate(want) if size == INFERRED]
    if len(inferred) > 1:
        frame.refuse(node, "more than one size is -1", "name all sizes but one", code="KS208")
    left, given = list(have), []
    for size in want:
        if size in left and size not in (INFERRED, ZERO):
            left.remove(size)
        elif size != INFERRED:
            given.append(size)
    total = product(frame, node, left)
    made = product(frame, node, given)
    if inferred:
        place = inferred[0]
        want[place] = total if made == ONE else _quotient(frame, node, ref, total, made)
    elif total != made:
        _require_equal(frame, node, ref, total, made)
    return want


def _quotient(frame: Frame, node: ast.AST, ref: Ref, total: Atom, made: Atom) -> Atom:
    if isinstance(made, Const) and int(made.value) == 0:
        frame.refuse(node, "a size beside one of 0 cannot be found", "name all sizes", code="KS208")
    if not (isinstance(total, Const) and isinstance(made, Const)):
        message = "the size that is -1 must be a whole number"
        rest = frame.apply(node, "imod", total, made)
        frame.emit(node, "assert", [frame.apply(node, "eq", rest, ZERO)], [], params={"message": message})
    elif int(total.value) % int(made.value):
        reason = f"{describe(ref)} does not have a number of elements that fits these sizes"
        frame.refuse(node, reason, "use sizes whose product is the number of elements", code="KS208")
    return div(frame, node, total, made)


def _require_equal(frame: Frame, node: ast.AST, ref: Ref, total: Atom, made: Atom) -> None:
    if isinstance(total, Const) and isinstance(made, Const):
        reason = f"{describe(ref)} has another number of elements than these sizes"
        frame.refuse(node, reason, "use sizes whose product is the number of elements", code="KS208")
    same = frame.apply(node, "eq", total, made)
    message = "a reshaped tensor must keep its number of elements"
    frame.emit(node, "assert", [same], [], params={"message": message})


def _require_natural(frame: Frame, node: ast.AST, size: Atom) -> None:
    """Refuse a negative size where the view is made: reading it takes remainders, in range if the divisor is not."""
    least = lower(frame, size)
    if least is None or least < 0:
        fits = frame.apply(node, "gte", size, ZERO)
        frame.emit(node, "assert", [fits], [], params={"message": "a tensor cannot have a negative size"})
        bounded(frame, size, 0)


def joins(steps: Sequence[object], dim: int) -> bool:
    """Whether dimensions ``dim`` and ``dim + 1`` of a view lie in storage as one: known for sure."""
    if not any(isinstance(step, Pick) for step in steps):
        return True
    if len(steps) != 1 or not isinstance(steps[0], Pick):
        return False
    axes = steps[0].axes
    for k in range(len(axes) - 1):
        if axes[k].dim == dim and axes[k + 1].dim == dim + 1:
            return axes[k].step == ONE and axes[k + 1].full
    return False


def contiguous(ref: Ref | Array) -> bool:
    """Whether a view is known to be contiguous, that of its cell being."""
    if isinstance(ref, Array) or not any(isinstance(step, Pick) for step in ref.steps):
        return True
    if len(ref.steps) != 1 or not isinstance(ref.steps[0], Pick):
        return False
    axes = ref.steps[0].axes
    last = next((k for k, axis in enumerate(axes) if axis.dim is not None), len(axes))
    if last == len(axes):
        return ref.rank == 0
    rest = axes[last + 1 :]
    in_order = [axis.dim for axis in axes[last:]] == list(range(ref.rank))
    return in_order and axes[last].step == ONE and all(axis.full for axis in rest)
