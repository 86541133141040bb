"""Programs whose gradients other tools get silently wrong, with the truth worked out by hand, in both modes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

import ksc as knossos
from ksc.ir.interpret import interpret


def square_until_ten(v: float) -> float:
    while v < 10.0:
        v = v * v
    return v


def running_product(x: float, n: int) -> float:
    p = 1.0
    for _ in range(n):
        p = p * x
    return p


def sum_with_break(x: float) -> float:
    s = 0.0
    for i in range(10):
        if i == 3:
            break
        s += x
    return s


def return_inside_loop(x: float) -> float:
    y = x
    for i in range(100):
        if i == 3:
            return 3.0 * x
        y = y * y
    return y


def carried_tuple(x: float) -> float:
    t = (x, 1.0)
    for _ in range(3):
        t = (t[0] * t[1], t[0])
    return t[0] + t[1]


def tuple_of_two(x: float) -> float:
    t = (x, x * x)
    return t[0] + t[1]


def untaken_log(x: float) -> float:
    return math.log(x) if x > 0.0 else 3.0 * x


def untaken_division(x: float) -> float:
    if x == 0.0:
        return 2.0 * x
    return math.sin(x) / x


def untaken_sqrt(x: float) -> float:
    return math.sqrt(x) if x > 0.0 else 0.0


def skip_with_continue(x: float) -> float:
    s = 0.0
    for i in range(6):
        if i % 2 == 0:
            continue
        s += x * i
    return s


def overwritten_after_copy(x: float) -> float:
    y = x
    x = 3.0 * x
    return y * x


def nested_break(x: float) -> float:
    s = 0.0
    for i in range(4):
        for j in range(10):
            if j > i:
                break
            s += x * x
    return s


def sign_in_each_round(x: float) -> float:
    total = 0.0
    for k in range(4):
        s = x * (k - 1.5)
        if s < 0.0:
            s = -3.0 * s
        total += s
    return total


def written_twice(x: float) -> float:
    y = 3.0
    y *= x
    return y


def read_before_it_is_overwritten(x: float) -> float:
    y = x
    z = y * y
    y = 5.0
    return z + y


def list_built_in_a_loop(x: float) -> float:
    powers = [x**k for k in range(4)]
    return sum(powers)


def power(x: float, n: int) -> float:
    if n == 0:
        return 1.0
    return x * power(x, n - 1)


def fibonacci(x: float, n: int) -> float:
    if n < 2:
        return x
    return fibonacci(x, n - 1) * fibonacci(x, n - 2)


def is_even(x: float, n: int) -> float:
    return x if n == 0 else 2.0 * is_odd(x, n - 1)


def is_odd(x: float, n: int) -> float:
    return x * x if n == 0 else 3.0 * is_even(x, n - 1)


def trips_from_the_argument(x: float) -> float:
    s = 0.0
    for _ in range(int(x)):
        s += x
    return s


def break_two_levels(x: float) -> float:
    v = x
    for _ in range(5):
        done = False
        while True:
            v = v * x
            if v > 50.0:
                done = True
                break
            if v > 10.0:
                break
        if done:
            break
    return v


def continue_in_while(x: float) -> float:
    k, s = 0, 0.0
    while k < 6:
        k += 1
        if k % 3 == 0:
            continue
        s += x**k
    return s


def fibonacci_pair(x: float, n: int) -> float:
    a, b = x, 1.0
    for _ in range(n):
        a, b = b, a * b
    return b


def late_capture(x: float) -> float:
    scale = 2.0

    def scaled(v: float) -> float:
        return scale * v

    scale = x
    return scaled(x)


def constant_where_it_is_whole(x: float) -> float:
    return x * math.floor(x) + x % 2.0


def untaken_recursion(x: float) -> float:
    return math.log(power(x, 3)) if x > 0.0 else -x


def zero_times_infinity(x: float) -> float:
    root = math.sqrt(x) if x > 0.0 else x
    return root * 2.0 if x > 0.0 else 7.0 * root


def early_return_from_nested_loops(x: float) -> float:
    total = 0.0
    for i in range(4):
        for j in range(4):
            if i * j == 2:
                return total * x
            total += x
    return 0.0


# (function, arguments, first and second derivative with respect to the first argument)
TRUTHS: list[tuple[Callable[..., float], tuple[float, ...], float, float]] = [
    # 2 -> 4 -> 16: x^4
    (square_until_ten, (2.0,), 32.0, 48.0),
    (running_product, (2.0, 3), 12.0, 12.0),
    (running_product, (2.0, 0), 0.0, 0.0),
    (running_product, (0.0, 1), 1.0, 0.0),
    (running_product, (0.0, 2), 0.0, 2.0),
    (sum_with_break, (5.0,), 3.0, 0.0),
    (return_inside_loop, (2.0,), 3.0, 0.0),
    # t: (x, 1) -> (x, x) -> (x^2, x) -> (x^3, x^2)
    (carried_tuple, (2.0,), 3 * 4.0 + 2 * 2.0, 6 * 2.0 + 2.0),
    (tuple_of_two, (2.0,), 5.0, 2.0),
    (untaken_log, (-2.0,), 3.0, 0.0),
    (untaken_log, (0.0,), 3.0, 0.0),
    (untaken_log, (0.5,), 2.0, -4.0),
    (untaken_division, (0.0,), 2.0, 0.0),
    (untaken_sqrt, (0.0,), 0.0, 0.0),
    (untaken_sqrt, (-1.0,), 0.0, 0.0),
    (skip_with_continue, (2.0,), 9.0, 0.0),
    (overwritten_after_copy, (2.0,), 12.0, 6.0),
    (nested_break, (2.0,), 2.0 * 2.0 * 10, 2.0 * 10),
    # k = 0, 1 are negative for x > 0: 3 * 1.5 + 3 * 0.5 + 0.5 + 1.5
    (sign_in_each_round, (2.0,), 8.0, 0.0),
    (sign_in_each_round, (-2.0,), -8.0, 0.0),
    (written_twice, (2.0,), 3.0, 0.0),
    (read_before_it_is_overwritten, (2.0,), 4.0, 2.0),
    # 1 + x + x^2 + x^3
    (list_built_in_a_loop, (2.0,), 1 + 4.0 + 12.0, 2 + 12.0),
    (power, (2.0, 3), 12.0, 12.0),
    (power, (0.0, 0), 0.0, 0.0),
    # x^5
    (fibonacci, (2.0, 4), 5 * 16.0, 20 * 8.0),
    # even(3) = 2 odd(2) = 6 even(1) = 12 odd(0) = 12 x^2
    (is_even, (3.0, 3), 72.0, 24.0),
    (is_even, (3.0, 2), 6.0, 0.0),
    (trips_from_the_argument, (3.5,), 3.0, 0.0),
    # 2 -> 4, 8, 16 | 32 | 64: x^6
    (break_two_levels, (2.0,), 6 * 32.0, 30 * 16.0),
    # x + x^2 + x^4 + x^5
    (continue_in_while, (2.0,), 1 + 4.0 + 32.0 + 80.0, 2 + 48.0 + 160.0),
    # b: 1, x, x, x^2, x^3, x^5
    (fibonacci_pair, (2.0, 5), 80.0, 160.0),
    (late_capture, (3.0,), 6.0, 2.0),
    (constant_where_it_is_whole, (2.5,), 3.0, 0.0),
    (untaken_recursion, (-2.0,), -1.0, 0.0),
    (untaken_recursion, (0.0,), -1.0, 0.0),
    (zero_times_infinity, (0.0,), 7.0, 0.0),
    (zero_times_infinity, (4.0,), 0.5, -0.0625),
    # (0, 0..3), (1, 0), (1, 1) are added, (1, 2) leaves: 6 x^2
    (early_return_from_nested_loops, (2.0,), 24.0, 12.0),
]
NAMES = [f"{fn.__name__}{args}" for fn, args, _, _ in TRUTHS]


@pytest.mark.parametrize(("fn", "args", "first", "second"), TRUTHS, ids=NAMES)
def test_derivatives_are_the_truth_in_both_modes(
    fn: Callable[..., float], args: tuple[float, ...], first: float, second: float
) -> None:
    kernel = knossos.register(fn)
    x = torch.tensor(args[0], dtype=torch.float64, requires_grad=True)
    rest = args[1:]
    y = kernel(x, *rest)
    assert y.item() == pytest.approx(fn(*args), rel=1e-14)
    (x_bar,) = torch.autograd.grad(y, x, create_graph=True)
    assert x_bar.item() == first
    (x_bar_bar,) = torch.autograd.grad(x_bar, x, allow_unused=True, materialize_grads=True)
    assert x_bar_bar.item() == second
    _, y_dot = knossos.jvp(kernel, (x.detach(), *rest), (torch.ones_like(x), *(None for _ in rest)))
    assert y_dot.item() == first
    # The function forms derive as above; what they are compiled to is not compiled again.
    assert interpreted(knossos.grad(fn), args) == (first,)
    assert interpreted(knossos.grad(knossos.grad(fn)), args) == (second,)


def interpreted(kernel: knossos.Kernel, args: tuple[float, ...]) -> tuple[float, ...]:
    special, _ = kernel.example(args)
    return tuple(interpret(special.program, args))


@pytest.mark.parametrize(("fn", "args", "first"), [truth[:3] for truth in TRUTHS[::3]], ids=NAMES[::3])
def test_derivatives_are_the_truth_in_float32_lanes(
    fn: Callable[..., float], args: tuple[float, ...], first: float
) -> None:
    kernel = knossos.vmap(fn, in_dims=(0, *(None for _ in args[1:])))
    x = torch.full((3,), args[0], dtype=torch.float32, requires_grad=True)
    y = kernel(x, *args[1:])
    (x_bar,) = torch.autograd.grad(y.sum(), x)
    assert x_bar.tolist() == [first] * 3
    assert kernel.jvp(x.detach(), *args[1:], torch.ones(3)).tolist() == [first] * 3
