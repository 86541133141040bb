"""Special functions that ``math`` lacks, in double precision; ``prelude/ks/special.h`` has the same methods in C++."""

from __future__ import annotations

from ksc.ops import ieee
from ksc.ops.own import math

INF = math.inf
NAN = math.nan

# B(2k) / (2k)! for k = 1 …, the coefficients of the Euler-Maclaurin formula.
_EULER_MACLAURIN = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
    43867 / 5109094217170944000,
    -174611 / 802857662698291200000,
)
_POLES_SUMMED = 30


def erfinv(a: float) -> float:
    """The inverse of erf: Giles' rough formula, then Halley's method on erf, or on erfc near the ends."""
    if not -1.0 < a < 1.0:
        return math.copysign(INF, a) if abs(a) == 1.0 else NAN
    if a == 0.0:
        return a
    size = abs(a)
    w = -math.log((1.0 - size) * (1.0 + size))
    # Winitzki's formula is good to three digits; each of Halley's steps triples them.
    b = 2.0 / (math.pi * 0.147) - w / 2.0
    x = math.sqrt(max(math.sqrt(b * b + w / 0.147) - b, 0.0)) if w > 1e-10 else size * (math.sqrt(math.pi) / 2.0)
    for _ in range(3):
        error = math.erf(x) - size if size < 0.5 else (1.0 - size) - math.erfc(x)
        step = error / ((2.0 / math.sqrt(math.pi)) * math.exp(-x * x))
        x -= step / (1.0 + x * step)
    return math.copysign(x, a)


def erfcx(a: float) -> float:
    """exp(a²) erfc(a): the product with a² split in two below 5, a continued fraction above."""
    if a < 5.0:
        high = math.trunc(a * 64.0) / 64.0 if a > -40.0 else a
        low = a - high
        return ieee.quiet(math.exp)(high * high) * math.exp((a + high) * low) * math.erfc(a) if a > -40.0 else INF
    if a != a:
        return a
    if a > 1e8:
        return 1.0 / (a * math.sqrt(math.pi))
    tail = 0.0
    for k in range(60, 0, -1):
        tail = (k / 2.0) / (a + tail)
    return 1.0 / ((a + tail) * math.sqrt(math.pi))


def _cot_pi(x: float) -> float:
    """cot(πx), reduced first so that it is exact about the poles."""
    f = x - round(x)
    if abs(f) > 0.25:
        return -math.tan(math.pi * (f - math.copysign(0.5, f)))
    return 1.0 / math.tan(math.pi * f)


def digamma(x: float) -> float:
    """The logarithmic derivative of gamma: reflection, recurrence up to 10, asymptotic series."""
    if x == 0.0:
        return -math.copysign(INF, x)
    if x < 0.0 and (math.isinf(x) or x == math.floor(x)):
        return NAN
    if x < 0.0:
        return digamma(1.0 - x) - math.pi * _cot_pi(x)
    shift = 0.0
    while x < 10.0:
        shift += 1.0 / x
        x += 1.0
    if x == INF:
        return INF
    z = 1.0 / (x * x)
    series = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * (691 / 32760 - z / 12))))))
    return math.log(x) - 0.5 / x - series - shift


def _zeta(s: int, x: float) -> float:
    """Hurwitz' zeta function for whole s > 1 and x > 0, by the Euler-Maclaurin formula."""
    total = 0.0
    while x < 10.0 + s:
        total += ieee.pow(x, -float(s))
        x += 1.0
    power = ieee.pow(x, -float(s))
    total += power * (x / (s - 1.0) + 0.5)
    factor = s * power / x
    for k, coefficient in enumerate(_EULER_MACLAURIN):
        term = coefficient * factor
        total += term
        if abs(term) < 1e-17 * abs(total):
            break
        factor *= (s + 2 * k + 1.0) * (s + 2 * k + 2.0) / (x * x)
    return total


def _cot_derivative(n: int, x: float) -> float:
    """The nth derivative of π cot(πx): a polynomial in the cotangent, found by P' (-π)(1 + c²)."""
    c = _cot_pi(x)
    coefficients = [0.0, math.pi]
    for _ in range(n):
        following = [0.0] * (len(coefficients) + 1)
        for k in range(1, len(coefficients)):
            slope = -math.pi * k * coefficients[k]
            following[k - 1] += slope
            following[k + 1] += slope
        coefficients = following
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = value * c + coefficient
    return value


def polygamma(n: int, x: float) -> float:
    """The nth derivative of digamma: (-1)^(n+1) n! zeta(n + 1, x), by reflection for negative ``x``."""
    if n < 0 or x != x or x == -INF:
        return NAN
    if n == 0:
        return digamma(x)
    sign = 1.0 if n % 2 else -1.0
    if x == INF:
        return sign * 0.0
    if x <= 0.0 and x == math.floor(x):
        return INF if n % 2 else (NAN if x else -math.copysign(INF, x))
    factorial = ieee.gamma(n + 1.0)
    if x > 0.0:
        return sign * factorial * _zeta(n + 1, x)
    if n <= _POLES_SUMMED:
        return -sign * polygamma(n, 1.0 - x) - _cot_derivative(n, x)
    nearest = round(x)
    return sign * factorial * sum(ieee.powi(x - nearest + k, -(n + 1)) for k in range(-min(-nearest, 8), 9))


def sinc(x: float) -> float:
    """sin(πx) / (πx), one at zero, with the sine of the distance to the nearest whole number."""
    if x == 0.0 or not math.isfinite(x):
        return 1.0 if x == 0.0 else NAN
    whole = round(x)
    sine = math.sin(math.pi * (x - whole))
    return (-sine if whole % 2 else sine) / (math.pi * x)


def sinc_derivative(n: int, x: float) -> float:
    """The nth derivative of sinc: Taylor's series near zero, else a recurrence, with z = πx:

    z s(n) + n s(n-1) = sin(z + nπ/2).
    """
    if n < 0 or not math.isfinite(x):
        return NAN
    z = math.pi * x
    scale = math.pi**n
    if abs(z) <= 1.5 + n:
        return scale * _sinc_series(n, z)
    sine, cosine = math.sin(z), math.cos(z)
    quarter = (sine, cosine, -sine, -cosine)
    value = sine / z
    for k in range(1, n + 1):
        value = (quarter[k % 4] - k * value) / z
    return scale * value


def _sinc_series(n: int, z: float) -> float:
    # sum over even m >= n of (-1)^(m/2) z^(m-n) / ((m-n)! (m+1)).
    m = n + n % 2
    power = (1.0 if m % 4 == 0 else -1.0) * (z if n % 2 else 1.0)
    total = 0.0
    while True:
        term = power / (m + 1.0)
        total += term
        if abs(term) <= 1e-18 * abs(total) or m > n + 120:
            return total
        power *= -z * z / ((m - n + 1.0) * (m - n + 2.0))
        m += 2
