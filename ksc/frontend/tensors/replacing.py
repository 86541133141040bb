"""Tensors with a part replaced by another tensor: what is written to a copy through a view in torch."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from ksc.frontend.tensors.array import sizes_of
from ksc.frontend.tensors.assignment import assign_place, augmented_place
from ksc.frontend.tensors.creation import converted
from ksc.frontend.tensors.gathering import added, equal_types, scattered
from ksc.frontend.tensors.indexing import Place, place_index, place_of, place_sizes
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.tensors.views import source as source_of
from ksc.frontend.values import FALSE, NONE, Array, Ref, Static, Struct, Value, is_none, make_slice


def _require_sizes(op: Op, source: Tensor, sizes: Sequence[Scalar]) -> None:
    """Refuse a tensor that has not the sizes of the part that it replaces."""
    if source.rank != len(sizes):
        op.refuse(f"replaces a part of {len(sizes)} dimensions by a tensor of {source.rank}", "reshape the tensor")
    for have, want in zip(source.sizes, sizes, strict=True):
        op.same(have, want)


def _place(op: Op, x: Tensor, dim: Value) -> int:
    if not x.rank:
        op.refuse("of a tensor of rank 0", "give it a dimension")
    return op.dim(dim, x.rank)


@torch_function("select_scatter")
def select_scatter(op: Op, input: Value, src: Value, dim: Value, index: Value) -> Value:
    """The tensor with other elements at an index of a dimension."""
    x, source = op.tensor(input), op.tensor(src)
    place = _place(op, x, dim)
    at, size = op.integer(index, "index"), x.sizes[place]
    op.require((at >= -size) & (at < size), "select_scatter(): the index is out of range")
    first = (at < 0).select(at + size, at)
    _require_sizes(op, source, [*x.sizes[:place], *x.sizes[place + 1 :]])

    def body(i: list[Scalar]) -> Scalar:
        new = [*i[:place], *i[place + 1 :]]
        return op.if_(i[place].eq(first), lambda: converted(op, source[new], x.type), lambda: x[i])

    return op.result(op.build(x.sizes, body))


def _bound(op: Op, value: Value, size: Scalar, default: Scalar) -> Scalar:
    """A bound of a slice, counted from the front and within the size."""
    if is_none(value):
        return default
    bound = op.integer(value, "a bound")
    wrapped = (bound < 0).select(bound + size, bound)
    return op.apply("min", op.apply("max", wrapped, 0), size)


@torch_function("slice_scatter")
def slice_scatter(
    op: Op, input: Value, src: Value, dim: Value = Static(0), start: Value = NONE, end: Value = NONE,
    step: Value = Static(1),
) -> Value:  # fmt: skip
    """The tensor with other elements at a slice of a dimension."""
    x, source = op.tensor(input), op.tensor(src)
    place = _place(op, x, dim)
    size, pace = x.sizes[place], op.integer(step, "step")
    op.require(pace > 0, "slice_scatter(): the step is not positive")
    first = _bound(op, start, size, op.number(0))
    length = op.apply("max", _bound(op, end, size, size) - first, 0)
    count = (length + pace - 1) // pace
    _require_sizes(op, source, [*x.sizes[:place], count, *x.sizes[place + 1 :]])

    def body(i: list[Scalar]) -> Scalar:
        offset = i[place] - first
        inside = (offset >= 0) & (offset < length)
        if not pace.is_(1):
            inside = inside & (offset % pace).eq(0)
        at = [*i[:place], offset // pace, *i[place + 1 :]]
        return op.if_(inside, lambda: converted(op, source[at], x.type), lambda: x[i])

    return op.result(op.build(x.sizes, body))


@torch_function("diagonal_scatter")
def diagonal_scatter(
    op: Op, input: Value, src: Value, offset: Value = Static(0), dim1: Value = Static(0), dim2: Value = Static(1)
) -> Value:
    """The tensor with other elements on a diagonal."""
    from ksc.frontend.tensors.shapes import diagonal, ref_of

    x, source = op.tensor(input), op.tensor(src)
    part = ref_of(op, diagonal(op, input, offset, dim1, dim2))
    _require_sizes(op, source, [Scalar.of(op, size) for size in sizes_of(op.frame, op.node, part)])
    a, b = (op.dim(dim, x.rank) for dim in (dim1, dim2))
    shift = op.static(offset, "offset")

    def body(i: list[Scalar]) -> Scalar:
        rest = [i[k] for k in range(x.rank) if k not in (a, b)]
        on = i[b].eq(i[a] + shift) if shift >= 0 else i[a].eq(i[b] - shift)
        along = i[a] if shift >= 0 else i[b]
        return op.if_(on, lambda: converted(op, source[[*rest, along]], x.type), lambda: x[i])

    return op.result(op.build(x.sizes, body))


@torch_function("index_put")
def index_put(op: Op, input: Value, indices: Value, values: Value, accumulate: Value = FALSE) -> Value:
    """The tensor with values written at tensors of indices, or a mask; added where they are to ``accumulate``."""
    x, new = op.tensor(input), op.tensor(values)
    equal_types(op, x, new)
    if not isinstance(indices, Struct):
        op.refuse("needs a tuple of tensors of indices", "write `(index,)` for one")
    items = [make_slice() if is_none(item) else item for item in indices.items]
    made = op.result(op.copied(x))
    assert isinstance(made, Ref | Array)
    place = place_of(op.frame, made, items, op.node)
    if not op.flag(accumulate, "accumulate"):
        assign_place(op.frame, place, values, op.node)
    elif place.mask is not None or not place.picks:
        augmented_place(op.frame, ast.Add(), place, values, op.node)
    else:
        return op.result(_accumulated(op, op.tensor(made), place, new))
    return made


def _accumulated(op: Op, start: Tensor, place: Place, new: Tensor) -> Tensor:
    """The tensor with values, broadcast to the sizes of a place, added one after the other."""
    frame, node = op.frame, op.node
    sizes = [Scalar.of(op, size) for size in place_sizes(frame, place, node)]
    if new.rank > len(sizes):
        op.refuse(f"writes {new.rank} dimensions into a place of {len(sizes)}", "reshape the values")
    for have, want in zip(op.broadcast([sizes, new.sizes]), sizes, strict=True):
        op.same(have, want)

    def where(index: list[Scalar]) -> list[Scalar]:
        at = place_index(frame, place, [i.atom for i in index], node)
        return [Scalar.of(op, i) for i in source_of(frame, node, place.view, at)]

    def value(index: list[Scalar], old: Scalar | None) -> Scalar:
        assert old is not None
        return added(old, new.spread(index))

    return scattered(op, start, sizes, where, value, reads=True)
