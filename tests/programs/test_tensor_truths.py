"""Tensor programs whose gradients other tools get silently wrong, with the truth worked out by hand, in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import ksc as knossos


def rows_with_a_sign(x: Tensor) -> Tensor:
    total = 0.0
    for i in range(x.shape[0]):
        s = torch.sum(x[i])
        if s < 0:
            s = -3.0 * s
        total += s
    return total


def running_product(x: Tensor) -> Tensor:
    p = 1.0
    for i in range(x.shape[0]):
        p = p * x[i]
    return p


def square_until_ten(x: Tensor) -> Tensor:
    v = x[0]
    while v < 10.0:
        v = v * v
    return v


def sum_with_break(x: Tensor) -> Tensor:
    s = 0.0
    for i in range(x.shape[0]):
        if i == 3:
            break
        s += x[0]
    return s


def return_inside_loop(x: Tensor) -> Tensor:
    y = x[0]
    for i in range(100):
        if i == 3:
            return 3.0 * x[0]
        y = y * y
    return y


def tuple_of_two(x: Tensor) -> Tensor:
    t = (x[0], x[0] * x[0])
    return t[0] + t[1]


def overwritten_then_scaled(x: Tensor) -> Tensor:
    y = torch.zeros(x.shape[0])
    for i in range(x.shape[0]):
        y[i] = 3.0
        y[i] *= x[i]
    return torch.sum(y)


def untaken_side_is_nan(x: Tensor) -> Tensor:
    total = 0.0
    for i in range(x.shape[0]):
        total += torch.sqrt(x[i]) if x[i] > 0.0 else 2.0 * x[i]
    return total


def list_built_in_a_loop(x: Tensor) -> Tensor:
    powers = []
    v = x[0]
    for _ in range(3):
        powers.append(v)
        v = v * x[0]
    return torch.sum(torch.stack(powers))


def argument_read_after_its_copy_is_overwritten(x: Tensor) -> Tensor:
    y = x.clone()
    y[0] = 5.0
    y[1] = y[1] * x[0]
    return torch.sum(y * x)


def written_through_a_row(x: Tensor) -> Tensor:
    out = torch.ones(2, x.shape[0])
    row = out[1]
    row *= x
    row += x
    return torch.sum(out[1] * out[0] * x)


def written_through_an_alias(x: Tensor) -> Tensor:
    a = x * 1.0
    b = a
    b[0] = b[0] * b[0]
    return a[0] + a[1]


def element_swapped(x: Tensor) -> Tensor:
    y = x.clone()
    for i in range(x.shape[0] - 1):
        t = y[i] * 1.0
        y[i] = y[i + 1]
        y[i + 1] = t
    return y[0] * y[0] + 3.0 * y[x.shape[0] - 1]


def sweep_in_place(x: Tensor) -> Tensor:
    y = x.clone()
    for i in range(1, x.shape[0]):
        y[i] = y[i] * y[i - 1]
    return torch.sum(y)


def state_rebound_by_a_loop(x: Tensor) -> Tensor:
    h = torch.ones(x.shape[0])
    for _ in range(3):
        h = h * x
    return torch.sum(h)


def break_on_what_was_summed(x: Tensor) -> Tensor:
    out = torch.zeros(x.shape[0])
    s = 0.0
    for i in range(x.shape[0]):
        s += x[i] * x[i]
        if s > 100.0:
            break
        out[i] = s
    return torch.sum(out)


def gathered_twice(x: Tensor) -> Tensor:
    total = 0.0
    for i in range(3):
        total += x[i % 2] * x[0]
    return total


def largest_by_hand(x: Tensor) -> Tensor:
    best = x[0]
    for i in range(1, x.shape[0]):
        if x[i] > best:
            best = x[i]
    return best * best


def skipped_with_continue(x: Tensor) -> Tensor:
    total = 0.0
    for row in x:
        if row[0] < 0.0:
            continue
        total += row[0] * row[1]
    return total


def helper(row: Tensor) -> Tensor:
    if torch.sum(row) > 2.0:
        return torch.sum(row * row)
    return row[0]


def calls_with_a_branch(x: Tensor) -> Tensor:
    return helper(x[0]) + 10.0 * helper(x[1])


def product_tree(x: Tensor, low: int, high: int) -> Tensor:
    if high - low == 1:
        return x[low]
    middle = (low + high) // 2
    return product_tree(x, low, middle) * product_tree(x, middle, high)


def recursive_product(x: Tensor) -> Tensor:
    return product_tree(x, 0, x.shape[0])


# (function, argument, gradient)
TRUTHS: list[tuple[Callable[[Tensor], Tensor], Any, Any]] = [
    (rows_with_a_sign, [[1.0, 2.0], [-3.0, 1.0], [0.5, 0.5]], [[1.0, 1.0], [-3.0, -3.0], [1.0, 1.0]]),
    (running_product, [2.0, 2.0, 2.0], [4.0, 4.0, 4.0]),
    (running_product, [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
    (square_until_ten, [2.0], [32.0]),
    (sum_with_break, [5.0, 0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0, 0.0]),
    (return_inside_loop, [2.0], [3.0]),
    (tuple_of_two, [2.0], [5.0]),
    (overwritten_then_scaled, [5.0, -1.0], [3.0, 3.0]),
    (untaken_side_is_nan, [0.0, -1.0, 4.0], [2.0, 2.0, 0.25]),
    # x + x^2 + x^3
    (list_built_in_a_loop, [2.0], [1.0 + 4.0 + 12.0]),
    # 5 x0 + x1 x0 x1 + x2 x2
    (argument_read_after_its_copy_is_overwritten, [2.0, 3.0, 4.0], [5.0 + 9.0, 2 * 2.0 * 3.0, 8.0]),
    # (x + x) x
    (written_through_a_row, [2.0, 3.0], [8.0, 12.0]),
    (written_through_an_alias, [3.0, 1.0], [6.0, 1.0]),
    # x1^2 + 3 x0: the first element moves to the end
    (element_swapped, [2.0, 5.0, 7.0], [3.0, 10.0, 0.0]),
    # x0 + x0 x1 + x0 x1 x2
    (sweep_in_place, [2.0, 3.0, 5.0], [1.0 + 3.0 + 15.0, 2.0 + 10.0, 6.0]),
    (state_rebound_by_a_loop, [2.0, -1.0], [12.0, 3.0]),
    # x0^2 + (x0^2 + x1^2); the third sum is above 100
    (break_on_what_was_summed, [3.0, 4.0, 10.0, 1.0], [12.0, 8.0, 0.0, 0.0]),
    # 2 x0^2 + x1 x0
    (gathered_twice, [3.0, 5.0], [4 * 3.0 + 5.0, 3.0]),
    (largest_by_hand, [1.0, 7.0, 3.0], [0.0, 14.0, 0.0]),
    (skipped_with_continue, [[2.0, 3.0], [-1.0, 5.0], [4.0, 0.0]], [[3.0, 2.0], [0.0, 0.0], [0.0, 4.0]]),
    (calls_with_a_branch, [[1.0, 2.0], [0.5, 0.5]], [[2.0, 4.0], [10.0, 0.0]]),
    (recursive_product, [2.0, 3.0, 5.0], [15.0, 10.0, 6.0]),
]
AT_A_KINK = (untaken_side_is_nan,)
"""Functions whose argument is where differences say nothing."""
NAMES = [f"{fn.__name__}{argument}" for fn, argument, _ in TRUTHS]


@pytest.mark.parametrize(("fn", "argument", "truth"), TRUTHS, ids=NAMES)
def test_gradient_is_the_truth_in_both_modes(fn: Callable[[Tensor], Tensor], argument: Any, truth: Any) -> None:
    kernel = knossos.register(fn)
    x = torch.tensor(argument, dtype=torch.float64, requires_grad=True)
    want = torch.tensor(truth, dtype=torch.float64)
    y = kernel(x)
    torch.testing.assert_close(y.detach(), fn(x.detach()).double(), rtol=1e-14, atol=0.0)
    (x_bar,) = torch.autograd.grad(y, x, create_graph=True)
    assert x_bar.tolist() == want.tolist()
    direction = torch.linspace(-1.0, 2.0, x.numel(), dtype=torch.float64).reshape(x.shape)
    y_dot = kernel.jvp(x.detach(), direction)
    torch.testing.assert_close(y_dot, (want * direction).sum(), rtol=1e-13, atol=1e-13)
    if fn not in AT_A_KINK:
        assert torch.autograd.gradgradcheck(kernel, (x,))
