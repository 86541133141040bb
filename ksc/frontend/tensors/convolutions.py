"""Convolutions over one and two dimensions."""

from __future__ import annotations

from collections.abc import Callable

from ksc.frontend.tensors.joining import padded
from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import NONE, Static, Value


def window_count(size: Scalar, width: Scalar, stride: Scalar, dilation: Scalar) -> Scalar:
    """How many windows fit into a padded dimension."""
    return (size - dilation * (width - 1) - 1) // stride + 1


def fitting(op: Op, count: Scalar) -> Scalar:
    """A number of windows, of which there must be one."""
    op.require(op.require_size(count, "the size of the result") > 0, f"{op.name}(): no window fits into the tensor")
    return count


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
        x, w = op.float_tensor(input), op.float_tensor(weight)
        if w.rank != n + 2 or x.rank not in (n + 1, n + 2):
            op.refuse(f"needs an input of {n + 1} or {n + 2} and a weight of {n + 2} dimensions", "reshape them")
        batched = x.rank == n + 2
        strides, dilations = op.integers(stride, "stride", count=n), op.integers(dilation, "dilation", count=n)
        for pace in (*strides, *dilations):
            op.require(pace > 0, f"{op.name}(): strides and dilations are 1 or more")
        widths = list(w.sizes[2:])
        ends = _ends(op, padding, n, strides, dilations, widths)
        if not all(end.is_(0) for pair in ends for end in pair):
            places = {x.rank - n + k: pair for k, pair in enumerate(ends)}
            x = padded(op, x, places, "constant", op.number(0.0))
        share = op.integer(groups, "groups")
        channels = x.sizes[-n - 1]
        op.same(channels, w.sizes[1] * share)
        outputs = w.sizes[0]
        per_group = outputs if share.is_(1) else outputs // share
        op.require((outputs % share).eq(0), f"{op.name}(): the groups do not divide the output channels")
        counts = [
            fitting(op, window_count(size, width, pace, gap))
            for size, width, pace, gap in zip(x.sizes[-n:], widths, strides, dilations, strict=True)
        ]
        b = None if isinstance(bias, Static) and bias.value is None else op.float_tensor(bias)
        if b is not None:
            op.same(b.sizes[0], outputs)

        def body(index: list[Scalar]) -> Scalar:
            lane, (channel, *at) = (index[:1], index[1:]) if batched else ([], index)
            first = op.number(0) if share.is_(1) else (channel // per_group) * w.sizes[1]

            def term(inner: list[Scalar]) -> Scalar:
                places = [i * pace + k * gap for i, pace, k, gap in zip(at, strides, inner[1:], dilations, strict=True)]
                return x[[*lane, first + inner[0], *places]] * w[[channel, *inner]]

            total = op.reduce("add", [w.sizes[1], *widths], term)
            return total if b is None else total + b[[channel]]

        return op.result(op.build([*(x.sizes[:1] if batched else ()), outputs, *counts], body))

    return function


def _ends(
    op: Op, padding: Value, n: int, strides: list[Scalar], dilations: list[Scalar], widths: list[Scalar]
) -> list[tuple[Scalar, Scalar]]:
    """How many zeros stand before and after each dimension."""
    if not (isinstance(padding, Static) and isinstance(padding.value, str)):
        ends = op.integers(padding, "padding", count=n)
        return [(op.require_size(end, "the padding"),) * 2 for end in ends]
    zero = op.number(0)
    if op.choice(padding, "padding", ("valid", "same")) == "valid":
        return [(zero, zero)] * n
    if not all(pace.is_(1) for pace in strides):
        op.refuse("with padding='same' and a stride", "give the padding as numbers")
    totals = [gap * (width - 1) for gap, width in zip(dilations, widths, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


conv1d = torch_function("torch.conv1d", "F.conv1d")(_convolution(1))
conv2d = torch_function("torch.conv2d", "F.conv2d")(_convolution(2))
conv3d = torch_function("torch.conv3d", "F.conv3d")(_convolution(3))
