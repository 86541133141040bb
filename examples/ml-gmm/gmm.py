"""A Gaussian mixture: its log posterior as one kernel, and the gradient.

The objective is that of the ADBench suite (Srajer, Kukelova, Fitzgibbon, 2018): each component has a weight, a mean,
and the inverse square root Q of its covariance, a lower triangular matrix with exp(q) on its diagonal, under a Wishart
prior.

    python gmm.py INSTANCE                   objective and gradient of an instance of ADBench, timed
    python gmm.py --generate N D K PATH      a synthetic instance: N points in D dimensions, K components
    python gmm.py                            a small synthetic instance, timed
"""

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

import ksc as knossos

sys.path.append(str(Path(__file__).resolve().parents[1] / "adbench"))
from problem import Problem


def squared_distance(q: Tensor, lower: Tensor, v: Tensor):
    """|Q v|^2 for Q with the diagonal exp(q) and the strict lower triangle ``lower``, packed by column."""
    d = v.shape[0]
    total = 0.0
    for i in range(d):
        r = torch.exp(q[i]) * v[i]
        for j in range(i):
            r += lower[j * (2 * d - j - 1) // 2 + i - j - 1] * v[j]
        total += r * r
    return total


def log_wishart_prior(icf: Tensor, d: int, gamma: float, m: int):
    """The log density of all components under a Wishart prior of scale ``gamma``, ``m`` extra degrees of freedom."""
    freedom = d + m + 1
    constant = freedom * d * (math.log(gamma) - 0.5 * math.log(2.0)) - log_multigamma(0.5 * freedom, d)
    total = 0.0
    for k in range(icf.shape[0]):
        q = icf[k, :d]
        lower = icf[k, d:]
        squares = torch.sum(torch.exp(q) ** 2) + torch.sum(lower**2)
        total += 0.5 * gamma * gamma * squares - m * torch.sum(q) - constant
    return total


def log_multigamma(a: float, d: int) -> float:
    """The logarithm of the multivariate gamma function of dimension ``d``."""
    total = 0.25 * d * (d - 1) * math.log(math.pi)
    for j in range(d):
        total += math.lgamma(a - 0.5 * j)
    return total


@knossos.register
def gmm_objective(alphas: Tensor, means: Tensor, icf: Tensor, x: Tensor, gamma: float, m: int):
    """The log posterior of a mixture.

    Args:
        alphas: (K,) logarithms of the weights, up to a constant.
        means: (K, d).
        icf: (K, d (d + 1) / 2): q, then the strict lower triangle of Q packed by column.
        x: (n, d) the points.
        gamma, m: parameters of the Wishart prior.
    """
    n, d = x.shape
    components = alphas.shape[0]
    total = 0.0
    for i in range(n):
        terms = torch.zeros(components)
        for k in range(components):
            q = icf[k, :d]
            distance = squared_distance(q, icf[k, d:], x[i] - means[k])
            terms[k] = alphas[k] + torch.sum(q) - 0.5 * distance
        total += torch.logsumexp(terms, 0)
    total = total - n * torch.logsumexp(alphas, 0) - 0.5 * n * d * math.log(2.0 * math.pi)
    return total + log_wishart_prior(icf, d, gamma, m)


gradient = knossos.value_and_grad(gmm_objective, argnums=("alphas", "means", "icf"))

Instance = tuple[Tensor, Tensor, Tensor, Tensor, float, int]
"""The arguments of ``gmm_objective``."""


def read(path: str | Path) -> Instance:
    """Read an instance: the sizes d, K and n, then alphas, means, icf and points, a line each, then gamma and m."""
    numbers = torch.tensor([float(word) for word in Path(path).read_text().split()], dtype=torch.float64)
    d, components, n = (int(size) for size in numbers[:3])
    counts = [components, components * d, components * d * (d + 1) // 2, n * d, 2]
    alphas, means, icf, x, wishart = numbers[3:].split(counts)
    gamma, m = wishart.tolist()
    return alphas, means.reshape(components, d), icf.reshape(components, -1), x.reshape(n, d), gamma, int(m)


def generate(n: int, d: int, components: int, path: str | Path, seed: int = 0) -> tuple[Path]:
    """Write an instance with parameters and points drawn at random; its path."""
    path = Path(path)
    random = torch.Generator().manual_seed(seed)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, dtype=torch.float64, generator=random)

    tables = [normal(components, 1), normal(components, d), normal(components, d * (d + 1) // 2), normal(n, d)]
    lines = [f"{d} {components} {n}"]
    lines += [" ".join(map(repr, row)) for table in tables for row in table.tolist()]
    path.write_text("\n".join([*lines, "1.0 0", ""]))
    return (path,)


def evaluate(path: str | Path) -> tuple[Tensor, Tensor]:
    """The objective of an instance, (1,), and its gradient by alphas, means and icf, one after the other."""
    value, bars = gradient(*read(path))
    return value.reshape(1), torch.cat([bar.flatten() for bar in bars])


main = Problem(
    about=__doc__,
    sizes=("N", "D", "K"),
    example=(100, 2, 5),
    read=read,
    generate=generate,
    objective=lambda instance: gmm_objective(*instance),
    derivative=lambda instance: gradient(*instance),
    summary=lambda value: f"log posterior {value.item():.6f}",
).main

if __name__ == "__main__":
    # Components far from a point have weights below 2^-1022, on which processors are a hundred times slower.
    torch.set_flush_denormal(True)
    main(sys.argv[1:])
