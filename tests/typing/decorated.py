"""What mypy --strict understands of decorated functions; `make typecheck` reads it, nothing runs it."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor

import ksc as knossos


@knossos.elementwise
def relu3(x: float) -> float:
    return x**3 if x > 0 else 0.0


@knossos.vmap
def polar(x: float, y: float) -> tuple[float, float]:
    return x * x + y * y, x / y


@knossos.vmap(in_dims=(0, None))
def scaled(x: Tensor, s: float) -> Tensor:
    return x * s


@knossos.register
def weighted(x: Tensor, weight: float, power: int = 2) -> Tensor:
    return weight * x**power


@knossos.register()
def both(x: Tensor) -> tuple[Tensor, Tensor]:
    return x, x.sum()


xs = torch.rand(3)

assert_type(relu3(xs), Tensor)
assert_type(relu3(0.5), float)
assert_type(polar(xs, 2.0), tuple[Tensor, ...])
assert_type(scaled(xs, 2.0), Tensor)
assert_type(weighted(xs, 2.0), Tensor)
assert_type(weighted(xs, weight=2.0, power=3), Tensor)
assert_type(both(xs), tuple[Tensor, Tensor])
assert_type(knossos.grad(weighted), knossos.Kernel)

weighted(xs, "2")  # type: ignore[arg-type]
weighted(xs)  # type: ignore[call-arg]
weighted(xs, 2.0, weigth=3)  # type: ignore[call-arg]
relu3("2")  # type: ignore[call-overload]
