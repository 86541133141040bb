"""The functions of Python's ``math``, and those of torch of the same names, that are not primitives."""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ops import intrinsics as ks

DEGREES = 57.29577951308232
RADIANS = 0.017453292519943295


def floor(x: float) -> int:
    """The next whole number downwards, as an Integer."""
    return ks.to_int(ks.floor(x))


def ceil(x: float) -> int:
    """The next whole number upwards, as an Integer."""
    return ks.to_int(ks.ceil(x))


def trunc(x: float) -> int:
    """The next whole number towards zero, as an Integer."""
    return ks.to_int(x)


def fabs(x: float) -> float:
    """The absolute value, as a Float."""
    return abs(float(x))


def pow(x: float, y: float) -> float:
    """``x`` to the power of ``y``, as Floats."""
    power: float = float(x) ** float(y)
    return power


def log(x: float, base: float | None = None) -> float:
    """The logarithm, natural unless a base is given."""
    if base is None:
        return ks.log(x)
    return ks.log(x) / ks.log(base)


def degrees(x: float) -> float:
    """Radians to degrees."""
    return x * DEGREES


def radians(x: float) -> float:
    """Degrees to radians."""
    return x * RADIANS


def hypot(x: float, y: float | None = None, z: float | None = None, w: float | None = None) -> float:
    """The Euclidean norm of up to four coordinates."""
    if y is None:
        return abs(float(x))
    if z is None:
        return ks.hypot(x, y)
    if w is None:
        return ks.hypot(ks.hypot(x, y), z)
    return ks.hypot(ks.hypot(x, y), ks.hypot(z, w))


def dist(p: Sequence[float], q: Sequence[float]) -> float:
    """The Euclidean distance of two points of the same static length."""
    square = 0.0
    for a, b in zip(p, q, strict=True):
        square = square + (a - b) * (a - b)
    return ks.sqrt(square)


def fsum(values: Sequence[float]) -> float:
    """The sum with Neumaier's compensation: nearly as exact as Python's."""
    total = 0.0
    lost = 0.0
    for value in values:
        following = total + value
        larger, smaller = (total, value) if abs(total) >= abs(value) else (value, total)
        lost = lost + ((larger - following) + smaller)
        total = following
    return total + lost


def prod(values: Sequence[float], *, start: float = 1) -> float:
    """The product."""
    result = start
    for value in values:
        result = result * value
    return result


def modf(x: float) -> tuple[float, float]:
    """The fractional and the whole part, both with the sign of ``x``."""
    whole = ks.trunc(x)
    return (ks.copysign(0.0, x) if ks.isinf(x) else x - whole), whole


def frexp(x: float) -> tuple[float, int]:
    """``(m, e)`` with ``x == m * 2**e`` and ``0.5 <= |m| < 1``, or ``(x, 0)`` for zeros, infinities and NaN."""
    e = ks.exponent(x)
    return ks.ldexp(x, -e), e


def ulp(x: float) -> float:
    """The value of the least significant bit."""
    size = abs(x)
    if not ks.isfinite(size):
        return size
    above = ks.nextafter(size, ks.div(1.0, 0.0))
    return above - size if ks.isfinite(above) else size - ks.nextafter(size, 0.0)


def isclose(a: float, b: float, *, rel_tol: float = 1e-09, abs_tol: float = 0.0) -> bool:
    """Whether two numbers are close to each other."""
    if a == b:
        return True
    if ks.isinf(a) or ks.isinf(b):
        return False
    gap = abs(b - a)
    return gap <= rel_tol * abs(b) or gap <= rel_tol * abs(a) or gap <= abs_tol


def gcd(a: int, b: int) -> int:
    """The greatest common divisor, at least 0."""
    a = abs(a)
    b = abs(b)
    while b != 0:
        rest = a % b
        a = b
        b = rest
    return a


def lcm(a: int, b: int) -> int:
    """The least common multiple, at least 0."""
    if a == 0 or b == 0:
        return 0
    return abs(a // gcd(a, b) * b)


def factorial(n: int) -> int:
    """The product of 1 to ``n``."""
    assert n >= 0, "factorial() not defined for negative values"
    assert n <= 20, "factorial() is larger than a 64-bit integer"
    result = 1
    for k in range(n):
        result = result * (k + 1)
    return result


def comb(n: int, k: int) -> int:
    """The number of ways to choose ``k`` of ``n`` without order."""
    assert n >= 0 and k >= 0, "comb() takes numbers that are not negative"
    result = 1
    for j in range(min(k, n - k)):
        result = result * (n - j) // (j + 1)
    return result if k <= n else 0


def perm(n: int, k: int) -> int:
    """The number of ways to choose ``k`` of ``n`` in order."""
    assert n >= 0 and k >= 0, "perm() takes numbers that are not negative"
    result = 1
    for j in range(min(k, n)):
        result = result * (n - j)
    return result if k <= n else 0


def isqrt(n: int) -> int:
    """The whole part of the square root."""
    assert n >= 0, "isqrt() takes a number that is not negative"
    if n == 0:
        return 0
    guess = 1
    while guess < 3037000499 and guess * guess < n:
        guess = guess * 2
    guess = min(guess, 3037000499)
    following = (guess + n // guess) // 2
    while following < guess:
        guess = following
        following = (guess + n // guess) // 2
    return guess
