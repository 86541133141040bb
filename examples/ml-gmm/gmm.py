"""A Gaussian mixture: its log posterior as one kernel, fitted to points by the kernel's gradient.

The objective is that of the ADBench suite (Srajer, Kukelova, Fitzgibbon, 2018): each component has a weight, a mean,
and the inverse square root Q of its covariance, a lower triangular matrix with exp(q) on its diagonal, under a Wishart
prior.
"""

import math

import torch
from torch import Tensor

import ksc as knossos


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


def sample(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """``n`` points in the plane from three components, and the means of these."""
    random = torch.Generator().manual_seed(seed)
    means = torch.tensor([[-3.0, 0.0], [3.0, 1.0], [0.0, 4.0]], dtype=torch.float64)
    spread = torch.tensor([[1.0, 0.3], [0.5, 0.5], [0.4, 1.2]], dtype=torch.float64)
    which = torch.randint(3, (n,), generator=random)
    noise = torch.randn(n, 2, dtype=torch.float64, generator=random)
    return means[which] + spread[which] * noise, means


def far_apart(x: Tensor, count: int) -> Tensor:
    """``count`` of the points: the first, then each time the one that is farthest from those chosen."""
    chosen = x[:1]
    for _ in range(count - 1):
        farthest = torch.cdist(x, chosen).min(dim=1).values.argmax()
        chosen = torch.cat([chosen, x[farthest][None]])
    return chosen


def fit(x: Tensor, components: int, *, rounds: int = 60) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    """Weights' logarithms, means and icf of a mixture fitted to ``x``, and the objective of each evaluation."""
    d = x.shape[1]
    alphas = torch.zeros(components, dtype=x.dtype, requires_grad=True)
    means = far_apart(x, components).requires_grad_()
    icf = torch.zeros(components, d * (d + 1) // 2, dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([alphas, means, icf], max_iter=rounds, line_search_fn="strong_wolfe")
    history: list[float] = []

    def loss() -> Tensor:
        optimiser.zero_grad()
        objective = -gmm_objective(alphas, means, icf, x, 1e-3, 0)
        objective.backward()
        history.append(-objective.item())
        return objective

    optimiser.step(loss)
    return alphas.detach(), means.detach(), icf.detach(), history


def main() -> None:
    """Fit three components to points drawn from three."""
    x, means = sample(300)
    _, fitted, _, history = fit(x, 3)
    print(f"log posterior {history[0]:.1f} -> {history[-1]:.1f} after {len(history)} evaluations")
    print("means of the sample's components\n", means)
    print("means found\n", fitted)


if __name__ == "__main__":
    main()
