"""Tensors put side by side, repeated, shifted and turned round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ksc.frontend import operators
from ksc.frontend.rows import single_part
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import NONE, Rows, Static, Struct, Value


def pick(op: Op, at: Scalar, starts: Sequence[Scalar], parts: Sequence[Callable[[], Scalar]]) -> Scalar:
    """The value of the part in which ``at`` lies, part ``k`` beginning at ``starts[k]``: by halving."""
    if len(parts) == 1:
        return parts[0]()
    half = len(parts) // 2
    return op.if_(
        at < starts[half],
        lambda: pick(op, at, starts[:half], parts[:half]),
        lambda: pick(op, at, starts[half:], parts[half:]),
    )


def chosen(op: Op, index: Sequence[Scalar], shape: Sequence[int], scalars: Sequence[Scalar]) -> Scalar:
    """The one of ``scalars``, given in row-major order, at an index."""
    if not shape:
        return scalars[0]
    width = len(scalars) // shape[0]
    starts = [op.number(k) for k in range(shape[0])]

    def part(k: int) -> Callable[[], Scalar]:
        return lambda: chosen(op, index[1:], shape[1:], scalars[k * width : (k + 1) * width])

    return pick(op, index[0], starts, [part(k) for k in range(shape[0])])


def promoted(op: Op, tensors: Sequence[Tensor]) -> list[Callable[[Sequence[Scalar]], Scalar]]:
    """How an element of each tensor is read, converted to the type that all of them have together."""
    type_ = operators.wider(*(tensor.type for tensor in tensors))

    def reader(tensor: Tensor) -> Callable[[Sequence[Scalar]], Scalar]:
        return lambda index: tensor[index].as_(type_)

    return [reader(tensor) for tensor in tensors]


def joined(op: Op, tensors: Sequence[Tensor], dim: int) -> Tensor:
    """The tensors one after the other along a dimension that each of them has."""
    if not tensors:
        op.refuse("of no tensors", "give at least one")
    first = tensors[0]
    if any(tensor.rank != first.rank for tensor in tensors):
        op.refuse("of tensors of different numbers of dimensions", "add dimensions with unsqueeze()", code="KS207")
    if not first.rank:
        op.refuse("of tensors of rank 0", "use torch.stack()")
    sizes = list(first.sizes)
    for tensor in tensors[1:]:
        for k, size in enumerate(tensor.sizes):
            if k != dim:
                sizes[k] = op.same(sizes[k], size)
    starts = [op.number(0)]
    for tensor in tensors:
        starts.append(starts[-1] + tensor.sizes[dim])
    sizes[dim] = starts.pop()
    readers = promoted(op, tensors)

    def body(index: list[Scalar]) -> Scalar:
        def part(k: int) -> Callable[[], Scalar]:
            return lambda: readers[k]([*index[:dim], index[dim] - starts[k], *index[dim + 1 :]])

        return pick(op, index[dim], starts, [part(k) for k in range(len(tensors))])

    return op.build(sizes, body)


def stacked(op: Op, tensors: Sequence[Tensor], dim: int) -> Tensor:
    """The tensors of equal sizes along a new dimension."""
    if not tensors:
        op.refuse("of no tensors", "give at least one")
    sizes = list(tensors[0].sizes)
    for tensor in tensors[1:]:
        if tensor.rank != len(sizes):
            op.refuse("of tensors of different numbers of dimensions", "give them equal shapes", code="KS207")
        sizes = [op.same(a, b) for a, b in zip(sizes, tensor.sizes, strict=True)]
    readers = promoted(op, tensors)
    starts = [op.number(k) for k in range(len(tensors))]

    def body(index: list[Scalar]) -> Scalar:
        rest = [*index[:dim], *index[dim + 1 :]]

        def part(k: int) -> Callable[[], Scalar]:
            return lambda: readers[k](rest)

        return pick(op, index[dim], starts, [part(k) for k in range(len(tensors))])

    return op.build([*sizes[:dim], op.number(len(tensors)), *sizes[dim:]], body)


def at_least(op: Op, x: Tensor, rank: int) -> Tensor:
    """The tensor with dimensions of size 1 added, where torch's atleast_1d, _2d and _3d add them."""
    if x.rank >= rank:
        return x
    one = op.number(1)
    places = {(0, 1): [], (0, 2): [], (0, 3): [], (1, 2): [1], (1, 3): [1], (2, 3): [0, 1]}[x.rank, rank]
    sizes = [x.sizes[places.index(k)] if k in places else one for k in range(rank)]
    return op.build(sizes, lambda index: x[[index[k] for k in places]])


