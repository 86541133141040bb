"""Jacobians, Hessians and products with them, against ``torch.func``; gradients by name, of structures, of numbers."""

import math
import pickle
from dataclasses import dataclass

import pytest
import torch

import ksc as knossos
from ksc.errors import ArgumentError, DifferentiationError

DOUBLE = torch.float64
MODES = ["auto", "forward", "reverse"]


def weighted(x: torch.Tensor):
    return torch.sin(x) * torch.sum(x)


def energy(x: torch.Tensor):
    return torch.exp(torch.sum(torch.sin(x) * x))


def recurrent(a: torch.Tensor, b: torch.Tensor):
    y = a @ b
    for _ in range(3):
        y = torch.tanh(a @ y) + b
    return y


def polar(r: float, phi: float):
    return r * math.cos(phi), r * math.sin(phi)


def rand(*sizes):
    generator = torch.Generator().manual_seed(sum(sizes) + 1)
    return torch.rand(*sizes, dtype=DOUBLE, generator=generator)


@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_a_vector_function(mode):
    kernel = knossos.register(weighted)
    for n in (0, 1, 5):
        x = rand(n)
        expected = torch.func.jacfwd(weighted)(x) if n else torch.zeros(0, 0, dtype=DOUBLE)
        torch.testing.assert_close(kernel.jacobian(x, mode=mode), expected)
        torch.testing.assert_close(knossos.jacobian(weighted, mode=mode)(x), expected)


@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_several_arguments_has_result_and_argument_sizes(mode):
    a, b = rand(3, 3), rand(3)
    found = knossos.jacobian(recurrent, (1, 0), mode=mode)(a, b)
    expected = torch.func.jacrev(recurrent, (1, 0))(a, b)
    assert [part.shape for part in found] == [(3, 3), (3, 3, 3)]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (DOUBLE, 1e-12)])
def test_jacobian_in_the_dtype_of_the_call_and_of_views(dtype, tolerance):
    a, b = rand(3, 6)[:, ::2].to(dtype), rand(6)[::2].to(dtype)
    found = knossos.jacobian(recurrent)(a, b)
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.func.jacrev(recurrent)(a, b), rtol=tolerance, atol=tolerance)


def test_jacobian_of_numbers():
    r, phi = 2.0, 0.3
    (x_r, x_phi), (y_r, y_phi) = knossos.jacobian(polar, ("r", "phi"))(r, phi)
    assert (x_r, y_r) == pytest.approx((math.cos(phi), math.sin(phi)))
    assert (x_phi, y_phi) == pytest.approx((-r * math.sin(phi), r * math.cos(phi)))
    assert knossos.jacobian(polar, "r")(r, phi) == (x_r, y_r)


def test_jacobian_under_vmap_is_that_of_each_lane():
    r, phi = rand(7), rand(7)
    (x_phi, x_r), (y_phi, y_r) = knossos.vmap(polar).jacobian(r, phi, argnums=(1, 0))
    torch.testing.assert_close(x_phi, -r * torch.sin(phi))
    torch.testing.assert_close(y_phi, r * torch.cos(phi))
    torch.testing.assert_close(x_r, torch.cos(phi))
    torch.testing.assert_close(y_r, torch.sin(phi))
    rows = rand(4, 5)
    lanes = knossos.vmap(weighted).jacobian(rows)
    torch.testing.assert_close(lanes, torch.func.vmap(torch.func.jacrev(weighted))(rows))


@dataclass(frozen=True)
class Pose:
    angle: float
    name: int
    shift: tuple[float, float]


def test_jacobian_of_structures():
    def moved(pose: Pose, p: torch.Tensor):
        c = math.cos(pose.angle)
        return {"x": c * p + pose.shift[0], "name": pose.name, "y": (pose.angle * pose.shift[1],)}

    p = rand(2)
    found = knossos.jacobian(moved, (0, 1))(Pose(0.4, 3, (1.0, 2.0)), p)
    assert found["name"] is None
    pose_bar, p_bar = found["x"]
    torch.testing.assert_close(pose_bar.angle, -math.sin(0.4) * p)
    assert pose_bar.name is None
    assert [part.tolist() for part in pose_bar.shift] == [[1.0, 1.0], [0.0, 0.0]]
    torch.testing.assert_close(p_bar, math.cos(0.4) * torch.eye(2, dtype=DOUBLE))
    pose_bar, p_bar = found["y"][0]
    assert (float(pose_bar.angle), float(pose_bar.shift[1])) == (2.0, 0.4)
    assert p_bar.tolist() == [0.0, 0.0]


def test_gradient_by_name_and_of_structures():
    def loss(pose: Pose, x: torch.Tensor, scale: float):
        return scale * torch.sum(x * x) * pose.angle + pose.shift[1]

    x = rand(3)
    by_name = knossos.grad(loss, ("scale", "pose"))(Pose(0.5, 1, (2.0, 3.0)), x, 2.0)
    scale_bar, pose_bar = by_name
    total = float(torch.sum(x * x))
    assert float(scale_bar) == pytest.approx(0.5 * total)
    assert float(pose_bar.angle) == pytest.approx(2.0 * total)
    assert pose_bar.name is None
    assert [float(part) for part in pose_bar.shift] == [0.0, 1.0]
    with pytest.raises(ArgumentError, match="no argument 'weight'"):
        knossos.grad(loss, "weight")


