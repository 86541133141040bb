"""Bundle adjustment: where cameras stood, and what they saw, from where the points appeared in their pictures.

Each observation has one small block of the Jacobian, 2 rows by 11 camera and 3 point parameters, computed by one kernel
for all observations.
"""

from dataclasses import dataclass

import torch
from ba import reprojection_error
from torch import Tensor

import ksc as knossos

errors_of = knossos.vmap(reprojection_error)
blocks_of = knossos.vmap(knossos.jacobian(reprojection_error, argnums=(0, 1)))


@dataclass
class Scene:
    """Cameras (n, 11), points (m, 3), and for each of p observations its camera, its point and the feature (2) seen."""

    cameras: Tensor
    points: Tensor
    camera_of: Tensor
    point_of: Tensor
    features: Tensor

    def observations(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The arguments of the kernel, one of each for every observation."""
        weights = torch.ones(len(self.features), dtype=self.features.dtype)
        return self.cameras[self.camera_of], self.points[self.point_of], weights, self.features

    def cost(self) -> float:
        """Half the sum of the squared errors, in square pixels."""
        return 0.5 * errors_of(*self.observations()).square().sum().item()


def synthetic_scene(cameras: int = 5, points: int = 40, seed: int = 0) -> tuple[Scene, Scene]:
    """A scene as it is, and as it is first guessed: cameras in an arc around a cloud of points that all of them see."""
    random = torch.Generator().manual_seed(seed)

    def noise(*sizes: int) -> Tensor:
        return torch.randn(*sizes, dtype=torch.float64, generator=random)

    cloud = noise(points, 3)
    truth = torch.zeros(cameras, 11, dtype=torch.float64)
    truth[:, 1] = torch.linspace(-0.4, 0.4, cameras)
    truth[:, 3] = 10.0 * torch.sin(truth[:, 1])
    truth[:, 5] = -10.0 * torch.cos(truth[:, 1])
    truth[:, 6] = 500.0
    truth[:, 7:9] = torch.tensor([320.0, 240.0])
    truth[:, 9:11] = torch.tensor([0.05, -0.01])
    camera_of = torch.arange(cameras).repeat_interleave(points)
    point_of = torch.arange(points).repeat(cameras)
    nothing = torch.zeros(len(camera_of), 2, dtype=torch.float64)
    seen = Scene(truth, cloud, camera_of, point_of, nothing)
    seen.features = errors_of(*seen.observations())
    guess = truth.clone()
    guess[:, :3] += 0.02 * noise(cameras, 3)
    guess[:, 3:6] += 0.2 * noise(cameras, 3)
    guess[:, 6] += 10.0 * noise(cameras)
    return seen, Scene(guess, cloud + 0.1 * noise(points, 3), camera_of, point_of, seen.features)


def normal_equations(scene: Scene) -> tuple[Tensor, Tensor]:
    """J^T J and J^T e over all cameras' and points' parameters, summed up block by block."""
    errors = errors_of(*scene.observations())
    by_camera, by_point = blocks_of(*scene.observations())
    blocks = torch.cat([by_camera, by_point], dim=2)
    first_point = scene.cameras.numel()
    columns = torch.cat(
        [
            scene.camera_of[:, None] * 11 + torch.arange(11),
            first_point + scene.point_of[:, None] * 3 + torch.arange(3),
        ],
        dim=1,
    )
    size = first_point + scene.points.numel()
    hessian = torch.zeros(size, size, dtype=errors.dtype)
    rows = columns[:, :, None].expand(-1, -1, columns.shape[1])
    hessian.index_put_((rows, rows.transpose(1, 2)), blocks.transpose(1, 2) @ blocks, accumulate=True)
    gradient = torch.zeros(size, dtype=errors.dtype)
    gradient.index_put_((columns,), (blocks.transpose(1, 2) @ errors[:, :, None])[:, :, 0], accumulate=True)
    return hessian, gradient


def solve(scene: Scene, rounds: int = 30) -> tuple[Scene, list[float]]:
    """The adjusted scene and the cost of each round, by Gauss-Newton steps damped after Levenberg and Marquardt."""
    damping = 1e-3
    costs = [scene.cost()]
    for _ in range(rounds):
        hessian, gradient = normal_equations(scene)
        step = torch.linalg.solve(hessian + damping * torch.diag(hessian.diagonal() + 1e-9), gradient)
        cameras, points = step[: scene.cameras.numel()], step[scene.cameras.numel() :]
        moved = Scene(
            scene.cameras - cameras.reshape(scene.cameras.shape),
            scene.points - points.reshape(scene.points.shape),
            scene.camera_of,
            scene.point_of,
            scene.features,
        )
        cost = moved.cost()
        if cost < costs[-1]:
            scene, damping = moved, damping / 5.0
            costs.append(cost)
        else:
            damping *= 5.0
        if cost < 1e-18:
            break
    return scene, costs


def main() -> None:
    """Adjust a small synthetic scene."""
    _, guess = synthetic_scene()
    adjusted, costs = solve(guess)
    errors = errors_of(*adjusted.observations()).norm(dim=1)
    print("cost", " ".join(f"{cost:.1e}" for cost in costs))
    print(f"largest reprojection error after adjustment: {errors.max():.1e} pixels")


if __name__ == "__main__":
    main()
