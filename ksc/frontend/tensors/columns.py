"""Windows of images as columns, columns as sums of windows, and convolutions turned round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ksc.frontend.tensors.convolutions import bias_of, operands, paddings
from ksc.frontend.tensors.extrema import ravelled
from ksc.frontend.tensors.joining import unravelled
from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.tensors.windows import Window
from ksc.frontend.values import NONE, Static, Value


def covering(
    window: Window, at: Sequence[Scalar], ends: Sequence[Scalar], inner: Sequence[Scalar], counts: Sequence[Scalar]
) -> tuple[list[Scalar], Scalar]:
    """The window whose element ``inner`` lies at ``at``, and whether there is one among ``counts``."""
    places, there = [], window.op.number(True)
    for i, end, k, gap, stride, count in zip(at, ends, inner, window.dilations, window.strides, counts, strict=True):
        begin = i + end - k * gap
        if not stride.is_(1):
            there = there & (begin % stride).eq(0)
        place = begin // stride
        there = there & (begin >= 0) & (place < count)
        places.append(place)
    return places, there


@torch_function("F.unfold")
def unfold(
    op: Op,
    input: Value,
    kernel_size: Value,
    dilation: Value = Static(1),
    padding: Value = Static(0),
    stride: Value = Static(1),
) -> Value:
    """The windows of images, a column each: ``(N, C, H, W)`` becomes ``(N, C kh kw, L)``."""
    x = op.tensor(input)
    if x.rank not in (3, 4):
        op.refuse(f"needs 3 or 4 dimensions, not {x.rank}", "reshape the tensor")
    widths, ends = op.integers(kernel_size, "kernel_size", count=2), paddings(op, padding, 2)
    window = Window.read(op, widths, stride, dilation)
    counts = window.counts(x.sizes[-2:], [(end, end) for end in ends])
    *lanes, channels = x.sizes[:-2]
    each = op.product(widths)

    def body(index: list[Scalar]) -> Scalar:
        *lane, row, column = index
        inner, at = unravelled(op, row % each, widths), unravelled(op, column, counts)
        places = [i - end for i, end in zip(window.places(at, inner), ends, strict=True)]
        there = op.number(True)
        for place, end, size in zip(places, ends, x.sizes[-2:], strict=True):
            if not end.is_(0):
                there = there & (place >= 0) & (place < size)
        return op.if_(there, lambda: x[[*lane, row // each, *places]], lambda: op.zero(x.type))

    return op.result(op.build([*lanes, channels * each, op.product(counts)], body))


@torch_function("F.fold")
def fold(
    op: Op,
    input: Value,
    output_size: Value,
    kernel_size: Value,
    dilation: Value = Static(1),
    padding: Value = Static(0),
    stride: Value = Static(1),
) -> Value:
    """Images of which each pixel is the sum of all windows at it: ``(N, C kh kw, L)`` becomes ``(N, C, H, W)``."""
    x = op.numeric_tensor(input)
    if x.rank not in (2, 3):
        op.refuse(f"needs 2 or 3 dimensions, not {x.rank}", "reshape the tensor")
    sizes = [op.require_size(size) for size in op.integers(output_size, "output_size", count=2)]
    widths, ends = op.integers(kernel_size, "kernel_size", count=2), paddings(op, padding, 2)
    window = Window.read(op, widths, stride, dilation)
    counts = window.counts(sizes, [(end, end) for end in ends])
    *lanes, rows, columns = x.sizes
    each = op.product(widths)
    op.require((rows % each).eq(0), "fold(): windows do not divide the rows of the input")
    op.require(columns.eq(op.product(counts)), "fold(): the input has not a column for each window")

    def body(index: list[Scalar]) -> Scalar:
        *lane, channel, i, j = index

        def term(inner: list[Scalar]) -> Scalar:
            places, there = covering(window, (i, j), ends, inner, counts)
            row = channel * each + ravelled(op, inner, widths)
            return op.if_(there, lambda: x[[*lane, row, ravelled(op, places, counts)]], lambda: op.zero(x.type))

        return op.reduce("add", widths, term)

    return op.result(op.build([*lanes, rows // each, *sizes], body))


def _transposed(n: int) -> Callable[..., Value]:
    def function(
        op: Op,
        input: Value,
        weight: Value,
        bias: Value = NONE,
        stride: Value = Static(1),
        padding: Value = Static(0),
        output_padding: Value = Static(0),
        groups: Value = Static(1),
        dilation: Value = Static(1),
    ) -> Value:
        """What a convolution's derivative makes of its cotangent: each pixel spread by the weight, and added."""
        x, w = operands(op, input, weight, n)
        window, ends = Window.read(op, w.sizes[2:], stride, dilation), paddings(op, padding, n)
        sizes = _sizes(op, x.sizes[-n:], window, ends, op.integers(output_padding, "output_padding", count=n))
        share, channels = op.integer(groups, "groups"), x.sizes[-n - 1]
        op.require(share > 0, f"{op.name}(): groups is not positive")
        op.same(channels, w.sizes[0])
        op.require((channels % share).eq(0), f"{op.name}(): the groups do not divide the channels")
        each, outputs = channels // share, w.sizes[1] * share
        b = bias_of(op, bias, x, outputs)

        def body(index: list[Scalar]) -> Scalar:
            *lane, channel = index[: x.rank - n]
            at = index[x.rank - n :]
            first = channel // w.sizes[1] * each if not share.is_(1) else op.number(0)
            own = channel % w.sizes[1] if not share.is_(1) else channel

            def term(inner: list[Scalar]) -> Scalar:
                source, *offset = inner
                places, there = covering(window, at, ends, offset, x.sizes[-n:])

                def product() -> Scalar:
                    return x[[*lane, first + source, *places]] * w[[first + source, own, *offset]]

                return op.if_(there, product, lambda: op.zero(x.type))

            total = op.reduce("add", [each, *w.sizes[2:]], term)
            return total if b is None else total + b[[channel]]

        return op.result(op.build([*x.sizes[: x.rank - n - 1], outputs, *sizes], body))

    return function


def _sizes(
    op: Op, inputs: Sequence[Scalar], window: Window, ends: Sequence[Scalar], more: Sequence[Scalar]
) -> list[Scalar]:
    """The sizes of the result of a transposed convolution."""
    sizes = []
    parts = zip(inputs, window.strides, window.dilations, window.spans, ends, more, strict=True)
    for size, stride, gap, span, end, extra in parts:
        fits = (extra >= 0) & ((extra < stride) | (extra < gap))
        op.require(fits, f"{op.name}(): output_padding is not smaller than stride or dilation")
        op.require(size > 0, f"{op.name}(): a size of the input is zero")
        sizes.append(op.require_size((size - 1) * stride - end * 2 + span + extra + 1, "the size of the result"))
    return sizes


conv_transpose1d = torch_function("torch.conv_transpose1d", "F.conv_transpose1d")(_transposed(1))
conv_transpose2d = torch_function("torch.conv_transpose2d", "F.conv_transpose2d")(_transposed(2))
conv_transpose3d = torch_function("torch.conv_transpose3d", "F.conv_transpose3d")(_transposed(3))
