"""Mapped functions of small tensors run side by side: rows, temporaries and records of packs, as PyTorch computes them."""

import math

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.errors import KernelRuntimeError


@knossos.vmap
def log_determinant(a: Tensor) -> float:
    """A factor in a triangle, whose reverse keeps records of rows of different lengths."""
    n = a.shape[0]
    factor = torch.zeros(n, n)
    total = 0.0
    for i in range(n):
        for j in range(i + 1):
            t = a[i, j]
            for k in range(j):
                t = t - factor[i, k] * factor[j, k]
            if i == j:
                factor[i, j] = torch.sqrt(t)
                total = total + torch.log(t)
            else:
                factor[i, j] = t / factor[j, j]
    return total


@knossos.vmap
def solved(a: Tensor, b: Tensor) -> Tensor:
    """Copies of arguments that are changed in place, and a row as the result."""
    n = b.shape[0]
    upper = a.clone()
    y = b.clone()
    for k in range(n):
        for i in range(k + 1, n):
            f = upper[i, k] / upper[k, k]
            for j in range(k, n):
                upper[i, j] = upper[i, j] - f * upper[k, j]
            y[i] = y[i] - f * y[k]
    x = torch.zeros(n)
    for step in range(n):
        i = n - 1 - step
        s = y[i]
        for j in range(i + 1, n):
            s = s - upper[i, j] * x[j]
        x[i] = s / upper[i, i]
    return x


@knossos.vmap(in_dims=(0, 0, None))
def turned(r: Tensor, p: Tensor, least: float) -> Tensor:
    """Lanes part ways, and give tensors of their own."""
    squared = r @ r
    if squared > least:
        angle = torch.sqrt(squared)
        w = r / angle
        c, s = torch.cos(angle), torch.sin(angle)
        return p * c + torch.linalg.cross(w, p) * s + w * ((w @ p) * (1 - c))
    else:
        return p + torch.linalg.cross(r, p)


def positive(n: int, size: int = 4) -> Tensor:
    torch.manual_seed(n)
    x = torch.randn(n, size, size, dtype=torch.float64)
    return (x @ x.transpose(1, 2) + size * torch.eye(size, dtype=torch.float64)).requires_grad_()


def rotated(r: Tensor, p: Tensor, least: float) -> Tensor:
    angle = torch.linalg.norm(r, dim=1, keepdim=True)
    w = r / angle
    along = (w * p).sum(1, keepdim=True) * w
    far = p * angle.cos() + torch.linalg.cross(w, p) * angle.sin() + along * (1 - angle.cos())
    return torch.where(angle * angle > least, far, p + torch.linalg.cross(r, p))


def agree(kernel, reference, args, *others, rtol=1e-9):
    """Values, gradients and tangents."""
    out, wanted = kernel(*args, *others), reference(*args, *others)
    torch.testing.assert_close(out, wanted, rtol=rtol, atol=rtol)
    weight = torch.linspace(0.5, 1.5, wanted.numel(), dtype=wanted.dtype).reshape(wanted.shape)
    for one, other in zip(
        torch.autograd.grad(out, args, weight), torch.autograd.grad(wanted, args, weight), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=10 * rtol, atol=10 * rtol)
    fixed, dots = tuple(x.detach() for x in args), tuple(torch.cos(x.detach()) for x in args)
    found = torch.func.jvp(lambda *x: kernel(*x, *others), fixed, dots)[1]
    torch.testing.assert_close(
        found, torch.func.jvp(lambda *x: reference(*x, *others), fixed, dots)[1], rtol=10 * rtol, atol=10 * rtol
    )


COUNTS = (0, 1, 7, 16, 33, 64, 75)
"""Around 8, 16 and 32, which are a register and a pack on one machine or another."""


@pytest.mark.parametrize("n", COUNTS)
def test_a_factor_of_a_matrix(n):
    agree(log_determinant, lambda a: torch.logdet(a.tril() + a.tril(-1).transpose(1, 2)), (positive(n),))


@pytest.mark.parametrize("n", COUNTS)
def test_elimination(n):
    a, b = positive(n, 3), torch.randn(n, 3, dtype=torch.float64).requires_grad_()
    agree(solved, lambda a, b: torch.linalg.solve(a, b), (a, b))


@pytest.mark.parametrize("n", COUNTS)
def test_lanes_that_part_ways_with_tensors(n):
    torch.manual_seed(n)
    r, p = (torch.randn(n, 3, dtype=torch.float64).requires_grad_() for _ in range(2))
    agree(turned, rotated, (r, p), 2.0)
    agree(turned, rotated, (r, p), 0.0)


def test_they_do_run_side_by_side():
    log_determinant(positive(3))
    solved(positive(3), torch.randn(3, 4, dtype=torch.float64))
    turned(torch.randn(3, 3), torch.randn(3, 3), 1.0)
    for kernel in (log_determinant, solved, turned):
        assert "ks::side_by_side<ks::pack<" in kernel.cpp, kernel.__name__
    # Longer rows need more lanes for a pack to pay; those that are left run one by one.
    large = positive(19, 40)
    torch.testing.assert_close(log_determinant(large), torch.logdet(large))


