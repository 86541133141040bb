"""A user's own derivative rules and ``stop_gradient``, against torch, finite differences and values worked out by hand."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch.autograd.gradcheck import GradcheckError

import ksc as knossos
from ksc.errors import ArgumentError, DifferentiationError, UnsupportedError

DOUBLE = torch.float64


@knossos.custom_jvp
def log1pexp(x: float) -> float:
    return math.log(1.0 + math.exp(x))


@log1pexp.defjvp
def log1pexp_rule(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return log1pexp(x), x_dot * (1.0 - 1.0 / (1.0 + math.exp(x)))


@knossos.custom_vjp
def x_sin_y(x: float, y: float) -> float:
    return x * math.sin(y)


def x_sin_y_forward(x, y):
    return x * math.sin(y), (math.sin(y), x * math.cos(y))


def x_sin_y_backward(saved, bar):
    sin_y, slope = saved
    return bar * sin_y, bar * slope


x_sin_y.defvjp(x_sin_y_forward, x_sin_y_backward)


@knossos.custom_vjp
def clipped(x: float) -> float:
    return x


def clipped_forward(x):
    return x, None


def clipped_backward(_, bar):
    return (min(max(bar, -1.0), 1.0),)


clipped.defvjp(clipped_forward, clipped_backward)


@knossos.custom_vjp
def straight_through(x: float) -> float:
    return torch.round(x)


def round_forward(x):
    return torch.round(x), None


def round_backward(_, bar):
    return bar


straight_through.defvjp(round_forward, round_backward)


def softplus_chain(x: float, n: int) -> float:
    s = 0.0
    for _ in range(n):
        if s < 2.0:
            s = log1pexp(0.5 * s + x)
        else:
            s = x_sin_y(s, x)
    return s


def softplus_chain_in_torch(x):
    s = torch.zeros((), dtype=DOUBLE)
    for _ in range(6):
        s = torch.log1p(torch.exp(0.5 * s + x)) if s < 2.0 else s * torch.sin(x)
    return s


@pytest.mark.parametrize("f, inputs", [(log1pexp, (0.4,)), (x_sin_y, (0.4, 1.3))])
def test_right_rules_pass_gradcheck_in_both_modes_and_orders(f, inputs):
    assert knossos.gradcheck(f, inputs)
    tensors = [torch.tensor(value, dtype=DOUBLE, requires_grad=True) for value in inputs]
    assert torch.autograd.gradgradcheck(f, tensors, check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("x", [-0.7, 0.3, 1.9])
def test_rules_inside_branches_and_loops_to_order_two(x):
    kernel = knossos.register(softplus_chain)
    at = torch.tensor(x, dtype=DOUBLE)
    slope = torch.func.grad(softplus_chain_in_torch)(at).item()
    assert kernel(x, 6) == pytest.approx(softplus_chain_in_torch(at).item())
    assert kernel.grad(x, 6) == pytest.approx(slope)
    assert kernel.jvp(x, 6, 1.0) == pytest.approx(slope)
    second = torch.func.hessian(softplus_chain_in_torch)(at).item()
    assert knossos.grad(knossos.grad(kernel))(x, 6) == pytest.approx(second)
    assert knossos.jvp(knossos.grad(kernel), (x, 6), (1.0, None))[1] == pytest.approx(second)


def test_rules_under_vmap():
    x, y = torch.rand(5, dtype=DOUBLE), torch.rand(5, dtype=DOUBLE)
    kernel = knossos.vmap(x_sin_y)
    torch.testing.assert_close(kernel(x, y), x * torch.sin(y))
    bars = kernel.vjp(x, y, torch.ones(5, dtype=DOUBLE))
    torch.testing.assert_close(bars[0], torch.sin(y))
    torch.testing.assert_close(bars[1], x * torch.cos(y))
    dots = kernel.jvp(x, y, torch.ones(5, dtype=DOUBLE), torch.zeros(5, dtype=DOUBLE))
    torch.testing.assert_close(dots, torch.sin(y))


def test_the_rule_decides_and_not_the_function():
    @knossos.register
    def scaled(x: float) -> float:
        return 3.0 * clipped(x * x)

    assert scaled.grad(3.0) == 6.0
    assert knossos.grad(straight_through)(2.3) == 1.0
    assert knossos.vmap(straight_through).grad(torch.tensor([0.2, 1.7])).tolist() == [1.0, 1.0]
    assert straight_through(2.3) == 2.0


def test_a_kernel_made_of_a_rule_keeps_the_rule_inside_another_kernel():
    rounding = knossos.register(straight_through)

    @knossos.register
    def outer(x: float) -> float:
        return x * rounding(x)

    assert outer.grad(2.3) == pytest.approx(2.0 + 2.3)


def test_forward_mode_of_a_rule_that_is_no_linear_map_is_refused():
    for call in (clipped.kernel.jvp, knossos.register(lambda x: clipped(x) + 1.0).jvp):
        with pytest.raises(DifferentiationError, match="not linear in the cotangent"):
            call(1.0, 1.0)


@pytest.mark.parametrize(
    "tangent",
    [
        lambda x, x_dot: x_dot * x_dot,
        lambda x, x_dot: x_dot + x,
        lambda x, x_dot: knossos.stop_gradient(x_dot),
        lambda x, x_dot: torch.sign(x_dot),
        lambda x, x_dot: x_dot if x_dot > 0.0 else 0.0,
        lambda x, x_dot: 1.0,
    ],
    ids=["square", "affine", "stopped", "sign", "branch", "constant"],
)
def test_reverse_mode_of_a_rule_that_is_no_linear_map_is_refused(tangent):
    @knossos.custom_jvp
    def f(x: float) -> float:
        return x

    @f.defjvp
    def rule(primals, tangents):
        return f(primals[0]), tangent(primals[0], tangents[0])

    f.kernel.jvp(1.0, 1.0)
    with pytest.raises(DifferentiationError, match="not linear in the tangent"):
        f.kernel.grad(1.0)


def test_linear_rules_with_control_flow_are_transposed():
    @knossos.custom_jvp
    def f(x: float, n: int) -> float:
        for _ in range(n):
            x = x * x if x < 1.0 else 0.5 * x
        return x

    @f.defjvp
    def rule(primals, tangents):
        x, n = primals
        x_dot, _ = tangents
        for _ in range(n):
            if x < 1.0:
                x_dot = 2.0 * x * x_dot
                x = x * x
            else:
                x_dot = x_dot / 2.0
                x = 0.5 * x
        return x, x_dot

    plain = knossos.register(f.__wrapped__)
    for x in (0.9, 3.7):
        assert knossos.grad(f)(x, 4) == pytest.approx(plain.grad(x, 4))
        assert knossos.grad(knossos.grad(f))(x, 4) == pytest.approx(knossos.grad(knossos.grad(plain))(x, 4))


def wrong_rule_backward(saved, bar):
    sin_y, slope = saved
    return bar * sin_y, bar * slope * 1.01


@pytest.mark.parametrize("forward_mode", [False, True])
def test_gradcheck_reports_a_wrong_rule(forward_mode):
    @knossos.custom_vjp
    def f(x: float, y: float) -> float:
        return x * math.sin(y)

    f.defvjp(x_sin_y_forward, wrong_rule_backward)
    with pytest.raises(GradcheckError):
        knossos.gradcheck(f, (0.4, 1.3), check_forward_ad=forward_mode, check_backward_ad=not forward_mode)


@pytest.mark.parametrize("forward_mode", [False, True])
def test_gradcheck_reports_a_wrong_forward_rule(forward_mode):
    @knossos.custom_jvp
    def f(x: float) -> float:
        return math.exp(x)

    @f.defjvp
    def rule(primals, tangents):
        return math.exp(primals[0]), 0.99 * math.exp(primals[0]) * tangents[0]

    with pytest.raises(GradcheckError):
        knossos.gradcheck(f, (0.4,), check_forward_ad=forward_mode, check_backward_ad=not forward_mode)


@dataclass(frozen=True)
class Camera:
    focal: float
    pixels: int
    centre: tuple[float, float]


def test_structures_as_arguments_and_results():
    @knossos.custom_vjp
    def project(camera: Camera, p: tuple[float, float]):
        return (camera.focal * p[0] + camera.centre[0], camera.pixels, camera.focal * p[1] + camera.centre[1])

    def forward(camera, p):
        return project(camera, p), (camera, p)

    def backward(saved, bars):
        camera, p = saved
        a, nothing, b = bars
        assert nothing is None
        return Camera(a * p[0] + b * p[1], None, (a, b)), (a * camera.focal, None)

    project.defvjp(forward, backward)

    @knossos.register
    def f(camera: Camera, p: tuple[float, float]) -> float:
        u, _, v = project(camera, p)
        return u * v

    value, (camera_bar, p_bar) = f.value_and_grad(Camera(2.0, 7, (0.5, 0.25)), (3.0, 4.0), argnums=(0, 1))
    u, v = 6.5, 8.25
    assert value == u * v
    assert camera_bar == Camera(v * 3.0 + u * 4.0, None, (v, u))
    assert p_bar == (v * 2.0, 0.0)


def test_arguments_that_are_not_differentiated():
    from functools import partial

    @partial(knossos.custom_vjp, nondiff_argnums=(0, 2))
    def apply(f, x: float, scale: float) -> float:
        return scale * f(x)

    def forward(f, x, scale):
        return scale * f(x), x

    def backward(f, scale, x, bar):
        return (scale * f(x) * bar,)

    apply.defvjp(forward, backward)

    @knossos.register
    def g(x: float, scale: float) -> float:
        return apply(math.exp, x, scale)

    assert g.grad(0.3, 2.0, argnums=(0, 1)) == (pytest.approx(2.0 * math.exp(0.3)), 0.0)
    assert g.jvp(0.3, 2.0, 1.0, 1.0) == pytest.approx(2.0 * math.exp(0.3))


@knossos.custom_vjp
def power(x: float, n: int) -> float:
    return 1.0 if n == 0 else x * power(x, n - 1)


def power_forward(x, n):
    return power(x, n), (x, n)


def power_backward(saved, bar):
    x, n = saved
    return bar * float(n) * power(x, n - 1), None


power.defvjp(power_forward, power_backward)


def test_a_recursive_function_with_a_rule():
    assert power(1.5, 6) == pytest.approx(1.5**6)
    assert knossos.grad(power)(1.5, 6) == pytest.approx(6 * 1.5**5)
    assert power.kernel.jvp(1.5, 6, 1.0) == pytest.approx(6 * 1.5**5)
    assert knossos.grad(knossos.grad(power))(1.5, 6) == pytest.approx(30 * 1.5**4)


def test_a_rule_that_changes_is_seen():
    @knossos.custom_vjp
    def f(x: float) -> float:
        return x

    with pytest.raises(UnsupportedError, match=r"f\.defvjp"):
        f(1.0)
    f.defvjp(lambda x: (x, None), lambda _, bar: (2.0 * bar,))
    assert knossos.grad(f)(1.0) == 2.0
    kernel = knossos.register(lambda x: f(x) * 3.0)
    assert kernel.grad(1.0) == 6.0
    f.defvjp(lambda x: (x, None), lambda _, bar: (5.0 * bar,))
    assert kernel.grad(1.0) == 15.0


@pytest.mark.parametrize(
    "forward, backward, message",
    [
        (lambda x, n: x, lambda r, g: (g, None), "not the results and what"),
        (lambda x, n: (x, None), lambda r, g: (g, None, None), "has 2 argument"),
        (lambda x, n: (x, None), lambda r, g: g, "has 2 argument"),
        (lambda x, n: (x, None), lambda r, g: (g, g), "as derivative for Integer"),
        (lambda x, n: (x, None), lambda r, g: ((g, g), None), "as derivative for Float"),
    ],
)
def test_rules_of_the_wrong_form_are_refused(forward, backward, message):
    @knossos.custom_vjp
    def f(x: float, n: int) -> float:
        return x * float(n)

    f.defvjp(forward, backward)
    with pytest.raises(UnsupportedError, match=message):
        knossos.grad(f)(1.0, 2)


def test_what_is_no_function_is_refused():
    with pytest.raises(ArgumentError, match="made of a function"):
        knossos.custom_vjp(3)
    with pytest.raises(ArgumentError, match="nondiff_argnums"):
        knossos.custom_vjp(lambda x: x, (1,))
    with pytest.raises(ArgumentError, match="Python functions"):
        log1pexp.defjvp(math.sin)


def test_the_compiled_program_has_no_rule_left():
    kernel = knossos.register(softplus_chain)
    kernel(0.3, 2)
    assert "log1pexp_fwd" not in kernel.cpp + kernel.ir
    assert "log1pexp_fwd" not in kernel.vjp_ir + kernel.jvp_ir


def test_stop_gradient_in_kernels():
    @knossos.register
    def f(x: float, y: float) -> float:
        a, b = knossos.stop_gradient((x * x, y))
        return a * x + b * y + x.detach()

    assert f(3.0, 2.0) == 27.0 + 4.0 + 3.0
    assert f.grad(3.0, 2.0, argnums=(0, 1)) == (9.0, 2.0)
    assert f.jvp(3.0, 2.0, 1.0, 1.0) == 11.0
    assert knossos.grad(knossos.grad(f))(3.0, 2.0) == 0.0


def test_stop_gradient_of_tensors_and_structures():
    def f(x: torch.Tensor, y: float):
        kept = knossos.stop_gradient({"x": x, "y": (y, 2)})
        return torch.sum(kept["x"] * x) + torch.sum(x.detach()) + kept["y"][0] * y * kept["y"][1]

    x = torch.rand(4, dtype=DOUBLE)
    kernel = knossos.register(f)
    bars = kernel.grad(x, 3.0, argnums=(0, 1))
    torch.testing.assert_close(bars[0], x)
    assert float(bars[1]) == 6.0
    torch.testing.assert_close(kernel.jvp(x, 3.0, x, 1.0), torch.sum(x * x) + 6.0)


def norm(x):
    return torch.sqrt(torch.sum(x * x))


@knossos.custom_vjp
def custom_norm(x: torch.Tensor):
    return norm(x)


def norm_forward(x):
    return norm(x), (x, norm(x))


def norm_backward(saved, bar):
    x, length = saved
    return (bar * x / length,)


custom_norm.defvjp(norm_forward, norm_backward)


@knossos.custom_jvp
def custom_sine(x: torch.Tensor, k: int):
    return torch.sin(k * x)


@custom_sine.defjvp
def sine_rule(primals, tangents):
    x, k = primals
    return torch.sin(k * x), k * torch.cos(k * x) * tangents[0]


@pytest.mark.parametrize("n", [1, 5])
def test_rules_of_tensors(n):
    x = torch.rand(n, dtype=DOUBLE) + 0.1
    for custom, plain in ((custom_norm, norm), (lambda x: custom_sine(x, 3), lambda x: torch.sin(3 * x))):
        for mode in ("forward", "reverse"):
            found = knossos.jacobian(custom, mode=mode)(x)
            torch.testing.assert_close(found, torch.func.jacrev(plain)(x))
        kernel = knossos.register(lambda x, custom=custom: torch.sum(custom(x) * custom(x)))
        expected = torch.func.hessian(lambda x, plain=plain: torch.sum(plain(x) * plain(x)))(x)
        torch.testing.assert_close(knossos.hessian(kernel)(x), expected)
    assert knossos.gradcheck(custom_norm, (x,))
    rows = torch.rand(3, n, dtype=DOUBLE)
    torch.testing.assert_close(
        knossos.vmap(knossos.grad(custom_norm))(rows), torch.func.vmap(torch.func.grad(norm))(rows)
    )


def test_a_cotangent_of_the_wrong_shape_is_refused():
    @knossos.custom_vjp
    def f(x: torch.Tensor):
        return torch.sum(x)

    f.defvjp(lambda x: (torch.sum(x), x), lambda x, bar: (torch.sum(x) * bar,))
    with pytest.raises(knossos.errors.KnossosError):
        f.kernel.grad(torch.rand(3))
    f.defvjp(lambda x: (torch.sum(x), x), lambda x, bar: (bar * torch.cat([x, x]),))
    with pytest.raises(knossos.errors.KnossosError):
        knossos.grad(f)(torch.rand(3))


def test_stop_gradient_hides_infinite_derivatives():
    f = knossos.register(lambda x: math.sqrt(knossos.stop_gradient(x)) + x)
    assert f.grad(0.0) == 1.0
    assert f.jvp(0.0, 1.0) == 1.0
    assert math.isnan(f(math.nan))


def test_stop_gradient_outside():
    x = torch.ones(3, requires_grad=True)
    kept = knossos.stop_gradient({"a": (x, 2), "b": [x, Camera(1.0, 2, (3.0, 4.0))]})
    assert not kept["a"][0].requires_grad
    assert kept["a"][1] == 2
    assert kept["b"][1] == Camera(1.0, 2, (3.0, 4.0))
    assert knossos.stop_gradient(2.5) == 2.5
