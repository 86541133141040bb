"""The scalar functions of ``torch`` and ``torch.special`` that are not primitives, with their keyword arguments."""

from __future__ import annotations

from ksc.ops import intrinsics as ks

SQRT_HALF = 0.7071067811865476
LOG_2 = 0.6931471805599453
DEGREES = 57.29577951308232
RADIANS = 0.017453292519943295


def add(input: float, other: float, *, alpha: float = 1) -> float:
    """``input + alpha * other``."""
    return input + other if alpha == 1 else input + alpha * other


def sub(input: float, other: float, *, alpha: float = 1) -> float:
    """``input - alpha * other``."""
    return input - other if alpha == 1 else input - alpha * other


def rsub(input: float, other: float, *, alpha: float = 1) -> float:
    """``other - alpha * input``."""
    return other - input if alpha == 1 else other - alpha * input


def mul(input: float, other: float) -> float:
    """``input * other``."""
    return input * other


def div(input: float, other: float, *, rounding_mode: str | None = None) -> float:
    """``input / other``, rounded as told."""
    if rounding_mode == "floor":
        return input // other
    if rounding_mode == "trunc":
        return ks.trunc(input / other)
    assert rounding_mode is None, "rounding_mode is None, 'floor' or 'trunc'"
    return input / other


def floor_divide(input: float, other: float) -> float:
    """``input // other``."""
    return input // other


def remainder(input: float, other: float) -> float:
    """``input % other``, with the sign of ``other``."""
    return input % other


def pow(input: float, exponent: float) -> float:
    """``input ** exponent``."""
    power: float = input**exponent
    return power


def neg(input: float) -> float:
    """``-input``."""
    return -input


def positive(input: float) -> float:
    """``input``."""
    return input


def square(input: float) -> float:
    """``input * input``."""
    return input * input


def reciprocal(input: float) -> float:
    """``1 / input``."""
    return 1.0 / input


def addcmul(input: float, tensor1: float, tensor2: float, *, value: float = 1) -> float:
    """``input + value * tensor1 * tensor2``."""
    return input + value * (tensor1 * tensor2)


def addcdiv(input: float, tensor1: float, tensor2: float, *, value: float = 1) -> float:
    """``input + value * tensor1 / tensor2``."""
    return input + value * (tensor1 / tensor2)


def lerp(input: float, end: float, weight: float) -> float:
    """The point that divides the way from ``input`` to ``end`` in the ratio ``weight``."""
    if abs(weight) < 0.5:
        return input + weight * (end - input)
    return end - (end - input) * (1.0 - weight)


def clamp(input: float, min: float | None = None, max: float | None = None) -> float:
    """``input`` kept between the bounds that are given."""
    if min is None:
        assert max is not None, "clamp() takes at least one of min and max"
        return ks.clamp_max(input, max)
    if max is None:
        return ks.clamp_min(input, min)
    return ks.clamp(input, min, max)


def fmax(input: float, other: float) -> float:
    """The larger one, a NaN only where both are; at a tie the derivative goes to the first."""
    if input >= other or ks.isnan(other):
        return input
    return other


def fmin(input: float, other: float) -> float:
    """The smaller one, a NaN only where both are; at a tie the derivative goes to the first."""
    if input <= other or ks.isnan(other):
        return input
    return other


def where(condition: bool, input: float, other: float) -> float:
    """``input`` where the condition holds, else ``other``."""
    return input if condition else other


def where_method(input: float, condition: bool, other: float) -> float:
    """``input`` where the condition holds, else ``other``: the method, which has the condition second."""
    return input if condition else other


def heaviside(input: float, values: float) -> float:
    """1 above zero, ``values`` at zero, else 0."""
    if input == 0.0:
        return values
    return 1.0 if input > 0.0 else 0.0


def round(input: float, *, decimals: int = 0) -> float:
    """To the nearest number with so many decimals, the even one of two."""
    if decimals == 0:
        return ks.round(input)
    if decimals > 0:
        return ks.round(input * 10.0**decimals) / 10.0**decimals
    return ks.round(input / 10.0 ** (-decimals)) * 10.0 ** (-decimals)


