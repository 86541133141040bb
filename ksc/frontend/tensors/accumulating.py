"""Elements combined at places that tensors of integers or masks give: sums, products, means and extrema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ksc.frontend.tensors.creation import converted
from ksc.frontend.tensors.extrema import is_extremum
from ksc.frontend.tensors.gathering import added, equal_ranks, equal_types, indices, scattered, within
from ksc.frontend.tensors.joining import at_least, flattened, unravelled
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import NONE, TRUE, Static, Value, is_none
from ksc.ir.types import Bool, Float, Integer
from ksc.ir.values import INTEGER_MAX, INTEGER_MIN

Join = Callable[[Scalar, Scalar], Scalar]
WAYS = ("sum", "prod", "mean", "amax", "amin")


@dataclass(frozen=True, slots=True)
class Reduction:
    """Elements of a source combined with those of ``x`` at their places, one after the other.

    Attributes:
        sizes: those of the indices into the source.
        place: where an element of the source goes.
        source: the element of the source.
        includes: whether an element that others go to takes part itself.
    """

    op: Op
    x: Tensor
    sizes: Sequence[Scalar]
    place: Callable[[list[Scalar]], list[Scalar]]
    source: Callable[[list[Scalar]], Scalar]
    includes: bool

    def made(self, how: str) -> Tensor:
        """The tensor with all that goes to one place combined."""
        match how:
            case "sum":
                return self._joined(self.op.zero(self.x.type), added)
            case "prod":
                one = converted(self.op, self.op.number(1), self.x.type)
                return self._joined(one, lambda a, b: a & b if a.type == Bool else a * b)
            case "mean":
                return self._mean()
            case _:
                return self._extremum(largest=how == "amax")

    def _scattered(self, start: Tensor, new: Callable[[list[Scalar], Scalar], Scalar]) -> Tensor:
        def value(index: list[Scalar], old: Scalar | None) -> Scalar:
            assert old is not None
            return new(index, old)

        return scattered(self.op, start, self.sizes, self.place, value, reads=True)

    def _reached(self) -> Tensor:
        """Whether an element of the source goes there."""
        start = self.op.build(self.x.sizes, lambda index: self.op.number(False))
        return scattered(self.op, start, self.sizes, self.place, lambda i, old: self.op.number(True), reads=False)

    def _start(self, neutral: Scalar) -> Tensor:
        """What the elements of the source are combined with."""
        if self.includes:
            return self.op.copied(self.x)
        return scattered(self.op, self.op.copied(self.x), self.sizes, self.place, lambda i, old: neutral, reads=False)

    def _joined(self, neutral: Scalar, join: Join) -> Tensor:
        return self._scattered(self._start(neutral), lambda index, old: join(old, self.source(index)))

    def _mean(self) -> Tensor:
        op = self.op
        total = self._joined(op.zero(self.x.type), added)
        reached = None if self.includes else self._reached()

        def first(index: list[Scalar]) -> Scalar:
            return op.number(1) if reached is None else reached[index].select(0, 1)

        counts = self._scattered(op.build(self.x.sizes, first), lambda index, old: old + 1)
        if self.x.type == Integer:
            return op.build(self.x.sizes, lambda index: total[index] // counts[index])
        return op.build(self.x.sizes, lambda index: total[index] / counts[index].float)

    def _extremum(self, *, largest: bool) -> Tensor:
        """The extrema; elements that are equal to one share its derivative evenly, as in torch."""
        op, x = self.op, self.x
        if x.type == Bool:
            return self._joined(op.number(not largest), lambda a, b: a | b if largest else a & b)
        limit = op.number(INTEGER_MIN if largest else INTEGER_MAX)
        if x.type == Float:
            limit = op.number(float("-inf") if largest else float("inf"))
        primitive = "max" if largest else "min"

        def held(element: Scalar) -> Scalar:
            return op.apply("stop_gradient", element) if x.type == Float else element

        kept = self._start(limit)
        best = self._scattered(
            op.build(kept.sizes, lambda index: held(kept[index])),
            lambda index, old: op.apply(primitive, old, held(self.source(index))),
        )
        if x.type != Float:
            return best
        reached = None if self.includes else self._reached()

        def own(index: list[Scalar]) -> Scalar:
            same = is_extremum(op, x[index], best[index])
            return same if reached is None else same & ~reached[index]

        def equals(index: list[Scalar]) -> Scalar:
            return is_extremum(op, self.source(index), best[self.place(index)])

        shares = self._scattered(
            op.build(x.sizes, lambda index: own(index).select(x[index], 0.0)),
            lambda index, old: old + equals(index).select(self.source(index), 0.0),
        )
        counts = self._scattered(
            op.build(x.sizes, lambda index: own(index).as_(Integer)),
            lambda index, old: old + equals(index).as_(Integer),
        )
        return op.build(x.sizes, lambda index: op.apply("with_value", shares[index] / counts[index].float, best[index]))


def _of_vector(op: Op, value: Value) -> Value:
    """A tensor of rank 0 as a vector."""
    x = op.tensor(value)
    return value if x.rank else op.result(at_least(op, x, 1))


def _of_vectors(
    function: Callable[..., Value],
    op: Op,
    input: Value,
    dim: Value,
    index: Value,
    source: Value,
    reduce: Value,
    include_self: Value,
) -> Value:
    """What a function that combines elements gives of tensors of rank 0: that of vectors of one element."""
    x, at, new = (_of_vector(op, value) for value in (input, index, source))
    made = op.tensor(function(op, x, dim, at, new, reduce, include_self=include_self))
    return op.result(op.rank_0(made[[op.number(0)]]))


@torch_function("scatter_reduce")
def scatter_reduce(
    op: Op, input: Value, dim: Value, index: Value, src: Value, reduce: Value, *, include_self: Value = TRUE
) -> Value:
    """The tensor with elements combined at indices along a dimension."""
    x, at, source = op.tensor(input), indices(op, index), op.tensor(src)
    if not x.rank:
        return _of_vectors(scatter_reduce, op, input, dim, index, src, reduce, include_self)
    how, place = op.choice(reduce, "reduce", WAYS), op.dim(dim, x.rank)
    equal_ranks(op, x, at, source)
    equal_types(op, x, source)
    within(op, at, x, place)
    within(op, at, source, None)
    includes = op.flag(include_self, "include_self")

    def where(i: list[Scalar]) -> list[Scalar]:
        return [*i[:place], at[i], *i[place + 1 :]]

    return op.result(Reduction(op, x, at.sizes, where, lambda i: source[i], includes).made(how))


@torch_function("index_reduce")
def index_reduce(
    op: Op, input: Value, dim: Value, index: Value, source: Value, reduce: Value, *, include_self: Value = TRUE
) -> Value:
    """The tensor with slices combined at indices along a dimension."""
    x, at, slices = op.numeric_tensor(input), indices(op, index), op.tensor(source)
    if not x.rank:
        return _of_vectors(index_reduce, op, input, dim, index, source, reduce, include_self)
    how, place = op.choice(reduce, "reduce", WAYS[1:]), op.dim(dim, x.rank)
    if at.rank > 1:
        op.refuse("needs a vector of indices", "flatten the indices")
    equal_ranks(op, x, slices)
    equal_types(op, x, slices)
    count = at.sizes[0] if at.rank else op.number(1)
    sizes = [op.same(count if k == place else size, slices.sizes[k]) for k, size in enumerate(x.sizes)]
    includes = op.flag(include_self, "include_self")

    def where(i: list[Scalar]) -> list[Scalar]:
        return [at[[j][: at.rank]] if k == place else j for k, j in enumerate(i)]

    return op.result(Reduction(op, x, sizes, where, lambda i: slices[i], includes).made(how))


@torch_function("masked_scatter")
def masked_scatter(op: Op, input: Value, mask: Value, source: Value) -> Value:
    """The tensor with the elements of another one, in order, wherever the mask holds."""
    x, holds, new = op.tensor(input), op.tensor(mask), op.tensor(source)
    if holds.type != Bool:
        op.refuse(f"needs a mask of truth values, not {holds.type}", "compare, as in `mask != 0`")
    equal_types(op, x, new)
    sizes = op.broadcast([x.sizes, holds.sizes])
    wide = op.build(sizes, lambda index: holds.spread(index))
    flat = flattened(op, wide)
    if not flat.rank:
        flat = at_least(op, flat, 1)

    def step(i: Scalar, carried: list[Scalar]) -> tuple[list[Scalar], list[Scalar]]:
        (before,) = carried
        return [before + flat[[i]].as_(Integer)], [before]

    (total,), (places,) = op.loop(flat.sizes[0], [op.number(0)], step)
    op.require(total <= new.numel(), "masked_scatter(): there are fewer elements than the mask has places for")

    def body(index: list[Scalar]) -> Scalar:
        place = op.number(0)
        for i, size in zip(index, sizes, strict=True):
            place = place * size + i
        return op.if_(wide[index], lambda: new[unravelled(op, places[[place]], new.sizes)], lambda: x.spread(index))

    return op.result(op.build(sizes, body))


@torch_function("bincount")
def bincount(op: Op, input: Value, weights: Value = NONE, minlength: Value = Static(0)) -> Value:
    """How often each number below ``minlength`` occurs, or the sum of the weights where it does.

    PyTorch's result is longer where a number is larger; a kernel, whose sizes do not depend on elements, stops.
    """
    x = indices(op, input)
    if x.rank != 1:
        op.refuse(f"needs a vector, not a tensor of {x.rank} dimensions", "flatten it")
    count = op.integer(minlength, "minlength")
    if count.is_(0):
        op.refuse("without minlength: its size would depend on the elements", "pass minlength, above all elements")
    weight = None if is_none(weights) else op.float_tensor(weights)
    if weight is not None:
        if weight.rank != 1:
            op.refuse("needs a vector of weights", "give one for each element")
        op.same(x.sizes[0], weight.sizes[0])
    fits = op.reduce("and", x.sizes, lambda i: (x[i] >= 0) & (x[i] < count))
    op.require(fits, "bincount(): an element is negative, or not below minlength")
    start = op.build([op.require_size(count)], lambda i: op.number(0) if weight is None else op.number(0.0))

    def value(i: list[Scalar], old: Scalar | None) -> Scalar:
        assert old is not None
        return old + (1 if weight is None else weight[i])

    return op.result(scattered(op, start, x.sizes, lambda i: [x[i]], value, reads=True))


@torch_function("torch.isin")
def isin(
    op: Op, elements: Value, test_elements: Value, *, assume_unique: Value = NONE, invert: Value = Static(False)
) -> Value:
    """Whether an element is among others."""
    x, tests = op.tensor(elements), op.tensor(test_elements)
    for tensor in (x, tests):
        if tensor.type == Bool:
            op.refuse("of truth values", "convert them with .long()")

    def body(index: list[Scalar]) -> Scalar:
        found = op.reduce("or", tests.sizes, lambda i: x[index].eq(tests[i]))
        return ~found if op.flag(invert, "invert") else found

    return op.result(op.build(x.sizes, body))
