"""Elements added at the ends of dimensions."""

from __future__ import annotations

from ksc.frontend.tensors.creation import converted
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import NONE, Static, Value, is_none


@torch_function("F.pad")
def pad(op: Op, input: Value, pad: Value, mode: Value = Static("constant"), value: Value = NONE) -> Value:
    """Elements added at both ends of the last dimensions, or cut off where negative."""
    x = op.tensor(input)
    widths = op.integers(pad, "pad")
    how = op.choice(mode, "mode", ("constant", "reflect", "replicate", "circular"))
    if len(widths) % 2 or len(widths) > 2 * x.rank:
        op.refuse(f"with {len(widths)} widths", "give two for each of the last dimensions")
    filler = op.zero(x.type)
    if not is_none(value):
        filler = converted(op, op.scalar(value), x.type)
    ends = {x.rank - 1 - k: (widths[2 * k], widths[2 * k + 1]) for k in range(len(widths) // 2)}
    return op.result(padded(op, x, ends, how, filler))


def padded(op: Op, x: Tensor, ends: dict[int, tuple[Scalar, Scalar]], how: str, filler: Scalar) -> Tensor:
    """The tensor with elements added before and after along dimensions."""
    sizes = list(x.sizes)
    for place, (before, after) in ends.items():
        old = sizes[place]
        sizes[place] = op.require_size(old + before + after)
        if how == "reflect":
            op.require((before < old) & (after < old), "pad(): a reflected end is not shorter than the dimension")
        elif how == "circular":
            fits = (before <= old) & (after <= old)
            op.require(fits, "pad(): a circular end is longer than the dimension")
        elif how == "replicate":
            op.require(old > 0, "pad(): there is nothing to replicate")

    def body(index: list[Scalar]) -> Scalar:
        at = list(index)
        inside = op.number(True)
        for place, (before, after) in ends.items():
            size = x.sizes[place]
            if how == "circular":
                at[place] = _wrapped(op, index[place], size, before, after)
                continue
            at[place] = _source(op, index[place] - before, size, how)
            if how == "constant":
                if not before.is_(0):
                    inside = inside & (at[place] >= 0)
                if not after.is_(0):
                    inside = inside & (at[place] < size)
        return op.if_(inside, lambda: x[at], lambda: filler)

    return op.build(sizes, body)


def _wrapped(op: Op, i: Scalar, size: Scalar, before: Scalar, after: Scalar) -> Scalar:
    """The place that an element is taken from where a dimension goes round, what negative ends cut off left out."""
    cut, rest = op.apply("min", before, 0), op.apply("min", after, 0)
    return (i - op.apply("max", before, 0)) % (size + cut + rest) - cut


def _source(op: Op, i: Scalar, size: Scalar, how: str) -> Scalar:
    """The place that an element outside of a dimension is taken from."""
    match how:
        case "reflect":
            back = op.apply("abs", i)
            return (size - 1) - op.apply("abs", (size - 1) - back)
        case "replicate":
            return op.apply("clamp", i, 0, size - 1)
        case _:
            return i
