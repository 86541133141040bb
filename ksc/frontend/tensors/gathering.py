"""Elements read and written at places that tensors of integers give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ksc.frontend.tensors.creation import converted
from ksc.frontend.tensors.joining import at_least, flattened, unravelled
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, Static, Value, is_none
from ksc.ir.types import Bool, Integer


def indices(op: Op, value: Value) -> Tensor:
    """A tensor of indices."""
    index = op.tensor(value)
    if index.type != Integer:
        op.refuse(f"needs indices that are integers, not {index.type}", "convert them to torch.int64")
    return index


def scattered(
    op: Op, start: Tensor, sizes: Sequence[Scalar], place: Callable[[list[Scalar]], list[Scalar]],
    value: Callable[[list[Scalar], Scalar | None], Scalar], *, reads: bool,
) -> Tensor:  # fmt: skip
    """``start`` after an update at ``place(index)`` for each index below ``sizes``, one after the other.

    ``value`` gets the index, and where it ``reads``, the element that is there.
    """

    def nest(outer: list[Scalar], carried: list[Tensor]) -> list[Tensor]:
        if len(outer) < len(sizes):
            finals, _ = op.loop(sizes[len(outer)], carried, lambda i, inner: (nest([*outer, i], inner), []))
            return finals
        (target,) = carried
        at = place(outer)
        return [op.update(target, at, value(outer, target[at] if reads else None))]

    return nest([], [start])[0]


@torch_function("gather")
def gather(op: Op, input: Value, dim: Value, index: Value, *, sparse_grad: Value = FALSE) -> Value:
    """The elements at indices along a dimension."""
    x, at = op.tensor(input), indices(op, index)
    place = op.dim(dim, x.rank)
    equal_ranks(op, x, at)
    within(op, at, x, place)
    return op.result(op.build(at.sizes, lambda i: x[[*i[:place], at[i], *i[place + 1 :]][: x.rank]]))


def equal_ranks(op: Op, *tensors: Tensor) -> None:
    """Refuse tensors of different numbers of dimensions."""
    if len({tensor.rank for tensor in tensors}) > 1:
        op.refuse("needs tensors of equal numbers of dimensions", "add dimensions with unsqueeze() or expand()")


def equal_types(op: Op, x: Tensor, source: Tensor) -> None:
    """Refuse elements of another type than those of the tensor that takes them."""
    if source.type != x.type:
        op.refuse(f"of a tensor of {x.type} and one of {source.type}", "give both the same dtype")


def within(op: Op, small: Tensor, large: Tensor, place: int | None) -> None:
    """Check that no dimension but ``place`` is larger than that of ``large``."""
    for k, (a, b) in enumerate(zip(small.sizes, large.sizes, strict=True)):
        if k != place and a.atom != b.atom:
            op.require(a <= b, f"{op.name}(): the index is larger than the tensor in dimension {k}")


@torch_function("take_along_dim")
def take_along_dim(op: Op, input: Value, indices_: Value, dim: Value = NONE) -> Value:
    """As gather(), the other dimensions being broadcast; along ``dim`` an index goes round, as torch takes it."""
    x, at = op.tensor(input), indices(op, indices_)
    if op.static(dim, "dim") is None:
        flat, places = flattened(op, x), flattened(op, at)
        return op.result(op.build(places.sizes, lambda i: flat[[places[i]]]))
    place = op.dim(dim, x.rank)
    equal_ranks(op, x, at)
    one = op.number(1)
    shapes = [[one if k == place else size for k, size in enumerate(tensor.sizes)] for tensor in (x, at)]
    sizes = op.broadcast(shapes)
    sizes[place] = at.sizes[place]

    def body(i: list[Scalar]) -> Scalar:
        here = list(i)
        here[place] = at.spread(i) % x.sizes[place]
        zero = op.number(0)
        return x[
            [zero if size.is_(1) and k != place else j for k, (j, size) in enumerate(zip(here, x.sizes, strict=True))]
        ]

    return op.result(op.build(sizes, body))


@torch_function("index_select")
def index_select(op: Op, input: Value, dim: Value, index: Value) -> Value:
    """The slices at indices along a dimension."""
    x, at = op.tensor(input), indices(op, index)
    place = op.dim(dim, x.rank)
    if at.rank > 1:
        op.refuse("needs a vector of indices", "flatten them")
    count = at.sizes[0] if at.rank else op.number(1)
    sizes = [count if k == place else size for k, size in enumerate(x.sizes)]
    return op.result(op.build(sizes, lambda i: x[[at[[j][: at.rank]] if k == place else j for k, j in enumerate(i)]]))


@torch_function("take")
def take(op: Op, input: Value, index: Value) -> Value:
    """The elements at places in row-major order."""
    x, at = op.tensor(input), indices(op, index)
    total = x.numel()

    def body(i: list[Scalar]) -> Scalar:
        place = at[i]
        op.require((place >= -total) & (place < total), "take(): an index is out of range")
        return x[unravelled(op, (place < 0).select(place + total, place), x.sizes)]

    return op.result(op.build(at.sizes, body))


def _scatter(
    op: Op, input: Value, dim: Value, index: Value, src: Value, join: Callable[[Scalar, Scalar], Scalar] | None
) -> Value:
    x, at = op.tensor(input), indices(op, index)
    source = op.tensor(src)
    place = op.dim(dim, x.rank)
    equal_ranks(op, x, at)
    within(op, at, x, place)
    if op.is_tensor(src) and (source.rank or not x.rank):
        equal_ranks(op, at, source)
        within(op, at, source, None)

    def where(i: list[Scalar]) -> list[Scalar]:
        return [*i[:place], at[i], *i[place + 1 :]][: x.rank]

    def value(i: list[Scalar], old: Scalar | None) -> Scalar:
        new = converted(op, source[i[: source.rank]], x.type)
        return new if join is None or old is None else join(old, new)

    start = op.copied(x)
    if not x.rank:
        return op.result(op.rank_0(value([], start[()] if join else None)))
    return op.result(scattered(op, start, at.sizes, where, value, reads=join is not None))


@torch_function("scatter")
def scatter(
    op: Op,
    input: Value,
    dim: Value,
    index: Value,
    src: Value = NONE,
    *,
    value: Value = NONE,
    reduce: Value = NONE,
) -> Value:
    """The tensor with elements written at indices along a dimension; a later one wins."""
    given = src if not is_none(src) else value
    how = op.static(reduce, "reduce")
    joins: dict[object, Callable[[Scalar, Scalar], Scalar] | None] = {
        None: None,
        "add": added,
        "multiply": lambda a, b: a * b,
    }
    if how not in joins:
        op.refuse(f"with reduce={how!r}", "use 'add' or 'multiply'")
    return _scatter(op, input, dim, index, given, joins[how])


@torch_function("scatter_add")
def scatter_add(op: Op, input: Value, dim: Value, index: Value, src: Value) -> Value:
    """The tensor with elements added at indices along a dimension."""
    return _scatter(op, input, dim, index, src, added)


def added(a: Scalar, b: Scalar) -> Scalar:
    """The sum of two elements of one type, of truth values whether one holds."""
    return a | b if a.type == b.type == Bool else a + b


def _slices(
    op: Op, input: Value, dim: Value, index: Value, source: Tensor,
    join: Callable[[Scalar, Scalar], Scalar] | None,
) -> Value:  # fmt: skip
    """Slices written or added at indices along a dimension."""
    x, at = op.tensor(input), indices(op, index)
    place = op.dim(dim, x.rank)
    if at.rank > 1:
        op.refuse("needs a vector of indices", "flatten the indices")
    if not x.rank:
        row = _slices(op, op.result(at_least(op, x, 1)), dim, index, source, join)
        return op.result(op.rank_0(op.tensor(row)[[op.number(0)]]))
    count = at.sizes[0] if at.rank else op.number(1)
    sizes = [count if k == place else size for k, size in enumerate(x.sizes)]
    if source.rank:
        equal_ranks(op, x, source)
        sizes = [op.same(a, b) for a, b in zip(sizes, source.sizes, strict=True)]

    def where(i: list[Scalar]) -> list[Scalar]:
        return [at[[j][: at.rank]] if k == place else j for k, j in enumerate(i)]

    def value(i: list[Scalar], old: Scalar | None) -> Scalar:
        new = converted(op, source[i[: source.rank]], x.type)
        return new if join is None or old is None else join(old, new)

    return op.result(scattered(op, op.copied(x), sizes, where, value, reads=join is not None))


@torch_function("index_add")
def index_add(op: Op, input: Value, dim: Value, index: Value, source: Value, *, alpha: Value = Static(1)) -> Value:
    """The tensor with slices added at indices along a dimension."""
    factor, slices = op.scalar(alpha), op.tensor(source)

    def join(a: Scalar, b: Scalar) -> Scalar:
        return added(a, b if factor.is_(1) else factor & b if factor.type == b.type == Bool else factor * b)

    return _slices(op, input, dim, index, slices, join)


@torch_function("index_copy")
def index_copy(op: Op, input: Value, dim: Value, index: Value, source: Value) -> Value:
    """The tensor with slices written at indices along a dimension."""
    return _slices(op, input, dim, index, op.tensor(source), None)


@torch_function("index_fill")
def index_fill(op: Op, input: Value, dim: Value, index: Value, value: Value) -> Value:
    """The tensor with one number written to slices at indices along a dimension."""
    return _slices(op, input, dim, index, op.rank_0(op.scalar(value)), None)


@torch_function("masked_fill")
def masked_fill(op: Op, input: Value, mask: Value, value: Value) -> Value:
    """The tensor with one number wherever the mask holds."""
    x, where, filler = op.tensor(input), op.tensor(mask), op.scalar(value)
    if where.type != Bool:
        op.refuse(f"needs a mask of truth values, not {where.type}", "compare, as in `mask != 0`")
    sizes = op.broadcast([x.sizes, where.sizes])
    new = converted(op, filler, x.type)
    return op.result(op.build(sizes, lambda i: where.spread(i).select(new, x.spread(i))))


@torch_function("F.embedding")
def embedding(
    op: Op,
    input: Value,
    weight: Value,
    padding_idx: Value = NONE,
    max_norm: Value = NONE,
    norm_type: Value = Static(2.0),
    scale_grad_by_freq: Value = FALSE,
    sparse: Value = FALSE,
) -> Value:
    """The rows of ``weight`` at indices."""
    if op.static(max_norm, "max_norm") is not None:
        op.refuse("with max_norm", "normalise the weight before")
    if op.flag(scale_grad_by_freq, "scale_grad_by_freq"):
        op.refuse("with scale_grad_by_freq", "index the weight")
    at, table = indices(op, input), op.tensor(weight)
    if table.rank != 2:
        op.refuse("needs a weight of two dimensions", "pass a matrix")
    padding = op.static(padding_idx, "padding_idx")
    unused = None if padding is None else op.number(padding) if padding >= 0 else table.sizes[0] + padding

    def body(index: list[Scalar]) -> Scalar:
        row = at[index[:-1]]
        entry = table[[row, index[-1]]]
        return entry if unused is None else row.eq(unused).select(op.apply("stop_gradient", entry), entry)

    return op.result(op.build([*at.sizes, table.sizes[1]], body))
