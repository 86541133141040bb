"""Two smooth relatives of ReLU, each written for one number: silu, also called swish, and softplus."""

import math

import torch

import ksc as knossos


def silu(x: float) -> float:
    """The input, weighted by its logistic sigmoid."""
    return x * torch.sigmoid(x)


def softplus(x: float) -> float:
    """The logarithm of 1 + e^x, without overflow for large x."""
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


vsilu = knossos.vmap(silu)
vsoftplus = knossos.vmap(softplus)


def silu_pt(x: torch.Tensor) -> torch.Tensor:
    """The same definition, one whole tensor at a time."""
    return x * torch.sigmoid(x)


def softplus_pt(x: torch.Tensor) -> torch.Tensor:
    """The same definition, one whole tensor at a time."""
    return torch.log1p(torch.exp(-torch.abs(x))) + torch.clamp(x, min=0.0)


silu_pt_builtin = torch.nn.functional.silu
softplus_pt_builtin = torch.nn.functional.softplus


def silu_jax(x):
    """The same in JAX, on one of its arrays."""
    from jax.nn import sigmoid

    return x * sigmoid(x)


def softplus_jax(x):
    """The same in JAX, on one of its arrays."""
    from jax import numpy

    return numpy.log1p(numpy.exp(-numpy.abs(x))) + numpy.maximum(x, 0.0)


def silu_bench_configs():
    """As many numbers as in the other activations; see docs/Benchmarking.md."""
    for size in (16, 255 * 255, 2**20, 2**24):
        yield torch.randn(size)


def softplus_bench_configs():
    """The same, none of which is zero: there the definition's derivative is not that of softplus."""
    for x in silu_bench_configs():
        yield x.where(x != 0.0, 1.0)


def main() -> None:
    """Print both, and their derivatives, beside PyTorch's own."""
    x = torch.linspace(-3.0, 3.0, steps=7)
    print("x           ", x)
    for name, kernel, builtin in (("silu", vsilu, silu_pt_builtin), ("softplus", vsoftplus, softplus_pt_builtin)):
        print(f"{name:12}", kernel(x))
        print("torch       ", builtin(x))
        print("derivative  ", kernel.vjp(x, torch.ones_like(x)))


if __name__ == "__main__":
    main()
