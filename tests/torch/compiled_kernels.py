"""Kernels made by the compiler itself, plugged into the same tests as those written by hand."""

from __future__ import annotations

import math

import torch

import ksc as knossos


@knossos.vmap
def relu3(x: float) -> float:
    """Like ReLU, but smoother. Like GELU, but cheaper."""
    if x < 0.0:
        return 0.0
    elif x < 1.0:
        return 1 / 3 * x**3
    else:
        return x - 2 / 3


@knossos.elementwise
def pair(a: float, b: float) -> tuple[float, float]:
    return a * b, a / b + math.sin(a)


@knossos.vmap
def vsqrl(x: torch.Tensor):
    """Squared leaky ReLU of each block of a batch, typically 4x4."""
    y = torch.sum(x)
    if y < 0.0:
        t = -0.125 * x
    else:
        t = 1 / 2 * x**2
    return torch.mean(torch.sin(t) * t)


@knossos.vmap
def coupled(a: torch.Tensor, b: torch.Tensor):
    """A tensor and a number from two tensors of equal shape."""
    s = torch.sum(a * b)
    return torch.sin(a) * s + b, s / (1.0 + torch.mean(b * b))
