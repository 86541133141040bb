"""sqrl: a squared leaky ReLU of a small block, as capsule networks apply to every 4x4 pose.

The branch depends on the data, so ``torch.func.vmap`` and JAX refuse it; here it stays a branch, block by block.
"""

import torch

import ksc as knossos


# DOC-KS
@knossos.register
def sqrl(x: torch.Tensor):
    """Squared leaky ReLU of a small block, typically 4x4."""
    y = torch.sum(x)
    if y < 0.0:
        t = -0.125 * x
    else:
        t = 1 / 2 * x**2
    return torch.mean(torch.sin(t) * t)


# ENDDOC-KS

# DOC-KSV
vsqrl = knossos.vmap(sqrl)
# ENDDOC-KSV


# DOC-PTREF
def vsqrl_pt(x: torch.Tensor) -> torch.Tensor:
    """The same for a batch of blocks, vectorised by hand: both sides for all blocks, then a choice."""
    y = torch.sum(x, (1, 2), keepdim=True)
    t = torch.where(y < 0.0, -0.125 * x, 1 / 2 * x**2)
    return torch.mean(torch.sin(t) * t, (1, 2))


# ENDDOC-PTREF


def vsqrl_lane(x: torch.Tensor) -> torch.Tensor:
    """One block as ``torch.func.vmap`` takes it, which refuses to branch."""
    y = torch.sum(x)
    t = torch.where(y < 0.0, -0.125 * x, 1 / 2 * x**2)
    return torch.mean(torch.sin(t) * t)


sqrl_pt = vsqrl_lane


def vsqrl_jax(x):
    """The same in JAX, on one of its arrays, vectorised by hand."""
    from jax import numpy

    y = numpy.sum(x, (1, 2), keepdims=True)
    t = numpy.where(y < 0.0, -0.125 * x, 1 / 2 * x**2)
    return numpy.mean(numpy.sin(t) * t, (1, 2))


def sqrl_bench_configs():
    """One block."""
    yield torch.randn(4, 4)


def vsqrl_bench_configs():
    """A batch that caches hold, and one that is worth two threads; see docs/Benchmarking.md."""
    for blocks in (1_000, 100_000):
        yield torch.randn(blocks, 4, 4)


def main() -> None:
    """Print the values of a few blocks beside PyTorch's, and the derivative of one."""
    blocks = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(0))
    print("vsqrl(blocks)  ", vsqrl(blocks))
    print("torch          ", vsqrl_pt(blocks))
    print("derivative of the first block")
    print(sqrl.grad(blocks[0]))


if __name__ == "__main__":
    main()
