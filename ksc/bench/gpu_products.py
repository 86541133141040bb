"""What ``ksc.bench.gpu`` times of products of matrices: functions that are kernels as well as PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """Of two matrices."""
    return a @ b


def tall(a: Tensor, b: Tensor) -> Tensor:
    """Of two matrices with many rows, as the gradient of a weight is."""
    return a.T @ b


def batch(a: Tensor, b: Tensor) -> Tensor:
    """Of many pairs of matrices."""
    return torch.bmm(a, b)


def layer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Of a network."""
    return torch.tanh(torch.nn.functional.linear(x, w, b))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Of one head."""
    return torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v


CASES: tuple[tuple[str, Callable[..., Tensor], torch.dtype, tuple[tuple[int, ...], ...]], ...] = (
    ("a @ b 256", product, torch.float32, ((256, 256), (256, 256))),
    ("a @ b 1024", product, torch.float32, ((1024, 1024), (1024, 1024))),
    ("a @ b 4096", product, torch.float32, ((4096, 4096), (4096, 4096))),
    ("a @ b 4096 float64", product, torch.float64, ((4096, 4096), (4096, 4096))),
    ("a.T @ b 2^20 x 64", tall, torch.float32, ((1 << 20, 64), (1 << 20, 64))),
    ("bmm 4096 x 64 x 64", batch, torch.float32, ((4096, 64, 64), (4096, 64, 64))),
    ("layer 4096 x 1024", layer, torch.float32, ((4096, 1024), (1024, 1024), (1024,))),
    ("attention 1024 x 64", attention, torch.float32, ((1024, 64), (1024, 64), (1024, 64))),
)
"""Names, functions, dtypes, and shapes of arguments."""
