"""relu3: an activation function that is written once, for one number, and used on tensors."""

import torch

import ksc as knossos


# DOC-KS
def relu3(x: float) -> float:
    """Like ReLU, but smoother. Like GELU, but cheaper."""
    if x < 0.0:
        return 0.0
    elif x < 1.0:
        return 1 / 3 * x**3
    else:
        return x - 2 / 3


# ENDDOC-KS

# DOC-KSV
vrelu3 = knossos.vmap(relu3)
# ENDDOC-KSV


# DOC-PTREF
def relu3_pt(x: torch.Tensor) -> torch.Tensor:
    """What one writes without Knossos: each side computed for each element, then one of them selected."""
    return torch.where(x < 0.0, torch.zeros_like(x), torch.where(x < 1.0, 1 / 3 * x**3, x - 2 / 3))


# ENDDOC-PTREF


def relu3_lane(x: torch.Tensor) -> torch.Tensor:
    """One number as ``torch.func.vmap`` takes it, which refuses to branch."""
    return torch.where(x < 0.0, 0.0, torch.where(x < 1.0, 1 / 3 * x**3, x - 2 / 3))


def relu3_jax(x):
    """The same in JAX, on one of its arrays."""
    from jax import numpy

    return numpy.where(x < 0.0, 0.0, numpy.where(x < 1.0, 1 / 3 * x**3, x - 2 / 3))


def relu3_warp(x: float):
    """One number as NVIDIA Warp takes it, which does not mix whole numbers with others."""
    if x < 0.0:
        return 0.0
    if x < 1.0:
        return x * x * x / 3.0
    return x - 2.0 / 3.0


def relu3_bench_configs():
    """Numbers on all three pieces, a handful of them and more than caches hold; see docs/Benchmarking.md."""
    for size in (16, 255 * 255, 2**20, 2**24):
        yield torch.randn(size)


def main() -> None:
    """Print the value and the derivative of a few elements, and the C++ that computed them."""
    x = torch.linspace(-1.0, 2.0, steps=7)
    print("x          ", x)
    print("relu3(x)   ", vrelu3(x))
    print("derivative ", vrelu3.vjp(x, torch.ones_like(x)))
    print(vrelu3.cpp)


if __name__ == "__main__":
    main()
