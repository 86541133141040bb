"""The functions of torch that give views: reshape, permute, expand, split and the like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.array import broadcast_size, is_single, same_size, size_of, sizes_of
from ksc.frontend.tensors.integers import ONE, ZERO, add, at_least, div, least, mod, mul, product, sub, wrapped
from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.reshaping import INFERRED, reshaped
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.tensors.views import Axis, full_axes, picked, selected, viewed
from ksc.frontend.values import FALSE, NONE, Array, Iteration, Ref, Static, Struct, Value, describe
from ksc.ir.nodes import Atom, Const, const
from ksc.ir.types import Type


def ref_of(op: Op, value: Value) -> Ref:
    """A tensor argument as a view of a cell."""
    if not isinstance(value, Ref | Array):
        return viewed(op.frame, op.frame.array(value, op.node), op.node)
    return viewed(op.frame, value, op.node)


def unpacked(values: Sequence[Value]) -> Sequence[Value]:
    """Arguments given one by one, or as one tuple."""
    if len(values) == 1 and isinstance(values[0], Struct):
        return values[0].items
    if len(values) == 1 and isinstance(values[0], Static) and isinstance(values[0].value, tuple | list):
        return [Static(item) for item in values[0].value]
    return values


def sizes_given(op: Op, values: Sequence[Value]) -> list[Atom]:
    """Sizes given one by one, or as one tuple."""
    if any(isinstance(value, Static) and isinstance(value.value, torch.dtype | Type) for value in values):
        op.refuse("with a dtype: the bits of numbers cannot be seen as others", "convert with .to()", code="KS122")
    return [op.integer(value, "a size").atom for value in unpacked(values)]


def dims_given(op: Op, values: Sequence[Value], rank: int) -> list[int]:
    """Dimensions given one by one, or as one tuple."""
    return [op.dim(value, rank) for value in unpacked(values)]


# Other sizes.


def may_copy(op: Op, ref: Ref, sizes: Sequence[Atom]) -> Value:
    """A reshaped tensor: a view where PyTorch gives one, else a copy, which may share where that is not known."""
    shape, shares = reshaped(op.frame, op.node, ref, sizes)
    if shares:
        return shape
    made = op.frame.fresh(op.frame.array(shape, op.node), op.node)
    assert isinstance(made, Ref)
    made.cell.may_share(ref.cell)
    return made


@torch_function("reshape")
def reshape(op: Op, input: Value, *shape: Value) -> Value:
    """``reshape``, as torch defines it."""
    return may_copy(op, ref_of(op, input), sizes_given(op, shape))


@torch_function("Tensor.reshape_as")
def reshape_as(op: Op, input: Value, other: Value) -> Value:
    """``Tensor.reshape_as``, as torch defines it."""
    return may_copy(op, ref_of(op, input), sizes_of(op.frame, op.node, ref_of(op, other)))


def _viewed_as(op: Op, input: Value, sizes: Sequence[Atom]) -> Value:
    ref = ref_of(op, input)
    shape, shares = reshaped(op.frame, op.node, ref, sizes)
    if not shares:
        op.refuse("joins dimensions that do not lie side by side in storage", "use .reshape()", code="KS122")
    return shape


@torch_function("Tensor.view")
def view(op: Op, input: Value, *shape: Value) -> Value:
    """``Tensor.view``, as torch defines it."""
    return _viewed_as(op, input, sizes_given(op, shape))


@torch_function("Tensor.view_as")
def view_as(op: Op, input: Value, other: Value) -> Value:
    """``Tensor.view_as``, as torch defines it."""
    return _viewed_as(op, input, sizes_of(op.frame, op.node, ref_of(op, other)))


@torch_function("flatten")
def flatten(op: Op, input: Value, start_dim: Value = Static(0), end_dim: Value = Static(-1)) -> Value:
    """``flatten``, as torch defines it."""
    ref = ref_of(op, input)
    first, last = op.dim(start_dim, ref.rank, "start_dim"), op.dim(end_dim, ref.rank, "end_dim")
    if first > last:
        op.refuse("has start_dim after end_dim", "exchange them")
    sizes = sizes_of(op.frame, op.node, ref)
    joined = product(op.frame, op.node, sizes[first : last + 1])
    return may_copy(op, ref, [*sizes[:first], joined, *sizes[last + 1 :]])


@torch_function("ravel")
def ravel(op: Op, input: Value) -> Value:
    """``ravel``, as torch defines it."""
    return may_copy(op, ref_of(op, input), [INFERRED])


@torch_function("unflatten")
def unflatten(op: Op, input: Value, dim: Value, sizes: Value) -> Value:
    """``unflatten``, as torch defines it."""
    ref = ref_of(op, input)
    place = op.dim(dim, ref.rank)
    have = sizes_of(op.frame, op.node, ref)
    part = Ref(ref.cell, (have[place],))
    inner, _ = reshaped(op.frame, op.node, part, sizes_given(op, [sizes]))
    return may_copy(op, ref, [*have[:place], *sizes_of(op.frame, op.node, inner), *have[place + 1 :]])


@torch_function("squeeze")
def squeeze(op: Op, input: Value, dim: Value = NONE) -> Value:
    """``squeeze``, as torch defines it."""
    ref = ref_of(op, input)
    sizes = sizes_of(op.frame, op.node, ref)
    asked = range(ref.rank) if dim is NONE else [op.dim(item, ref.rank) for item in unpacked([dim])]
    dropped = {k for k in asked if k < ref.rank and sizes[k] == ONE}
    kept = [k for k in range(ref.rank) if k not in dropped]
    axes = [Axis(ZERO) if k in dropped else Axis(ZERO, ONE, kept.index(k), full=True) for k in range(ref.rank)]
    return picked(op.frame, op.node, ref, axes, [sizes[k] for k in kept])


@torch_function("unsqueeze")
def unsqueeze(op: Op, input: Value, dim: Value) -> Value:
    """``unsqueeze``, as torch defines it."""
    ref = ref_of(op, input)
    place = op.dim(dim, ref.rank + 1)
    sizes = list(sizes_of(op.frame, op.node, ref))
    sizes.insert(place, ONE)
    axes = full_axes(ref, [k + (k >= place) for k in range(ref.rank)])
    return picked(op.frame, op.node, ref, axes, sizes)


# Other orders of dimensions.


def permuted(op: Op, ref: Ref, dims: Sequence[int]) -> Value:
    """The view whose dimension ``k`` is dimension ``dims[k]``."""
    if sorted(dims) != list(range(ref.rank)):
        op.refuse(f"needs each of {ref.rank} dimensions once", "name each dimension once", code="KS209")
    sizes = sizes_of(op.frame, op.node, ref)
    places = [list(dims).index(k) for k in range(ref.rank)]
    return picked(op.frame, op.node, ref, full_axes(ref, places), [sizes[k] for k in dims])


@torch_function("permute")
def permute(op: Op, input: Value, *dims: Value) -> Value:
    """``permute``, as torch defines it."""
    ref = ref_of(op, input)
    return permuted(op, ref, dims_given(op, dims, ref.rank))


@torch_function("transpose", "swapaxes", "swapdims")
def transpose(op: Op, input: Value, dim0: Value, dim1: Value) -> Value:
    """``transpose``, as torch defines it."""
    ref = ref_of(op, input)
    a, b = op.dim(dim0, ref.rank, "dim0"), op.dim(dim1, ref.rank, "dim1")
    dims = list(range(ref.rank))
    if dims:
        dims[a], dims[b] = dims[b], dims[a]
    return permuted(op, ref, dims)


@torch_function("movedim", "moveaxis")
def movedim(op: Op, input: Value, source: Value, destination: Value) -> Value:
    """``movedim``, as torch defines it."""
    ref = ref_of(op, input)
    sources, targets = dims_given(op, [source], ref.rank), dims_given(op, [destination], ref.rank)
    if len(sources) != len(targets) or len(set(sources)) < len(sources) or len(set(targets)) < len(targets):
        op.refuse("needs as many places as dimensions, each once", "name each once", code="KS209")
    rest = iter([k for k in range(ref.rank) if k not in sources])
    moved = dict(zip(targets, sources, strict=True))
    return permuted(op, ref, [moved[k] if k in moved else next(rest) for k in range(ref.rank)])


@torch_function("t")
def t(op: Op, input: Value) -> Value:
    """``t``, as torch defines it."""
    ref = ref_of(op, input)
    if ref.rank > 2:
        op.refuse(f"needs at most 2 dimensions, not {ref.rank}", "use .mT, or .transpose()")
    return permuted(op, ref, range(ref.rank)[::-1])


@torch_function("adjoint")
def adjoint(op: Op, input: Value) -> Value:
    """``adjoint``, as torch defines it."""
    ref = ref_of(op, input)
    if ref.rank < 2:
        op.refuse(f"needs 2 dimensions or more, not {ref.rank}", "use the tensor itself")
    return permuted(op, ref, [*range(ref.rank - 2), ref.rank - 1, ref.rank - 2])


# Broadcasting.


def expanded(op: Op, ref: Ref, sizes: Sequence[Atom]) -> Value:
    """The tensor stretched to ``sizes``, of which -1 keeps a size."""
    extra = len(sizes) - ref.rank
    if extra < 0:
        op.refuse(f"takes {describe(ref)} to {len(sizes)} dimensions", "give a size for each dimension")
    have = sizes_of(op.frame, op.node, ref)
    axes, made = [], list(sizes)
    for k, size in enumerate(have):
        wanted = made[extra + k]
        if wanted == INFERRED:
            wanted = made[extra + k] = size
        if is_single(op.frame, size) and size != wanted and broadcast_size(op.frame, op.node, size, wanted) == wanted:
            axes.append(Axis(ZERO))
        else:
            made[extra + k] = same_size(op.frame, op.node, size, wanted)
            axes.append(Axis(ZERO, ONE, extra + k, full=True))
    if INFERRED in made:
        op.refuse("leaves the size of a new dimension open", "name it", code="KS208")
    return picked(op.frame, op.node, ref, axes, made)


@torch_function("Tensor.expand")
def expand(op: Op, input: Value, *sizes: Value, implicit: Value = FALSE) -> Value:
    """``Tensor.expand``, as torch defines it."""
    return expanded(op, ref_of(op, input), sizes_given(op, sizes))


@torch_function("broadcast_to")
def broadcast_to(op: Op, input: Value, *size: Value) -> Value:
    """``broadcast_to``, as torch defines it."""
    return expanded(op, ref_of(op, input), sizes_given(op, size))


@torch_function("Tensor.expand_as")
def expand_as(op: Op, input: Value, other: Value) -> Value:
    """``Tensor.expand_as``, as torch defines it."""
    return expanded(op, ref_of(op, input), sizes_of(op.frame, op.node, ref_of(op, other)))


@torch_function("torch.broadcast_tensors")
def broadcast_tensors(op: Op, *tensors: Value) -> Value:
    """``torch.broadcast_tensors``, as torch defines it."""
    from ksc.frontend.tensors.assignment import broadcast_sizes

    refs = [ref_of(op, value) for value in unpacked(tensors)]
    sizes = broadcast_sizes(op.frame, op.node, [sizes_of(op.frame, op.node, ref) for ref in refs])
    return Struct(tuple, tuple(expanded(op, ref, sizes) for ref in refs))


# Parts.


def part(op: Op, ref: Ref, dim: int, start: Atom, length: Atom) -> Value:
    """The part of a dimension that begins at ``start``, all of it known to exist."""
    sizes = list(sizes_of(op.frame, op.node, ref))
    axes = full_axes(ref)
    axes[dim] = Axis(start, ONE, dim, full=start == ZERO and length == sizes[dim])
    sizes[dim] = length
    return picked(op.frame, op.node, ref, axes, sizes)


def without(op: Op, ref: Ref, dim: int, index: Atom) -> Value:
    """The part at an index of a dimension."""
    sizes = list(sizes_of(op.frame, op.node, ref))
    axes = full_axes(ref, [k - (k > dim) for k in range(ref.rank)])
    axes[dim] = selected(op.frame, op.node, ref, dim, index)
    del sizes[dim]
    return picked(op.frame, op.node, ref, axes, sizes)


def fixed_size(op: Op, ref: Ref, dim: int) -> int:
    """The size of a dimension that decides how many tensors there are."""
    size = size_of(op.frame, op.node, ref, dim)
    if not isinstance(size, Const):
        reason = f"gives as many tensors as dimension {dim} is long, which depends on the arguments"
        op.refuse(reason, "annotate the size, as in `Annotated[torch.Tensor, (3,)]`, or write a loop", code="KS111")
    return int(size.value)


def place_in(op: Op, ref: Ref, dim: Value) -> int:
    """A dimension of a tensor that has some."""
    if not ref.rank:
        op.refuse("of a tensor of rank 0", "give it a dimension with .unsqueeze(0)")
    return op.dim(dim, ref.rank)


@torch_function("unbind")
def unbind(op: Op, input: Value, dim: Value = Static(0)) -> Value:
    """``unbind``, as torch defines it."""
    ref = ref_of(op, input)
    place = place_in(op, ref, dim)
    return Struct(tuple, tuple(without(op, ref, place, const(k)) for k in range(fixed_size(op, ref, place))))


@torch_function("select")
def select(op: Op, input: Value, dim: Value, index: Value) -> Value:
    """``select``, as torch defines it."""
    ref = ref_of(op, input)
    return without(op, ref, place_in(op, ref, dim), op.integer(index, "index").atom)


@torch_function("narrow")
def narrow(op: Op, input: Value, dim: Value, start: Value, length: Value) -> Value:
    """``narrow``, as torch defines it."""
    frame, node, ref = op.frame, op.node, ref_of(op, input)
    place = place_in(op, ref, dim)
    size, count = size_of(frame, node, ref, place), op.integer(length, "length").atom
    first = wrapped(frame, node, op.integer(start, "start").atom, size)
    end = add(frame, node, first, count)
    if all(isinstance(atom, Const) for atom in (first, end, size)):
        if not 0 <= int(first.value) <= int(end.value) <= int(size.value):  # type: ignore[union-attr]
            op.refuse("takes a part that is not there", "use a start and a length within the size", code="KS209")
    else:
        inside = frame.apply(node, "and", frame.apply(node, "lte", ZERO, first), frame.apply(node, "lte", end, size))
        inside = frame.apply(node, "and", inside, frame.apply(node, "lte", ZERO, count))
        frame.emit(node, "assert", [inside], [], params={"message": "narrow() takes a part that is not there"})
    return part(op, ref, place, first, count)


@torch_function("split")
def split(op: Op, tensor: Value, split_size_or_sections: Value, dim: Value = Static(0)) -> Value:
    """``split``, as torch defines it."""
    frame, node, ref = op.frame, op.node, ref_of(op, tensor)
    place = place_in(op, ref, dim)
    size = size_of(frame, node, ref, place)
    given = split_size_or_sections
    if isinstance(given, Struct) or (isinstance(given, Static) and isinstance(given.value, tuple | list)):
        lengths = [op.integer(item, "a length").atom for item in unpacked([given])]
        total: Atom = ZERO
        for length in lengths:
            total = add(frame, node, total, length)
        same_size(frame, node, size, total)
    else:
        step = op.integer(given, "split_size_or_sections").atom
        if isinstance(step, Const) and int(step.value) < 1:
            op.refuse(f"into parts of size {step.value!r}", "use a size above 0", code="KS209")
        if not (isinstance(step, Const) and isinstance(size, Const)):
            return _pieces(op, ref, place, step)
        each, n = int(step.value), int(size.value)
        lengths = [const(min(each, n - k)) for k in range(0, n, each)] or [const(0)]
    return _consecutive(op, ref, place, lengths)


def _pieces(op: Op, ref: Ref, dim: int, step: Atom) -> Value:
    """As many parts of a size as the arguments tell, of which the last may be smaller."""
    frame, node = op.frame, op.node
    size = size_of(frame, node, ref, dim)
    positive = frame.apply(node, "lt", ZERO, step)
    frame.emit(node, "assert", [positive], [], params={"message": "split() into parts of a size that is not above 0"})
    rounded = add(frame, node, size, sub(frame, node, step, ONE))
    count = at_least(frame, node, div(frame, node, rounded, step), 1)

    def item(inner: Frame, k: Value) -> Value:
        start = mul(inner, node, inner.atom(k, node), step)
        return part(replace(op, frame=inner), ref, dim, start, least(inner, node, step, sub(inner, node, size, start)))

    return Iteration(count, item)


def _consecutive(op: Op, ref: Ref, dim: int, lengths: Sequence[Atom]) -> Value:
    start: Atom = ZERO
    parts = []
    for length in lengths:
        parts.append(part(op, ref, dim, start, length))
        start = add(op.frame, op.node, start, length)
    return Struct(tuple, tuple(parts))


@torch_function("chunk")
def chunk(op: Op, input: Value, chunks: Value, dim: Value = Static(0)) -> Value:
    """``chunk``, as torch defines it."""
    frame, node, ref = op.frame, op.node, ref_of(op, input)
    place, count = op.dim(dim, ref.rank), op.static(chunks, "chunks")
    if not isinstance(count, int) or count < 1:
        op.refuse(f"into {count!r} parts", "use a number above 0", code="KS209")
    size = size_of(frame, node, ref, place)
    if isinstance(size, Const):
        n = int(size.value)
        step = max(1, -(-n // count))
        lengths: list[Atom] = [const(min(step, n - k)) for k in range(0, n, step)] or [const(0)] * count
        return _consecutive(op, ref, place, lengths)
    each = div(frame, node, add(frame, node, size, const(count - 1)), const(count))
    before = mul(frame, node, each, const(count - 1))
    message = f"chunk() gives fewer than {count} parts"
    frame.emit(node, "assert", [frame.apply(node, "lt", before, size)], [], params={"message": message})
    last = sub(frame, node, size, before)
    parts = [part(op, ref, place, mul(frame, node, each, const(k)), each) for k in range(count - 1)]
    return Struct(tuple, (*parts, part(op, ref, place, before, last)))


@torch_function("tensor_split")
def tensor_split(op: Op, input: Value, indices_or_sections: Value, dim: Value = Static(0)) -> Value:
    """``tensor_split``, as torch defines it."""
    frame, node, ref = op.frame, op.node, ref_of(op, input)
    place = op.dim(dim, ref.rank)
    size = size_of(frame, node, ref, place)
    given = op.static(indices_or_sections, "indices_or_sections")
    bounds: list[Atom] = [ZERO]
    if isinstance(given, int):
        if given < 1:
            op.refuse(f"into {given} parts", "use a number above 0", code="KS209")
        each, more = div(frame, node, size, const(given)), mod(frame, node, size, const(given))
        for k in range(1, given + 1):
            bounds.append(add(frame, node, mul(frame, node, each, const(k)), least(frame, node, const(k), more)))
    else:
        if not isinstance(given, tuple | list) or not all(isinstance(index, int) for index in given):
            op.refuse(f"at {given!r}", "give a number of parts, or indices as a tuple", code="KS209")
        for index in given:
            at = at_least(frame, node, wrapped(frame, node, const(index), size), 0)
            bounds.append(least(frame, node, at, size))
        bounds.append(size)
    parts = []
    for start, end in pairwise(bounds):
        length = at_least(frame, node, sub(frame, node, end, start), 0)
        parts.append(part(op, ref, place, start, length))
    return Struct(tuple, tuple(parts))


@torch_function("diagonal")
def diagonal(
    op: Op, input: Value, offset: Value = Static(0), dim1: Value = Static(0), dim2: Value = Static(1)
) -> Value:
    """``diagonal``, as torch defines it."""
    frame, node, ref = op.frame, op.node, ref_of(op, input)
    first, second = op.dim(dim1, ref.rank, "dim1"), op.dim(dim2, ref.rank, "dim2")
    if first == second:
        op.refuse("of a dimension with itself", "name two dimensions", code="KS209")
    k = op.static(offset, "offset")
    sizes = sizes_of(frame, node, ref)
    rows, columns = const(max(-k, 0)), const(max(k, 0))
    lengths = (sub(frame, node, sizes[first], rows), sub(frame, node, sizes[second], columns))
    length = at_least(frame, node, least(frame, node, *lengths), 0)
    kept = [d for d in range(ref.rank) if d not in (first, second)]
    axes = [Axis(ZERO, ONE, kept.index(d), full=True) if d in kept else Axis(ZERO) for d in range(ref.rank)]
    axes[first], axes[second] = Axis(rows, ONE, len(kept)), Axis(columns, ONE, len(kept))
    return picked(frame, node, ref, axes, [*(sizes[d] for d in kept), length])


@torch_function("linalg.diagonal")
def linalg_diagonal(
    op: Op, input: Value, *, offset: Value = Static(0), dim1: Value = Static(-2), dim2: Value = Static(-1)
) -> Value:
    """``linalg.diagonal``, as torch defines it."""
    return diagonal(op, input, offset, dim1, dim2)
