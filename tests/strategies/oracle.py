"""What a function of floats is and how it changes: by Python itself, by torch, and by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from tests.strategies.programs import RandomProgram

Vector = np.ndarray[Any, np.dtype[np.float64]]


def flat(result: Any) -> list[Any]:
    """The numbers of a result, depth first."""
    return [leaf for part in result for leaf in flat(part)] if isinstance(result, tuple) else [result]


def is_float(value: Any) -> bool:
    return isinstance(value, float)


class Derivatives:
    """Values, Jacobian and the Hessian of ⟨w, f⟩ at a point, all by torch.autograd.

    ``jacobian[r, k]`` belongs to the ``r``-th Float result and the ``k``-th float argument.
    """

    def __init__(self, fn: Callable[..., Any], program: RandomProgram, point: Sequence[Any], weights: Vector) -> None:
        args: list[Any] = list(point)
        inputs = [torch.tensor(args[k], dtype=torch.float64, requires_grad=True) for k in program.floats]
        for k, leaf in zip(program.floats, inputs, strict=True):
            args[k] = leaf
        self.results = flat(fn(*args))
        self.values = [r.item() if isinstance(r, torch.Tensor) else r for r in self.results]
        smooth = [
            (torch.as_tensor(result, dtype=torch.float64), weight)
            for result, weight in zip(
                (r for r, v in zip(self.results, self.values, strict=True) if is_float(v)), weights, strict=False
            )
        ]
        self.jacobian = np.array([_gradient(result, inputs) for result, _ in smooth]).reshape(-1, len(inputs))
        total = sum((result * weight for result, weight in smooth), torch.zeros((), dtype=torch.float64))
        self.hessian = np.array(_hessian(total, inputs))


def _gradient(result: torch.Tensor, inputs: list[torch.Tensor]) -> list[float]:
    if not result.requires_grad:
        return [0.0] * len(inputs)
    found = torch.autograd.grad(result, inputs, retain_graph=True, allow_unused=True)
    return [0.0 if g is None else g.item() for g in found]


def _hessian(total: torch.Tensor, inputs: list[torch.Tensor]) -> list[list[float]]:
    if not total.requires_grad:
        return [[0.0] * len(inputs) for _ in inputs]
    found = torch.autograd.grad(total, inputs, create_graph=True, allow_unused=True)
    return [[0.0] * len(inputs) if g is None else _gradient(g, inputs) for g in found]


def central_difference(fn: Callable[[float], Vector], step: float = 1e-3) -> Vector | None:
    """The derivative of ``fn`` at 0 by central differences with Richardson extrapolation.

    None where the estimates from two step sizes disagree: a kink or a jump lies within the step, or the function bends
    too much for differences to tell.
    """

    def slope(h: float) -> Vector:
        return (fn(h) - fn(-h)) / (2.0 * h)

    wide, middle, narrow = slope(step), slope(step / 2.0), slope(step / 4.0)
    coarse, fine = (4.0 * middle - wide) / 3.0, (4.0 * narrow - middle) / 3.0
    scale = 1.0 + np.abs(fine)
    if not np.all(np.abs(coarse - fine) <= 1e-7 * scale):
        return None
    return (16.0 * fine - coarse) / 15.0