def nan_to_num(
    input: float, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> float:
    """``input`` with its NaN and infinities replaced."""
    if ks.isnan(input):
        return 0.0 if nan is None else float(nan)
    if ks.isinf(input):
        largest = ks.nextafter(ks.stop_gradient(input), 0.0)
        if input > 0.0:
            return largest if posinf is None else float(posinf)
        return largest if neginf is None else float(neginf)
    return input


def logit(input: float, eps: float | None = None) -> float:
    """``log(input / (1 - input))``, the input first kept ``eps`` away from 0 and 1."""
    x = input if eps is None else ks.clamp(input, eps, 1.0 - eps)
    return ks.log(x / (1.0 - x))


def logaddexp2(input: float, other: float) -> float:
    """``log2(2**input + 2**other)``."""
    return ks.logaddexp(input * LOG_2, other * LOG_2) / LOG_2


def deg2rad(input: float) -> float:
    """Degrees to radians."""
    return input * RADIANS


def rad2deg(input: float) -> float:
    """Radians to degrees."""
    return input * DEGREES


def isposinf(input: float) -> bool:
    """Whether it is the positive infinity."""
    return ks.isinf(input) and input > 0.0


def isneginf(input: float) -> bool:
    """Whether it is the negative infinity."""
    return ks.isinf(input) and input < 0.0


def isclose(input: float, other: float, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether ``|input - other| <= atol + rtol |other|``."""
    assert rtol >= 0.0, "rtol is negative"
    assert atol >= 0.0, "atol is negative"
    if equal_nan and ks.isnan(input) and ks.isnan(other):
        return True
    if input == other:
        return True
    return ks.isfinite(input) and ks.isfinite(other) and abs(input - other) <= atol + abs(rtol * other)


def eq(input: float, other: float) -> bool:
    """``input == other``."""
    return input == other


def ne(input: float, other: float) -> bool:
    """``input != other``."""
    return input != other


def lt(input: float, other: float) -> bool:
    """``input < other``."""
    return input < other


def le(input: float, other: float) -> bool:
    """``input <= other``."""
    return input <= other


def gt(input: float, other: float) -> bool:
    """``input > other``."""
    return input > other


def ge(input: float, other: float) -> bool:
    """``input >= other``."""
    return input >= other


def logical_and(input: bool, other: bool) -> bool:
    """Whether both are true."""
    return bool(input) and bool(other)


def logical_or(input: bool, other: bool) -> bool:
    """Whether one is true."""
    return bool(input) or bool(other)


def logical_xor(input: bool, other: bool) -> bool:
    """Whether just one is true."""
    return bool(input) != bool(other)


def logical_not(input: bool) -> bool:
    """Whether it is not true."""
    return not bool(input)


def bitwise_and(input: int, other: int) -> int:
    """``input & other``."""
    return input & other


def bitwise_or(input: int, other: int) -> int:
    """``input | other``."""
    return input | other


def bitwise_xor(input: int, other: int) -> int:
    """``input ^ other``."""
    return input ^ other


def bitwise_not(input: int) -> int:
    """``~input``."""
    return ~input


def ndtr(input: float) -> float:
    """The distribution function of the standard normal distribution."""
    return 0.5 * ks.erfc(-SQRT_HALF * input)


def log_ndtr(input: float) -> float:
    """The logarithm of ``ndtr``, without underflow."""
    t = input * SQRT_HALF
    if input < -1.0:
        return ks.log(ks.erfcx(-t) / 2.0) - t * t
    return ks.log1p(-ks.erfc(t) / 2.0)


def multigammaln(input: float, p: int) -> float:
    """The logarithm of the multivariate gamma function of dimension ``p``."""
    result = 0.25 * p * (p - 1) * 1.1447298858494002
    for j in range(p):
        result = result + ks.lgamma(input - 0.5 * j)
    return result
