"""Derivatives of what goes down columns go through matrices row by row, in their sums and in what they add."""

import re

import pytest
import torch
from torch import Tensor

import ksc as knossos


def batch_norm(x: Tensor, g: Tensor, b: Tensor):
    """The variance has a choice that all columns share: whether there are rows."""
    return (x - x.mean(0)) / torch.sqrt(x.var(0, unbiased=False) + 1e-5) * g + b


def cosines(x: Tensor, y: Tensor):
    return (x * y).sum(0) / (x.norm(dim=0) * y.norm(dim=0))


def largest(x: Tensor, y: Tensor):
    return (x.amax(0) * y).sin()


CASES = {
    "batch_norm": (batch_norm, [(23, 19), (19,), (19,)]),
    "cosines": (cosines, [(23, 19), (23, 19)]),
    "largest": (largest, [(23, 19), (19,)]),
}


@pytest.mark.parametrize("name", CASES)
def test_matrices_are_gone_through_row_by_row(name):
    fn, sizes = CASES[name]
    kernel = knossos.register(fn)
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(size, dtype=torch.float64, generator=generator).requires_grad_() for size in sizes]
    results = kernel(*leaves), fn(*leaves)
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
    seed = torch.randn(results[0].shape, dtype=torch.float64, generator=generator)
    for got, want in zip(*(torch.autograd.grad(y, leaves, seed) for y in results), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10)
    for line in kernel._latest.source("b", torch.float64).text.splitlines():
        assert not re.search(r"\b\w+\(i_2, i\)", line)
