"""The special functions against mpmath, and their derivatives to order three."""

import math
from collections.abc import Callable

import mpmath
import pytest

from ksc.ops import primitive
from ksc.ops.record import Value
from tests.ops.calculus import application, run, tangent
from tests.ops.samples import edge_samples, random_samples

mpmath.mp.dps = 50


def _ratio(n: int, a: mpmath.mpf) -> mpmath.mpf:
    return mpmath.diff(lambda t: mpmath.sinc(mpmath.pi * t), a, n)


TRUTH: dict[str, Callable[..., mpmath.mpf]] = {
    "gamma": mpmath.gamma,
    "lgamma": lambda a: mpmath.log(abs(mpmath.gamma(a))),
    "digamma": mpmath.digamma,
    "polygamma": mpmath.polygamma,
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "erfinv": mpmath.erfinv,
    "erfcx": lambda a: mpmath.exp(a * a) * mpmath.erfc(a),
    "sinc": lambda a: mpmath.sinc(mpmath.pi * a),
    "sinc_derivative": _ratio,
    "sigmoid": lambda a: 1 / (1 + mpmath.exp(-a)),
    "softplus": lambda a: mpmath.log1p(mpmath.exp(a)),
    "cbrt": mpmath.cbrt,
    "log1p": mpmath.log1p,
    "expm1": mpmath.expm1,
    "atanh": mpmath.atanh,
}
# Arguments where the function crosses zero, is too large, or mpmath needs too long.
LEFT_OUT: dict[str, Callable[..., bool]] = {
    "lgamma": lambda a: abs(a) > 1e5,
    "gamma": lambda a: abs(a) > 200.0,
    "digamma": lambda a: abs(a) > 1e15,
    "erfc": lambda a: abs(a) > 30.0,
    "erfcx": lambda a: not -30.0 < a < 1e9,
    "erf": lambda a: abs(a) > 30.0,
    "sinc": lambda a: abs(a) > 100.0,
    "cbrt": lambda a: a < 0.0,
    "log1p": lambda a: a < -1.0,
    "atanh": lambda a: abs(a) > 1.0,
    "erfinv": lambda a: abs(a) >= 1.0,
    "sigmoid": lambda a: abs(a) > 700.0,
    "softplus": lambda a: abs(a) > 700.0,
    "expm1": lambda a: abs(a) > 700.0,
}


def inputs(name: str) -> list[tuple[Value, ...]]:
    record = primitive(name)
    left_out = LEFT_OUT.get(name, lambda *_: False)
    samples = random_samples(record, 12) + edge_samples(record)
    return [
        args for args in samples if all(map(math.isfinite, args)) and not left_out(*args) and _is_regular(name, args)
    ]


def _is_regular(name: str, args: tuple[Value, ...]) -> bool:
    try:
        value = TRUTH[name](*(mpmath.mpf(a) if isinstance(a, float) else a for a in args))
    except (ValueError, ZeroDivisionError):
        return False
    return bool(mpmath.isfinite(value)) and abs(value) < 1e300


@pytest.mark.parametrize("name", TRUTH)
def test_value(name: str) -> None:
    for args in inputs(name):
        truth = TRUTH[name](*(mpmath.mpf(a) if isinstance(a, float) else a for a in args))
        value = primitive(name).evaluate(*args)
        # Near a zero the error is one of the argument.
        assert abs(value - truth) <= 2e-14 * abs(truth) + 2e-15, (args, value, truth)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", TRUTH)
def test_derivatives(name: str, order: int) -> None:
    record = primitive(name)
    wrt = record.arity - 1
    block = application(record, record.overloads[0].args)
    for _ in range(order):
        block = tangent(block, wrt)
    for args in random_samples(record, 4):
        head, last = args[:-1], args[-1]
        truth = mpmath.diff(lambda t, head=head: TRUTH[name](*head, t), mpmath.mpf(last), order)
        (value,) = run(block, args)
        assert abs(value - truth) <= 1e-11 * abs(truth) + 1e-12, (args, value, truth)
