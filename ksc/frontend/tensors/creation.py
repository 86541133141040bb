"""New tensors: constants, ranges, diagonals, and what is made of given numbers."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps

import torch

from ksc.frontend import operators
from ksc.frontend.rows import single_part
from ksc.frontend.tensors.joining import chosen, flattened
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import NONE, Rows, Static, Struct, Value, describe, is_none, scalar_type
from ksc.ir.types import Float, Integer, Type

PLACEMENT = {
    "device": "leave it out, or write `device=x.device`",
    "layout": "leave it out: tensors of kernels are strided",
    "pin_memory": "leave it out",
    "requires_grad": "pass the tensor as an argument and ask for its gradient",
    "memory_format": "leave it out",
}
"""The keywords that say where and how torch stores a new tensor, with what to do instead: the caller decides."""


def constant(op: Op, sizes: Sequence[Scalar], value: Scalar) -> Tensor:
    """A tensor of equal elements."""
    return op.build(op.require_shape(sizes), lambda index: value)


def sizes_of(op: Op, size: Sequence[Value]) -> list[Scalar]:
    """Sizes given one by one, or as one tuple."""
    if len(size) == 1:
        return op.integers(size[0], "a size")
    return [op.integer(item, "a size") for item in size]


def factory(*paths: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Enter a function that makes a tensor, as ``torch_function`` does, with torch's keywords of where it is stored."""
    placement = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=NONE) for name in PLACEMENT]

    def enter(function: Callable[..., Value]) -> Callable[..., Value]:
        signature = inspect.signature(function)

        @wraps(function)
        def placed(op: Op, *args: Value, **kwargs: Value) -> Value:
            _require_callers_place(op, {name: kwargs.pop(name, NONE) for name in PLACEMENT})
            return function(op, *args, **kwargs)

        extended = signature.replace(parameters=[*signature.parameters.values(), *placement])
        placed.__signature__ = extended  # type: ignore[attr-defined]
        torch_function(*paths)(placed)
        return function

    return enter


def _require_callers_place(op: Op, placement: Mapping[str, Value]) -> None:
    """Refuse (KS100) what a result cannot be: it is strided, and takes part in derivatives as its elements do."""
    for name, allowed in (("requires_grad", (None, False)), ("layout", (None, torch.strided))):
        given = placement[name]
        if not isinstance(given, Static) or given.value not in allowed:
            op.refuse(f"with {name}", PLACEMENT[name], code="KS100")


def _filled(number: float) -> Callable[..., Value]:
    def function(op: Op, *size: Value, dtype: Value = NONE) -> Value:
        value = converted(op, op.number(number), op.dtype(dtype, Float))
        return op.result(constant(op, sizes_of(op, size), value))

    return function


zeros = factory("torch.zeros", "torch.empty")(_filled(0.0))
ones = factory("torch.ones")(_filled(1.0))


def converted(op: Op, value: Scalar, type_: Type) -> Scalar:
    """A number as an element of another type, as torch converts it."""
    if operators.wider(value.type, type_) == type_:
        return value.as_(type_)
    if type_ == Integer:
        return op.number(int(value.known)) if value.known is not None else op.apply("to_int", value)
    return Scalar.of(op, operators.truth_of(op.frame, value.value, op.node))


@factory("torch.full")
def full(op: Op, size: Value, fill_value: Value, *, dtype: Value = NONE) -> Value:
    """Equal elements."""
    value = op.scalar(fill_value)
    return op.result(constant(op, op.integers(size, "a size"), converted(op, value, op.dtype(dtype, value.type))))


def _like(number: float) -> Callable[..., Value]:
    def function(op: Op, input: Value, *, dtype: Value = NONE) -> Value:
        x = op.tensor(input)
        return op.result(constant(op, x.sizes, converted(op, op.number(number), op.dtype(dtype, x.type))))

    return function


zeros_like = factory("torch.zeros_like", "torch.empty_like")(_like(0.0))
ones_like = factory("torch.ones_like")(_like(1.0))


@factory("torch.full_like")
def full_like(op: Op, input: Value, fill_value: Value, *, dtype: Value = NONE) -> Value:
    """Equal elements in the sizes of another tensor."""
    x = op.tensor(input)
    return op.result(constant(op, x.sizes, converted(op, op.scalar(fill_value), op.dtype(dtype, x.type))))


