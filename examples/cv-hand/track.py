"""Tracking a hand: the pose in which its vertices meet the points that a camera saw.

The Jacobian of all errors by the 26 numbers of the pose is one kernel; what is left to do is a small linear system.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hand import Model, generate, read_model, vertex_errors, vertex_jacobian
from torch import Tensor


def synthetic(count: int = 100) -> tuple[Model, Tensor, Tensor]:
    """A hand, which of its vertices were seen, and the pose (26,) they were seen in: a little turned, fingers bent."""
    with TemporaryDirectory() as folder:
        generate(count, folder)
        model = read_model(Path(folder) / "model")
    pose = torch.zeros(26, dtype=torch.float64)
    pose[:6] = torch.tensor([0.2, 0.3, -0.3, 0.1, 0.2, 0.0])
    for finger in range(5):
        pose[6 + 4 * finger : 10 + 4 * finger] = torch.tensor([0.5, 0.1 * (finger - 2), 0.6, 0.4]) * (
            0.4 + 0.2 * finger
        )
    return model, torch.arange(count), pose


def seen_in(pose: Tensor, model: Model, which: Tensor) -> Tensor:
    """Where the vertices ``which`` are in a pose: (count, 3)."""
    return -vertex_errors(pose, model, which, torch.zeros(len(which), 3, dtype=torch.float64))


def joints(pose: Tensor, model: Model) -> Tensor:
    """Where the joints are in a pose, (bones, 3): those of vertices that a single bone moves."""
    bones = torch.arange(len(model.parents))
    only = replace(
        model,
        vertices=-model.inverse_absolutes[:, :3, 3].contiguous(),
        first=torch.arange(len(bones) + 1),
        bones=bones,
        weights=torch.ones(len(bones), dtype=torch.float64),
    )
    return seen_in(pose, only, bones)


def track(model: Model, which: Tensor, points: Tensor, rounds: int = 20) -> tuple[Tensor, list[float]]:
    """The pose that brings the vertices to the points, and the root mean square distance before each round and at last.

    Gauss-Newton steps, damped after Levenberg and Marquardt, from the hand at rest.
    """
    pose, damping = torch.zeros(26, dtype=torch.float64), 1e-3
    # The problem takes a rotation by less than 1e-4 for none, so at zero it would never begin to turn.
    pose[:3] = 0.01
    errors = vertex_errors(pose, model, which, points)
    distances = [_distance(errors)]
    for _ in range(rounds):
        jacobian = vertex_jacobian(pose, model, which, points).flatten(0, 1)
        step = torch.linalg.solve(
            jacobian.T @ jacobian + damping * torch.eye(26, dtype=torch.float64), jacobian.T @ errors.flatten()
        )
        moved = vertex_errors(pose - step, model, which, points)
        if _distance(moved) < distances[-1]:
            pose, errors, damping = pose - step, moved, damping / 5.0
            distances.append(_distance(errors))
        else:
            damping *= 5.0
        if distances[-1] < 1e-9:
            break
    return pose, distances


def _distance(errors: Tensor) -> float:
    return errors.square().sum(dim=1).mean().sqrt().item()


def main() -> None:
    """Track a hand whose pose is known."""
    model, which, pose = synthetic()
    found, distances = track(model, which, seen_in(pose, model, which))
    print("distance", " ".join(f"{distance:.1e}" for distance in distances))
    print(f"angles and position are off by {(found - pose).abs().max():.1e} at most")


if __name__ == "__main__":
    main()
