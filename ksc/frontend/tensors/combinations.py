"""What is made of all pairs or tuples of elements: products of sets, combinations, distances; and powers."""

from __future__ import annotations

from collections.abc import Callable

from ksc.frontend.tensors.joining import promoted
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.reductions import norm_of
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, Static, Struct, Value, is_none
from ksc.ir.types import Integer

HALVINGS = 62
"""How often an interval of sizes may be halved."""


def choices(op: Op, n: Scalar, r: int) -> Scalar:
    """How many combinations of ``r`` of ``n`` things there are."""
    count = op.number(1)
    for k in range(r):
        count = count * (n - k) // (k + 1)
    return (n < r).select(0, count)


def combination(op: Op, n: Scalar, r: int, place: Scalar, *, repeated: bool) -> list[Scalar]:
    """The indices of the combination at a place in lexicographic order, each found by halving."""
    least, found = op.number(0), []
    for left in range(r, 0, -1):

        def before(first: Scalar, least: Scalar = least, left: int = left) -> Scalar:
            """How many combinations of what is left begin with an index below ``first``."""
            more = left - 1 if repeated else 0
            return choices(op, n - least + more, left) - choices(op, n - first + more, left)

        def step(
            i: Scalar,
            carried: list[Scalar],
            before: Callable[[Scalar], Scalar] = before,
            place: Scalar = place,
        ) -> tuple[list[Scalar], list[Scalar]]:
            low, high = carried
            middle = low + (high - low) // 2
            reached = before(middle) <= place
            return [reached.select(middle, low), reached.select(high, middle)], []

        count = op.number(max(int(n.known), 1).bit_length()) if n.known is not None else op.number(HALVINGS)
        (first, _), _ = op.loop(count, [least, n], step)
        place = place - before(first)
        found.append(first)
        least = first if repeated else first + 1
    return found


@torch_function("torch.combinations")
def combinations(op: Op, input: Value, r: Value = Static(2), with_replacement: Value = FALSE) -> Value:
    """The combinations of ``r`` elements of a vector, a row each."""
    x, count = op.tensor(input), op.static(r, "r")
    repeated = op.flag(with_replacement, "with_replacement")
    if x.rank != 1:
        op.refuse(f"needs a vector, not a tensor of {x.rank} dimensions", "flatten it")
    if not isinstance(count, int) or count < 0:
        op.refuse(f"of {count!r} elements", "give a number of 0 or more")
    if count == 0:
        return op.result(op.build([op.number(0)], lambda index: x[index]))
    n = x.sizes[0]
    rows = op.require_size(choices(op, n + (count - 1 if repeated else 0), count))
    places = op.build_rows([rows], lambda index: [_vector(op, combination(op, n, count, index[0], repeated=repeated))])[
        0
    ]
    return op.result(op.build([rows, op.number(count)], lambda index: x[[places[index]]]))


def _vector(op: Op, scalars: list[Scalar]) -> Tensor:
    from ksc.frontend.tensors.joining import chosen

    return op.build([op.number(len(scalars))], lambda index: chosen(op, index, [len(scalars)], scalars))


@torch_function("F.pdist", "torch.pdist")
def pdist(op: Op, input: Value, p: Value = Static(2.0)) -> Value:
    """The distance of each pair of rows of a matrix."""
    x, order = op.float_tensor(input), float(op.static(p, "p"))
    if x.rank != 2:
        op.refuse(f"needs a matrix, not a tensor of {x.rank} dimensions", "give a row for each point")
    if order < 0:
        op.refuse(f"with p={order}", "give a p of 0 or more")
    n, width = x.sizes

    def distance(index: list[Scalar]) -> Scalar:
        i, j = combination(op, n, 2, index[0], repeated=False)
        return norm_of(op, [width], lambda k: x[[i, *k]] - x[[j, *k]], order)

    return op.result(op.build([op.require_size(choices(op, n, 2))], distance))


@torch_function("torch.cartesian_prod")
def cartesian_prod(op: Op, *tensors: Value) -> Value:
    """All tuples of an element of each vector, a row each."""
    given = tensors[0].items if len(tensors) == 1 and isinstance(tensors[0], Struct) else tensors
    axes = [op.tensor(value) for value in given]
    if any(axis.rank != 1 for axis in axes):
        op.refuse("needs vectors", "flatten the tensors")
    if len({axis.type for axis in axes}) > 1:
        op.refuse("of tensors of different dtypes", "convert them")
    if len(axes) == 1:
        return op.result(op.copied(axes[0]))
    readers = promoted(op, axes)
    after = [op.product(axis.sizes[0] for axis in axes[k + 1 :]) for k in range(len(axes))]

    def body(index: list[Scalar]) -> Scalar:
        from ksc.frontend.tensors.joining import pick

        def part(k: int) -> Callable[[], Scalar]:
            return lambda: readers[k]([index[0] // after[k] % axes[k].sizes[0]])

        return pick(op, index[1], [op.number(k) for k in range(len(axes))], [part(k) for k in range(len(axes))])

    return op.result(op.build([op.product(axis.sizes[0] for axis in axes), op.number(len(axes))], body))


def powers(op: Op, x: Tensor, count: Scalar, *, increasing: bool) -> Tensor:
    """The powers of each element from the 0th on, in a new last dimension."""

    def row(index: list[Scalar]) -> list[Tensor]:
        base = x[index]

        def step(i: Scalar, carried: list[Scalar]) -> tuple[list[Scalar], list[Scalar]]:
            (power,) = carried
            return [power * base], [power]

        one = op.number(1 if x.type == Integer else 1.0)
        return op.loop(count, [one], step)[1]

    made = op.build_rows(x.sizes, row)[0]
    if increasing:
        return made
    return op.build(made.sizes, lambda index: made[[*index[:-1], count - 1 - index[-1]]])


def _count(op: Op, value: Value, x: Tensor) -> Scalar:
    if is_none(value):
        return x.sizes[-1]
    return op.require_size(op.integer(value, "N"), "N")


@torch_function("torch.vander")
def vander(op: Op, x: Value, N: Value = NONE, increasing: Value = FALSE) -> Value:  # noqa: N803
    """The powers of each element of a vector, the highest first unless ``increasing``."""
    given = op.numeric_tensor(x)
    if given.rank != 1:
        op.refuse(f"needs a vector, not a tensor of {given.rank} dimensions", "use torch.linalg.vander()")
    return op.result(powers(op, given, _count(op, N, given), increasing=op.flag(increasing, "increasing")))


@torch_function("linalg.vander")
def linalg_vander(op: Op, x: Value, *, N: Value = NONE) -> Value:  # noqa: N803
    """The powers of each element along the last dimension, the 0th first."""
    given = op.numeric_tensor(x)
    if not given.rank:
        op.refuse("of a tensor of rank 0", "give it a dimension")
    count = _count(op, N, given)
    op.require(count > 1, "vander(): N is not above 1")
    return op.result(powers(op, given, count, increasing=True))
