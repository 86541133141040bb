"""Convolutions over one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable

from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.padding import padded
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.tensors.windows import Window
from ksc.frontend.values import NONE, Static, Value, is_none


def _convolution(n: int) -> Callable[..., Value]:
    def function(
        op: Op,
        input: Value,
        weight: Value,
        bias: Value = NONE,
        stride: Value = Static(1),
        padding: Value = Static(0),
        dilation: Value = Static(1),
        groups: Value = Static(1),
    ) -> Value:
        x, w = operands(op, input, weight, n)
        batched = x.rank == n + 2
        window = Window.read(op, w.sizes[2:], stride, dilation)
        ends = _ends(op, padding, window)
        if not all(end.is_(0) for pair in ends for end in pair):
            places = {x.rank - n + k: pair for k, pair in enumerate(ends)}
            x = padded(op, x, places, "constant", op.zero(x.type))
        zero = op.number(0)
        counts = window.counts(x.sizes[-n:], [(zero, zero)] * n)
        share = op.integer(groups, "groups")
        channels = x.sizes[-n - 1]
        op.same(channels, w.sizes[1] * share)
        outputs = w.sizes[0]
        per_group = outputs if share.is_(1) else outputs // share
        op.require((outputs % share).eq(0), f"{op.name}(): the groups do not divide the output channels")
        b = bias_of(op, bias, x, outputs)

        def body(index: list[Scalar]) -> Scalar:
            lane, (channel, *at) = (index[:1], index[1:]) if batched else ([], index)
            first = op.number(0) if share.is_(1) else (channel // per_group) * w.sizes[1]

            def term(inner: list[Scalar]) -> Scalar:
                return x[[*lane, first + inner[0], *window.places(at, inner[1:])]] * w[[channel, *inner]]

            total = op.reduce("add", w.sizes[1:], term)
            return total if b is None else total + b[[channel]]

        return op.result(op.build([*(x.sizes[:1] if batched else ()), outputs, *counts], body))

    return function


def operands(op: Op, input: Value, weight: Value, n: int) -> tuple[Tensor, Tensor]:
    """The input and the weight of a convolution over ``n`` dimensions."""
    x, w = op.numeric_tensor(input), op.numeric_tensor(weight)
    same_type(op, x, w)
    if w.rank != n + 2 or x.rank not in (n + 1, n + 2):
        op.refuse(f"needs an input of {n + 1} or {n + 2} and a weight of {n + 2} dimensions", "reshape them")
    return x, w


def bias_of(op: Op, bias: Value, x: Tensor, outputs: Scalar) -> Tensor | None:
    """The numbers that are added to the output channels, if there are any."""
    if is_none(bias):
        return None
    b = op.numeric_tensor(bias)
    same_type(op, x, b)
    op.same(b.sizes[0], outputs)
    return b


def paddings(op: Op, padding: Value, n: int) -> list[Scalar]:
    """How many zeros stand before, and as many after, each of ``n`` dimensions."""
    return [op.require_size(end, "the padding") for end in op.integers(padding, "padding", count=n)]


def same_type(op: Op, x: Tensor, other: Tensor) -> None:
    """Refuse tensors of different types."""
    if x.type != other.type:
        op.refuse(f"of tensors of {x.type} and {other.type}", "give all the same dtype")


def _ends(op: Op, padding: Value, window: Window) -> list[tuple[Scalar, Scalar]]:
    """How many zeros stand before and after each dimension."""
    n = len(window.widths)
    if not (isinstance(padding, Static) and isinstance(padding.value, str)):
        return [(end, end) for end in paddings(op, padding, n)]
    zero = op.number(0)
    if op.choice(padding, "padding", ("valid", "same")) == "valid":
        return [(zero, zero)] * n
    if not all(stride.is_(1) for stride in window.strides):
        op.refuse("with padding='same' and a stride", "give the padding as numbers")
    return [(span // 2, span - span // 2) for span in window.spans]


conv1d = torch_function("torch.conv1d", "F.conv1d")(_convolution(1))
conv2d = torch_function("torch.conv2d", "F.conv2d")(_convolution(2))
conv3d = torch_function("torch.conv3d", "F.conv3d")(_convolution(3))
