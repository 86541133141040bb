"""Sorting: a permutation is found without derivatives, and the values are read through it."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence

from ksc.frontend.tensors.extrema import comparable
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.scans import RowElement, along
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, TRUE, Static, Value, is_none
from ksc.ir.types import Float, Integer

Sorted = namedtuple("Sorted", ["values", "indices"])


def precedes(op: Op, a: Scalar, b: Scalar, *, descending: bool) -> Scalar:
    """Whether ``a`` stands strictly before ``b``; a NaN counts as the largest number."""
    wins = a > b if descending else a < b
    if a.type != Float:
        return wins
    first, second = (a, b) if descending else (b, a)
    return wins | (op.apply("isnan", first) & ~op.apply("isnan", second))


def order(op: Op, count: Scalar, at: RowElement, *, descending: bool) -> Tensor:
    """The permutation that sorts a row, equal elements staying in order: merge sort from runs of one upwards."""
    identity = op.build([count], lambda index: index[0])
    passes = _passes(op, count)

    def merge_all(level: Scalar, carried: list[Tensor]) -> tuple[list[Tensor], list[Scalar]]:
        (old,) = carried
        width = op.apply("shl", 1, level)

        def step(place: Scalar, heads: list[Scalar]) -> tuple[list[Scalar], list[Scalar]]:
            begin = place - place % (width * 2)
            middle = op.apply("min", begin + width, count)
            end = op.apply("min", middle + width, count)
            starts = begin.eq(place)
            left, right = starts.select(begin, heads[0]), starts.select(middle, heads[1])

            def compare() -> Scalar:
                a, b = comparable(at(old[[left]])), comparable(at(old[[right]]))
                return ~precedes(op, b, a, descending=descending)

            takes_left = op.if_(
                left >= middle,
                lambda: op.number(False),
                lambda: op.if_(right >= end, lambda: op.number(True), compare),
            )
            taken = old[[takes_left.select(left, right)]]
            one_left, one_right = takes_left.select(1, 0), takes_left.select(0, 1)
            return [left + one_left, right + one_right], [taken]

        _, (new,) = op.loop(count, [op.number(0), op.number(0)], step)
        return [new], []

    (final,), _ = op.loop(passes, [identity], merge_all)
    assert isinstance(final, Tensor)
    return final


def _passes(op: Op, count: Scalar) -> Scalar:
    """How often runs of one must double to hold ``count`` elements."""
    if isinstance(count.known, int):
        return op.number(max(count.known - 1, 0).bit_length())

    def step(i: Scalar, carried: list[Scalar]) -> tuple[list[Scalar], list[Scalar]]:
        return [carried[0] + (op.apply("shl", 1, i) < count).as_(Integer)], []

    (found,), _ = op.loop(op.number(62), [op.number(0)], step)
    assert isinstance(found, Scalar)
    return found


def sorted_rows(op: Op, x: Tensor, dim: int, *, descending: bool, count: Scalar | None = None) -> list[Tensor]:
    """The first ``count`` (or all) values in order along a dimension, and where they stood."""
    if not x.rank:
        return [op.copied(x), op.rank_0(op.number(0))]

    def row(size: Scalar, at: RowElement) -> Sequence[Tensor]:
        permutation = order(op, size, at, descending=descending)
        return [permutation if count is None else op.build([count], lambda index: permutation[index])]

    (indices,) = along(op, x, dim, row)

    def value(index: list[Scalar]) -> Scalar:
        return x[[*index[:dim], indices[index], *index[dim + 1 :]]]

    return [op.build(indices.sizes, value), indices]


@torch_function("sort")
def sort(op: Op, input: Value, dim: Value = Static(-1), descending: Value = FALSE, stable: Value = FALSE) -> Value:
    """The values in order along a dimension, and where they stood; equal ones stay in order."""
    x = op.tensor(input)
    place = op.dim(dim, x.rank)
    backwards = op.flag(descending, "descending")
    return op.results(Sorted, sorted_rows(op, x, place, descending=backwards), keys=("values", "indices"))


@torch_function("argsort")
def argsort(op: Op, input: Value, dim: Value = Static(-1), descending: Value = FALSE, stable: Value = FALSE) -> Value:
    """Where the values in order along a dimension stand."""
    x = op.tensor(input)
    return op.result(sorted_rows(op, x, op.dim(dim, x.rank), descending=op.flag(descending, "descending"))[1])


@torch_function("msort")
def msort(op: Op, input: Value) -> Value:
    """The values in order along the first dimension."""
    x = op.tensor(input)
    return op.result(sorted_rows(op, x, 0, descending=False)[0])


@torch_function("topk")
def topk(op: Op, input: Value, k: Value, dim: Value = Static(-1), largest: Value = TRUE, sorted: Value = TRUE) -> Value:
    """The ``k`` largest (or smallest) values along a dimension in order, and where they stood."""
    x = op.tensor(input)
    place = op.dim(dim, x.rank)
    count = op.require_size(op.integer(k, "k"), "k")
    limit = x.sizes[place] if x.rank else op.number(1)
    op.require(count <= limit, "topk(): k is larger than the dimension")
    made = sorted_rows(op, x, place, descending=op.flag(largest, "largest"), count=count if x.rank else None)
    return op.results(Sorted, made, keys=("values", "indices"))


def _bisect(op: Op, count: Scalar, at: RowElement, value: Scalar, *, right: bool) -> Scalar:
    """The first place of a sorted row at which ``value`` may be put in (the last one where ``right``)."""

    def step(i: Scalar, carried: list[Scalar]) -> tuple[list[Scalar], list[Scalar]]:
        low, high = carried
        open_ = low < high
        middle = low + (high - low) // 2

        def ahead() -> Scalar:
            here = at(middle)
            return (
                ~precedes(op, value, here, descending=False) if right else precedes(op, here, value, descending=False)
            )

        up = op.if_(open_, ahead, lambda: op.number(False))
        return [up.select(middle + 1, low), (open_ & ~up).select(middle, high)], []

    passes = _passes(op, count) + 1
    (found, _), _ = op.loop(passes, [op.number(0), count], step)
    assert isinstance(found, Scalar)
    return found


@torch_function("torch.searchsorted")
def searchsorted(
    op: Op,
    sorted_sequence: Value,
    input: Value,
    *,
    out_int32: Value = FALSE,
    right: Value = FALSE,
    side: Value = NONE,
    sorter: Value = NONE,
) -> Value:
    """Where each value would be put into the last dimension, sorted or put in order by ``sorter``."""
    rows, x = op.tensor(sorted_sequence), op.tensor(input)
    if op.flag(out_int32, "out_int32"):
        op.refuse("with out_int32", "leave it out: Integers have 64 bits")
    given = None if is_none(side) else op.choice(side, "side", ("left", "right"))
    if given == "left" and op.flag(right, "right"):
        op.refuse("with side='left' and right=True", "give one of them")
    upper = op.flag(right, "right") or given == "right"
    if rows.rank > 1 and rows.rank != x.rank:
        op.refuse("of rows and values of different numbers of dimensions", "give equal leading dimensions")
    sizes = list(x.sizes)
    if rows.rank > 1:
        for k in range(x.rank - 1):
            sizes[k] = op.same(sizes[k], rows.sizes[k])

    order = None if is_none(sorter) else op.tensor(sorter)
    if order is not None:
        if order.rank != rows.rank or order.type != Integer:
            op.refuse("needs a sorter of Integers with the sizes of what it sorts", "use torch.argsort()")
        for a, b in zip(order.sizes, rows.sizes, strict=True):
            op.same(a, b)

    def body(index: list[Scalar]) -> Scalar:
        outer = index[:-1] if rows.rank > 1 else []

        def element(i: Scalar) -> Scalar:
            return rows[[*outer, i if order is None else order[[*outer, i]]]]

        return _bisect(op, rows.sizes[-1], element, x[index], right=upper)

    return op.result(op.build(sizes, body))


@torch_function("torch.bucketize")
def bucketize(op: Op, input: Value, boundaries: Value, *, out_int32: Value = FALSE, right: Value = FALSE) -> Value:
    """The number of the interval between boundaries in which each value lies."""
    return searchsorted(op, boundaries, input, out_int32=out_int32, right=right)
