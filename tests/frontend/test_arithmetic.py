"""Operators and numeric built-ins over all combinations of types, against Python."""

import itertools
import math

import pytest
from oracle import described, run_traced, same

from ksc.frontend import trace
from ksc.ir.verify import verify

FLOATS = [-7.5, -2.0, -0.5, -0.0, 0.0, 0.5, 2.5, 3.5, 7.0, math.inf, math.nan]
INTEGERS = [-7, -2, -1, 0, 1, 3, 7]
BOOLS = [False, True]
NUMBERS = [FLOATS, INTEGERS, BOOLS]

BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "divmod": lambda a, b: divmod(a, b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "reflected": lambda a, b: (1 + a, 2.5 - b, 3 * a, 7 // (b * b + 1), 2.5 % (a * a + 1), True + a),
}
INTEGRAL = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << (b * b),
    "shr": lambda a, b: a >> (b * b),
    "invert": lambda a, b: (~(a + 0), ~(b * 1)),
}
UNARY = {
    "neg": lambda a: -a,
    "pos": lambda a: +a,
    "abs": lambda a: abs(a),
    "float": lambda a: float(a),
    "bool": lambda a: bool(a),
    "not": lambda a: not a,
    "square": lambda a: a**2,
    "powers": lambda a: (a**0, a**1, a**3, pow(a, 4), (a * a + 1) ** -2),
    "fraction": lambda a: (a * a + 0.25) ** 0.5,
}
FINITE = {
    "int": lambda a: int(a),
    "round": lambda a: round(a),
}


def compare_with_python(fn, args):
    try:
        expected = fn(*args)
    except ZeroDivisionError:
        return
    traced = trace(fn, [described(arg) for arg in args])
    verify(traced.program)
    found = run_traced(traced, args)
    assert same(found, expected), f"{args}: {found} but Python gives {expected}"


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("left, right", list(itertools.product(NUMBERS, NUMBERS)))
def test_binary(name, left, right):
    for args in itertools.product(left, right):
        compare_with_python(BINARY[name], args)


@pytest.mark.parametrize("name", INTEGRAL)
@pytest.mark.parametrize("left, right", list(itertools.product(NUMBERS[1:], NUMBERS[1:])))
def test_integral(name, left, right):
    for args in itertools.product(left, right):
        compare_with_python(INTEGRAL[name], args)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("values", NUMBERS)
def test_unary(name, values):
    for value in values:
        compare_with_python(UNARY[name], (value,))


@pytest.mark.parametrize("name", FINITE)
@pytest.mark.parametrize("values", NUMBERS)
def test_finite(name, values):
    for value in filter(math.isfinite, values):
        compare_with_python(FINITE[name], (value,))


def test_division_by_zero_is_that_of_ieee():
    for x, expected in ((1.0, math.inf), (-1.0, -math.inf), (0.0, math.nan)):
        traced = trace(lambda a: (a / 0, a / 0.0, 1 / (a * 0)), [described(x)])
        assert same(run_traced(traced, (x,))[0], expected)


def test_constants_are_folded_by_python():
    traced = trace(lambda x: x * (1 / 3) + 2**70 / 2**69 + math.sqrt(2), [described(1.0)])
    (mul, add, add2) = traced.program.main.body.eqns
    assert mul.args[1].value == 1 / 3
    assert add.args[1].value == 2.0
    assert add2.args[1].value == math.sqrt(2)


def test_round_to_digits_follows_torch():
    fn = lambda x: (round(x, 2), round(x, ndigits=-1))  # noqa: E731
    for x in (1.234, 15.0, 26.0, -3.456):
        compare_with_python(fn, (x,))
