"""Functions of every kind, and the values that travel between them, each against Python."""

from __future__ import annotations
import __future__

import functools
import linecache
import math
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from oracle import check

from ksc.frontend import Abstract, trace
from ksc.ir.nodes import walk
from ksc.ir.types import Float, Integer

XS = [-2.5, 0.0, 0.3, 4.0]
PAIRS = [(x, n) for x in (-1.5, 0.5, 2.0) for n in (0, 1, 2, 5)]
CASES = []
HALF = 0.5
COEFFICIENTS = (1.0, -2.0, 0.5)
ORIGIN = None


def case(inputs):
    def add(fn):
        CASES.append(pytest.param(fn, inputs, id=fn.__name__))
        return fn

    return add


def square(x):
    return x * x


def scaled(x: float, by: float = 2.0, *, shift: float = 0.0) -> float:
    return x * by + shift


def two(x: float, y: float) -> tuple[float, float]:
    return x + y, x - y


def clamp01(x):
    if x < 0:
        return 0
    if x > 1:
        return 1
    return x


@case(XS)
def calls(x: float):
    a, b = two(x, square(x))
    return scaled(a) + scaled(b, 3.0, shift=1.0) + scaled(by=x, x=b) + clamp01(x)


@case(XS)
def globals_and_constants(x: float):
    return sum(c * x**k for k, c in enumerate(COEFFICIENTS)) * HALF if ORIGIN is None else 0.0


@case([0, 1, 5, 10])
def factorial(n: int) -> int:
    if n <= 1:
        return 1
    return n * factorial(n - 1)


def is_even(n: int) -> bool:
    return True if n == 0 else is_odd(n - 1)


def is_odd(n: int) -> bool:
    return False if n == 0 else is_even(n - 1)


@case([0, 1, 6, 7])
def mutual_recursion(n: int):
    return is_even(n), is_odd(n)


def power(x: float, n: int) -> float:
    if n == 0:
        return 1.0
    half = power(x, n // 2)
    return half * half * (x if n % 2 else 1.0)


@case(XS)
def recursion_from_a_constant(x: float):
    return power(x, 10) + power(x + 1, 3)


@case([(0.5, 3), (2.0, 0)])
def recursion_with_default(x: float, n: int, acc: float = 0.0) -> float:
    if n == 0:
        return acc
    return recursion_with_default(x, n - 1, acc + x)


@case(PAIRS)
def local_functions(x: float, n: int):
    def shifted(t):
        return t + x

    def twice(f, t):
        return f(f(t))

    cube = lambda t: t**3  # noqa: E731
    return twice(shifted, n) + twice(lambda t: t * n, x) + cube(x)


@case(XS)
def late_binding(x: float):
    def f():
        return y * 2

    y = x
    a = f()
    y = x + 1
    if x > 0:
        y = x * 10
        a += f()
    return a, f()


@case([0, 1, 5])
def local_recursion(n: int):
    def fib(k: int) -> int:
        return k if k < 2 else fib(k - 1) + fib(k - 2)

    return fib(n)


def make_adder(a):
    return lambda t: t + a


def make_polynomial(*, degree):
    def polynomial(x):
        total = 0
        for k in range(degree + 1):
            total += x**k
        return total

    return polynomial


cubic = make_polynomial(degree=3)


@case(XS)
def functions_returned(x: float):
    add = make_adder(x)
    return add(1.0) + cubic(x) + make_adder(2)(x)


def derivative(f, x, h=1e-3):
    return (f(x + h) - f(x - h)) / (2 * h)


@case(XS)
def higher_order(x: float):
    return derivative(square, x) + derivative(lambda t: t * x, 2.0) + sum(map(square, (x, 1.0)))


triple = functools.partial(scaled, by=3.0)


@functools.lru_cache
def cached(x):
    return x + 1


@case(XS)
def partial_and_cache(x: float):
    return triple(x) + functools.partial(two, 1.0)(x)[0] + cached(x)


class Point(NamedTuple):
    x: float
    y: float = 1.0

    @property
    def norm(self) -> float:
        return math.sqrt(self.x * self.x + self.y * self.y)

    def moved(self, by: float) -> Point:
        return Point(self.x + by, self.y)


@dataclass(frozen=True)
class Dual:
    value: float
    slope: float = 0.0

    def __add__(self, other):
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other):
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)

    def __neg__(self):
        return Dual(-self.value, -self.slope)

    def sin(self):
        return Dual(math.sin(self.value), math.cos(self.value) * self.slope)


UNIT = Dual(1.0)


@case(XS)
def namedtuples(x: float):
    p = Point(x, y=2.0)
    q = Point(x).moved(1.0)
    a, b = q
    return p.norm + q.x + p[1] * a - b, p


@case(XS)
def dataclasses_and_operators(x: float):
    d = Dual(x, 1.0)
    e = d * d + d.sin() + UNIT
    return -e, e.slope


@case([(Point(0.5, 2.0), Dual(1.0, 3.0)), (Point(-0.5, 2.0), Dual(1.0, 3.0))])
def structures_as_arguments(p: Point, d: Dual):
    if p.x > 0:
        q = p.moved(d.value)
    else:
        q = Point(d.slope, p.y)
    return q, d


