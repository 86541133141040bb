"""Images at other resolutions: the nearest pixel, or a weighted sum of neighbours.

A dimension is resampled by itself: an index of the result gives some indices of the input and their weights. Where
these lie is what torch computes, see ATen/native/UpSample.h; the place of a nearest pixel is computed in the width of
the kernel, where torch uses float32 even beside float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.pooling import adaptive_mean
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import FALSE, NONE, TRUE, Static, Value, is_none

CUBIC = -0.75
"""The parameter of torch's cubic convolution: Keys, Cubic convolution interpolation for digital image processing."""
Taps = Sequence[tuple[Scalar, Scalar]]
"""Indices of the input with their weights."""
LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}
MODES = ("nearest", "nearest-exact", *LINEAR, "bicubic", "area")
MOST_EXACT = 1 << 20
"""The largest numerator of a factor that sizes below 2**33 are multiplied by exactly."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """A dimension of ``size`` elements that becomes one of ``count``.

    Attributes:
        ratio: the elements of the input for one of the result, as torch computes it; None where corners are aligned.
    """

    op: Op
    size: Scalar
    count: Scalar
    ratio: Scalar | None

    def place(self, i: Scalar, *, clamped: bool) -> Scalar:
        """Where the centre of an element of the result lies in the input, at least 0 where ``clamped``."""
        if self.ratio is None:
            gaps = self.op.apply("max", self.count - 1, 1)
            return i.float * ((self.size - 1).float / gaps.float)
        at = self.ratio * (i.float + 0.5) - 0.5
        return self.op.apply("max", at, 0.0) if clamped else at

    def nearest(self, i: Scalar, *, exact: bool) -> Taps:
        """The one element that is taken."""
        assert self.ratio is not None
        at = self.ratio * (i.float + 0.5 if exact else i.float)
        return [(self.op.apply("min", _floor(self.op, at), self.size - 1), self.op.number(1.0))]

    def linear(self, i: Scalar) -> Taps:
        """The two elements around a place; an equal number of elements is taken as it is."""
        op = self.op
        at = self.size.eq(self.count).select(i.float, self.place(i, clamped=True))
        first = op.apply("min", _floor(op, at), self.size - 1)
        second = op.apply("min", first + 1, self.size - 1)
        weight = op.apply("min", op.apply("max", at - first.float, 0.0), 1.0)
        return [(first, op.number(1.0) - weight), (second, weight)]

    def cubic(self, i: Scalar) -> Taps:
        """The four elements around a place, those at the ends standing for what lies beyond."""
        op = self.op
        at = self.place(i, clamped=False)
        first = _floor(op, at)
        weights = cubic_weights(op, at - first.float)
        return [(op.apply("clamp", first + k - 1, 0, self.size - 1), weight) for k, weight in enumerate(weights)]


def _floor(op: Op, x: Scalar) -> Scalar:
    return op.apply("to_int", op.apply("floor", x))


def cubic_weights(op: Op, t: Scalar) -> list[Scalar]:
    """The weights of the elements at -1, 0, 1 and 2 for the place ``t`` between 0 and 1."""

    def near(x: Scalar) -> Scalar:
        return (x * (CUBIC + 2) - (CUBIC + 3)) * x * x + 1.0

    def far(x: Scalar) -> Scalar:
        return ((x * CUBIC - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC

    back = op.number(1.0) - t
    return [far(t + 1.0), near(t), near(back), far(back + 1.0)]


def weighted(op: Op, taps: Sequence[Taps], element: Callable[[list[Scalar]], Scalar]) -> Scalar:
    """The sum over all combinations of an element of each dimension, times their weights."""
    total: Scalar | None = None
    for corner in product(*taps):
        term = element([at for at, _ in corner])
        for _, weight in corner:
            term = term if weight.known == 1.0 else term * weight
        total = term if total is None else total + term
    assert total is not None
    return total


def resampled(op: Op, x: Tensor, dims: Sequence[Resampled], taps: Callable[[Resampled, Scalar], Taps]) -> Tensor:
    """The tensor with its last dimensions resampled."""
    n = len(dims)

    def body(index: list[Scalar]) -> Scalar:
        outer = index[:-n]
        found = [taps(dim, i) for dim, i in zip(dims, index[-n:], strict=True)]
        return weighted(op, found, lambda at: x[[*outer, *at]])

    return op.build([*x.sizes[:-n], *(dim.count for dim in dims)], body)


def _factors(op: Op, scale_factor: Value, n: int) -> list[float]:
    """The scale factors, known at compile time: one, or one for each dimension."""
    given = op.static(scale_factor, "scale_factor")
    factors = [float(factor) for factor in (given if isinstance(given, tuple | list) else [given] * n)]
    if len(factors) != n:
        op.refuse(f"needs {n} numbers as scale_factor, not {len(factors)}", f"give {n}")
    if not all(factor > 0 and math.isfinite(factor) for factor in factors):
        op.refuse(f"with scale_factor={given!r}", "use numbers above 0")
    return factors


def _scaled(op: Op, size: Scalar, factor: float) -> Scalar:
    """The size times a factor, rounded down, as torch does it in float64."""
    if size.known is not None:
        return op.number(math.floor(float(size.known) * factor))
    numerator, denominator = factor.as_integer_ratio()
    if numerator > MOST_EXACT:
        reason = f"of a size that is not known, times {factor}, depends on how the product is rounded"
        op.refuse(reason, "give size, annotate the sizes, or use a factor such as 0.5 or 1.25")
    return size * numerator // denominator


def _ratio(op: Op, size: Scalar, count: Scalar, factor: float | None) -> Scalar:
    return op.number(1.0 / factor) if factor is not None else size.float / count.float


@torch_function("F.interpolate", "F.upsample")
def interpolate(
    op: Op,
    input: Value,
    size: Value = NONE,
    scale_factor: Value = NONE,
    mode: Value = Static("nearest"),
    align_corners: Value = NONE,
    recompute_scale_factor: Value = NONE,
    antialias: Value = FALSE,
) -> Value:
    """The tensor with other sizes in all but the first two dimensions."""
    x = op.float_tensor(input)
    how, n = op.choice(mode, "mode", MODES), x.rank - 2
    _require_mode(op, how, n, align_corners)
    if op.flag(antialias, "antialias"):
        op.refuse("with antialias=True", "filter the input before")
    recompute = op.static(recompute_scale_factor, "recompute_scale_factor")
    inputs = x.sizes[2:]
    factors: list[float] | list[None] = [None] * n
    if is_none(size) == is_none(scale_factor):
        op.refuse("needs one of size and scale_factor", "give either of them")
    if is_none(size):
        known = _factors(op, scale_factor, n)
        counts = [_scaled(op, extent, factor) for extent, factor in zip(inputs, known, strict=True)]
        if not recompute and how != "area":
            factors = known
    else:
        if recompute:
            op.refuse("with size and recompute_scale_factor", "leave recompute_scale_factor out")
        counts = op.integers(size, "size", count=n)
    if how == "area":
        return op.result(adaptive_mean(op, x, counts))
    for extent in (*inputs, *counts):
        op.require(extent > 0, "interpolate(): a size is zero")
    aligned = not is_none(align_corners) and op.flag(align_corners, "align_corners")
    dims = [
        Resampled(op, extent, count, None if aligned else _ratio(op, extent, count, factor))
        for extent, count, factor in zip(inputs, counts, factors, strict=True)
    ]
    return op.result(resampled(op, x, dims, _taps(how)))


def _require_mode(op: Op, how: str, n: int, align_corners: Value) -> None:
    """Refuse a mode for another number of dimensions, and corners where there is nothing to align."""
    wanted = LINEAR.get(how, 2) if how in (*LINEAR, "bicubic") else n
    if n not in (1, 2, 3) or n != wanted:
        needed = f"{wanted + 2}" if 1 <= wanted <= 3 else "3 to 5"
        op.refuse(f"with mode={how!r} needs {needed} dimensions, not {n + 2}", "add dimensions, or use another mode")
    if how in ("nearest", "nearest-exact", "area") and not is_none(align_corners):
        op.refuse(f"with mode={how!r} has no corners to align", "leave align_corners out")


def _taps(how: str) -> Callable[[Resampled, Scalar], Taps]:
    if how.startswith("nearest"):
        return lambda dim, i: dim.nearest(i, exact=how == "nearest-exact")
    return Resampled.cubic if how == "bicubic" else Resampled.linear


@torch_function("F.upsample_nearest")
def upsample_nearest(op: Op, input: Value, size: Value = NONE, scale_factor: Value = NONE) -> Value:
    """``interpolate`` with the nearest pixel."""
    return interpolate(op, input, size, scale_factor)


@torch_function("F.upsample_bilinear")
def upsample_bilinear(op: Op, input: Value, size: Value = NONE, scale_factor: Value = NONE) -> Value:
    """``interpolate`` with two or four neighbours for each dimension, corners aligned."""
    return interpolate(op, input, size, scale_factor, Static("bilinear"), TRUE)
