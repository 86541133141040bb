"""Elements by their rank: medians, quantiles and the k-th smallest, read from rows in order."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence

from ksc.frontend.tensors.joining import flattened
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.scans import RowElement, along
from ksc.frontend.tensors.sorting import order, sorted_rows
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, Static, Value
from ksc.ir.types import Float, Integer

Ranked = namedtuple("Ranked", ["values", "indices"])
"""What median(x, dim) and its like give."""
INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def numbers(op: Op, size: Scalar, at: RowElement) -> Scalar:
    """How many elements of a row are not NaN."""
    return op.reduce("add", [size], lambda k: (~op.apply("isnan", at(k[0]))).as_(Integer))


def _places(op: Op, x: Tensor, dim: int, rank: Callable[[Scalar, RowElement], Scalar]) -> Tensor:
    """Where the element of a rank stands in each row along a dimension."""

    def row(size: Scalar, at: RowElement) -> Sequence[Tensor]:
        permutation = order(op, size, at, descending=False)
        found = permutation[[rank(size, at)]]
        return [op.build([op.number(1)], lambda index: found)]

    return along(op, x, dim, row)[0]


def _ranked(op: Op, x: Tensor, dim: Value, keepdim: Value, rank: Callable[[Scalar, RowElement], Scalar]) -> Value:
    """The element of a rank in each row, and where it stands."""
    place = op.dim(dim, x.rank)
    if not x.rank:
        return op.results(Ranked, [op.copied(x), op.rank_0(op.number(0))], keys=("values", "indices"))
    op.require(x.sizes[place] > 0, f"{op.name}() of no elements has no value")
    kept, zero = _places(op, x, place, rank), op.number(0)
    values = op.build(kept.sizes, lambda i: x[[*i[:place], kept[i], *i[place + 1 :]]])
    made = [values, kept]
    if not op.flag(keepdim, "keepdim"):
        sizes = [*kept.sizes[:place], *kept.sizes[place + 1 :]]
        made = [op.build(sizes, lambda i, t=t: t[[*i[:place], zero, *i[place:]]]) for t in made]  # type: ignore[misc]
    return op.results(Ranked, made, keys=("values", "indices"))


def _middle(op: Op, size: Scalar, at: RowElement) -> Scalar:
    """The rank of the lower median, the last one (of a NaN) where an element is NaN."""
    return _of_nan(op, size, at, (size - 1) // 2)


def _of_nan(op: Op, size: Scalar, at: RowElement, rank: Scalar) -> Scalar:
    if at(op.number(0)).type != Float:
        return rank
    return numbers(op, size, at).eq(size).select(rank, size - 1)


def _middle_number(op: Op, size: Scalar, at: RowElement) -> Scalar:
    """The rank of the lower median of what is not NaN."""
    if at(op.number(0)).type != Float:
        return (size - 1) // 2
    return op.apply("max", numbers(op, size, at) - 1, 0) // 2


def _median(rank: Callable[[Op, Scalar, RowElement], Scalar]) -> Callable[..., Value]:
    def function(op: Op, input: Value, dim: Value = NONE, keepdim: Value = FALSE) -> Value:
        x = op.numeric_tensor(input)
        if op.static(dim, "dim") is not None:
            return _ranked(op, x, dim, keepdim, lambda size, at: rank(op, size, at))
        if not x.rank:
            return op.result(op.copied(x))
        flat = flattened(op, x)
        op.require(flat.sizes[0] > 0, f"{op.name}() of no elements has no value")
        place = _places(op, flat, 0, lambda size, at: rank(op, size, at))[[op.number(0)]]
        return op.result(op.rank_0(_shared(op, flat, flat[[place]])))

    return function


def _shared(op: Op, x: Tensor, value: Scalar) -> Scalar:
    """A value of which all elements that are equal to it share the derivative evenly."""
    if x.type != Float:
        return value
    held = op.apply("stop_gradient", value)

    def same(index: list[Scalar]) -> Scalar:
        return x[index].eq(held) | (op.apply("isnan", x[index]) & op.apply("isnan", held))

    total = op.reduce("add", x.sizes, lambda index: same(index).select(x[index], 0.0))
    count = op.reduce("add", x.sizes, lambda index: same(index).as_(Integer))
    return op.apply("with_value", total / count.float, held)


median = torch_function("median")(_median(_middle))
nanmedian = torch_function("nanmedian")(_median(_middle_number))


@torch_function("kthvalue")
def kthvalue(op: Op, input: Value, k: Value, dim: Value = Static(-1), keepdim: Value = FALSE) -> Value:
    """The ``k``-th smallest element along a dimension, counted from 1, and where it stands."""
    x, number = op.numeric_tensor(input), op.integer(k, "k")
    limit = x.sizes[op.dim(dim, x.rank)] if x.rank else op.number(1)
    op.require((number > 0) & (number <= limit), "kthvalue(): k is out of range")
    return _ranked(op, x, dim, keepdim, lambda size, at: number - 1)


def _between(op: Op, how: str, at: RowElement, rank: Scalar) -> Scalar:
    """The value at a rank that may lie between two elements of a sorted row."""
    low, high = op.apply("floor", rank), op.apply("ceil", rank)

    def value(place: Scalar) -> Scalar:
        return at(op.apply("to_int", place))

    match how:
        case "lower":
            return value(low)
        case "higher":
            return value(high)
        case "nearest":
            return value(op.apply("round", rank))
    below, above = value(low), value(high)
    weight = op.number(0.5) if how == "midpoint" else rank - low
    return (weight < 0.5).select(below + weight * (above - below), above - (above - below) * (1.0 - weight))


def _quantile(*, skips: bool) -> Callable[..., Value]:
    def function(
        op: Op,
        input: Value,
        q: Value,
        dim: Value = NONE,
        keepdim: Value = FALSE,
        *,
        interpolation: Value = Static("linear"),
    ) -> Value:
        x, ranks = op.float_tensor(input), op.float_tensor(q)
        how = op.choice(interpolation, "interpolation", INTERPOLATIONS)
        if ranks.rank > 1:
            op.refuse("needs a number or a vector as q", "flatten it")
        inside = op.reduce("and", ranks.sizes, lambda i: (ranks[i] >= 0.0) & (ranks[i] <= 1.0))
        op.require(inside, f"{op.name}(): q is not between 0 and 1")
        whole = op.static(dim, "dim") is None
        rows = flattened(op, x) if whole else x
        if not rows.rank:
            rows = op.build([op.number(1)], lambda index: x[()])
        place = 0 if whole else op.dim(dim, x.rank)
        size = rows.sizes[place]
        op.require(size > 0, f"{op.name}() of no elements has no value")
        (ordered, _) = sorted_rows(op, rows, place, descending=False)
        one = op.number(1)
        keep = op.flag(keepdim, "keepdim")
        reduced = [*rows.sizes[:place], *rows.sizes[place + 1 :]]
        kept = [one] * x.rank if whole else [one if k == place else n for k, n in enumerate(x.sizes)]
        lead = ranks.sizes

        def body(index: list[Scalar]) -> Scalar:
            own, outer = index[: len(lead)], index[len(lead) :]
            outer = ([] if whole else [*outer[:place], *outer[place + 1 :]]) if keep else outer
            outer = outer[: rows.rank - 1]

            def at(i: Scalar) -> Scalar:
                return ordered[[*outer[:place], i, *outer[place:]]]

            count = numbers(op, size, at)
            if skips:
                rank = ranks[own] * op.apply("max", count - 1, 0).float
            else:
                rank = count.eq(size).select(ranks[own] * (size - 1).float, (size - 1).float)
            return _between(op, how, at, rank)

        return op.result(op.build([*lead, *(kept if keep else reduced)], body))

    return function


quantile = torch_function("quantile")(_quantile(skips=False))
nanquantile = torch_function("nanquantile")(_quantile(skips=True))
