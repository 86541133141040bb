"""The library's functions, run as plain Python, against the functions of math and torch that they stand for."""

import inspect
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ksc.ops import PRIMITIVES, intrinsics
from ksc.ops.library import activations, elementwise, numbers
from ksc.ops.names import LOWERINGS, Lowering, lowering_of

POINTS = [-30.0, -7.3, -3.0, -2.99, -1.0, -0.5, -0.0, 0.0, 0.3, 0.5, 1.0, 2.5, 3.0, 5.99, 6.0, 7.0, 25.0, 40.0]
SPECIAL = [math.nan, math.inf, -math.inf]
PROBABILITIES = [0.0, 1e-9, 0.1, 0.5, 0.75, 1.0]

# A function, further arguments, and the arguments it is tried at.
ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("celu", {}),
    ("celu", {"alpha": 1.5}),
    ("elu", {}),
    ("elu", {"alpha": 0.5}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("hardshrink", {}),
    ("hardshrink", {"lambd": 1.0}),
    ("hardsigmoid", {}),
    ("hardswish", {}),
    ("hardtanh", {}),
    ("hardtanh", {"min_val": -2.0, "max_val": 3.0}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.2}),
    ("logsigmoid", {}),
    ("mish", {}),
    ("relu", {}),
    ("relu6", {}),
    ("selu", {}),
    ("silu", {}),
    ("softplus", {}),
    ("softplus", {"beta": 2.0, "threshold": 10.0}),
    ("softshrink", {}),
    ("softsign", {}),
    ("tanhshrink", {}),
    ("threshold", {"threshold": 0.5, "value": -1.0}),
]

ONE = [(x,) for x in POINTS + SPECIAL]
TWO = [(x, y) for x in [*POINTS[::3], *SPECIAL] for y in (-2.0, 0.0, 0.3, 3.0, math.inf, math.nan)]
THREE = [(x, y, z) for x in POINTS[::4] for y in (-2.0, 0.3) for z in (0.5, 1.5)]
BOOLS = [(a, b) for a in (False, True) for b in (False, True)]

