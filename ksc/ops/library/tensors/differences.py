"""Differences of neighbours, and integrals of samples by the rule of trapezoids."""

from __future__ import annotations

import torch
from torch import Tensor

from ksc.ops.library.tensors.forms import require


def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The differences of neighbours along a dimension, taken ``n`` times; of truth values whether they differ."""
    require(input.dim() > 0, "diff() of a tensor of rank 0", "give it a dimension")
    require(n >= 0, "diff() of an order below 0", "give an order of 0 or more")
    if n == 0:
        return input.clone()
    parts = [part for part in (prepend, input, append) if part is not None]
    result = torch.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(n):
        rows = result.movedim(dim, -1)
        if input.dtype == torch.bool:
            result = (rows[..., 1:] != rows[..., :-1]).movedim(-1, dim)
        else:
            result = (rows[..., 1:] - rows[..., :-1]).movedim(-1, dim)
    return result


def gaps(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """The widths of the intervals between the places ``x`` of the samples ``y``, along the last dimension."""
    if x.dim() == 1:
        assert x.shape[0] == y.shape[dim], "x and the dimension of y have different sizes"
        return x[1:] - x[:-1]
    wide = x[(None,) * (y.dim() - x.dim()) + (...,)]
    places = wide.movedim(dim, -1)
    return places[..., 1:] - places[..., :-1]


def panels(y: Tensor, x: Tensor | None, dx: float, dim: int) -> Tensor:
    """The areas between neighbouring samples, along the last dimension."""
    require(y.dtype != torch.bool, "the integral of truth values", "convert them, as in `y * 1.0`")
    rows = y.movedim(dim, -1)
    sums = rows[..., 1:] + rows[..., :-1]
    if x is None:
        return sums * (dx / 2.0)
    require(x.dtype != torch.bool, "places that are truth values", "convert them, as in `x * 1.0`")
    return sums * gaps(x, y, dim) / 2.0


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The integral of samples along a dimension, ``dx`` apart or at the places ``x``."""
    return torch.sum(panels(y, x, dx, dim), -1)


def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float = 1.0, dim: int = -1) -> Tensor:
    """The integrals of samples up to each but the first."""
    return torch.cumsum(panels(y, x, dx, dim), -1).movedim(-1, dim)