@case(PAIRS)
def structure_in_a_loop(x: float, n: int):
    d = Dual(x, 1.0)
    for _ in range(n):
        d = d * d
    return d


@case([((1.0, (2.0, 3)), [4.0, 5.0]), ((-1.0, (2.0, 3)), [4.0, 5.0])])
def nested_tuples(t: tuple[float, tuple[float, int]], xs: list):
    a, (b, n) = t
    [c, d] = xs
    pair = (a, b) if a > 0 else (b, a)
    return pair + (n,), xs[::-1], (c, d)[len(t) - 1], len(xs), t[1][0]  # noqa: RUF005


@case(XS)
def comprehensions(x: float):
    xs = [x * k for k in range(4) if k != 2]
    table = {k: x + k for k in (1, 2)}
    grid = [(i, j * x) for i in range(2) for j in (1, 2)]
    total = sum([a * b for a, b in grid])
    return xs, table[2], total, [i for i, v in enumerate(xs)], table


@case([(x, y, z) for x in XS for y in (-1.0, 3.0) for z in (0.0, 1.0)])
def reductions(x: float, y: float, z: float):
    v = (x, y, z)
    return (
        min(v), max(x, y, z), min(x, 1), sum(v, 2.0), any(t > 2 for t in v), all(t > -2 for t in v),
        len(v), tuple(reversed(v)), sorted((3, 1, 2)), list(zip(v, range(3), strict=True)), max([a * a for a in v]),
    )  # fmt: skip


@case([(math.nan, 1.0), (1.0, math.nan), (0.0, -0.0), (-0.0, 0.0), (2.0, 1.0)])
def min_and_max_compare(x: float, y: float):
    return min(x, y), max(x, y), min(y, x), max(y, x)


@case([(x, n, b) for x in XS for n in (-1, 3) for b in (False, True)])
def isinstance_is_static(x: float, n: int, b: bool):
    r = 0
    if isinstance(x, float) and isinstance(n, int) and not isinstance(x, int) and isinstance(b, int):
        r = 1
    return r + (2 if isinstance((x, n), tuple) else 0) + isinstance(b, (float, bool))


@case([(x, n) for x in XS for n in (-2, 0, 3)])
def membership_and_equality(x: float, n: int):
    return (
        n in (1, 2, 3),
        n not in (0,),
        (x, n) == (x, 3),
        (x, n) != (x, n),
        x is None,
        None is not x,
        "a" in ("a", "b"),
    )


@case(XS)
def strings_are_static(x: float):
    mode = "square"
    key = f"{mode}-{2:03d}" + "!"
    table = {"square-002!": x * x, "other": x}
    return table[key] if mode == "square" and len(key) == 11 else x


@case(XS)
def several_results(x: float):
    return x, 1, True, None, "tag", [x, (x,)], {"y": x}


@pytest.mark.parametrize("fn, inputs", CASES)
def test_against_python(fn, inputs):
    check(fn, inputs)


def ops(traced):
    return [eqn.op for function in traced.program.functions.values() for eqn in walk(function.body)]


def test_calls_are_kept_and_shared():
    traced = trace(calls, [Abstract(Float)])
    assert set(traced.program.functions) == {"calls", "square", "two", "scaled", "scaled_2", "scaled_3", "clamp01"}
    assert list(traced.program.functions)[-1] == "calls"
    assert ops(traced).count("call") == 6


def test_recursion_is_one_function():
    traced = trace(recursion_from_a_constant, [Abstract(Float)])
    assert set(traced.program.functions) == {"power", "recursion_from_a_constant"}
    assert [param.type for param in traced.program.functions["power"].params] == [Float, Integer]


def test_decorated_function_is_seen_through():
    class Kernel:
        __knossos_function__ = staticmethod(square)

    kernel = Kernel()

    def user(x: float):
        return kernel(x) + 1

    check_result = trace(user, [Abstract(Float)])
    assert "square" in check_result.program.functions


def test_lambdas_on_one_line_are_told_apart():
    first, second = lambda x: x + 1, lambda x: x * 2
    outer = lambda x: lambda x: x - 1  # noqa: E731
    check(first, [1.5])
    check(second, [1.5])
    check(outer(0), [1.5])


def test_variables_keep_their_names():
    def f(x: float):
        total = x * 2
        return total + 1

    eqns = trace(f, [Abstract(Float)]).program.main.body.eqns
    assert eqns[0].outs[0].name == "total"
    assert eqns[0].span.text == "total = x * 2"


def test_code_that_inherits_future_statements_is_what_runs():
    # Annotations of inner functions are compiled to text under `from __future__ import annotations`.
    text = "def f(x: float) -> float:\n    def g(y: float) -> float:\n        return y * 2.0\n    return g(x)\n"
    name = "<inheriting>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    flags = __future__.annotations.compiler_flag
    for code in (compile(text, name, "exec", flags, dont_inherit=True), compile(text, name, "exec", dont_inherit=True)):
        space = {}
        exec(code, space)
        assert len(trace(space["f"], [Abstract(Float)]).program.functions) == 1
