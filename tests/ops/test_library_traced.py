"""The library as the frontend traces it: the same values, and PyTorch's derivatives, kinks included."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from ksc.frontend import Abstract, Static, trace
from ksc.ir.interpret import interpret
from ksc.ir.types import Bool, Float, Integer
from ksc.ir.verify import verify
from ksc.ops.library import activations, elementwise, numbers
from tests.ops.calculus import path_taken, run, tangent
from tests.ops.test_library import ACTIVATIONS, ELEMENTWISE, ONE, same

TYPES = {float: Float, int: Integer, bool: Bool}


def traced(function: Callable[..., Any], like: Sequence[Any], options: dict[str, Any]) -> Any:
    """The trace for arguments of these types and options known at compile time."""
    names = list(inspect.signature(function).parameters)
    described = {name: Abstract(TYPES[type(a)]) for name, a in zip(names, like, strict=False)}
    result = trace(function, described | {name: Static(value) for name, value in options.items()})
    verify(result.program)
    return result


def values(result: Any, args: Sequence[Any]) -> Any:
    return result.rebuild(iter(interpret(result.program, args)))


def torch_gradient(function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> list[float] | None:
    """PyTorch's derivatives, None where it has none."""
    inputs = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in args]
    value = function(*inputs, **options)
    if not value.requires_grad:
        return None
    grads = torch.autograd.grad(value, inputs, allow_unused=True)
    return [0.0 if grad is None else grad.item() for grad in grads]


def check_gradient(
    function: Callable[..., Any], theirs: Callable[..., Any], args: Any, options: dict[str, Any]
) -> None:
    block = traced(function, args, options).program.main.body
    expected = torch_gradient(theirs, args, options)
    if expected is None or not isinstance(run(block, args)[0], float):
        return
    for k, truth in enumerate(expected):
        (value,) = run(tangent(path_taken(block, args), k), args)
        assert same(value, truth) or abs(value - truth) < 1e-7 * abs(truth), (args, k, value, truth)


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activations(name: str, options: dict[str, Any]) -> None:
    function = getattr(activations, name)
    program = traced(function, (1.0,), options)
    for args in ONE:
        assert same(values(program, args), function(*args, **options)), args
        if math.isfinite(args[0]):
            check_gradient(function, getattr(torch.nn.functional, name), args, options)


@pytest.mark.parametrize(("name", "options", "points"), ELEMENTWISE)
def test_elementwise(name: str, options: dict[str, Any], points: list[tuple[Any, ...]]) -> None:
    function = getattr(elementwise, name)
    program = traced(function, points[0], options)
    for args in points:
        try:
            expected = function(*args, **options)
        except ZeroDivisionError:
            continue
        assert same(values(program, args), expected), args
        # PyTorch has no derivative of heaviside.
        if name != "heaviside" and all(isinstance(a, float) and math.isfinite(a) for a in args):
            check_gradient(function, getattr(torch, name), args, options)


MATH: list[tuple[str, tuple[Any, ...]]] = [
    ("floor", (-2.5,)),
    ("ceil", (-2.5,)),
    ("trunc", (-2.5,)),
    ("fabs", (-2.5,)),
    ("fabs", (-2,)),
    ("pow", (2, 3)),
    ("log", (8.0,)),
    ("log", (8.0, 2.0)),
    ("degrees", (1.5,)),
    ("radians", (90.0,)),
    ("hypot", (2.0, 3.0, 6.0)),
    ("modf", (-2.25,)),
    ("frexp", (-3.7,)),
    ("ulp", (1e300,)),
    ("isclose", (1.0, 1.0 + 1e-10)),
    ("gcd", (-12, 18)),
    ("lcm", (4, 6)),
    ("factorial", (10,)),
    ("comb", (10, 3)),
    ("perm", (10, 3)),
    ("isqrt", (99,)),
]


@pytest.mark.parametrize(("name", "args"), MATH)
def test_math(name: str, args: tuple[Any, ...]) -> None:
    value, truth = values(traced(getattr(numbers, name), args, {}), args), getattr(math, name)(*args)
    assert value == truth and type(value) is type(truth)


def test_special() -> None:
    for x in (-5.0, -1.0, 0.5, 3.0):
        check_gradient(elementwise.ndtr, torch.special.ndtr, (x,), {})
        check_gradient(elementwise.log_ndtr, torch.special.log_ndtr, (x,), {})
    program = traced(elementwise.multigammaln, (4.5,), {"p": 3})
    assert same(values(program, (4.5,)), elementwise.multigammaln(4.5, 3))


def sum_of_three(a: float, b: float, c: float) -> tuple[float, float, float]:
    return math.fsum([a, b, c]), math.prod((a, b, c)), math.dist((a, b), (b, c))


def test_functions_of_sequences() -> None:
    program = trace(sum_of_three, [Abstract(Float)] * 3)
    assert values(program, (1e100, 1.0, -1e100))[0] == 1.0
    assert values(program, (1.0, 4.0, 8.0))[1:] == (32.0, 5.0)