def _new(number: float) -> Callable[..., Value]:
    def function(op: Op, input: Value, *size: Value, dtype: Value = NONE) -> Value:
        type_ = op.dtype(dtype, op.tensor(input).type)
        return op.result(constant(op, sizes_of(op, size), converted(op, op.number(number), type_)))

    return function


new_zeros = factory("Tensor.new_zeros", "Tensor.new_empty")(_new(0.0))
new_ones = factory("Tensor.new_ones")(_new(1.0))


@factory("Tensor.new_full")
def new_full(op: Op, input: Value, size: Value, fill_value: Value, *, dtype: Value = NONE) -> Value:
    """Equal elements of the dtype of another tensor."""
    type_ = op.dtype(dtype, op.tensor(input).type)
    return op.result(constant(op, op.integers(size, "a size"), converted(op, op.scalar(fill_value), type_)))


@factory("torch.eye")
def eye(op: Op, n: Value, m: Value = NONE, *, dtype: Value = NONE) -> Value:
    """Ones on the diagonal of zeros."""
    rows = op.integer(n, "a size")
    columns = rows if is_none(m) else op.integer(m, "a size")
    type_ = op.dtype(dtype, Float)
    one, zero = converted(op, op.number(1), type_), op.zero(type_)
    sizes = op.require_shape([rows, columns])
    return op.result(op.build(sizes, lambda index: index[0].eq(index[1]).select(one, zero)))


@factory("torch.arange")
def arange(op: Op, start: Value, end: Value = NONE, step: Value = Static(1), *, dtype: Value = NONE) -> Value:
    """The numbers from ``start`` to before ``end``."""
    if is_none(end):
        start, end = Static(0), start
    first, last, pace = op.scalar(start), op.scalar(end), op.scalar(step)
    given = operators.wider(first.type, last.type, pace.type, Integer)
    type_ = op.dtype(dtype, given)
    if type_ == Integer != given:
        first, last, pace, given = *(converted(op, bound, Integer) for bound in (first, last, pace)), Integer
    first, last, pace = (bound.as_(given) for bound in (first, last, pace))
    op.require(pace.ne(0), "arange(): the step is zero")
    if given == Integer:
        distance = last - first
        if pace.known is None:
            rounded = distance + pace - op.apply("sign", pace)
        else:
            rounded = distance + (int(pace.known) - (1 if pace.known > 0 else -1))
        count = rounded // pace
    elif first.known is not None and last.known is not None and pace.known:
        if not all(map(math.isfinite, (first.known, last.known, pace.known))):
            op.refuse("of a bound that is not finite", "give finite bounds")
        count = op.number(math.ceil((last.known - first.known) / pace.known))
    else:
        count = op.apply("to_int", op.apply("ceil", (last.float - first.float) / pace.float))
    disagree = "arange(): the bounds do not agree with the sign of the step"
    if given == Integer and pace.known in (1, -1):
        op.require(count >= 0, disagree)
    else:
        up, down = pace > 0, pace < 0
        op.require((up & (last >= first)) | (down & (last <= first)), disagree)

    def element(index: list[Scalar]) -> Scalar:
        offset = index[0] if pace.is_(1) else index[0] * pace
        return converted(op, offset if first.is_(0) else first + offset, type_)

    return op.result(op.build(op.require_shape([count]), element))


@factory("torch.linspace")
def linspace(op: Op, start: Value, end: Value, steps: Value, *, dtype: Value = NONE) -> Value:
    """Evenly spaced numbers, both ends included."""
    return op.result(_spaced(op, start, end, steps, op.dtype(dtype, Float)))


def _spaced(op: Op, start: Value, end: Value, steps: Value, type_: Type) -> Tensor:
    first, last = op.scalar(start).float, op.scalar(end).float
    (count,) = op.require_shape([op.integer(steps, "the number of steps")], "the number of steps")
    gaps = op.number(max(int(count.known) - 1, 1)) if count.known is not None else op.apply("max", count - 1, 1)
    gap = (last - first) / gaps.float

    def element(index: list[Scalar]) -> Scalar:
        (i,) = index
        if count.is_(1):
            return converted(op, first, type_)
        from_end = last - gap * (count - 1 - i).float
        near = op.if_(i * 2 < count, lambda: first + gap * i.float, lambda: from_end)
        return converted(op, near, type_)

    return op.build([count], element)


