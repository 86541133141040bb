"""Reshaping: the same elements in the same order under other sizes."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.array import sizes_of
from ksc.frontend.tensors.integers import ONE, ZERO, bounded, div, factors_of, lower, product
from ksc.frontend.tensors.views import Axis, Fold, Pick, picked
from ksc.frontend.values import Array, Ref, describe
from ksc.ir.nodes import Atom, Const, Var, const

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
    now = [have[k] for k in dims]
    shares, start = True, lead
    for sizes_in, sizes_out in _groups(frame, [size for _, size in inner], outer):
        if len(sizes_in) != 1 or len(sizes_out) != 1:
            shares = shares and all(joins(base.steps, k) for k in range(start, start + len(sizes_in) - 1))
            fold = Fold(start, sizes_in, sizes_out)
            now[start : start + len(sizes_in)] = sizes_out
            base = Ref(base.cell, tuple(now), (*base.steps, fold))
        start += len(sizes_out)
    return _with_ones(frame, node, base, want, lead, tail), shares


Groups = list[tuple[tuple[Atom, ...], tuple[Atom, ...]]]
"""Sizes and those that take their place, in order."""


def _groups(frame: Frame, have: Sequence[Atom], want: Sequence[Atom]) -> Groups:
    """Sizes and those that take their place, in groups that are known to have the same number of elements.

    An index into one group says nothing of another: ``(n, c, h, w)`` as ``(n * c, h * w)`` is two joints, not one.
    Where that says nothing, quotients on one side may be taken to have no remainder: that side is at most the other,
    group by group, and since all of the groups together are required to be as much, so is each.
    """
    for whole in ((), want, have):
        if not whole or _factors(frame, have, whole=whole is have) == _factors(frame, want, whole=whole is want):
            groups = _split(frame, have, want, whole)
            if len(groups) > 1:
                break
    return groups


def _split(frame: Frame, have: Sequence[Atom], want: Sequence[Atom], whole: Sequence[Atom]) -> Groups:
    """The groups of which products say so; the last one is what is left."""
    ends = {_factors(frame, want[:k], whole=whole is want): k for k in range(1, len(want))}
    groups: Groups = []
    i = j = 0
    for k in range(1, len(have)):
        end = ends.get(_factors(frame, have[:k], whole=whole is have), 0)
        if end > j:
            groups.append((tuple(have[i:k]), tuple(want[j:end])))
            i, j = k, end
    return [*groups, (tuple(have[i:]), tuple(want[j:]))] if have or want else groups


Factors = tuple[int, frozenset[tuple[object, int]]]
"""A number, and what else a product is of, with how often: variables, and pairs of such for quotients."""


def _factors(frame: Frame, sizes: Sequence[Atom], *, whole: bool = False) -> Factors:
    """What the product of sizes is known to be of, quotients being taken for ``whole`` where their divisor is there."""
    number, counts = 1, Counter[object]()
    quotients: list[tuple[object, Atom, Atom]] = []
    for factor in (factor for size in sizes for factor in factors_of(frame, size)):
        pair = frame.region.quotients.get(factor) if isinstance(factor, Var) else None
        if isinstance(factor, Const):
            number *= int(factor.value)
        elif pair is not None:
            key: object = tuple(_factors(frame, [atom]) for atom in pair)
            counts[key] += 1
            quotients.append((key, *pair))
        else:
            counts[factor] += 1
    for key, dividend, divisor in quotients if whole else ():
        by, others = _factors(frame, [divisor])
        positive = (lower(frame, divisor) or 0) >= 0 and by > 0
        if positive and number % by == 0 and all(counts[one] >= n for one, n in others):
            more, rest = _factors(frame, [dividend])
            number = number // by * more
            counts.update(dict(rest))
            counts.subtract({key: 1, **dict(others)})
    return number, frozenset((factor, n) for factor, n in counts.items() if n)


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
    left, given = [factor for size in have for factor in factors_of(frame, size)], []
    for factor in (factor for size in want if size != INFERRED for factor in factors_of(frame, size)):
        if factor in left and factor != ZERO:
            left.remove(factor)
        else:
            given.append(factor)
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
