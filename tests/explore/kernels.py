"""Kernels that the pages of these tests are about."""

import math

import torch

import ksc as knossos


@knossos.elementwise
def relu3(x: float) -> float:
    if x < 0.0:
        return 0.0
    elif x < 1.0:
        return 1 / 3 * x**3
    else:
        return x - 2 / 3


@knossos.register
def sqrl(x: torch.Tensor):
    """Squared leaky ReLU of a small block."""
    y = torch.sum(x)
    if y < 0.0:
        t = -0.125 * x
    else:
        t = 1 / 2 * x**2
    return torch.mean(torch.sin(t) * t)


def halve(x: torch.Tensor) -> torch.Tensor:
    return x / 2


@knossos.register
def with_helper(x: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        total += torch.sum(torch.exp(halve(x[i])))
    return total


@knossos.elementwise
def root(x: float) -> float:
    return math.sqrt(x)


@knossos.elementwise
def below(x: float) -> float:
    assert x < 1.0, "too large"
    return x
