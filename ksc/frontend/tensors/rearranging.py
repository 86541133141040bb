"""Channels of images taken apart and put together: the same elements at other places."""

from __future__ import annotations

from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import Value


def _factor(op: Op, value: Value, what: str) -> Scalar:
    factor = op.integer(value, what)
    op.require(factor > 0, f"{op.name}(): {what} is not positive")
    return factor


@torch_function("F.pixel_shuffle", "torch.pixel_shuffle")
def pixel_shuffle(op: Op, input: Value, upscale_factor: Value) -> Value:
    """Channels laid out in squares: ``(…, c r², h, w)`` becomes ``(…, c, h r, w r)``."""
    x, r = op.tensor(input), _factor(op, upscale_factor, "upscale_factor")
    if x.rank < 3:
        op.refuse(f"needs 3 dimensions or more, not {x.rank}", "add dimensions with unsqueeze()")
    *outer, channels, height, width = x.sizes
    op.require((channels % (r * r)).eq(0), "pixel_shuffle(): squares do not divide the channels")

    def body(index: list[Scalar]) -> Scalar:
        *lane, c, i, j = index
        return x[[*lane, (c * r + i % r) * r + j % r, i // r, j // r]]

    return op.result(op.build([*outer, channels // (r * r), height * r, width * r], body))


@torch_function("F.pixel_unshuffle", "torch.pixel_unshuffle")
def pixel_unshuffle(op: Op, input: Value, downscale_factor: Value) -> Value:
    """Squares taken apart into channels: ``(…, c, h r, w r)`` becomes ``(…, c r², h, w)``."""
    x, r = op.tensor(input), _factor(op, downscale_factor, "downscale_factor")
    if x.rank < 3:
        op.refuse(f"needs 3 dimensions or more, not {x.rank}", "add dimensions with unsqueeze()")
    *outer, channels, height, width = x.sizes
    fits = (height % r).eq(0) & (width % r).eq(0)
    op.require(fits, "pixel_unshuffle(): squares do not divide the height and the width")

    def body(index: list[Scalar]) -> Scalar:
        *lane, c, i, j = index
        return x[[*lane, c // (r * r), i * r + c // r % r, j * r + c % r]]

    return op.result(op.build([*outer, channels * r * r, height // r, width // r], body))


@torch_function("F.channel_shuffle", "torch.channel_shuffle", "F.native_channel_shuffle")
def channel_shuffle(op: Op, input: Value, groups: Value) -> Value:
    """The channels, the second dimension, dealt out from groups in turn."""
    x, count = op.tensor(input), _factor(op, groups, "groups")
    if x.rank < 3:
        op.refuse(f"needs more than 2 dimensions, not {x.rank}", "add dimensions with unsqueeze()")
    op.require((x.sizes[1] % count).eq(0), "channel_shuffle(): the groups do not divide the channels")
    each = x.sizes[1] // count

    def body(index: list[Scalar]) -> Scalar:
        n, c, *rest = index
        return x[[n, c % count * each + c // count, *rest]]

    return op.result(op.build(x.sizes, body))
