"""gelu: the Gaussian error linear unit, from its definition."""

import math

import torch

import ksc as knossos


# DOC-KS
def gelu(x: float) -> float:
    """The input, weighted by the share of a normal distribution that lies below it."""
    return 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0)))


# ENDDOC-KS

# DOC-KSV
vgelu = knossos.vmap(gelu)
# ENDDOC-KSV


# DOC-PTREF
def gelu_pt(x: torch.Tensor) -> torch.Tensor:
    """The same definition, one whole tensor at a time."""
    return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))


# ENDDOC-PTREF


gelu_pt_builtin = torch.nn.functional.gelu


def gelu_jax(x):
    """The same in JAX, on one of its arrays."""
    from jax.scipy.special import erf

    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def gelu_bench_configs():
    """As many numbers as in the other activations; see docs/Benchmarking.md."""
    for size in (16, 255 * 255, 2**20, 2**24):
        yield torch.randn(size)


def main() -> None:
    """Print the value and the derivative of a few elements beside PyTorch's own."""
    x = torch.linspace(-3.0, 3.0, steps=7)
    print("x          ", x)
    print("gelu(x)    ", vgelu(x))
    print("torch      ", torch.nn.functional.gelu(x))
    print("derivative ", vgelu.vjp(x, torch.ones_like(x)))


if __name__ == "__main__":
    main()
