"""JAX as a peer of ``ksc.bench.gpu``, where it is installed and sees a GPU."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

CALLS = 10
"""So many calls are under way when they are waited for, so that what the host does beside them takes no time."""


@dataclass(frozen=True, slots=True)
class JaxCall:
    """A call of a compiled function of JAX, which has a stream of its own, and so is timed by the host."""

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def __call__(self) -> Any:
        return self.function(*self.args)

    def milliseconds(self, runs: int) -> float:
        """The least time of a call over some runs of ``CALLS``."""
        import jax  # type: ignore[import-not-found, unused-ignore]

        best = float("inf")
        for _ in range(runs + 1):
            jax.block_until_ready(self())
            began = time.perf_counter()
            jax.block_until_ready([self() for _ in range(CALLS)])
            best = min(best, (time.perf_counter() - began) / CALLS)
        return 1e3 * best


def sees_a_gpu() -> bool:
    """Whether there is a JAX with a GPU; it is asked to leave memory to PyTorch."""
    if importlib.util.find_spec("jax") is None:
        return False
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    return bool(jax.default_backend() == "gpu")


def forward(function: Callable[..., Any], *args: torch.Tensor) -> JaxCall:
    """The function itself."""
    import jax

    return JaxCall(jax.jit(function), tuple(map(_array, args)))


def backward(function: Callable[..., Any], x: torch.Tensor) -> JaxCall:
    """The backward pass; what it needs of the forward pass is kept, or computed again, as JAX likes."""
    import jax

    array = _array(x)
    value, pull = jax.vjp(jax.jit(function), array)
    return JaxCall(jax.jit(pull), (jax.numpy.ones_like(value),))


def mixture(*args: torch.Tensor) -> JaxCall:
    """The gradient of ``ksc.bench.gpu.gmm_by_hand`` by weights, means and factors."""
    import jax

    return JaxCall(jax.jit(jax.grad(gmm_by_hand, argnums=(0, 1, 2))), tuple(map(_array, args)))


def gmm_by_hand(alphas: Any, means: Any, icf: Any, x: Any) -> Any:
    """The same steps as in PyTorch, part by part of the points; the number of points is a multiple of the parts'."""
    import jax
    from jax import numpy

    d = x.shape[1]
    q, packed = icf[:, :d], icf[:, d:]
    rows, columns = numpy.tril_indices(d, -1)
    places = columns * (2 * d - columns - 1) // 2 + rows - columns - 1
    factors = jax.vmap(numpy.diag)(numpy.exp(q)).at[:, rows, columns].set(packed[:, places])
    centres = numpy.einsum("kij,kj->ki", factors, means)

    def of_part(part: Any) -> Any:
        moved = numpy.einsum("kij,nj->nki", factors, part, precision="highest") - centres
        terms = alphas + q.sum(1) - 0.5 * numpy.square(moved).sum(2)
        return jax.scipy.special.logsumexp(terms, 1).sum()

    parts = x.reshape(_parts(x.shape[0]), -1, d)
    total = jax.lax.map(jax.checkpoint(of_part), parts).sum()
    return total - x.shape[0] * jax.scipy.special.logsumexp(alphas)


def _parts(points: int) -> int:
    """Into how many parts of at most 2^14 points, all alike, so many are divided."""
    parts = -(-points >> 14) if points > 0 else 1
    while points % parts:
        parts += 1
    return parts


def _array(tensor: torch.Tensor) -> Any:
    from jax import numpy

    return numpy.from_dlpack(tensor.detach().contiguous())
