"""A Gaussian mixture fitted to points by the gradient of its log posterior."""

import torch
from gmm import gmm_objective
from torch import Tensor


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
