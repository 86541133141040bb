"""What is called on a GPU, and on what takes its place."""

from __future__ import annotations

import torch

import ksc as knossos


@knossos.vmap
def relu3(x: float) -> float:
    if x < 0.0:
        return 0.0
    return 1 / 3 * x**3 if x < 1.0 else x - 2 / 3


@knossos.elementwise
def mixed(x: float, y: float, a: float) -> tuple[float, float]:
    return a * x * y, x - a * y * y


@knossos.elementwise
def divided(a: int, b: int) -> int:
    return a // b


@knossos.vmap
def normalised(x: torch.Tensor):
    return x / torch.sqrt(torch.sum(x * x) + 1.0)


@knossos.register
def picked(x: torch.Tensor, at: torch.Tensor):
    return x[at] * 2.0


@knossos.register
def smoothed(x: torch.Tensor, n: int):
    """Needs memory for each of the steps in reverse."""
    u = x
    for _ in range(n):
        u = u + 0.25 * torch.sin(u)
    return u


@knossos.register
def halved_until(x: torch.Tensor):
    """How often is known to the device alone, and so is how much memory it takes."""
    u = x
    while torch.sum(u * u) > 1.0:
        u = 0.5 * u
    return u


@knossos.register
def filled(n: int) -> torch.Tensor:
    return torch.ones(n)


@knossos.register
def layered(x: torch.Tensor, w1: torch.Tensor, b1: torch.Tensor, w2: torch.Tensor, scale: float):
    """Two products with a kernel after each."""
    h = torch.relu(x @ w1 + b1)
    return torch.tanh(h @ w2) * scale


@knossos.register
def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor):
    """Several products of matrices at a time."""
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


@knossos.register
def multiplied(a: torch.Tensor, b: torch.Tensor):
    """A product alone."""
    return a @ b


@knossos.register
def required(a: torch.Tensor, b: torch.Tensor, n: int, s: float):
    """A product, if numbers are as they are to be."""
    assert n > 2
    assert s > 0.0
    return a @ b
