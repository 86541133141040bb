"""The scalar functions of ``torch.nn.functional``, with PyTorch's derivatives at the kinks and its defaults."""

from __future__ import annotations

from ksc.ops import intrinsics as ks

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
SQRT_HALF = 0.7071067811865476
SQRT_TWO_OVER_PI = 0.7978845608028654


def relu(input: float, inplace: bool = False) -> float:
    """The larger of ``input`` and 0."""
    return 0.0 if input <= 0.0 else input


def relu6(input: float, inplace: bool = False) -> float:
    """``input`` kept between 0 and 6."""
    if input <= 0.0:
        return 0.0
    return 6.0 if input >= 6.0 else input


def hardtanh(input: float, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> float:
    """``input`` kept between two bounds."""
    assert min_val <= max_val, "min_val is larger than max_val"
    if input <= min_val:
        return float(min_val)
    return float(max_val) if input >= max_val else input


def threshold(input: float, threshold: float, value: float, inplace: bool = False) -> float:
    """``input`` above the threshold, else ``value``."""
    return float(value) if input <= threshold else input


def leaky_relu(input: float, negative_slope: float = 0.01, inplace: bool = False) -> float:
    """``input`` above 0, else a fraction of it."""
    return input if input > 0.0 else negative_slope * input


def prelu(input: float, weight: float) -> float:
    """``input`` above 0, else ``weight`` times it."""
    return input if input > 0.0 else weight * input


def elu(input: float, alpha: float = 1.0, inplace: bool = False) -> float:
    """``input`` above 0, else ``alpha (exp(input) - 1)``."""
    return input if input > 0.0 else alpha * ks.expm1(input)


def selu(input: float, inplace: bool = False) -> float:
    """``elu`` scaled so that activations normalise themselves."""
    return SELU_SCALE * (input if input > 0.0 else SELU_ALPHA * ks.expm1(input))


def celu(input: float, alpha: float = 1.0, inplace: bool = False) -> float:
    """``input`` above 0, else ``alpha (exp(input / alpha) - 1)``."""
    return input if input > 0.0 else alpha * ks.expm1(input / alpha)


def gelu(input: float, approximate: str = "none") -> float:
    """``input`` times the normal distribution function there, or its approximation by tanh."""
    if approximate == "tanh":
        inner = SQRT_TWO_OVER_PI * (input + 0.044715 * input * input * input)
        return 0.5 * input * (1.0 + ks.tanh(inner))
    assert approximate == "none", "approximate is 'none' or 'tanh'"
    return 0.5 * input * (1.0 + ks.erf(input * SQRT_HALF))


def silu(input: float, inplace: bool = False) -> float:
    """``input`` times its sigmoid."""
    return input * ks.sigmoid(input)


def mish(input: float, inplace: bool = False) -> float:
    """``input`` times the tanh of its softplus."""
    return input * ks.tanh(ks.softplus(input))


def softplus(input: float, beta: float = 1.0, threshold: float = 20.0) -> float:
    """``log(1 + exp(beta input)) / beta``, and ``input`` itself beyond the threshold."""
    scaled = beta * input
    return input if scaled > threshold else ks.softplus(scaled) / beta


def logsigmoid(input: float) -> float:
    """The logarithm of the sigmoid."""
    return -ks.softplus(-input)


def hardsigmoid(input: float, inplace: bool = False) -> float:
    """A line between 0 at -3 and 1 at 3."""
    if input <= -3.0:
        return 0.0
    return 1.0 if input >= 3.0 else (input + 3.0) / 6.0


def hardswish(input: float, inplace: bool = False) -> float:
    """``input`` times its hardsigmoid."""
    if input <= -3.0:
        return 0.0
    return input if input >= 3.0 else input * (input + 3.0) / 6.0


def softsign(input: float) -> float:
    """``input / (1 + |input|)``."""
    return input / (1.0 + abs(input))


def tanhshrink(input: float) -> float:
    """``input - tanh(input)``."""
    return input - ks.tanh(input)


def softshrink(input: float, lambd: float = 0.5) -> float:
    """``input`` moved towards 0 by ``lambd``, and not beyond."""
    assert lambd >= 0.0, "lambd is negative"
    if input > lambd:
        return input - lambd
    return input + lambd if input < -lambd else input * 0.0


def hardshrink(input: float, lambd: float = 0.5) -> float:
    """0 from ``-lambd`` to ``lambd``, else ``input``."""
    return 0.0 if input >= -lambd and input <= lambd else input
