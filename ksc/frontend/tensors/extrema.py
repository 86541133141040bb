"""The largest and the smallest: their values, and where they stand."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence

from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.reductions import Element, over, over_many
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, Static, Value, is_none, scalar_type
from ksc.ir.types import Bool, Float, Integer

Extremum = namedtuple("Extremum", ["values", "indices"])
"""What max(x, dim) and its like give."""
MinMax = namedtuple("MinMax", ["min", "max"])


def beats(op: Op, a: Scalar, b: Scalar, *, largest: bool) -> Scalar:
    """Whether ``a`` stands before ``b``: it is larger (or smaller), or NaN where ``b`` is not."""
    wins = a > b if largest else a < b
    if a.type != Float:
        return wins
    return wins | (op.apply("isnan", a) & ~op.apply("isnan", b))


def comparable(x: Scalar) -> Scalar:
    """The number, a truth value as an Integer."""
    return x.as_(Integer) if x.type == Bool else x


def search(
    op: Op, sizes: Sequence[Scalar], at: Element, *, largest: bool, first: Sequence[Scalar] | None = None
) -> tuple[list[Scalar], Scalar]:
    """The first index of the extremum, and how many elements are equal to it (0 for NaN).

    Only Integers are carried, so that a derivative has nothing to do here. Where all elements are equal, the index
    given is ``first``: that of the first element unless told.
    """
    op.require(op.product(sizes) > 0, f"{op.name}() of no elements has no value")
    zero = op.number(0)
    start = [*(first or [zero] * len(sizes)), zero]

    def nest(outer: list[Scalar], carried: list[Scalar]) -> list[Scalar]:
        if len(outer) < len(sizes):
            finals, _ = op.loop(sizes[len(outer)], carried, lambda i, inner: (nest([*outer, i], inner), []))
            return finals
        *best, count = carried
        here, champion = comparable(at(outer)), comparable(at(best))
        wins = beats(op, here, champion, largest=largest)
        tied = here.eq(champion)
        moved = [wins.select(i, b) for i, b in zip(outer, best, strict=True)]
        return [*moved, wins.select(1, tied.select(count + 1, count))]

    *best, count = nest([], start)
    return best, count


def extremum(op: Op, sizes: Sequence[Scalar], at: Element, *, largest: bool) -> Scalar:
    """The extremum; several elements that are equal to it, or NaN as it is, share its derivative evenly."""
    if not sizes:
        return at([])
    value = value_of(op, sizes, at, largest=largest)
    if value.type != Float:
        return value

    def share(index: Sequence[Scalar]) -> Scalar:
        here = at(index)
        return is_extremum(op, here, value).select(here, 0.0)

    count = op.reduce("add", sizes, lambda index: is_extremum(op, at(index), value).as_(Integer))
    return op.apply("with_value", op.reduce("add", sizes, share) / count.float, value)


def value_of(op: Op, sizes: Sequence[Scalar], at: Element, *, largest: bool) -> Scalar:
    """The extremum, without a derivative; NaN if an element is."""
    op.require(op.product(sizes) > 0, f"{op.name}() of no elements has no value")
    if at_type(op, sizes, at) == Bool:
        return op.reduce("or" if largest else "and", sizes, lambda index: at(index))
    value = op.reduce("max" if largest else "min", sizes, lambda index: at(index))
    return op.apply("stop_gradient", value) if value.type == Float else value


def is_extremum(op: Op, element: Scalar, value: Scalar) -> Scalar:
    """Whether an element is the extremum; of elements that are not ordered those are NaN."""
    same = element.eq(value)
    return same | op.apply("isnan", element) if element.type == Float else same


def first_place(op: Op, sizes: Sequence[Scalar], at: Element, value: Scalar) -> Scalar:
    """The place, in row-major order, of the first element that is the extremum."""
    last = op.product(sizes) - 1

    def place(index: Sequence[Scalar]) -> Scalar:
        return is_extremum(op, at(index), value).select(ravelled(op, index, sizes), last)

    return op.reduce("min", sizes, place)


def at_type(op: Op, sizes: Sequence[Scalar], at: Element) -> object:
    """The type of the elements, found on the side."""
    with op.frame.block():
        return at([op.number(0)] * len(sizes)).type


def _amax(*, largest: bool) -> Callable[..., Value]:
    def function(op: Op, input: Value, dim: Value = Static(()), keepdim: Value = FALSE) -> Value:
        x = op.tensor(input)
        dims = op.dims(dim, x.rank)
        keep = op.flag(keepdim, "keepdim")
        return op.result(over(op, x, dims, keep, lambda sizes, at: extremum(op, sizes, at, largest=largest)))

    return function


amax = torch_function("amax")(_amax(largest=True))
amin = torch_function("amin")(_amax(largest=False))


def _arg(*, largest: bool) -> Callable[..., Value]:
    def function(op: Op, input: Value, dim: Value = NONE, keepdim: Value = FALSE) -> Value:
        x = op.tensor(input)
        whole = op.static(dim, "dim") is None
        dims = tuple(range(x.rank)) if whole else (op.dim(dim, x.rank),)[: x.rank]

        def fold(sizes: list[Scalar], at: Element) -> Scalar:
            if not sizes:
                return op.number(0)
            return first_place(op, sizes, at, value_of(op, sizes, at, largest=largest))

        return op.result(over(op, x, dims, op.flag(keepdim, "keepdim"), fold))

    return function


argmax = torch_function("argmax")(_arg(largest=True))
argmin = torch_function("argmin")(_arg(largest=False))


def ravelled(op: Op, index: Sequence[Scalar], sizes: Sequence[Scalar]) -> Scalar:
    """The place in row-major order of an index."""
    place = op.number(0)
    for i, size in zip(index, sizes, strict=True):
        place = place * size + i if not place.is_(0) else i
    return place


def _max(name: str, *, largest: bool) -> Callable[..., Value]:
    def function(op: Op, input: Value, dim: Value = NONE, keepdim: Value = FALSE, *, other: Value = NONE) -> Value:
        if op.is_tensor(dim) or (isinstance(dim, Static) and scalar_type(dim) == Float):
            dim, other = NONE, dim
        if not is_none(other):
            return _paired(op, name, input, other)
        x = op.tensor(input)
        if op.static(dim, "dim") is None:
            every = range(x.rank)
            return op.result(over(op, x, every, False, lambda sizes, at: extremum(op, sizes, at, largest=largest)))
        dims = (op.dim(dim, x.rank),)[: x.rank]

        def fold(sizes: list[Scalar], at: Element) -> list[Scalar]:
            if not sizes:
                return [at([]), op.number(0)]
            value = value_of(op, sizes, at, largest=largest)
            best = first_place(op, sizes, at, value)
            if value.type != Float:
                return [value, best]
            # In every iteration, so that the derivative is stored with others of the row.
            chosen = op.reduce("add", sizes, lambda index: index[0].eq(best).select(at(index), 0.0))
            return [op.apply("with_value", chosen, value), best]

        return op.results(
            Extremum, over_many(op, x, dims, op.flag(keepdim, "keepdim"), fold), keys=("values", "indices")
        )

    return function


max = torch_function("max")(_max("maximum", largest=True))
min = torch_function("min")(_max("minimum", largest=False))


def _paired(op: Op, name: str, a: Value, b: Value) -> Value:
    import torch

    from ksc.frontend.library import known_function

    pair = known_function(getattr(torch, name))
    assert pair is not None
    return pair(op.frame, [a, b], {}, op.node)


@torch_function("aminmax")
def aminmax(op: Op, input: Value, *, dim: Value = NONE, keepdim: Value = FALSE) -> Value:
    """The smallest and the largest."""
    x = op.tensor(input)

    def fold(sizes: list[Scalar], at: Element) -> list[Scalar]:
        return [extremum(op, sizes, at, largest=False), extremum(op, sizes, at, largest=True)]

    made = over_many(op, x, op.dims(dim, x.rank), op.flag(keepdim, "keepdim"), fold)
    return op.results(MinMax, made, keys=("min", "max"))