@factory("torch.logspace")
def logspace(
    op: Op, start: Value, end: Value, steps: Value, base: Value = Static(10.0), *, dtype: Value = NONE
) -> Value:
    """Powers of ``base`` with evenly spaced exponents."""
    if op.dtype(dtype, Float) != Float:
        op.refuse("of Integers, which torch rounds in a way of its own", "write torch.logspace(…).long()")
    exponents = op.result(_spaced(op, start, end, steps, Float))
    root = Scalar.of(op, op.scalar(base).float.value)
    return operators.binary(op.frame, ast.Pow(), root.value, exponents, op.node)


@factory("torch.scalar_tensor")
def scalar_tensor(op: Op, s: Value, *, dtype: Value = NONE) -> Value:
    """A number as a tensor of rank 0, of Floats where dtype is left out."""
    return op.result(op.rank_0(converted(op, op.scalar(s), op.dtype(dtype, Float))))


@factory("torch.tensor", "torch.as_tensor", "torch.asarray")
def tensor(op: Op, data: Value, *, dtype: Value = NONE) -> Value:
    """A tensor of numbers, given in nested lists; their derivatives flow into it."""
    if isinstance(data, Rows):
        x = op.tensor(single_part(op.frame, data, op.node))
        to = op.dtype(dtype, x.type)
        return op.result(op.build(x.sizes, lambda index: converted(op, x[index], to)))
    if op.is_tensor(data) and op.tensor(data).rank:
        op.refuse("of a tensor", "write x.clone(), or x.to(dtype)")
    shape, items = _nested(op, data)
    scalars = [op.scalar(item) for item in items]
    type_ = op.dtype(dtype, operators.wider(*(scalar.type for scalar in scalars)) if scalars else Float)
    scalars = [converted(op, scalar, type_) for scalar in scalars]
    sizes = [op.number(size) for size in shape]
    if not scalars:
        return op.result(constant(op, sizes, op.zero(type_)))

    def element(index: list[Scalar]) -> Scalar:
        return chosen(op, index, shape, scalars)

    return op.result(op.build(sizes, element))


def _nested(op: Op, data: Value) -> tuple[list[int], list[Value]]:
    """The shape of nested lists and their numbers in order."""
    if not isinstance(data, Struct):
        if scalar_type(data) is None and not op.is_tensor(data):
            op.refuse(f"of {describe(data)}", "give numbers, or lists of numbers")
        return [], [data]
    parts = [_nested(op, item) for item in data.items]
    shapes = [shape for shape, _ in parts]
    if any(shape != shapes[0] for shape in shapes):
        op.refuse("of lists of different lengths", "give rows of equal length", code="KS207")
    return [len(parts), *(shapes[0] if shapes else [])], [item for _, items in parts for item in items]


def _triangle(keeps: Callable[[Scalar, Scalar, Scalar], Scalar]) -> Callable[..., Value]:
    def function(op: Op, input: Value, diagonal: Value = Static(0)) -> Value:
        x = op.tensor(input)
        if x.rank < 2:
            op.refuse(f"needs a matrix, not a tensor of {x.rank} dimensions", "pass a matrix")
        offset = op.integer(diagonal, "diagonal")

        def element(index: list[Scalar]) -> Scalar:
            return keeps(index[-2], index[-1], offset).select(x[index], op.zero(x.type))

        return op.result(op.build(x.sizes, element))

    return function


tril = torch_function("tril")(_triangle(lambda i, j, k: j <= i + k))
triu = torch_function("triu")(_triangle(lambda i, j, k: j >= i + k))


@factory("torch.tril_indices", "torch.triu_indices")
def triangle_indices(op: Op, row: Value, col: Value, offset: Value = Static(0), *, dtype: Value = NONE) -> Value:
    """The indices of a triangle of a matrix, sizes known at compile time."""
    op.dtype(dtype, Integer)
    given = [op.static(value, name) for value, name in ((row, "row"), (col, "col"), (offset, "offset"))]
    found = getattr(torch, op.name)(*given)
    return tensor(op, _listed(found.tolist()), dtype=Static(torch.int64))


