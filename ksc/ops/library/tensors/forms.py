"""Functions that the library needs beside those of torch: here as torch code, in kernels by a rule of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def shift(input: Tensor, dim: int) -> Tensor:
    """The largest element along a dimension, kept, or 0 if that is infinite; it has no derivative."""
    largest = input.detach().amax(dim, keepdim=True)
    return largest.where(largest.isfinite(), largest.new_zeros(()))


def each_of(function: Callable[..., T], *matrices: Tensor) -> T:
    """``each_matrix`` of matrices of any sizes; the sizes of the results follow from those of the first one."""
    return each_matrix(function, *matrices)


def smaller(m: int, n: int) -> int:
    """The smaller size of a matrix."""
    return min(m, n)


def sized(input: Tensor, *sizes: int) -> Tensor:
    """A tensor of which the sizes are known to be these."""
    return input.reshape(sizes)


def each_matrix(function: Callable[..., T], *matrices: Tensor) -> T:
    """``function`` of the matrices in the last two dimensions, for each index into the others, which are broadcast."""
    batch = sum((matrix[..., 0, 0] for matrix in matrices), torch.zeros(())).shape
    spread = [matrix.expand(batch + matrix.shape[-2:]).reshape((-1, *matrix.shape[-2:])) for matrix in matrices]
    made = [function(*parts) for parts in zip(*spread, strict=True)]
    if isinstance(made[0], Tensor):
        return torch.stack(made).reshape(batch + made[0].shape)  # type: ignore[arg-type, return-value]
    columns = [torch.stack([torch.as_tensor(part) for part in column]) for column in zip(*made, strict=True)]
    return tuple(column.reshape(batch + column.shape[1:]) for column in columns)  # type: ignore[return-value]


def require(condition: bool, reason: str, instead: str) -> None:
    """Turn the call down where something that is known at compile time does not hold."""
    if not condition:
        raise ValueError(f"{reason}: {instead}")
