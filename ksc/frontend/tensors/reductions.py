"""Sums, products, means and the like over some dimensions of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ksc.frontend import operators
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, Dynamic, Static, Value, is_none
from ksc.ir.types import Bool, Float, Integer, Type

Element = Callable[[Sequence[Scalar]], Scalar]
"""The element of a tensor at an index into the reduced dimensions, in a block where the other indices are known."""
Fold = Callable[[list[Scalar], Element], Sequence[Scalar]]
"""From the reduced sizes and the element at an index into them, the elements of the results."""


def over_many(op: Op, x: Tensor, dims: Sequence[int], keepdim: bool, fold: Fold) -> list[Tensor]:
    """What ``fold`` makes of the elements along ``dims``, for each index into the other dimensions."""
    kept = [k for k in range(x.rank) if k not in dims]
    reduced = [x.sizes[k] for k in dims]
    one = op.number(1)
    sizes = [one if k in dims else size for k, size in enumerate(x.sizes) if keepdim or k not in dims]

    def body(index: list[Scalar]) -> Sequence[Scalar]:
        outer = dict(zip(kept, [index[k] for k in kept] if keepdim else index, strict=True))

        def element(inner: Sequence[Scalar]) -> Scalar:
            at = {**outer, **dict(zip(dims, inner, strict=True))}
            return x[[at[k] for k in range(x.rank)]]

        return fold(reduced, element)

    return op.build_many(sizes, body)


def over(
    op: Op, x: Tensor, dims: Sequence[int], keepdim: bool, fold: Callable[[list[Scalar], Element], Scalar]
) -> Tensor:
    """``over_many`` with one result."""
    (result,) = over_many(op, x, dims, keepdim, lambda sizes, element: [fold(sizes, element)])
    return result


def summed(op: Op, sizes: Sequence[Scalar], term: Element) -> Scalar:
    """The sum of ``term`` over all indices below ``sizes``."""
    return op.reduce("add", sizes, lambda index: term(index))


def count_of(op: Op, sizes: Sequence[Scalar]) -> Scalar:
    """The number of elements that are reduced, as a Float."""
    return op.product(sizes).float


def _counting(type_: Type) -> Type:
    return Integer if type_ == Bool else type_


@torch_function("sum")
def sum(op: Op, input: Value, dim: Value = NONE, keepdim: Value = FALSE, *, dtype: Value = NONE) -> Value:
    """The sum; of truth values their number."""
    x = op.tensor(input)
    type_ = op.dtype(dtype, _counting(x.type))
    dims = op.dims(dim, x.rank)
    if type_ == Integer and x.type == Float:
        op.refuse("of Floats with an integer dtype", "convert the sum with int()")
    return op.result(
        over(
            op,
            x,
            dims,
            op.flag(keepdim, "keepdim"),
            lambda sizes, at: summed(op, sizes, lambda index: at(index).as_(type_)),
        )
    )


@torch_function("mean")
def mean(op: Op, input: Value, dim: Value = NONE, keepdim: Value = FALSE, *, dtype: Value = NONE) -> Value:
    """The mean."""
    x = op.float_tensor(input)
    if op.dtype(dtype, Float) != Float:
        op.refuse("of Integers", "leave dtype out")
    dims = op.dims(dim, x.rank)

    def fold(sizes: list[Scalar], at: Element) -> Scalar:
        return summed(op, sizes, at) / count_of(op, sizes)

    return op.result(over(op, x, dims, op.flag(keepdim, "keepdim"), fold))


@torch_function("prod")
def prod(op: Op, input: Value, dim: Value = NONE, keepdim: Value = FALSE, *, dtype: Value = NONE) -> Value:
    """The product."""
    x = op.tensor(input)
    type_ = op.dtype(dtype, _counting(x.type))
    dims = op.dims(dim, x.rank) if op.static(dim, "dim") is None else (op.dim(dim, x.rank),)[: x.rank]

    def fold(sizes: list[Scalar], at: Element) -> Scalar:
        return op.reduce("mul", sizes, lambda index: at(index).as_(type_))

    return op.result(over(op, x, dims, op.flag(keepdim, "keepdim"), fold))


def _quantifier(monoid: str) -> Callable[..., Value]:
    def function(op: Op, input: Value, dim: Value = NONE, keepdim: Value = FALSE) -> Value:
        x = op.tensor(input)

        def fold(sizes: list[Scalar], at: Element) -> Scalar:
            return op.reduce(monoid, sizes, lambda index: truth(op, at(index)))

        return op.result(over(op, x, op.dims(dim, x.rank), op.flag(keepdim, "keepdim"), fold))

    return function


any = torch_function("any")(_quantifier("or"))
all = torch_function("all")(_quantifier("and"))


def truth(op: Op, x: Scalar) -> Scalar:
    """Whether a number is not zero."""
    return Scalar.of(op, operators.truth_of(op.frame, x.value, op.node))


@torch_function("count_nonzero")
def count_nonzero(op: Op, input: Value, dim: Value = NONE) -> Value:
    """The number of elements that are not zero."""
    x = op.tensor(input)

    def fold(sizes: list[Scalar], at: Element) -> Scalar:
        return summed(op, sizes, lambda index: truth(op, at(index)).as_(Integer))

    return op.result(over(op, x, op.dims(dim, x.rank), False, fold))


def _deviation(op: Op, sizes: list[Scalar], at: Element, correction: Scalar) -> tuple[Scalar, Scalar]:
    """The variance and the mean."""
    count = count_of(op, sizes)
    centre = summed(op, sizes, at) / count

    def square(index: Sequence[Scalar]) -> Scalar:
        apart = at(index) - centre
        return apart * apart

    freedom = op.apply("max", count - correction.float, 0.0)
    return summed(op, sizes, square) / freedom, centre


def root(op: Op, x: Scalar) -> Scalar:
    """The square root, whose derivative at 0 is taken as 0."""
    return op.if_(x.eq(0.0), lambda: op.number(0.0), lambda: op.apply("sqrt", x))


def _spread(finish: Callable[[Op, Scalar, Scalar], Sequence[Scalar]]) -> Callable[..., Value]:
    def function(
        op: Op,
        input: Value,
        dim: Value = NONE,
        unbiased: Value = NONE,
        keepdim: Value = FALSE,
        *,
        correction: Value = NONE,
    ) -> Value:
        if isinstance(dim, Static) and isinstance(dim.value, bool):
            dim, unbiased = NONE, dim
        biased = isinstance(unbiased, Static) and unbiased.value is False
        lost = op.number(0 if biased else 1)
        if not is_none(correction):
            lost = op.scalar(correction)
        x = op.float_tensor(input)
        dims = op.dims(dim, x.rank)
        results = over_many(
            op,
            x,
            dims,
            op.flag(keepdim, "keepdim"),
            lambda sizes, at: finish(op, *_deviation(op, sizes, at, lost)),
        )
        return op.result(results[0]) if len(results) == 1 else op.results(tuple, results)

    return function


var = torch_function("var")(_spread(lambda op, variance, mean: [variance]))
std = torch_function("std")(_spread(lambda op, variance, mean: [root(op, variance)]))
var_mean = torch_function("var_mean")(_spread(lambda op, variance, mean: [variance, mean]))
std_mean = torch_function("std_mean")(_spread(lambda op, variance, mean: [root(op, variance), mean]))


@torch_function("logsumexp", "special.logsumexp")
def logsumexp(op: Op, input: Value, dim: Value, keepdim: Value = FALSE) -> Value:
    """The logarithm of the sum of the exponentials."""
    x = op.tensor(input)

    def fold(sizes: list[Scalar], element: Element) -> Scalar:
        def at(index: Sequence[Scalar]) -> Scalar:
            return element(index).float

        shift = shift_of(op, sizes, at)
        total = summed(op, sizes, lambda index: op.apply("exp", at(index) - shift))
        return op.apply("log", total) + shift

    return op.result(over(op, x, op.dims(dim, x.rank), op.flag(keepdim, "keepdim"), fold))


def shift_of(op: Op, sizes: list[Scalar], at: Element) -> Scalar:
    """The largest element, or 0 if that is infinite, without a derivative: to be subtracted before exp()."""
    largest = op.apply("stop_gradient", op.reduce("max", sizes, lambda index: at(index)))
    return op.apply("isfinite", largest).select(largest, 0.0)


def norm_of(op: Op, sizes: list[Scalar], at: Element, p: float) -> Scalar:
    """The p-norm, with PyTorch's derivatives: 0 where the norm is 0."""
    from ksc.frontend.tensors.extrema import extremum

    def size(index: Sequence[Scalar]) -> Scalar:
        return op.apply("abs", at(index))

    if p in (float("inf"), float("-inf")):
        return extremum(op, sizes, size, largest=p > 0)
    if p == 0:
        return summed(op, sizes, lambda index: at(index).ne(0.0).as_(Float))
    if p == 1:
        return summed(op, sizes, size)
    if p == 2:
        return root(op, summed(op, sizes, lambda index: at(index) * at(index)))

    def power(index: Sequence[Scalar]) -> Scalar:
        x = size(index)
        return op.if_(x.eq(0.0), lambda: op.apply("pow", 0.0, p), lambda: op.apply("pow", x, p))

    total = summed(op, sizes, power)
    return op.if_(total.eq(0.0), lambda: op.number(0.0), lambda: op.apply("pow", total, 1.0 / p))


