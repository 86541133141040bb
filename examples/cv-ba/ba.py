"""Bundle adjustment: the errors of cameras that see points, and the nonzeros of their sparse Jacobian.

The problem is that of the ADBench suite (Srajer, Kukelova, Fitzgibbon, 2018). Each observation has two rows of the
Jacobian, with 11 nonzeros for its camera, 3 for its point and 1 for its weight; each weight has an error of its own.

    python ba.py INSTANCE                   errors and Jacobian of an instance of ADBench, timed
    python ba.py --generate N M P PATH      a synthetic instance: N cameras, M points, P observations
    python ba.py                            a small synthetic instance, timed
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

import ksc as knossos

sys.path.append(str(Path(__file__).resolve().parents[1] / "adbench"))
from problem import Problem

Camera = Annotated[Tensor, (11,)]
Point = Annotated[Tensor, (3,)]
Feature = Annotated[Tensor, (2,)]
Cameras = Annotated[Tensor, ("n", 11)]
Points = Annotated[Tensor, ("m", 3)]
Weights = Annotated[Tensor, ("p",)]
Which = Annotated[Tensor, ("p",), torch.int64]
Features = Annotated[Tensor, ("p", 2)]


def rotate(r: Point, x: Point):
    """The point x rotated about the axis r by the angle |r|, by Rodrigues' formula; (3,) each."""
    square = torch.dot(r, r)
    if square > 0.0:
        angle = torch.sqrt(square)
        axis = r / angle
        cosine = torch.cos(angle)
        return (
            x * cosine + torch.linalg.cross(axis, x) * torch.sin(angle) + axis * (torch.dot(axis, x) * (1.0 - cosine))
        )
    return x + torch.linalg.cross(r, x)


def project(camera: Camera, point: Point):
    """Where a camera sees a point: (2,).

    Args:
        camera: (11,) rotation (3), centre (3), focal length, principal point (2), radial distortion (2).
        point: (3,).
    """
    y = rotate(camera[0:3], point - camera[3:6])
    a = y[:2] / y[2]
    square = torch.dot(a, a)
    distortion = 1.0 + camera[9] * square + camera[10] * square * square
    return camera[6] * distortion * a + camera[7:9]


@knossos.register
def reprojection_error(camera: Camera, point: Point, weight: float, feature: Feature):
    """How far, in weighted pixels, a point appears from where it was seen: (2,)."""
    return weight * (project(camera, point) - feature)


block_of = knossos.jacobian(reprojection_error, argnums=("camera", "point", "weight"))


@knossos.register
def errors(cameras: Cameras, points: Points, weights: Weights, camera_of: Which, point_of: Which, features: Features):
    """The reprojection errors (p, 2) and the weights' errors (p,) of p observations.

    Args:
        cameras: (n, 11), see ``project``.
        points: (m, 3).
        weights: (p,).
        camera_of, point_of: (p,) which camera saw which point.
        features: (p, 2) where.
    """
    p = weights.shape[0]
    reprojections = torch.zeros(p, 2)
    for i in range(p):
        reprojections[i] = reprojection_error(cameras[camera_of[i]], points[point_of[i]], weights[i], features[i])
    return reprojections, 1.0 - weights**2


@knossos.register
def nonzeros(cameras: Cameras, points: Points, weights: Weights, camera_of: Which, point_of: Which, features: Features):
    """The nonzeros of the Jacobian by rows: (p, 2, 15), by camera, point and weight, and (p,) by the weight alone."""
    p = weights.shape[0]
    blocks = torch.zeros(p, 2, 15)
    for i in range(p):
        by_camera, by_point, by_weight = block_of(cameras[camera_of[i]], points[point_of[i]], weights[i], features[i])
        blocks[i, :, 0:11] = by_camera
        blocks[i, :, 11:14] = by_point
        blocks[i, :, 14] = by_weight
    return blocks, -2.0 * weights


Instance = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""The arguments of ``errors``."""


def read(path: str | Path) -> Instance:
    """Read an instance: the sizes n, m and p, then one camera, point, weight and feature, which stand for all."""
    numbers = torch.tensor([float(word) for word in Path(path).read_text().split()], dtype=torch.float64)
    n, m, p = (int(size) for size in numbers[:3])
    camera, point, weight, feature = numbers[3:].split([11, 3, 1, 2])
    which = torch.arange(p)
    return camera.repeat(n, 1), point.repeat(m, 1), weight.repeat(p), which % n, which % m, feature.repeat(p, 1)


def generate(n: int, m: int, p: int, path: str | Path, seed: int = 0) -> tuple[Path]:
    """Write an instance with a camera, a point, a weight and a feature drawn at random; its path."""
    path = Path(path)
    random = torch.Generator().manual_seed(seed)

    def normal(count: int) -> Tensor:
        return torch.randn(count, dtype=torch.float64, generator=random)

    camera = torch.cat([normal(3), 10.0 * normal(3), 500.0 + 100.0 * normal(1), 5.0 * normal(2), 0.05 * normal(2)])
    lines = [camera, normal(3), torch.rand(1, dtype=torch.float64, generator=random), 100.0 * normal(2)]
    text = [f"{n} {m} {p}", *(" ".join(map(repr, line.tolist())) for line in lines), ""]
    path.write_text("\n".join(text))
    return (path,)


def evaluate(path: str | Path) -> tuple[Tensor, Tensor]:
    """The errors of an instance, (3p,), and the nonzeros of their Jacobian row by row, (31p,)."""
    args = read(path)
    return _flat(errors(*args)), _flat(nonzeros(*args))


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


main = Problem(
    about=__doc__,
    sizes=("N", "M", "P"),
    example=(3, 10, 20),
    read=read,
    generate=generate,
    objective=lambda instance: errors(*instance),
    derivative=lambda instance: nonzeros(*instance),
    summary=lambda found: f"half the sum of squared errors {0.5 * found[0].square().sum().item():.6g}",
).main

if __name__ == "__main__":
    main(sys.argv[1:])
