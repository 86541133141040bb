"""Functions with loops that a vmap lifts run side by side, also where lanes part ways: as they do one after the other."""

import math

import pytest
import torch

import ksc as knossos
from ksc.errors import KernelRuntimeError


@knossos.vmap
def march(origin: float, direction: float, most: int) -> float:
    """Leaves its loop in two ways, each for some lanes, and has a branch with a function in it."""
    t = 0.0
    bent = 0.0
    for k in range(most):
        p = origin + t * direction
        distance = math.sqrt(p * p + (t - 3.0) ** 2) - 1.0
        if distance < 1e-3:
            return t + bent
        if p < 0.0:
            bent = bent + math.exp(p) * (k + 1)
        elif p > 2.0:
            bent = 0.5 * bent
        t += distance
        if t > 20.0:
            return 20.0 * origin
    return t * t


@knossos.vmap
def escape(x: float, y: float) -> tuple[int, float]:
    """A nest of loops of which the inner runs differently often, and counts."""
    steps = 0
    total = 0.0
    for _ in range(20):
        u, v = x, y
        n = 0
        while n < 30 and u * u + v * v < 4.0:
            u, v = u * u - v * v + x, 2.0 * u * v + y
            n += 1
            if n % 2 == 0:
                steps += 1
        total += n * u
        x *= 0.95
    return steps, total


def lanes(n: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(n)
    return 3.0 * torch.rand(n, dtype=dtype) - 1.0, 0.4 * torch.rand(n, dtype=dtype) - 0.2


def gradients(outs: torch.Tensor, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    weights = torch.linspace(0.5, 1.5, outs.shape[0], dtype=outs.dtype)
    return torch.autograd.grad(outs, args, weights, create_graph=True)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 17, 33, 64, 129])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_lane_does_not_depend_on_its_neighbours(n, dtype):
    args = tuple(x.requires_grad_() for x in lanes(n, dtype))
    out = march(*args, 40)
    first = gradients(out, args)
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-3}
    for k in range(n):
        alone = tuple(x.detach()[k : k + 1].clone().requires_grad_() for x in args)
        one = march(*alone, 40)
        torch.testing.assert_close(out[k : k + 1], one, **tolerance)
        weight = torch.linspace(0.5, 1.5, n, dtype=dtype)[k : k + 1] if n > 1 else torch.tensor([0.5], dtype=dtype)
        for whole, own in zip(first, torch.autograd.grad(one, alone, weight), strict=True):
            torch.testing.assert_close(whole[k : k + 1], own, **tolerance)


def test_it_does_run_side_by_side():
    march(*lanes(40, torch.float64), 40)
    assert "ks::map_packs<ks::pack<float, 2>>" in march.cpp
    assert "ks::any(" in march.cpp


def test_derivatives_of_both_orders_are_those_of_finite_differences():
    torch.manual_seed(3)
    # Clear of the ends of the loop, where the value jumps.
    args = tuple(x.requires_grad_() for x in lanes(40, torch.float64))
    inside = gradients(march(*args, 4), args)
    assert all(x.isfinite().all() for x in inside)
    assert torch.autograd.gradcheck(lambda a, b: march(a, b, 4), args)
    assert torch.autograd.gradgradcheck(lambda a, b: march(a, b, 4), args)


def test_counts_that_differ_are_integers():
    x, y = lanes(100, torch.float64)
    steps, total = escape(x, y)
    assert steps.dtype == torch.int64
    for k in range(0, 100, 9):
        one = escape(x[k : k + 1], y[k : k + 1])
        torch.testing.assert_close((steps[k : k + 1], total[k : k + 1]), one, rtol=1e-9, atol=1e-9)


def test_lanes_with_their_own_counts_run_one_after_the_other():
    x, y = lanes(70, torch.float64)
    most = torch.arange(70) // 3
    out = march(x, y, most)
    for k in range(0, 70, 5):
        torch.testing.assert_close(out[k : k + 1], march(x[k : k + 1], y[k : k + 1], int(most[k])))


def test_operands_that_do_not_lie_densely_and_half_precision():
    x, y = lanes(300, torch.float64)
    wanted = march(x[::3].contiguous(), y[:100], 40)
    torch.testing.assert_close(march(x[::3], y[:100], 40), wanted)
    torch.testing.assert_close(march(x[::3], y[:1].expand(100), 40), march(x[::3], y[0].repeat(100), 40))
    half = march(x[::3].half(), y[:100].half(), 4)
    torch.testing.assert_close(half, march(x[::3].half().float(), y[:100].half().float(), 4).half())