@torch_function("linalg.vector_norm")
def vector_norm(
    op: Op,
    input: Value,
    ord: Value = Static(2),
    dim: Value = NONE,
    keepdim: Value = FALSE,
    *,
    dtype: Value = NONE,
) -> Value:
    """The norm of the elements along some dimensions, taken as a vector."""
    op.dtype(dtype, Float)
    x = op.float_tensor(input)
    p = op.static(ord, "ord")
    if isinstance(p, str | tuple) or p is None:
        op.refuse(f"with ord={p!r}", "use a number, such as 2 or float('inf')")
    dims = op.dims(dim, x.rank)

    def fold(sizes: list[Scalar], at: Element) -> Scalar:
        return norm_of(op, sizes, at, float(p))

    return op.result(over(op, x, dims, op.flag(keepdim, "keepdim"), fold))


@torch_function("norm")
def norm(
    op: Op,
    input: Value,
    p: Value = Static("fro"),
    dim: Value = NONE,
    keepdim: Value = FALSE,
    dtype: Value = NONE,
) -> Value:
    """The p-norm of the elements along some dimensions."""
    given = op.static(p, "p")
    if given == "nuc":
        op.refuse("with p='nuc'", "use 'fro' or a number")
    order = Static(2.0) if given in ("fro", None) else p
    return vector_norm(op, input, order, dim, keepdim, dtype=dtype)


