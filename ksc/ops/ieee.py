"""Python's ``math`` with the manners of C: a pole gives an infinity and a bad argument a NaN, never an exception."""

from __future__ import annotations

from collections.abc import Callable

from ksc.ops.own import math

INF = math.inf
NAN = math.nan


def quiet(fn: Callable[[float], float], *, poles: dict[float, float] | None = None) -> Callable[[float], float]:
    """``fn`` of one argument: at a pole its given value, NaN outside its domain, infinity on overflow."""
    values = poles or {}

    def evaluate(x: float) -> float:
        try:
            return fn(x)
        except ValueError:
            return values.get(x, NAN)
        except OverflowError:
            return INF

    return evaluate


def odd_overflow(fn: Callable[[float], float]) -> Callable[[float], float]:
    """An odd ``fn``, whose overflow takes the sign of its argument."""

    def evaluate(x: float) -> float:
        try:
            return fn(x)
        except OverflowError:
            return math.copysign(INF, x)

    return evaluate


def rounding(fn: Callable[[float], int]) -> Callable[[float], float]:
    """``fn`` to a whole number, as a float that keeps the sign of zero."""

    def evaluate(x: float) -> float:
        return math.copysign(float(fn(x)), x) if math.isfinite(x) else x

    return evaluate


def div(a: float, b: float) -> float:
    """IEEE division."""
    if b != 0.0:
        return a / b
    if a == 0.0 or math.isnan(a):
        return NAN
    return math.copysign(INF, a) * math.copysign(1.0, b)


def sqrt(x: float) -> float:
    """The square root, NaN below zero."""
    return math.sqrt(x) if x >= 0.0 else NAN


def is_odd(x: float) -> bool:
    """Whether a finite ``x`` is an odd whole number."""
    return math.isfinite(x) and abs(math.fmod(x, 2.0)) == 1.0


def pow(x: float, y: float) -> float:
    """C's pow."""
    try:
        return math.pow(x, y)
    except ValueError:
        if x != 0.0:
            return NAN
        return math.copysign(INF, x) if is_odd(y) else INF
    except OverflowError:
        return -INF if x < 0.0 and is_odd(y) else INF


def powi(x: float, n: int) -> float:
    """``x`` to an Integer power, as C's pow of an exactly converted exponent."""
    if abs(n) < 2**53:
        return pow(x, float(n))
    size = pow(abs(x), float(n))
    return math.copysign(size, x) if n % 2 else size


def fmod(a: float, b: float) -> float:
    """C's fmod: the remainder takes the sign of ``a``."""
    try:
        return math.fmod(a, b)
    except ValueError:
        return NAN


def remainder(a: float, b: float) -> float:
    """C's remainder: that of the quotient rounded to nearest, ties to even."""
    try:
        return math.remainder(a, b)
    except ValueError:
        return NAN


def floormod(a: float, b: float) -> float:
    """Python's ``a % b``: the remainder takes the sign of ``b``; NaN where ``b`` is zero."""
    mod = fmod(a, b)
    if mod == 0.0:
        return math.copysign(0.0, b)
    return mod + b if (mod < 0.0) != (b < 0.0) else mod


def floordiv(a: float, b: float) -> float:
    """Python's ``a // b``, except that a zero ``b`` gives ``a / b``."""
    if b == 0.0:
        return div(a, b)
    if not (math.isfinite(a) and not math.isnan(b)):
        return NAN
    return a // b


def ldexp(x: float, n: int) -> float:
    """``x`` times two to the ``n``."""
    try:
        return math.ldexp(x, max(-5000, min(5000, n)))
    except OverflowError:
        return math.copysign(INF, x)


def gamma(x: float) -> float:
    """The gamma function; an infinity at either zero, NaN at the negative whole numbers."""
    if x == 0.0:
        return math.copysign(INF, x)
    try:
        return math.gamma(x)
    except ValueError:
        return NAN
    except OverflowError:
        return INF if x > 0.0 else -INF


def lgamma(x: float) -> float:
    """The logarithm of the absolute value of gamma; infinity at its poles."""
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):
        return INF