def _stacked_rows(op: Op, rows: Rows, dim: Value) -> Tensor:
    x = op.tensor(single_part(op.frame, rows, op.node))
    op.require(x.sizes[0] > 0, "stack() of no tensors")
    place = op.dim(dim, x.rank)
    sizes = [*x.sizes[1 : place + 1], x.sizes[0], *x.sizes[place + 1 :]]
    return op.build(sizes, lambda index: x[[index[place], *index[:place], *index[place + 1 :]]])


def _joined_rows(op: Op, rows: Rows, dim: Value) -> Tensor:
    x = op.tensor(single_part(op.frame, rows, op.node))
    if x.rank == 1:
        op.refuse("of tensors of rank 0", "use torch.stack()")
    op.require(x.sizes[0] > 0, "cat() of no tensors")
    place = op.dim(dim, x.rank - 1)
    sizes = list(x.sizes[1:])
    length = sizes[place]
    sizes[place] = x.sizes[0] * length

    def body(index: list[Scalar]) -> Scalar:
        at = index[place]
        return x[[at // length, *index[:place], at % length, *index[place + 1 :]]]

    return op.build(sizes, body)


@torch_function("torch.cat", "torch.concat", "torch.concatenate")
def cat(op: Op, tensors: Value, dim: Value = Static(0)) -> Value:
    """One after the other along a dimension."""
    if isinstance(tensors, Rows):
        return op.result(_joined_rows(op, tensors, dim))
    parts = op.tensors(tensors)
    return op.result(joined(op, parts, op.dim(dim, parts[0].rank if parts else 1)))


@torch_function("torch.stack")
def stack(op: Op, tensors: Value, dim: Value = Static(0)) -> Value:
    """Along a new dimension."""
    if isinstance(tensors, Rows):
        return op.result(_stacked_rows(op, tensors, dim))
    parts = op.tensors(tensors)
    return op.result(stacked(op, parts, op.dim(dim, (parts[0].rank if parts else 0) + 1)))


@torch_function("torch.hstack")
def hstack(op: Op, tensors: Value) -> Value:
    """Side by side: along dimension 1, vectors along dimension 0."""
    parts = [at_least(op, part, 1) for part in op.tensors(tensors)]
    return op.result(joined(op, parts, 0 if parts and parts[0].rank == 1 else 1))


@torch_function("torch.vstack", "torch.row_stack")
def vstack(op: Op, tensors: Value) -> Value:
    """One below the other, a vector being a row."""
    return op.result(joined(op, [at_least(op, part, 2) for part in op.tensors(tensors)], 0))


@torch_function("torch.dstack")
def dstack(op: Op, tensors: Value) -> Value:
    """One behind the other."""
    return op.result(joined(op, [at_least(op, part, 3) for part in op.tensors(tensors)], 2))


@torch_function("torch.column_stack")
def column_stack(op: Op, tensors: Value) -> Value:
    """Side by side, a vector being a column."""

    def column(x: Tensor) -> Tensor:
        if x.rank > 1:
            return x
        one = op.number(1)
        return op.build([x.sizes[0] if x.rank else one, one], lambda index: x[index[: x.rank]])

    return op.result(joined(op, [column(part) for part in op.tensors(tensors)], 1))


def _tiled(op: Op, x: Tensor, counts: Sequence[Scalar]) -> Tensor:
    """The tensor repeated as often along each dimension; dimensions are added in front as needed."""
    extra = len(counts) - x.rank
    one = op.number(1)
    old = [*([one] * extra), *x.sizes]
    op.require_shape([*counts, *x.sizes], "a number of repeats")
    sizes = [count * size for count, size in zip(counts, old, strict=True)]

    def body(index: list[Scalar]) -> Scalar:
        at = []
        for i, size, count in zip(index[extra:], x.sizes, counts[extra:], strict=True):
            at.append(i if count.is_(1) else op.number(0) if size.is_(1) else i % size)
        return x[at]

    return op.build(sizes, body)


@torch_function("Tensor.repeat")
def repeat(op: Op, input: Value, *repeats: Value) -> Value:
    """The tensor repeated so often along each dimension."""
    x = op.tensor(input)
    counts = _several(op, repeats, "a number of repeats")
    if len(counts) < x.rank:
        op.refuse(f"needs a number for each of {x.rank} dimensions", "give one number per dimension")
    return op.result(_tiled(op, x, counts))


def _several(op: Op, given: Sequence[Value], what: str) -> list[Scalar]:
    if len(given) == 1:
        return op.integers(given[0], what)
    return [op.integer(value, what) for value in given]


@torch_function("tile")
def tile(op: Op, input: Value, *dims: Value) -> Value:
    """The tensor repeated so often along each of its last dimensions."""
    x = op.tensor(input)
    counts = _several(op, dims, "a number of repeats")
    return op.result(_tiled(op, x, [op.number(1)] * (x.rank - len(counts)) + counts))


@torch_function("repeat_interleave")
def repeat_interleave(op: Op, input: Value, repeats: Value, dim: Value = NONE, *, output_size: Value = NONE) -> Value:
    """Each element so often in a row."""
    x = op.tensor(input)
    if op.is_tensor(repeats) and op.tensor(repeats).rank:
        op.refuse("with a tensor of repeats: its size would depend on the elements", "give one number")
    count = op.integer(repeats, "the number of repeats")
    op.require_shape([count, *x.sizes], "the number of repeats")
    if op.static(dim, "dim") is None:
        x = flattened(op, x)
    place = 0 if op.static(dim, "dim") is None else op.dim(dim, x.rank)
    sizes = [size * count if k == place else size for k, size in enumerate(x.sizes)]

    def body(index: list[Scalar]) -> Scalar:
        return x[[i // count if k == place else i for k, i in enumerate(index)]]

    return op.result(op.build(sizes, body))


def flattened(op: Op, x: Tensor) -> Tensor:
    """The elements in row-major order, as a vector."""
    if x.rank == 1:
        return x
    return op.build([x.numel()], lambda index: x[unravelled(op, index[0], x.sizes)])


def unravelled(op: Op, place: Scalar, sizes: Sequence[Scalar]) -> list[Scalar]:
    """The index of a place in row-major order."""
    index: list[Scalar] = []
    for size in reversed(sizes[1:]):
        index.insert(0, place % size)
        place = place // size
    return [place, *index] if sizes else []


@torch_function("flip")
def flip(op: Op, input: Value, *dims: Value) -> Value:
    """Backwards along dimensions."""
    x = op.tensor(input)
    given = Struct(tuple, tuple(dims)) if len(dims) != 1 else dims[0]
    named = op.static(given, "dims")
    places = [op.place(dim, x.rank) for dim in ((named,) if isinstance(named, int) else named)]
    return op.result(flipped(op, x, places))


def flipped(op: Op, x: Tensor, places: Sequence[int]) -> Tensor:
    """The tensor backwards along ``places``."""

    def body(index: list[Scalar]) -> Scalar:
        return x[[x.sizes[k] - 1 - i if k in places else i for k, i in enumerate(index)]]

    return op.build(x.sizes, body)


@torch_function("fliplr")
def fliplr(op: Op, input: Value) -> Value:
    """Backwards along dimension 1."""
    x = op.tensor(input)
    return op.result(flipped(op, x, [op.place(1, x.rank)]))


@torch_function("flipud")
def flipud(op: Op, input: Value) -> Value:
    """Backwards along dimension 0."""
    x = op.tensor(input)
    if not x.rank:
        op.refuse("of a tensor of rank 0", "give it a dimension")
    return op.result(flipped(op, x, [0]))


@torch_function("rot90")
def rot90(op: Op, input: Value, k: Value = Static(1), dims: Value = Static((0, 1))) -> Value:
    """Turned by quarters in a plane."""
    x = op.tensor(input)
    turns = op.static(k, "k") % 4
    plane = [op.place(dim, x.rank) for dim in op.static(dims, "dims")]
    if len(plane) != 2 or x.rank < 2:
        op.refuse("needs two dimensions", "give two dimensions")
    a, b = plane
    if a == b:
        op.refuse("in a plane of one dimension", "give two dimensions")
    if turns in (0, 2):
        return op.result(flipped(op, x, [a, b] if turns else []))
    sizes = list(x.sizes)
    sizes[a], sizes[b] = sizes[b], sizes[a]

    def body(index: list[Scalar]) -> Scalar:
        at = list(index)
        at[a], at[b] = (index[b], x.sizes[b] - 1 - index[a]) if turns == 1 else (x.sizes[a] - 1 - index[b], index[a])
        return x[at]

    return op.result(op.build(sizes, body))


@torch_function("roll")
def roll(op: Op, input: Value, shifts: Value, dims: Value = NONE) -> Value:
    """Shifted along dimensions, what leaves at one end coming in at the other."""
    x = op.tensor(input)
    by = op.integers(shifts, "a shift")
    named = op.static(dims, "dims")
    if named is None or named == ():
        if len(by) != 1:
            op.refuse("of several shifts without dims", "give dims")
        total = x.numel()

        def flat(index: list[Scalar]) -> Scalar:
            place = op.number(0)
            for i, size in zip(index, x.sizes, strict=True):
                place = place * size + i
            return x[unravelled(op, (place - by[0]) % total, x.sizes)]

        return op.result(op.build(x.sizes, flat) if x.rank else op.copied(x))
    if not x.rank:
        op.refuse("along a dimension of a tensor of rank 0", "leave dims out")
    places = [op.place(dim, x.rank) for dim in ((named,) if isinstance(named, int) else named)]
    if len(places) != len(by):
        op.refuse(f"of {len(by)} shifts along {len(places)} dimensions", "give one shift per dimension")

    def body(index: list[Scalar]) -> Scalar:
        at = list(index)
        for place, shift in zip(places, by, strict=True):
            at[place] = (at[place] - shift) % x.sizes[place]
        return x[at]

    return op.result(op.build(x.sizes, body))


@torch_function("torch.block_diag")
def block_diag(op: Op, *tensors: Value) -> Value:
    """Matrices along the diagonal of a larger one of zeros."""
    blocks = [at_least(op, op.tensor(value), 2) for value in tensors]
    type_ = operators.wider(*(block.type for block in blocks))
    readers = promoted(op, blocks)
    starts = [(op.number(0), op.number(0))]
    for block in blocks:
        starts.append((starts[-1][0] + block.sizes[0], starts[-1][1] + block.sizes[1]))
    height, width = starts.pop()

    def body(index: list[Scalar]) -> Scalar:
        def part(k: int) -> Callable[[], Scalar]:
            def element() -> Scalar:
                row, column = index[0] - starts[k][0], index[1] - starts[k][1]
                inside = (column >= 0) & (column < blocks[k].sizes[1])
                return op.if_(inside, lambda: readers[k]([row, column]), lambda: op.zero(type_))

            return element

        return pick(op, index[0], [row for row, _ in starts], [part(k) for k in range(len(blocks))])

    return op.result(op.build([height, width], body))