@torch_function("linalg.norm")
def linalg_norm(
    op: Op,
    input: Value,
    ord: Value = NONE,
    dim: Value = NONE,
    keepdim: Value = FALSE,
    *,
    dtype: Value = NONE,
) -> Value:
    """A norm of vectors, or where ``ord`` is given and two dimensions are meant, of matrices."""
    order, dims = op.static(ord, "ord"), op.static(dim, "dim")
    if order is None:
        return vector_norm(op, input, Static(2), dim, keepdim, dtype=dtype)
    rank = op.tensor(input).rank
    if (isinstance(dims, tuple) and len(dims) == 2) or (dims is None and rank == 2):
        return matrix_norm(op, input, ord, dim if dims is not None else Static((-2, -1)), keepdim, dtype=dtype)
    return vector_norm(op, input, ord, dim, keepdim, dtype=dtype)


@torch_function("linalg.matrix_norm")
def matrix_norm(
    op: Op,
    input: Value,
    ord: Value = Static("fro"),
    dim: Value = Static((-2, -1)),
    keepdim: Value = FALSE,
    *,
    dtype: Value = NONE,
) -> Value:
    """A norm of matrices: Frobenius, or the largest or smallest absolute sum of a row or column."""
    from ksc.frontend.tensors.extrema import extremum

    order = op.static(ord, "ord")
    if order == "fro":
        return vector_norm(op, input, Static(2), dim, keepdim, dtype=dtype)
    if order not in (1, -1, float("inf"), float("-inf")):
        op.refuse(f"with ord={order!r}", "use 'fro', 1, -1, inf or -inf")
    op.dtype(dtype, Float)
    x = op.float_tensor(input)
    rows, columns = (op.place(place, x.rank) for place in op.static(dim, "dim"))
    inner, outer = (rows, columns) if order in (1, -1) else (columns, rows)
    sums = over(op, x, (inner,), True, lambda sizes, at: summed(op, sizes, lambda i: op.apply("abs", at(i))))
    best = over(op, sums, (outer,), True, lambda sizes, at: extremum(op, sizes, at, largest=order > 0))
    if op.flag(keepdim, "keepdim"):
        return op.result(best)
    return op.result(over(op, best, tuple(sorted((rows, columns))), False, lambda sizes, at: at([op.number(0)] * 2)))


@torch_function("allclose")
def allclose(
    op: Op,
    input: Value,
    other: Value,
    rtol: Value = Static(1e-05),
    atol: Value = Static(1e-08),
    equal_nan: Value = FALSE,
) -> Value:
    """Whether all elements are close to each other: a truth value of Python."""
    import torch

    from ksc.frontend.library import known_function

    isclose = known_function(torch.isclose)
    assert isclose is not None
    close = op.tensor(isclose(op.frame, [input, other, rtol, atol, equal_nan], {}, op.node))
    return _python_truth(op, op.reduce("and", close.sizes, lambda index: close[index]))


@torch_function("equal")
def equal(op: Op, input: Value, other: Value) -> Value:
    """Whether two tensors have equal sizes and elements: a truth value of Python."""
    a, b = op.tensor(input), op.tensor(other)
    if a.rank != b.rank:
        return FALSE
    alike = op.number(True)
    for m, n in zip(a.sizes, b.sizes, strict=True):
        if m.atom != n.atom:
            alike = alike & m.eq(n)
    return _python_truth(
        op, op.if_(alike, lambda: op.reduce("and", a.sizes, lambda i: a[i].eq(b[i])), lambda: op.number(False))
    )


def _python_truth(op: Op, x: Scalar) -> Value:
    return x.value if isinstance(x.value, Static) else Dynamic(x.atom)
