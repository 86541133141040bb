"""A hand that is bent and moved until it meets the points that a camera saw: the errors, and all their derivatives.

The problem is that of the ADBench suite (Srajer, Kukelova, Fitzgibbon, 2018): a skeleton of 22 bones poses a mesh by
linear blend skinning. Each point seen belongs to a vertex of the mesh, or to a place on a triangle that may slide.

    python hand.py INSTANCE                    errors and derivatives of an instance of ADBench, timed
    python hand.py --generate COUNT FOLDER     a synthetic model, and two instances with COUNT points
    python hand.py                             the same in a temporary folder, timed
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

import ksc as knossos

sys.path.append(str(Path(__file__).resolve().parents[1] / "adbench"))
from problem import Problem

Theta = Annotated[Tensor, (26,)]
"""Rotation (3) and position (3) of the hand, and four angles for each of five fingers."""


@dataclass
class Model:
    """A mesh over a skeleton, at rest.

    Attributes:
        parents: (bones,) the parent of each bone, which comes before it; -1 for a root.
        relatives: (bones, 4, 4) from a bone's frame to its parent's.
        inverse_absolutes: (bones, 4, 4) from the hand's frame to the bone's.
        vertices: (vertices, 3).
        first: (vertices + 1,) where the influences on each vertex begin.
        bones, weights: (influences,) which bone moves the vertex, and how much.
        triangles: (triangles, 3) vertices.
    """

    parents: Annotated[Tensor, ("bones",), torch.int64]
    relatives: Annotated[Tensor, ("bones", 4, 4)]
    inverse_absolutes: Annotated[Tensor, ("bones", 4, 4)]
    vertices: Annotated[Tensor, ("vertices", 3)]
    first: Tensor
    bones: Annotated[Tensor, ("influences",), torch.int64]
    weights: Annotated[Tensor, ("influences",)]
    triangles: Annotated[Tensor, ("triangles", 3), torch.int64]


def euler_rotation(x: float, z: float, y: float):
    """The rotation Rz Ry Rx, (3, 3)."""
    cx, sx = math.cos(x), math.sin(x)
    cy, sy = math.cos(y), math.sin(y)
    cz, sz = math.cos(z), math.sin(z)
    about_x = torch.tensor([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]])
    about_y = torch.tensor([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    about_z = torch.tensor([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]])
    return about_z @ about_y @ about_x


def axis_angle_rotation(r: Tensor):
    """The rotation about the axis r by the angle |r|, (3, 3)."""
    angle = torch.linalg.norm(r)
    if angle < 1e-4:
        return torch.eye(3)
    x, y, z = r / angle
    sine, cosine = torch.sin(angle), torch.cos(angle)
    cross = torch.stack([0.0 * x, -z, y, z, 0.0 * x, -x, -y, x, 0.0 * x]).reshape(3, 3)
    return torch.eye(3) + sine * cross + (1.0 - cosine) * (cross @ cross)


def finger_angles(theta: Tensor, bones: int):
    """The angles of each bone about its axes x, z and y: (bones, 3)."""
    angles = torch.zeros(bones, 3)
    for finger in range(5):
        bend, spread, middle, tip = theta[6 + 4 * finger : 10 + 4 * finger]
        angles[2 + 4 * finger, 0] = bend
        angles[2 + 4 * finger, 1] = spread
        angles[3 + 4 * finger, 0] = middle
        angles[4 + 4 * finger, 0] = tip
    return angles


def bone_transforms(theta: Tensor, model: Model):
    """How each bone moves what is around it: (bones, 4, 4)."""
    bones = model.parents.shape[0]
    angles = finger_angles(theta, bones)
    absolutes = torch.zeros(bones, 4, 4)
    transforms = torch.zeros(bones, 4, 4)
    for b in range(bones):
        local = model.relatives[b].clone()
        local[:, :3] = model.relatives[b][:, :3] @ euler_rotation(angles[b, 0], angles[b, 1], angles[b, 2])
        if model.parents[b] < 0:
            absolutes[b] = local
        else:
            absolutes[b] = absolutes[model.parents[b]] @ local
        transforms[b] = absolutes[b] @ model.inverse_absolutes[b]
    return transforms


def posed_vertices(theta: Tensor, model: Model):
    """The mesh with its fingers bent, turned and moved: (vertices, 3)."""
    transforms = bone_transforms(theta, model)
    rotation = axis_angle_rotation(theta[0:3])
    posed = torch.zeros_like(model.vertices)
    for j in range(model.vertices.shape[0]):
        blended = torch.zeros(3)
        for e in range(model.first[j], model.first[j + 1]):
            transform = transforms[model.bones[e]]
            blended += model.weights[e] * (transform[:3, :3] @ model.vertices[j] + transform[:3, 3])
        posed[j] = rotation @ blended + theta[3:6]
    return posed


Points = Annotated[Tensor, ("count", 3)]
Which = Annotated[Tensor, ("count",), torch.int64]
Places = Annotated[Tensor, ("count", 2)]


@knossos.register
def vertex_errors(theta: Theta, model: Model, which: Which, points: Points):
    """From the vertex ``which[i]`` to the point i: (count, 3)."""
    return points - posed_vertices(theta, model)[which]


@knossos.register
def surface_errors(theta: Theta, u: Places, model: Model, which: Which, points: Points):
    """From a place on the triangle ``which[i]``, of barycentric coordinates ``u[i]``, to the point i: (count, 3)."""
    posed = posed_vertices(theta, model)
    errors = torch.zeros_like(points)
    for i in range(points.shape[0]):
        a, b, c = model.triangles[which[i]]
        place = u[i, 0] * posed[a] + u[i, 1] * posed[b] + (1.0 - u[i, 0] - u[i, 1]) * posed[c]
        errors[i] = points[i] - place
    return errors


vertex_jacobian = knossos.jacobian(vertex_errors, argnums="theta")
surface_jacobian = knossos.jacobian(surface_errors, argnums="theta")
sliding_blocks = knossos.jacobian(surface_errors, argnums="u", sparse="blocks")

Vertices = tuple[Tensor, Model, Tensor, Tensor]
"""The arguments of ``vertex_errors``."""

Surface = tuple[Tensor, Tensor, Model, Tensor, Tensor]
"""The arguments of ``surface_errors``."""


def read_model(folder: Path) -> Model:
    """Read the bones, the vertices with their influences, and the triangles of a model."""

    def table(name: str) -> list[list[str]]:
        return [line.split(":") for line in (folder / name).read_text().split()]

    def floats(rows: list[list[str]]) -> Tensor:
        return torch.tensor([[float(word) for word in row] for row in rows], dtype=torch.float64)

    bones, vertices, triangles = table("bones.txt"), table("vertices.txt"), table("triangles.txt")
    influences = [row[9 : 9 + 2 * int(row[8])] for row in vertices]
    return Model(
        parents=torch.tensor([int(row[1]) for row in bones]),
        relatives=floats([row[2:18] for row in bones]).reshape(-1, 4, 4),
        inverse_absolutes=floats([row[18:34] for row in bones]).reshape(-1, 4, 4),
        vertices=floats([row[:3] for row in vertices]),
        first=torch.tensor([0] + [len(row) // 2 for row in influences]).cumsum(0),
        bones=torch.tensor([int(word) for row in influences for word in row[::2]]),
        weights=torch.tensor([float(word) for row in influences for word in row[1::2]], dtype=torch.float64),
        triangles=torch.tensor([[int(word) for word in row] for row in triangles]),
    )


def read(path: str | Path) -> Vertices | Surface:
    """Read an instance: for each point its vertex or triangle and its place, u of all where they slide, theta."""
    count, parameters, *numbers = (float(word) for word in Path(path).read_text().split())
    rows = torch.tensor(numbers, dtype=torch.float64)
    seen, rest = rows[: 4 * int(count)].reshape(-1, 4), rows[4 * int(count) :]
    which, points = seen[:, 0].long(), seen[:, 1:].contiguous()
    theta = rest[-int(parameters) :].contiguous()
    model = read_model(Path(path).parent / "model")
    if len(rest) == parameters:
        return theta, model, which, points
    return theta, rest[: -int(parameters)].reshape(-1, 2), model, which, points


def generate(count: int, folder: str | Path, vertices: int = 200, seed: int = 0) -> tuple[Path, Path]:
    """Write a model with five straight fingers, and an instance of each kind; their paths."""
    random = torch.Generator().manual_seed(seed)
    folder = Path(folder)
    (folder / "model").mkdir(parents=True, exist_ok=True)

    def number(least: float = -1.0, most: float = 1.0) -> float:
        return least + (most - least) * torch.rand((), dtype=torch.float64, generator=random).item()

    def integer(limit: int) -> int:
        return int(torch.randint(limit, (), generator=random))

    def frame(x: float, y: float) -> list[float]:
        return [1.0, 0.0, 0.0, x, 0.0, 1.0, 0.0, y, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]

    bones, places = [["wrist", -1, *frame(0.0, 0.0), *frame(0.0, 0.0)]], [(0.0, 0.0)]
    for finger in range(5):
        for joint in range(4):
            parent = 0 if joint == 0 else len(bones) - 1
            step = (0.2 * (finger - 2), 0.5) if joint == 0 else (0.0, 0.2)
            place = (places[parent][0] + step[0], places[parent][1] + step[1])
            bones.append([f"finger{finger}{joint}", parent, *frame(*step), *frame(-place[0], -place[1])])
            places.append(place)
    bones.append(["palm", 0, *frame(0.0, 0.2), *frame(0.0, -0.2)])
    places.append((0.0, 0.2))
    mesh = []
    for _ in range(vertices):
        bone, weight = integer(len(bones)), number(0.5, 1.0)
        x, y = places[bone]
        position = [x + 0.1 * number(), y + 0.1 * number(), 0.1 * number()]
        mesh.append([*position, *[0] * 5, 2, bone, weight, max(bone - 1, 0), 1.0 - weight])
    triangles = [[integer(vertices) for _ in range(3)] for _ in range(2 * vertices)]
    for name, rows in (("bones", bones), ("vertices", mesh), ("triangles", triangles)):
        lines = [":".join(map(str, row)) for row in rows]
        (folder / "model" / f"{name}.txt").write_text("\n".join([*lines, ""]))

    def seen(limit: int) -> list[list[float]]:
        return [[integer(limit), number(), number(), number()] for _ in range(count)]

    places_on = [[u, number(0.0, 1.0 - u)] for u in (number(0.0, 1.0) for _ in range(count))]
    theta = [[number()] for _ in range(26)]
    paths = folder / "vertices.txt", folder / "surface.txt"
    for path, rows in zip(paths, ([*seen(vertices)], [*seen(len(triangles)), *places_on]), strict=True):
        lines = [" ".join(map(str, row)) for row in [[count, 26], *rows, *theta]]
        path.write_text("\n".join([*lines, ""]))
    return paths


def derivatives(args: Vertices | Surface) -> tuple[Tensor, ...]:
    """All derivatives of the errors: the blocks (count, 3, 2) by each point's u where it slides, (count, 3, 26)."""
    if len(args) == 4:
        return (vertex_jacobian(*args),)
    return sliding_blocks(*args), surface_jacobian(*args)


def objective(args: Vertices | Surface) -> Tensor:
    """The errors of an instance: (count, 3)."""
    return vertex_errors(*args) if len(args) == 4 else surface_errors(*args)


def evaluate(path: str | Path) -> tuple[Tensor, Tensor]:
    """The errors of an instance, and their derivatives column by column: those by each point's own u come first."""
    args = read(path)
    columns = torch.cat([table.flatten(0, 1) for table in derivatives(args)], dim=1)
    return objective(args).flatten(), columns.T.flatten()


main = Problem(
    about=__doc__,
    sizes=("COUNT",),
    example=(20,),
    read=read,
    generate=generate,
    objective=objective,
    derivative=derivatives,
    summary=lambda errors: f"root mean square distance {errors.square().sum(1).mean().sqrt().item():.6f}",
).main

if __name__ == "__main__":
    main(sys.argv[1:])
