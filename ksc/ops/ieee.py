"""Python's ``math`` with the manners of C: a pole gives an infinity and a bad argument a NaN, never an exception."""

from __future__ import annotations

import math
from collections.abc import Callable

INF = math.inf
NAN = math.nan


def quiet(fn: Callable[..., float], *, overflow: float = INF) -> Callable[..., float]:
    """``fn`` with a ValueError turned into NaN and an OverflowError into ``overflow``."""

    def evaluate(*args: float) -> float:
        try:
            return fn(*args)
        except ValueError:
            return NAN
        except OverflowError:
            return overflow

    return evaluate


def div(a: float, b: float) -> float:
    """IEEE division."""
    if b != 0.0:
        return a / b
    if a == 0.0 or math.isnan(a):
        return NAN
    return math.copysign(INF, a) * math.copysign(1.0, b)


def sign(x: float) -> float:
    """-1, 0 or 1; NaN stays NaN."""
    return x if math.isnan(x) else float((x > 0.0) - (x < 0.0))


def is_odd(x: float) -> bool:
    """Whether a finite ``x`` is an odd whole number."""
    return abs(math.fmod(x, 2.0)) == 1.0


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