def test_nan_and_infinity_stay_in_their_lanes():
    x, y = lanes(64, torch.float64)
    wanted = march(x, y, 40)
    x[5], x[40] = math.nan, math.inf
    out = march(x, y, 40)
    kept = [k for k in range(64) if k not in (5, 40)]
    torch.testing.assert_close(out[kept], wanted[kept], rtol=1e-13, atol=0.0)
    for k in (5, 40):
        torch.testing.assert_close(out[k : k + 1], march(x[k : k + 1], y[k : k + 1], 40), equal_nan=True)


@knossos.vmap
def divided(x: float, by: int) -> float:
    total = 0.0
    for _ in range(20):
        if x > 0.5:
            total += (8 // by) * x
        total = 0.5 * total + x
    return total


def test_what_no_lane_does_cannot_fail():
    x = torch.linspace(0.0, 0.4, 64)
    torch.testing.assert_close(divided(x, 0), divided(x, 1))
    assert "ks::map_packs" in divided.cpp
    x[50] = 0.75
    with pytest.raises(KernelRuntimeError, match="zero"):
        divided(x, 0)


@knossos.vmap
def settle(x: float, steps: int) -> float:
    for _ in range(steps):
        x = x - 0.001 * math.sin(x)
    return x


def test_packs_that_would_keep_too_much_run_lane_by_lane():
    x = torch.linspace(-2.0, 2.0, 70, dtype=torch.float64, requires_grad=True)
    (whole,) = torch.autograd.grad(settle(x, 200_000).sum(), x)
    one = x.detach()[40:41].clone().requires_grad_()
    (alone,) = torch.autograd.grad(settle(one, 200_000).sum(), one)
    torch.testing.assert_close(whole[40:41], alone, rtol=1e-9, atol=0.0)


@knossos.vmap
def climb(x: float) -> tuple[float, int]:
    y = 0.0
    n = 0
    while y < x:
        y = y + 1.0 + 0.01 * x * y
        n += 1
    return y, n


def test_a_pack_in_which_most_wait_for_few_is_given_up():
    x = torch.full((300,), 0.001, dtype=torch.float64)
    x[::37] = torch.linspace(0.0, 1e-3, 9, dtype=torch.float64) ** 2 - 1.0
    x[::41] = 0.05
    x.requires_grad_()
    y, n = climb(1000.0 * x)
    (bar,) = torch.autograd.grad(y.sum(), x)
    for k in range(0, 300, 11):
        one = x.detach()[k : k + 1].clone().requires_grad_()
        value, count = climb(1000.0 * one)
        torch.testing.assert_close((value, count), (y[k : k + 1], n[k : k + 1]), rtol=0.0, atol=0.0)
        torch.testing.assert_close(torch.autograd.grad(value.sum(), one)[0], bar[k : k + 1], rtol=1e-12, atol=0.0)


@knossos.vmap
def kept(x: float, most: int) -> float:
    """A row that lanes fill as far as they come."""
    row = torch.zeros(8)
    k = 0
    while x > 0.1 and k < most:
        row[k] = x
        x = x * 0.7
        k += 1
    return (row * row).sum() + row[2]


@knossos.vmap
def nested(x: float, n: int) -> float:
    """Loops that are left or gone on with inside of others."""
    s = 0.0
    for i in range(n):
        t = x
        for j in range(i):
            if t > 1.0:
                continue
            t = t * 1.3 + 0.01 * j
        while t > 0.5:
            t -= 0.3
            if t < 0.45:
                break
            s += t * t
    return s


@knossos.vmap
def largest(x: float, n: int) -> tuple[float, bool, int]:
    """Numbers, truth values and integers that differ."""
    best = -2.0
    at = -1
    found = False
    for i in range(n):
        v = math.cos(x * i)
        if v > best:
            best = v
            at = i
            found = found or i > 2
    return best, found, at


@pytest.mark.parametrize("kernel", [kept, nested, largest], ids=lambda kernel: kernel.__name__)
def test_rows_loops_and_results_of_each_type(kernel):
    def of(x):
        outs = kernel(x, 7)
        outs = outs if isinstance(outs, tuple) else (outs,)
        return (*outs, torch.autograd.grad((outs[0] ** 2).sum(), x)[0])

    x = torch.linspace(0.05, 1.4, 50, dtype=torch.float64).requires_grad_()
    whole = of(x)
    assert "ks::map_packs" in kernel.cpp
    for k in range(0, 50, 3):
        alone = of(x.detach()[k : k + 1].clone().requires_grad_())
        for a, b in zip(whole, alone, strict=True):
            torch.testing.assert_close(a[k : k + 1], b, rtol=1e-10, atol=1e-10)
