"""The function forms: ``grad``, ``value_and_grad``, ``vjp``, ``jvp`` and ``gradcheck``, which nest to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ksc.decorators import register
from ksc.errors import ArgumentError
from ksc.frontend.derived import made_of_constants
from ksc.kernel import Kernel

Function = Callable[..., Any]


def as_kernel(f: Function) -> Kernel:
    """``f`` if it is a kernel, else the kernel that ``register`` makes of it."""
    return f if isinstance(f, Kernel) else register(f)


@made_of_constants
def grad(f: Function, argnums: int | tuple[int, ...] = 0) -> Kernel:
    """The kernel of the gradient of ``f``, which gives one float, with respect to ``argnums``.

    Where ``f`` maps over tensors this is the derivative at each lane.
    Raises DifferentiationError, on the first call, where there is no such gradient.
    """
    return as_kernel(f).gradient(argnums)


@made_of_constants
def value_and_grad(f: Function, argnums: int | tuple[int, ...] = 0) -> Kernel:
    """The kernel of the pair of result and gradient, see ``grad``."""
    return as_kernel(f).gradient(argnums, with_value=True)


def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[..., tuple[Any, ...]]]:
    """The results of ``f`` and its pullback, as ``torch.func.vjp`` gives them.

    Returns:
        The results, and a function that takes a cotangent for each float result and gives a tuple with a
        cotangent for each of ``primals``, None for one that is no float.
    """
    kernel = as_kernel(f)

    def pullback(*cotangents: Any) -> tuple[Any, ...]:
        bars = kernel.vjp(*primals, *cotangents)
        return (bars,) if len(primals) == 1 else tuple(bars)

    return kernel(*primals), pullback


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The results of ``f`` and their tangents, as ``torch.func.jvp`` gives them.

    ``tangents`` has one entry for each of ``primals``; that of an argument that is no float is None.
    Raises ArgumentError where the two do not correspond.
    """
    if len(primals) != len(tangents):
        raise ArgumentError(f"{len(primals)} primals and {len(tangents)} tangents do not correspond")
    kernel = as_kernel(f)
    return kernel(*primals), kernel.jvp(*primals, *tangents)


def gradcheck(f: Function, inputs: Sequence[Any], **options: Any) -> bool:
    """Check both derivatives of ``f`` against finite differences, by ``torch.autograd.gradcheck``, in float64.

    Args:
        f: a function or kernel.
        inputs: tensors and numbers; floats are taken as float64.
        options: as for ``torch.autograd.gradcheck``; ``check_forward_ad`` is on unless given.

    Raises:
        torch.autograd.gradcheck.GradcheckError: a derivative is wrong, unless ``raise_exception=False``.
    """
    options.setdefault("check_forward_ad", True)
    return bool(torch.autograd.gradcheck(as_kernel(f), tuple(_checkable(value) for value in inputs), **options))


def _checkable(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.detach().double().requires_grad_()
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64, requires_grad=True)
    return value
