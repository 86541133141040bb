"""``x[…]``: what an index of a tensor means, and reading at it.

As in PyTorch, integers, slices, None and ``…`` are applied first and give a view. Tensors of integers then pick from
dimensions of it: where these stand side by side, the dimensions of the result stand in their place, else in front.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.array import build, element, is_single, same_size, size_of, sizes_of
from ksc.frontend.tensors.bounds import require_picks_in_range
from ksc.frontend.tensors.integers import ONE, ZERO, add, at_least, div, least, lower, sub, wrapped
from ksc.frontend.tensors.views import Axis, picked, selected, source, viewed
from ksc.frontend.values import (
    Array,
    Ref,
    Static,
    Struct,
    Value,
    as_slice,
    describe,
    is_none,
    is_number,
    narrow_dtype,
    scalar_type,
)
from ksc.ir.nodes import Atom, Const, Var, const
from ksc.ir.types import Bool, Integer


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """The elements that an index names: those of a view, picked from by tensors of indices, or by a mask.

    Attributes:
        view: what integers and slices leave.
        picks: the dimensions of the view that a tensor of indices picks from, with that tensor.
        mask: the first of the dimensions of the view that a mask covers, and the mask.
    """

    view: Ref
    picks: tuple[tuple[int, Array], ...] = ()
    mask: tuple[int, Array] | None = None


def items_of(frame: Frame, node: ast.expr) -> Sequence[Value]:
    """The parts of an index, evaluated."""
    from ksc.frontend.expressions import evaluate

    index = evaluate(frame, node)
    return index.items if isinstance(index, Struct) and index.cls is tuple else [index]


def place_of(frame: Frame, tensor: Ref | Array, items: Sequence[Value], node: ast.AST) -> Place:
    """What an index of a tensor names.

    Raises UnsupportedError (KS209) for an index that is known to be out of range, TypeMismatchError (KS200) for one
    that is none.
    """
    ref = viewed(frame, tensor, node)
    parts = [_readable(frame, item, node) for item in items]
    taken = sum(_dims_taken(part) for part in parts)
    if taken > ref.rank:
        reason = f"{taken} indices of {describe(ref)}"
        frame.refuse(node, reason, "use at most as many indices as there are dimensions", code="KS209")
    ellipses = [k for k, part in enumerate(parts) if _is(part, ...)]
    if len(ellipses) > 1:
        frame.refuse(node, "more than one `…` in an index", "write `:` for single dimensions", code="KS200")
    axes: list[Axis] = []
    sizes: list[Atom] = []
    picks: list[tuple[int, Array]] = []
    mask: tuple[int, Array] | None = None

    def keep(count: int) -> None:
        for _ in range(count):
            sizes_here = size_of(frame, node, ref, len(axes))
            axes.append(Axis(ZERO, ONE, len(sizes), full=True))
            sizes.append(sizes_here)

    for part in parts:
        if _is(part, None):
            sizes.append(ONE)
        elif _is(part, ...):
            keep(ref.rank - taken)
        elif (bounds := as_slice(part)) is not None:
            start, step, length = _slice(frame, bounds, size_of(frame, node, ref, len(axes)), node)
            whole = start == ZERO and step == ONE and length == size_of(frame, node, ref, len(axes))
            axes.append(Axis(start, step, len(sizes), full=whole))
            sizes.append(length)
        elif isinstance(part, Array) and part.elem == Bool:
            if mask is not None or picks:
                frame.refuse(node, "a mask beside another tensor in an index", "use torch.where()", code="KS200")
            mask = (len(sizes), part)
            first = len(axes)
            keep(part.rank)
            for k in range(part.rank):
                same_size(frame, node, size_of(frame, node, ref, first + k), size_of(frame, node, part, k))
        elif isinstance(part, Array) and part.rank:
            if mask is not None:
                frame.refuse(node, "a mask beside another tensor in an index", "use torch.where()", code="KS200")
            picks.append((len(sizes), part))
            keep(1)
        else:
            axes.append(selected(frame, node, ref, len(axes), _integer(frame, part, node)))
    keep(ref.rank - len(axes))
    return Place(picked(frame, node, ref, axes, sizes), tuple(picks), mask)


def _is(part: object, obj: object) -> bool:
    return isinstance(part, Static) and part.value is obj


def _readable(frame: Frame, item: Value, node: ast.AST) -> Value:
    """The item, a list as the tensor it stands for, and a tensor as it is now."""
    from ksc.frontend.library import known_function

    if isinstance(item, Struct) and item.cls is list:
        make = known_function(torch.tensor)
        assert make is not None
        item = make(frame, [item], {}, node)
    if isinstance(item, Ref | Array):
        array = frame.array(item, node)
        if narrow_dtype(item) == torch.uint8:
            reason = "a tensor of torch.uint8 as an index, which PyTorch takes for a mask"
            frame.refuse(node, reason, "write `i.long()` for indices, `i.bool()` for a mask", code="KS210")
        if array.elem not in (Integer, Bool):
            reason = f"{describe(item)} is no index"
            frame.refuse(node, reason, "use integers, a mask, or slices", code="KS200")
        if array.elem == Bool and not array.rank:
            frame.refuse(node, "a truth value as an index", "choose with `if`, or torch.where()", code="KS200")
        return array
    return item


def _dims_taken(part: Value) -> int:
    if isinstance(part, Array) and part.elem == Bool:
        return part.rank
    return 0 if _is(part, None) or _is(part, ...) else 1


def _integer(frame: Frame, value: Value, node: ast.AST) -> Atom:
    if isinstance(value, Array):
        return value.atom
    if scalar_type(value) != Integer:
        instead = "use integers, slices or tensors of integers"
        frame.refuse(node, f"{describe(value)} is no index of a tensor", instead, code="KS200")
    return frame.atom(value, node)


def _slice(frame: Frame, part: Struct, size: Atom, node: ast.AST) -> tuple[Atom, Atom, Atom]:
    """Start, step and length of a slice of a dimension, bounds being clamped as Python does."""
    first, last, stride = part.items
    step: Atom = ONE
    if not is_none(stride):
        step = _bound(frame, stride, node)
        known = lower(frame, step)
        if isinstance(step, Const) and int(step.value) < 1:
            frame.refuse(node, "a slice of a tensor with a step below 1", "use .flip()", code="KS209")
        if known is None or known < 1:
            positive = frame.apply(node, "gte", step, ONE)
            frame.emit(node, "assert", [positive], [], params={"message": "the step of a slice must be positive"})
    start: Atom = ZERO
    if not is_none(first):
        start = at_least(frame, node, wrapped(frame, node, _bound(frame, first, node), size), 0)
    stop = size
    if not is_none(last):
        stop = least(frame, node, wrapped(frame, node, _bound(frame, last, node), size), size)
    length = at_least(frame, node, sub(frame, node, stop, start), 0)
    if step != ONE:
        length = div(frame, node, add(frame, node, length, sub(frame, node, step, ONE)), step)
    if isinstance(length, Var) and _takes_one(frame, part, node):
        frame.region.single.add(length)
    return start, step, length


def _takes_one(frame: Frame, part: Struct, node: ast.AST) -> bool:
    """Whether a slice is one of ``[k : k + 1]`` for some k, maybe a constant, ``[:1]`` or ``[-1:]``."""
    start, end, _ = part.items
    first = ZERO if is_none(start) else _bound(frame, start, node)
    if is_none(end):
        return first == const(-1)
    last = _bound(frame, end, node)
    if isinstance(first, Const) and isinstance(last, Const):
        k, stop = int(first.value), int(last.value)
        return (k < 0) == (stop < 0) and stop - k <= 1
    made = next((eqn for eqn in reversed(frame.builder.eqns) if last in eqn.outs), None)
    return made is not None and made.op == "add" and made.args in ((first, ONE), (ONE, first))


def _bound(frame: Frame, value: Value, node: ast.AST) -> Atom:
    if isinstance(value, Ref | Array) and not value.rank and value.elem == Integer:
        return frame.array(value, node).atom
    if scalar_type(value) != Integer:
        frame.refuse(node, f"{describe(value)} is no bound of a slice", "use an integer", code="KS200")
    if isinstance(value, Static) and is_number(value.value):
        limit = 2**62
        return const(max(-limit, min(limit, int(value.value))))
    return frame.atom(value, node)


# Reading.


def read_place(frame: Frame, place: Place, node: ast.AST) -> Value:
    """The elements at a place: a view, or a new tensor where tensors of indices pick them.

    Raises UnsupportedError (KS123) for a mask: how many elements there are depends on it.
    """
    if place.mask is not None:
        reason = "the size of what a mask picks depends on the elements of the mask"
        instead = "keep all elements: `torch.where(mask, x, 0.0)`, and sum or assign with that"
        frame.refuse(node, reason, instead, code="KS123")
    if not place.picks:
        return place.view
    held = frame.content(place.view, node)
    sizes = place_sizes(frame, place, node)

    def picked_element(index: tuple[Atom, ...]) -> Atom:
        at = source(frame, node, place.view, place_index(frame, place, index, node))
        return element(frame, node, held, at)

    found = build(frame, node, sizes, picked_element)
    for dim, indices in place.picks:
        require_picks_in_range(frame, node, place.view, dim, indices, found.atom)
    made = frame.fresh(found, node)
    assert isinstance(made, Ref)
    made.cell.narrow = place.view.cell.narrow
    return made


def picked_sizes(frame: Frame, place: Place, node: ast.AST) -> list[Atom]:
    """The sizes that the tensors of indices are broadcast to."""
    from ksc.frontend.tensors.assignment import broadcast_sizes

    return broadcast_sizes(frame, node, [sizes_of(frame, node, array) for _, array in place.picks])


def place_sizes(frame: Frame, place: Place, node: ast.AST) -> tuple[Atom, ...]:
    """The sizes of the result."""
    kept = list(sizes_of(frame, node, place.view))
    if not place.picks:
        return tuple(kept)
    first = _front(place)
    for dim, _ in reversed(place.picks):
        del kept[dim]
    return (*kept[:first], *picked_sizes(frame, place, node), *kept[first:])


def _front(place: Place) -> int:
    """Where the dimensions of the tensors of indices stand in the result."""
    dims = [dim for dim, _ in place.picks]
    return dims[0] if dims == list(range(dims[0], dims[0] + len(dims))) else 0


def place_index(frame: Frame, place: Place, index: Sequence[Atom], node: ast.AST) -> tuple[Atom, ...]:
    """The index into the view that an index into the result stands for."""
    if not place.picks:
        return tuple(index)
    rank = max(array.rank for _, array in place.picks)
    first = _front(place)
    shared = index[first : first + rank]
    rest = iter((*index[:first], *index[first + rank :]))
    picks = dict(place.picks)
    found = []
    for dim in range(place.view.rank):
        if dim not in picks:
            found.append(next(rest))
            continue
        array = picks[dim]
        own = shared[rank - array.rank :]
        at = [ZERO if is_single(frame, size) else k for k, size in zip(own, sizes_of(frame, node, array), strict=True)]
        found.append(selected(frame, node, place.view, dim, element(frame, node, array, at), lazily=True).start)
    return tuple(found)
