"""Sums and means that leave NaN out, covariances and correlations."""

from __future__ import annotations

import torch
from torch import Tensor

from ksc.ops.library.tensors.forms import require


def nansum(
    input: Tensor,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The sum of the elements that are not NaN."""
    kept = torch.where(torch.isnan(input), 0.0, input) if input.is_floating_point() else input
    return torch.sum(kept, dim, keepdim, dtype=dtype)


def nanmean(
    input: Tensor,
    dim: int | tuple[int, ...] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The mean of the elements that are not NaN."""
    require(input.is_floating_point(), "nanmean() of integers", "convert them, as in `x * 1.0`")
    count = torch.sum(~torch.isnan(input), dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


def weights_of(fweights: Tensor | None, aweights: Tensor | None) -> Tensor | None:
    """How much each observation counts, None where all count alike."""
    for weights in (fweights, aweights):
        if weights is not None:
            require(weights.dim() == 1, "weights that are no vector", "give one number for each observation")
            assert torch.all(weights >= 0), "a weight of an observation is negative"
    if fweights is None:
        return aweights
    return fweights if aweights is None else fweights * aweights


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables, the rows, of which each column is an observation."""
    require(input.dim() <= 2, "cov() of more than two dimensions", "give a matrix, a row for each variable")
    require(input.dtype != torch.bool, "cov() of truth values", "convert them, as in `x * 1.0`")
    require(
        fweights is None or not fweights.is_floating_point(), "fweights that are no integers", "give them as aweights"
    )
    require(aweights is None or aweights.is_floating_point(), "aweights that are no floats", "give them as fweights")
    rows = input if input.dim() == 2 else input.reshape(1, -1)
    weights = weights_of(fweights, aweights)
    if weights is None:
        total = rows.new_full((), rows.shape[1]) * 1.0
        freedom = total - correction
        centred = rows - torch.sum(rows, 1, keepdim=True) / total
        scaled = centred
    else:
        assert weights.shape[0] == rows.shape[1], "there is not one weight for each observation"
        total = torch.sum(weights) * 1.0
        centred = rows - torch.sum(rows * weights, 1, keepdim=True) / total
        scaled = centred * weights
        freedom = total - correction
        if aweights is not None and correction != 0:
            freedom = total - correction * torch.sum(weights * aweights) / total
    return torch.squeeze(scaled @ centred.mT / torch.clamp(freedom, min=0.0))


def corrcoef(input: Tensor) -> Tensor:
    """The correlations of variables, the rows, of which each column is an observation."""
    covariance = cov(input)
    if covariance.dim() == 0:
        return covariance / covariance
    deviation = torch.sqrt(torch.diag(covariance))
    return torch.clamp(covariance / deviation[:, None] / deviation[None, :], -1.0, 1.0)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of the products along a dimension."""
    require(x.dtype == y.dtype, "vecdot() of tensors of different dtypes", "convert one of them")
    return torch.sum(x * y, dim)


def frobenius_norm(input: Tensor, dim: int | tuple[int, ...] = (), keepdim: bool = False) -> Tensor:
    """The root of the sum of the squares."""
    norm: Tensor = torch.linalg.vector_norm(input, 2, dim, keepdim)
    return norm
