"""A hanging cloth that finds its shape by physics, and the wind that makes it hang as wanted, found by gradients.

The cloth is a grid of masses joined by springs; its two upper corners are held. The simulation (semi-implicit Euler)
runs many time steps, and the derivative goes through all of them.
"""

import torch

import ksc as knossos

STIFFNESS = 200.0
DAMPING = 0.5
GRAVITY = 9.81
STEP = 0.004


def spring(a: torch.Tensor, b: torch.Tensor, rest: float):
    """The force on the mass at ``a`` by a spring of length ``rest`` to the mass at ``b``; (3,) each."""
    along = b - a
    length = torch.sqrt(torch.dot(along, along))
    return STIFFNESS * (length - rest) / length * along


@knossos.register
def rollout(wind: torch.Tensor, cloth: torch.Tensor, steps: int):
    """Where the masses are after ``steps`` time steps.

    Args:
        wind: (3,) the force on each mass.
        cloth: (rows, columns, 3) positions at rest; the first row's corners are held.
        steps: how many time steps to take.
    """
    rows = cloth.shape[0]
    columns = cloth.shape[1]
    rest = 1.0 / (columns - 1)
    position = cloth.clone()
    velocity = torch.zeros_like(position)
    for _ in range(steps):
        force = torch.zeros_like(position)
        for i in range(rows):
            for j in range(columns):
                if i + 1 < rows:
                    pull = spring(position[i, j], position[i + 1, j], rest)
                    force[i, j] += pull
                    force[i + 1, j] -= pull
                if j + 1 < columns:
                    pull = spring(position[i, j], position[i, j + 1], rest)
                    force[i, j] += pull
                    force[i, j + 1] -= pull
                force[i, j] += wind - DAMPING * velocity[i, j]
                force[i, j, 2] -= GRAVITY * rest
        velocity += STEP / rest * force
        velocity[0, 0] = 0.0
        velocity[0, columns - 1] = 0.0
        position += STEP * velocity
    return position


def flat_cloth(rows: int, columns: int) -> torch.Tensor:
    """A cloth of width 1 in the plane y = 0, not yet hanging through."""
    x = torch.linspace(0.0, 1.0, columns, dtype=torch.float64).expand(rows, columns)
    z = -torch.arange(rows, dtype=torch.float64)[:, None].expand(rows, columns) / (columns - 1)
    return torch.stack([x, torch.zeros_like(x), z], dim=2)


def find_wind(
    target: torch.Tensor, cloth: torch.Tensor, steps: int, rounds: int = 30
) -> tuple[torch.Tensor, list[float]]:
    """The wind that blows the cloth to ``target``, by gradient descent with PyTorch's optimiser, and the losses."""
    wind = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([wind], max_iter=rounds, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        error = (rollout(wind, cloth, steps) - target).square().mean()
        error.backward()
        losses.append(error.item())
        return error

    optimiser.step(loss)
    return wind.detach(), losses


def main() -> None:
    """Blow a cloth to one side, and find the wind that did it."""
    cloth, steps = flat_cloth(5, 6), 250
    blown = rollout(torch.tensor([0.3, 0.8, 0.1], dtype=torch.float64), cloth, steps)
    wind, losses = find_wind(blown, cloth, steps)
    print(f"loss {losses[0]:.2e} -> {losses[-1]:.2e} after {len(losses)} rollouts of {steps} steps; wind {wind}")


if __name__ == "__main__":
    main()
