"""Functions of math and torch inside kernels, against the functions themselves."""

import math

import pytest
import torch
from oracle import check, described, run_traced, same

from ksc.frontend import trace
from ksc.ops.names import lowering_of

MATH_ONE = [
    name
    for name in dir(math)
    if lowering_of(getattr(math, name)) and name not in "dist fsum prod perm comb factorial gcd isqrt lcm".split()
]
POINTS = (-2.5, -0.5, 0.25, 0.75, 1.5, 3.0)


@pytest.mark.parametrize("name", MATH_ONE)
def test_math(name):
    function = getattr(math, name)
    tested = 0
    for arity in (1, 2):
        for x in POINTS:
            args = (x, 2.25)[:arity] if name != "ldexp" else (x, 3)
            try:
                expected = function(*args)
            except (TypeError, ValueError):
                continue
            caller = (lambda a: function(a)) if len(args) == 1 else (lambda a, b: function(a, b))
            found = run_traced(trace(caller, [described(arg) for arg in args]), args)
            assert same(found, expected) or math.isclose(found, expected, rel_tol=1e-10), (args, found, expected)
            tested += 1
    assert tested > 0


def test_integer_functions():
    check(lambda n: (math.gcd(n, 12), math.lcm(n, 4), math.factorial(abs(n)), math.isqrt(n * n)), [1, 6, -8])
    check(lambda n: (math.comb(n, 2), math.perm(n, 2)), [2, 6])


def test_sequences():
    check(lambda x: (math.dist((x, 1.0), (0.0, 2.0)), math.prod((x, 2.0)), math.fsum([x, 0.1, 0.2])), [1.5, -3.0])


def test_constants_and_static_arguments():
    check(lambda x: x * math.pi + math.e - math.tau + math.sqrt(2) + math.floor(2.5), [1.5])
    check(lambda x: x if math.isnan(math.nan) and math.isinf(math.inf) else 0.0, [1.5])


def test_outside_the_domain_is_nan_as_in_torch():
    traced = trace(lambda x: (math.sqrt(x), math.log(x), math.sqrt(-1.0)), [described(1.0)])
    assert all(math.isnan(value) for value in run_traced(traced, (-1.0,)))


@pytest.mark.parametrize(
    "of_float, of_tensor",
    [
        (lambda x: torch.sin(x) + torch.exp(x), lambda x: torch.sin(x) + torch.exp(x)),
        (lambda x: x.sin() + x.exp() * x.clamp(min=0.5), lambda x: x.sin() + x.exp() * x.clamp(min=0.5)),
        (lambda x: torch.relu(x), lambda x: torch.relu(x)),
        (lambda x: torch.nn.functional.gelu(x), lambda x: torch.nn.functional.gelu(x)),
        (
            lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
            lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        ),
        (lambda x: torch.nn.functional.silu(x), lambda x: torch.nn.functional.silu(x)),
        (lambda x: torch.where(x > 0, x, x * 2), lambda x: torch.where(x > 0, x, x * 2)),
        (lambda x: torch.clamp(x, -1.0, max=0.5), lambda x: torch.clamp(x, -1.0, max=0.5)),
        (lambda x: torch.special.erf(x), lambda x: torch.special.erf(x)),
        (lambda x: torch.pow(x, 2), lambda x: torch.pow(x, 2)),
        (lambda x: torch.sigmoid(input=x), lambda x: torch.sigmoid(input=x)),
        (lambda x: torch.round(x, decimals=1), lambda x: torch.round(x, decimals=1)),
        (lambda x: torch.maximum(x, x * x), lambda x: torch.maximum(x, x * x)),
    ],
)
def test_torch(of_float, of_tensor):
    traced = trace(of_float, [described(1.0)])
    for x in POINTS:
        (found,) = (run_traced(traced, (x,)),)
        expected = of_tensor(torch.tensor(x, dtype=torch.float64)).item()
        assert math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-300) or same(found, expected)