@pytest.mark.parametrize("mode", MODES)
def test_hessian(mode):
    x = rand(4)
    torch.testing.assert_close(knossos.hessian(energy, mode=mode)(x), torch.func.hessian(energy)(x))
    kernel = knossos.register(energy)
    torch.testing.assert_close(kernel.hessian(x, mode=mode), torch.func.hessian(energy)(x))


def test_hessian_of_numbers():
    def f(x: float, y: float) -> float:
        return x * x * math.sin(y)

    ((xx, xy), (yx, yy)) = knossos.hessian(f, (0, 1))(2.0, 0.7)
    assert xx == pytest.approx(2.0 * math.sin(0.7))
    assert xy == yx == pytest.approx(4.0 * math.cos(0.7))
    assert yy == pytest.approx(-4.0 * math.sin(0.7))


def test_hvp_is_the_hessian_times_a_tangent():
    def f(a: torch.Tensor, n: int, b: torch.Tensor):
        return torch.sum(torch.sin(a) * torch.sum(b * b)) * n

    x, v = rand(4), rand(5)[1:]
    torch.testing.assert_close(knossos.hvp(energy, (x,), (v,)), torch.func.hessian(energy)(x) @ v)
    a, b, a_dot, b_dot = rand(3), rand(2), rand(3) + 1, rand(2) - 1
    found = knossos.hvp(f, (a, 3, b), (a_dot, None, b_dot))
    gradient = torch.func.grad(lambda a, b: f(a, 3, b), (0, 1))
    expected = torch.func.jvp(gradient, (a, b), (a_dot, b_dot))[1]
    assert found[1] is None
    torch.testing.assert_close((found[0], found[2]), expected)
    with pytest.raises(ArgumentError, match="do not correspond"):
        knossos.hvp(energy, (x,), ())


def test_a_jacobian_is_differentiated_again():
    def f(x: torch.Tensor):
        return torch.sin(x) * torch.sum(x)

    x = rand(3)
    second = torch.func.jacrev(torch.func.jacrev(f))(x)
    kernel = knossos.register(f)
    torch.testing.assert_close(knossos.jacobian(knossos.jacobian(kernel))(x), second)
    x.requires_grad_()
    kernel.jacobian(x).sum().backward()
    torch.testing.assert_close(x.grad, second.sum((0, 1)))


def test_nan_stays_where_it_belongs():
    x = torch.tensor([1.0, math.nan], dtype=DOUBLE)
    found = knossos.jacobian(lambda x: torch.exp(x), mode="forward")(x)
    assert torch.isnan(found).tolist()[1][1]
    assert not torch.isnan(found[0]).any()


def product(x: torch.Tensor):
    return torch.sin(x) * x


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("f, sizes", [(product, (5,)), (product, (4, 3)), (product, (0, 2)), (product, (2, 3, 2))])
def test_blocks_on_the_diagonal(f, sizes, mode):
    x = rand(*sizes)
    blocks = knossos.jacobian(f, sparse="blocks", mode=mode)(x)
    assert blocks.shape == (*sizes, *sizes[1:])
    if x.numel():
        dense = torch.func.jacrev(f)(x)
        torch.testing.assert_close(
            blocks, torch.stack([dense.select(0, i).select(x.dim() - 1, i) for i in range(len(x))])
        )
        matrix = knossos.block_csr(blocks, x.dim())
        assert matrix.layout == torch.sparse_csr
        torch.testing.assert_close(matrix.to_dense(), dense.reshape(x.numel(), x.numel()))


def test_blocks_that_the_form_does_not_show_are_refused():
    with pytest.raises(DifferentiationError, match="depends on row i"):
        knossos.jacobian(weighted, sparse="blocks")(rand(3))
    with pytest.raises(DifferentiationError, match="depends on row i"):
        knossos.jacobian(lambda x: torch.flip(x, (0,)) * 2.0, sparse="blocks")(rand(3))
    with pytest.raises(ArgumentError, match="not known"):
        knossos.jacobian(product, sparse="coo")


def test_what_has_no_jacobian():
    with pytest.raises(DifferentiationError, match="no float"):
        knossos.jacobian(lambda n: n + 1)(3)
    with pytest.raises(DifferentiationError, match="holds no float"):
        knossos.jacobian(polar_count, 1)(1.0, 2)
    with pytest.raises(DifferentiationError, match="twice"):
        knossos.jacobian(polar, (0, 0))(1.0, 2.0)


def polar_count(r: float, n: int) -> float:
    return r * float(n)


@knossos.register
def cube(x: float) -> float:
    return x**3


def test_derivatives_are_kernels():
    kernel = knossos.jacobian(cube)
    assert kernel is knossos.jacobian(cube)
    assert "jacobian of cube" in repr(kernel)
    again = pickle.loads(pickle.dumps(kernel))
    assert again(2.0) == 12.0
    assert pickle.loads(pickle.dumps(cube.hessian))(2.0) == 12.0
    assert kernel.grad(2.0) == 12.0


@pytest.mark.parametrize("of", [knossos.jacobian, knossos.hessian])
def test_an_unknown_mode_is_refused(of):
    with pytest.raises(ArgumentError, match="mode='frward' is not known"):
        of(lambda x: (x * x).sum(), mode="frward")(torch.ones(3))
