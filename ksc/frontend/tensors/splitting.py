"""Parts side by side, dimensions of size 1 in front and behind, and windows, as torch's views of these names are."""

from __future__ import annotations

from collections.abc import Callable

from ksc.frontend.tensors import shapes
from ksc.frontend.tensors.array import sizes_of
from ksc.frontend.tensors.integers import ONE
from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.tensors.views import full_axes, picked
from ksc.frontend.values import Ref, Static, Struct, Value


@torch_function("split_with_sizes")
def split_with_sizes(op: Op, input: Value, split_sizes: Value, dim: Value = Static(0)) -> Value:
    """``split_with_sizes``, as torch defines it."""
    return shapes.split(op, input, split_sizes, dim)


def _splitter(least: int, places: dict[int, int], usual: int) -> Callable[..., Value]:
    """A split of tensors of ``least`` dimensions or more, along dimension ``usual`` unless ``places`` tells of one."""

    def function(op: Op, input: Value, indices_or_sections: Value) -> Value:
        ref = shapes.ref_of(op, input)
        if ref.rank < least:
            op.refuse(f"needs {least} dimensions or more, not {ref.rank}", "reshape the tensor")
        place = places.get(ref.rank, usual)
        if isinstance(indices_or_sections, Static) and isinstance(indices_or_sections.value, int):
            size = Scalar.of(op, sizes_of(op.frame, op.node, ref)[place])
            count = indices_or_sections.value
            if count < 1:
                op.refuse(f"into {count} parts", "use a number above 0", code="KS209")
            op.require((size % count).eq(0), f"{op.name}(): {count} parts do not divide dimension {place}")
        return shapes.tensor_split(op, input, indices_or_sections, Static(place))

    return function


hsplit = torch_function("hsplit")(_splitter(1, {1: 0}, 1))
vsplit = torch_function("vsplit")(_splitter(2, {}, 0))
dsplit = torch_function("dsplit")(_splitter(3, {}, 2))

NEW_DIMENSIONS = {(0, 1): [], (0, 2): [], (0, 3): [], (1, 2): [1], (1, 3): [1], (2, 3): [0, 1]}
"""Of a number of dimensions, and how many there are to be, the places of those that are there already."""


def _at_least(rank: int) -> Callable[..., Value]:
    def one(op: Op, value: Value) -> Value:
        ref = shapes.ref_of(op, value)
        if ref.rank >= rank:
            return value if isinstance(value, Ref) else ref
        places = NEW_DIMENSIONS[ref.rank, rank]
        have = sizes_of(op.frame, op.node, ref)
        sizes = [have[places.index(k)] if k in places else ONE for k in range(rank)]
        return picked(op.frame, op.node, ref, full_axes(ref, places), sizes)

    def function(op: Op, *tensors: Value) -> Value:
        if len(tensors) == 1 and not isinstance(tensors[0], Struct):
            return one(op, tensors[0])
        return Struct(tuple, tuple(one(op, value) for value in shapes.unpacked(tensors)))

    return function


atleast_1d = torch_function("torch.atleast_1d")(_at_least(1))
atleast_2d = torch_function("torch.atleast_2d")(_at_least(2))
atleast_3d = torch_function("torch.atleast_3d")(_at_least(3))


@torch_function("Tensor.unfold")
def unfold(op: Op, input: Value, dimension: Value, size: Value, step: Value) -> Value:
    """The windows of a dimension, ``step`` apart, the elements of each in a new last dimension.

    PyTorch gives a view whose elements overlap; a kernel, which cannot tell it from one, refuses to write either.
    """
    ref = shapes.ref_of(op, input)
    x = op.tensor(input)
    place = op.dim(dimension, x.rank, "dimension")
    width, pace = op.integer(size, "size"), op.integer(step, "step")
    op.require(pace > 0, "unfold(): the step is not positive")
    have = x.sizes[place] if x.rank else op.number(1)
    op.require((width >= 0) & (width <= have), "unfold(): a window is longer than the dimension")
    count = (have - width) // pace + 1
    sizes = [count if k == place else other for k, other in enumerate(x.sizes)]

    def body(index: list[Scalar]) -> Scalar:
        *at, inner = index
        return x[[i * pace + inner if k == place else i for k, i in enumerate(at)]]

    made = op.result(op.build([*sizes, width], body))
    assert isinstance(made, Ref)
    made.cell.may_share(ref.cell)
    return made