def test_what_a_lane_has_stays_in_it():
    a = positive(70).detach()
    wanted = torch.logdet(a)
    a[5, 0, 0], a[40, 2, 1] = math.nan, math.inf
    found = log_determinant(a)
    kept = [k for k in range(70) if k not in (5, 40)]
    torch.testing.assert_close(found[kept], wanted[kept])
    assert found[5].isnan()


def test_operands_that_do_not_lie_densely_and_threads():
    a = positive(140).detach()
    torch.testing.assert_close(log_determinant(a[::2]), torch.logdet(a[::2]))
    torch.testing.assert_close(
        log_determinant(a.transpose(1, 2).float()), torch.logdet(a).float(), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(log_determinant(a[:1].expand(50, 4, 4)), torch.logdet(a[:1]).expand(50))
    many = positive(8000, 5)
    weight = torch.linspace(-1.0, 1.0, 8000, dtype=torch.float64)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            out = log_determinant(many)
            found.append((out.detach(), *torch.autograd.grad(out, many, weight)))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.0)


@knossos.vmap(in_dims=(0, None))
def looked_up(x: Tensor, k: int) -> float:
    total = 0.0
    for i in range(4):
        total = 0.5 * total + x[i] * x[0]
        if total > 3.0:
            total = total - x[k]
    return total


def test_what_no_lane_does_cannot_fail_and_the_first_to_fail_does():
    x = torch.linspace(0.1, 0.9, 160).reshape(40, 4)
    looked_up(x, 7)
    x[33] = 4.0
    with pytest.raises(KernelRuntimeError, match="index 7"):
        looked_up(x, 7)
    torch.testing.assert_close(looked_up(x, 1)[:33], looked_up(x[:33], 1))


@knossos.vmap(in_dims=(0, None, None))
def undistorted(x: Tensor, k: Tensor, most: int) -> Tensor:
    """Newton's method, with as many steps as a lane needs; all lanes add to the cotangents of ``k``."""
    if x[0] > 0:
        far = torch.sqrt(x @ x) * k[1]
    else:
        far = torch.sqrt(x @ x)
    r = far
    n = 0
    while n < most:
        step = (r * (1 + k[0] * r * r) - far) / (1 + 3 * k[0] * r * r)
        r = r - step
        n += 1
        if abs(step) < 1e-14:
            break
    return x * (r / far)


def undistorted_in_torch(x: Tensor, k: Tensor, most: int) -> Tensor:
    far = torch.linalg.norm(x, dim=1) * torch.where(x[:, 0] > 0, k[1], 1.0)
    r = far
    for _ in range(most):
        r = r - (r * (1 + k[0] * r * r) - far) / (1 + 3 * k[0] * r * r)
    return x * (r / far)[:, None]


@pytest.mark.parametrize("n", COUNTS)
def test_lanes_that_end_apart_add_to_what_they_share(n):
    torch.manual_seed(n)
    x = torch.randn(n, 2, dtype=torch.float64).requires_grad_()
    k = torch.tensor([0.3, 1.2], dtype=torch.float64).requires_grad_()
    agree(undistorted, undistorted_in_torch, (x, k), 40)


def test_a_pack_that_is_given_up_has_added_nothing():
    k = torch.tensor([0.3, 1.2], dtype=torch.float64).requires_grad_()
    x = torch.full((75, 2), 0.01, dtype=torch.float64)
    x[40] = 1e7  # so far out that steps never get small enough
    (found,) = torch.autograd.grad(undistorted(x, k, 3000).sum(), k)
    alone = [torch.autograd.grad(undistorted(row[None], k, 3000).sum(), k)[0] for row in x]
    torch.testing.assert_close(found, sum(alone))
    assert "k_bar_sum = k_bar_lanes;" in undistorted._annotated().source("v", torch.float64).text


@knossos.register
def robust(points: Tensor, w: Tensor) -> float:
    """Branches in which iterations add to elements of a tensor that they share."""
    total = 0.0
    for p in points:
        c = p[0]
        for _ in range(w.shape[0]):
            c = torch.sin(c)
            if c > p[1]:
                for j in range(w.shape[0]):
                    c = w[j] * torch.sin(c)
        total = total + c
    return total


def robust_in_torch(points: Tensor, w: Tensor) -> Tensor:
    c = points[:, 0]
    for _ in range(len(w)):
        c = torch.sin(c)
        other = c
        for j in range(len(w)):
            other = w[j] * torch.sin(other)
        c = torch.where(c > points[:, 1], other, c)
    return c.sum()


@pytest.mark.parametrize("n", COUNTS)
def test_branches_that_add_to_a_shared_tensor(n):
    torch.manual_seed(n)
    points = torch.randn(n, 3, dtype=torch.float64).requires_grad_()
    w = torch.randn(5, dtype=torch.float64).requires_grad_()
    agree(robust, robust_in_torch, (points, w))


def test_they_run_side_by_side_too():
    kernel = knossos.grad(robust, argnums=1)
    kernel(torch.randn(40, 3), torch.randn(5))
    assert "+= ks::sum(ks::select(taken, " in kernel.cpp