def _listed(data: object) -> Value:
    if isinstance(data, list):
        return Struct(list, tuple(map(_listed, data)))
    return Static(data)


@torch_function("diag_embed")
def diag_embed(
    op: Op, input: Value, offset: Value = Static(0), dim1: Value = Static(-2), dim2: Value = Static(-1)
) -> Value:
    """Matrices with the last dimension on a diagonal."""
    x = op.tensor(input)
    shift = op.static(offset, "offset")
    places = [op.dim(dim, x.rank + 1) for dim in (dim1, dim2)]
    if not x.rank or places[0] == places[1]:
        op.refuse("needs a dimension and two places to spread it over", "give two different dimensions")
    size = x.sizes[-1] + abs(shift)
    sizes = list(x.sizes[:-1])
    for place in sorted(places):
        sizes.insert(place, size)

    def element(index: list[Scalar]) -> Scalar:
        i, j = (index[place] for place in places)
        rest = [index[k] for k in range(len(index)) if k not in places]
        along = i if shift >= 0 else j
        on = j.eq(i + shift) if shift >= 0 else i.eq(j - shift)
        return op.if_(on, lambda: x[[*rest, along]], lambda: op.zero(x.type))

    return op.result(op.build(sizes, element))


@torch_function("diag")
def diag(op: Op, input: Value, diagonal: Value = Static(0)) -> Value:
    """The diagonal of a matrix, or the matrix with a diagonal."""
    x = op.tensor(input)
    if x.rank == 1:
        return diag_embed(op, input, diagonal)
    if x.rank != 2:
        op.refuse(f"needs one or two dimensions, not {x.rank}", "use torch.diagonal()")
    shift = op.static(diagonal, "diagonal")
    down, right = (0, shift) if shift >= 0 else (-shift, 0)
    rows, columns = x.sizes[0] - down, x.sizes[1] - right
    shorter = rows if rows.atom == columns.atom else op.apply("min", rows, columns)
    count = op.apply("max", shorter, 0) if shorter.known is None or shorter.known < 0 else shorter
    return op.result(op.build([count], lambda index: x[[index[0] + down, index[0] + right]]))


@torch_function("diagflat")
def diagflat(op: Op, input: Value, offset: Value = Static(0)) -> Value:
    """The matrix with all elements on a diagonal."""
    return diag_embed(op, op.result(flattened(op, op.tensor(input))), offset)


@torch_function("torch.meshgrid")
def meshgrid(op: Op, *tensors: Value, indexing: Value = NONE) -> Value:
    """The coordinates of a grid."""
    given = tensors[0].items if len(tensors) == 1 and isinstance(tensors[0], Struct) else tensors
    axes = [op.tensor(value) for value in given]
    order = op.static(indexing, "indexing") or "ij"
    if order not in ("ij", "xy"):
        op.refuse(f"with indexing={order!r}", "use 'ij' or 'xy'")
    sizes = [axis.sizes[0] if axis.rank else op.number(1) for axis in axes]
    places = list(range(len(axes)))
    if order == "xy" and len(axes) > 1:
        places[:2] = [1, 0]
    shape = [sizes[places.index(k)] for k in range(len(axes))]

    def grid(axis: Tensor, place: int) -> Tensor:
        return op.build(shape, lambda index: axis[[index[place]][: axis.rank]])

    return op.results(tuple, [grid(axis, place) for axis, place in zip(axes, places, strict=True)])


@torch_function("F.one_hot")
def one_hot(op: Op, tensor: Value, num_classes: Value = Static(-1)) -> Value:
    """1 at the class of each element, else 0."""
    x = op.tensor(tensor)
    classes = op.integer(num_classes, "num_classes")
    if classes.known == -1:
        op.refuse("without num_classes: its size would depend on the elements", "pass num_classes")
    if x.type != Integer:
        op.refuse(f"needs integers, not {x.type}", "pass class indices")

    def element(index: list[Scalar]) -> Scalar:
        label = x[index[:-1]]
        op.require((label >= 0) & (label < classes), "one_hot(): a class is out of range")
        return label.eq(index[-1]).select(1, 0)

    return op.result(op.build([*x.sizes, op.require_size(classes)], element))