ELEMENTWISE: list[tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = [
    ("add", {}, TWO),
    ("add", {"alpha": 2.0}, TWO),
    ("sub", {"alpha": 2.0}, TWO),
    ("rsub", {}, TWO),
    ("mul", {}, TWO),
    ("div", {}, [(x, y) for x, y in TWO if y]),
    ("div", {"rounding_mode": "trunc"}, [(7.0, 2.0), (-7.0, 2.0), (5.5, -2.0)]),
    ("div", {"rounding_mode": "floor"}, [(7.0, 2.0), (-7.0, 2.0), (5.5, -2.0)]),
    ("pow", {}, [(2.0, 0.5), (3.0, -2.0)]),
    ("square", {}, ONE),
    ("reciprocal", {}, [(x,) for x in POINTS if x]),
    ("addcmul", {"value": 0.5}, THREE),
    ("addcdiv", {}, THREE),
    ("lerp", {}, THREE),
    ("clamp", {"min": -1.0}, ONE),
    ("clamp", {"max": 2.0}, ONE),
    ("clamp", {"min": -1.0, "max": 2.0}, ONE),
    ("fmax", {}, TWO),
    ("fmin", {}, TWO),
    ("heaviside", {}, TWO),
    ("round", {"decimals": 1}, [(x,) for x in POINTS]),
    ("round", {"decimals": -1}, [(x,) for x in POINTS]),
    ("nan_to_num", {}, ONE),
    ("nan_to_num", {"nan": 1.0, "posinf": 2.0, "neginf": 3.0}, ONE),
    ("logit", {"eps": 1e-6}, [(x,) for x in PROBABILITIES]),
    ("logit", {}, [(0.2,), (0.9,)]),
    ("logaddexp2", {}, [(1.0, 2.0), (-3.0, 4.0)]),
    ("deg2rad", {}, ONE),
    ("rad2deg", {}, ONE),
    ("isposinf", {}, ONE),
    ("isneginf", {}, ONE),
    ("isclose", {}, TWO),
    ("isclose", {"equal_nan": True}, TWO),
    *((name, {}, TWO) for name in ("eq", "ne", "lt", "le", "gt", "ge")),
    *((f"logical_{name}", {}, BOOLS) for name in ("and", "or", "xor")),
    *((f"bitwise_{name}", {}, [(12, 10), (-5, 3)]) for name in ("and", "or", "xor")),
    ("bitwise_not", {}, [(5,), (-1,)]),
]


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-12 * max(1.0, abs(a), abs(b))


def tensor(value: Any) -> torch.Tensor:
    kind = {bool: torch.bool, int: torch.int64, float: torch.float64}[type(value)]
    return torch.tensor(value, dtype=kind)


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_activation_values(name: str, options: dict[str, Any]) -> None:
    theirs = getattr(torch.nn.functional, name)
    for (x,) in ONE:
        if name == "hardswish" and x == -math.inf:
            continue  # 0, its limit, where torch has -inf * 0
        assert same(getattr(activations, name)(x, **options), theirs(tensor(x), **options).item()), x


@pytest.mark.parametrize(("name", "options", "points"), ELEMENTWISE)
def test_elementwise_values(name: str, options: dict[str, Any], points: list[tuple[Any, ...]]) -> None:
    for args in points:
        value = getattr(elementwise, name)(*args, **options)
        expected = getattr(torch, name)(*map(tensor, args), **options).item()
        assert same(value, expected), args


def test_special_values() -> None:
    for x in [-40.0, -5.0, -1.0, -0.9, 0.0, 1.0, 9.0]:
        assert same(elementwise.ndtr(x), torch.special.ndtr(tensor(x)).item())
        assert same(elementwise.log_ndtr(x), torch.special.log_ndtr(tensor(x)).item())
    assert same(elementwise.multigammaln(4.5, 3), torch.special.multigammaln(tensor(4.5), 3).item())


MATH_ONE = ["ceil", "degrees", "fabs", "floor", "frexp", "log", "modf", "radians", "trunc", "ulp"]


@pytest.mark.parametrize("name", MATH_ONE)
def test_math_values(name: str) -> None:
    draw = random.Random(5)
    for x in [0.5, 2.5, 3.0, 1e-310, 1e300, *(draw.uniform(0.1, 100.0) for _ in range(20))]:
        for value in (x, -x) if name != "log" else (x,):
            if abs(value) < 1e18 or name not in ("ceil", "floor", "trunc"):
                assert getattr(numbers, name)(value) == getattr(math, name)(value), value


def test_math_of_special_values() -> None:
    for name in ("frexp", "modf", "ulp"):
        for x in SPECIAL:
            assert str(getattr(numbers, name)(x)) == str(getattr(math, name)(x))
    assert numbers.ulp(1.7976931348623157e308) == math.ulp(1.7976931348623157e308)
    assert numbers.log(8.0, 2.0) == math.log(8.0, 2.0)
    assert (
        numbers.hypot(3.0) == 3.0 and numbers.hypot(2.0, 3.0, 6.0) == 7.0 and numbers.hypot(1.0, 1.0, 1.0, 1.0) == 2.0
    )
    assert numbers.dist((1.0, 2.0), (4.0, 6.0)) == 5.0
    assert numbers.fsum([1e100, 1.0, -1e100]) == 1.0
    assert numbers.prod([2.0, 3.0], start=4.0) == 24.0
    for pair in [(1.0, 1.0 + 1e-10), (1.0, 1.1), (math.inf, math.inf), (math.inf, 1.0), (math.nan, math.nan)]:
        assert numbers.isclose(*pair) == math.isclose(*pair)


def test_math_of_integers() -> None:
    for a in range(-12, 13):
        for b in range(-12, 13):
            assert numbers.gcd(a, b) == math.gcd(a, b)
            assert numbers.lcm(a, b) == math.lcm(a, b)
    for n in range(15):
        assert numbers.factorial(n) == math.factorial(n)
        for k in range(17):
            assert numbers.comb(n, k) == math.comb(n, k)
            assert numbers.perm(n, k) == math.perm(n, k)
    for n in [*range(200), 3037000499**2, 3037000499**2 - 1, 2**62, 2**63 - 1]:
        assert numbers.isqrt(n) == math.isqrt(n)
    for broken in (lambda: numbers.factorial(-1), lambda: numbers.comb(-1, 2), lambda: numbers.isqrt(-1)):
        with pytest.raises(AssertionError):
            broken()


def test_all_of_math_is_known() -> None:
    functions = [function for name, function in vars(math).items() if callable(function) and not name.startswith("_")]
    unknown = [f.__name__ for f in functions if lowering_of(f) is None]
    # Newer Pythons have a few more.
    assert set(unknown) <= {"sumprod", "fma", "fmax", "fmin", "isnormal", "issubnormal", "signbit"}


@pytest.mark.parametrize("function", LOWERINGS, ids=lambda f: getattr(f, "__name__", str(f)))
def test_lowering_is_consistent(function: Callable[..., Any]) -> None:
    lowering = LOWERINGS[function]
    assert (lowering.primitive is None) != (lowering.function is None)
    if lowering.primitive is not None:
        assert len(lowering.params) == PRIMITIVES[lowering.primitive].arity
        return
    assert lowering.function is not None
    ours = inspect.signature(lowering.function).parameters.values()
    try:
        theirs = inspect.signature(function).parameters.values()
    except ValueError:
        return
    if all(p.kind is p.POSITIONAL_OR_KEYWORD for p in theirs):
        assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


def test_intrinsics_are_primitives() -> None:
    for name, intrinsic in vars(intrinsics).items():
        if isinstance(intrinsic, intrinsics.Intrinsic):
            assert intrinsic.name == name and name in PRIMITIVES
            assert lowering_of(intrinsic) == Lowering(name)
    assert intrinsics.floor(2) == 2.0
    assert lowering_of([]) is None and lowering_of(print) is None
