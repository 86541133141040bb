"""Functions that the library needs beside those of torch: here as torch code, in kernels by a rule of their own."""

from __future__ import annotations

from torch import Tensor


def shift(input: Tensor, dim: int) -> Tensor:
    """About the largest element along a dimension, kept; rounded, so that it has no derivative, and 0 if infinite."""
    largest = input.amax(dim, keepdim=True).floor()
    return largest.where(largest.isfinite(), largest.new_zeros(()))
