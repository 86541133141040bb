"""Running sums, products and extrema along one dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ksc.frontend.tensors.extrema import Extremum, beats, comparable
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import NONE, Value
from ksc.ir.types import Bool, Integer

RowElement = Callable[[Scalar], Scalar]
RowFunction = Callable[[Scalar, RowElement], Sequence[Tensor]]
"""From the size of a row and its elements, rows of the results."""


def along(op: Op, x: Tensor, dim: int, function: RowFunction) -> list[Tensor]:
    """What ``function`` makes of each row of a tensor along a dimension."""
    others = [*x.sizes[:dim], *x.sizes[dim + 1 :]]

    def rows(outer: list[Scalar]) -> Sequence[Tensor]:
        return function(x.sizes[dim], lambda i: x[[*outer[:dim], i, *outer[dim:]]])

    made = op.build_rows(others, rows)
    return made if dim == x.rank - 1 else [_moved(op, tensor, dim) for tensor in made]


def _moved(op: Op, x: Tensor, dim: int) -> Tensor:
    """The tensor with its last dimension at ``dim``."""
    sizes = list(x.sizes[:-1])
    sizes.insert(dim, x.sizes[-1])
    return op.build(sizes, lambda index: x[[*index[:dim], *index[dim + 1 :], index[dim]]])


def _running(start: float, join: Callable[[Scalar, Scalar], Scalar]) -> Callable[..., Value]:
    def function(op: Op, input: Value, dim: Value, *, dtype: Value = NONE) -> Value:
        x = op.tensor(input)
        type_ = op.dtype(dtype, Integer if x.type == Bool else x.type)
        place = op.dim(dim, x.rank)
        if not x.rank:
            return op.result(op.rank_0(x[()].as_(type_)))

        def row(count: Scalar, at: RowElement) -> Sequence[Tensor]:
            def step(i: Scalar, carried: list[Scalar]) -> tuple[list[Scalar], list[Scalar]]:
                total = join(carried[0], at(i).as_(type_))
                return [total], [total]

            init = op.number(int(start) if type_ == Integer else start)
            return op.loop(count, [init], step)[1]

        return op.result(along(op, x, place, row)[0])

    return function


cumsum = torch_function("cumsum")(_running(0.0, lambda a, b: a + b))
cumprod = torch_function("cumprod")(_running(1.0, lambda a, b: a * b))
logcumsumexp = torch_function("logcumsumexp")(
    _running(float("-inf"), lambda a, b: a.op.apply("logaddexp", a, b)),
)


def _running_extremum(*, largest: bool) -> Callable[..., Value]:
    def function(op: Op, input: Value, dim: Value) -> Value:
        x = op.tensor(input)
        place = op.dim(dim, x.rank)
        if not x.rank:
            zero = op.rank_0(op.number(0))
            return op.results(Extremum, [op.copied(x), zero], keys=("values", "indices"))

        def row(count: Scalar, at: RowElement) -> Sequence[Tensor]:
            def step(i: Scalar, carried: list[Scalar]) -> tuple[list[Scalar], list[Scalar]]:
                here, champion = comparable(at(i)), comparable(at(carried[0]))
                behind = beats(op, champion, here, largest=largest)
                best = behind.select(carried[0], i)
                return [best], [at(best), best]

            return op.loop(count, [op.number(0)], step)[1]

        return op.results(Extremum, along(op, x, place, row), keys=("values", "indices"))

    return function


cummax = torch_function("cummax")(_running_extremum(largest=True))
cummin = torch_function("cummin")(_running_extremum(largest=False))
