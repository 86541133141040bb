"""Recursion whose result type nothing tells: PyTorch and Python run the same program."""

import oracle
import pytest
import torch
from tensor_oracle import check, check_derivatives, described

from ksc.errors import KnossosError
from ksc.frontend import trace

CASES = {}


def case(*shape):
    def enter(fn):
        generator = torch.Generator().manual_seed(5)
        CASES[fn.__name__] = fn, torch.randn(shape, generator=generator, dtype=torch.float64)
        return fn

    return enter


def product_tree(x: torch.Tensor, low: int, high: int) -> torch.Tensor:
    if high - low == 1:
        return x[low]
    middle = (low + high) // 2
    return product_tree(x, low, middle) * product_tree(x, middle, high)


@case(5)
def by_halves(x):
    return product_tree(x, 0, x.shape[0])


def halved(x):
    n = x.shape[0]
    return x[0] if n == 1 else halved(x[: n // 2]) * 2.0 + halved(x[n // 2 :])


@case(6)
def of_parts(x):
    return halved(x)


def grown(x, n):
    return x if n == 0 else torch.cat([grown(x, n - 1), x * n])


@case(3)
def of_another_size(x):
    return grown(x, 3)


def even(x, n):
    return x * 1.0 if n == 0 else odd(x, n - 1) * x


def odd(x, n):
    if n == 0:
        return x * 0.0
    return even(x, n - 1) + x


@case(3)
def of_two_functions(x):
    return even(x, x.shape[0])


def over_children(x, n):
    total = 0
    for i in range(n):
        total = total + over_children(x, n - 1 - i)
    return total + x[0] * x[1]


@case(3)
def in_a_loop(x):
    return over_children(x, 4)


def over_rows(x, i):
    s = torch.zeros_like(x[0])
    while i > 0:
        i -= 1
        s = s + over_rows(x, i) * x[i]
    return s + x[0]


@case(4, 3)
def in_a_while_loop(x):
    return over_rows(x, 3)


def several(x, n):
    if n == 0:
        return x, 0
    y, k = several(x * 2.0, n - 1)
    return y * x, k + 1.5


@case(3)
def of_a_tuple(x):
    y, k = several(x, x.shape[0])
    return y * k


def backwards(x, i):
    if i < 0 or x[i] > 10.0:
        return x[0]
    if i > 2 and backwards(x, i - 1) > 0.0:
        return x[1] * x[2]
    return backwards(x, i - 1) * x[i]


@case(5)
def in_a_condition(x):
    return backwards(x, x.shape[0] - 1)


def itself(x, n):
    return x if n == 0 else itself(x, n - 1)


@case(3)
def of_the_argument(x):
    y = x.clone()
    return y * itself(y, x.shape[0])


@case(3)
def of_a_local_function(x):
    def closer(n):
        if n > 3:
            return 1.0
        return 0.5 * closer(n + 1)

    return x * closer(x.shape[0] - 3)


@pytest.mark.parametrize(("fn", "x"), CASES.values(), ids=CASES)
def test_values_and_derivatives_are_those_of_torch(fn, x):
    check_derivatives(fn, x, traced=check(fn, x))


def factorial(n):
    return 1 if n == 0 else n * factorial(n - 1)


def of_an_integer(n: int):
    return factorial(n)


def harmonic(n: int):
    return 0 if n == 0 else 1.0 / n + harmonic(n - 1)


def becomes_a_float(n: int):
    return harmonic(n) * 1.0


@pytest.mark.parametrize("fn", [of_an_integer, becomes_a_float], ids=lambda fn: fn.__name__)
def test_numbers_are_those_of_python(fn):
    oracle.check(fn, [0, 1, 5])


def endless(x):
    return endless(x * 2.0)


def first(x, n):
    return second(x, n) if n > 3 else first(x, n + 1)


def second(x, n):
    return first(x, n) * 2.0


def of_either_rank(x, n):
    if n == 0:
        return x
    return of_either_rank(x, n - 1).sum()


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda x: endless(x), "'endless' calls itself on every path"),
        (lambda x: first(x, x.shape[0]), "'first' calls itself on every path"),
        (lambda x: of_either_rank(x, x.shape[0]), "rank 1 .* on one path and .* rank 0"),
    ],
)
def test_refused(fn, message):
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(torch.ones(3, dtype=torch.float64))])
