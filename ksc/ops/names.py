"""What the functions of ``math`` and ``torch`` that a user may call are: a primitive, or a function of the library.

Importing this module imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from ksc.ops.intrinsics import Intrinsic
from ksc.ops.library import activations, elementwise, numbers
from ksc.originals import has_original, original


@dataclass(frozen=True, slots=True)
class Lowering:
    """How a call is lowered; exactly one of ``primitive`` and ``function`` is set.

    Attributes:
        primitive: the op. Arguments are numbers by position, those named ``params`` also by keyword. Where it has no
            overload for Integer or Bool arguments they are converted to Float first.
        params: the parameter names of the op.
        function: a function of the library, to be traced with the arguments of the call as they stand.
    """

    primitive: str | None = None
    params: tuple[str, ...] = ()
    function: Callable[..., Any] | None = None


_ONE = ("input",)
_TWO = ("input", "other")

# Functions that are primitives under the name of the primitive, in math and in torch.
_SHARED = (
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp exp2 expm1 log2 log10 log1p sqrt erf erfc lgamma "
    "isnan isinf isfinite"
)
_MATH_ONLY = {"cbrt": "cbrt", "gamma": "gamma"}
_MATH_TWO = "atan2 copysign fmod ldexp nextafter remainder"
_MATH_LIBRARY = (
    "ceil comb degrees dist fabs factorial floor frexp fsum gcd hypot isclose isqrt lcm log modf perm pow prod radians "
    "trunc ulp"
)


_TORCH_ONE = {
    **{name: name for name in "log rsqrt floor ceil trunc frac sign abs sigmoid digamma erfinv sinc signbit".split()},
    **{name: name for name in _SHARED.split()},
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctanh": "atanh",
    "fix": "trunc",
    "sgn": "sign",
}
_TORCH_TWO = {
    **{name: name for name in "atan2 copysign fmod hypot logaddexp nextafter xlogy".split()},
    "arctan2": "atan2",
    "clamp_max": "clamp_max",
    "clamp_min": "clamp_min",
    "maximum": "max",
    "minimum": "min",
}
_SPECIAL_ONE = {
    **{name: name for name in "digamma entr erf erfc erfcx erfinv exp2 expm1 log1p sinc".split()},
    "expit": "sigmoid",
    "gammaln": "lgamma",
    "psi": "digamma",
}
_SPECIAL_TWO = {"xlogy": "xlogy", "xlog1py": "xlog1py"}

_TORCH_LIBRARY = {
    **{
        name: name
        for name in (
            "add sub rsub mul div floor_divide remainder pow neg positive square reciprocal addcmul addcdiv lerp clamp "
            "fmax fmin where heaviside round nan_to_num logit logaddexp2 deg2rad rad2deg isposinf isneginf isclose "
            "eq ne lt le gt ge logical_and logical_or logical_xor logical_not "
            "bitwise_and bitwise_or bitwise_xor bitwise_not"
        ).split()
    },
    "clip": "clamp",
    "divide": "div",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "multiply": "mul",
    "negative": "neg",
    "not_equal": "ne",
    "subtract": "sub",
    "true_divide": "div",
}
_SPECIAL_LIBRARY = "log_ndtr logit multigammaln ndtr round".split()
_ACTIVATIONS = (
    "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish prelu relu relu6 selu silu "
    "softplus softshrink softsign tanhshrink threshold"
).split()
_ACTIVATIONS_IN_TORCH = "celu hardshrink prelu relu selu threshold".split()


_BOTH: tuple[Any, ...] = (torch, torch.Tensor)


def _entries() -> Iterator[tuple[object, Lowering]]:
    for name in _SHARED.split():
        yield from _entry(math, name, Lowering(name, ("x",)))
    for name, op in _MATH_ONLY.items():
        yield from _entry(math, name, Lowering(op, ("x",)))
    for name in _MATH_TWO.split():
        yield from _entry(math, name, Lowering(name, ("x", "y")))
    yield from _library(math, _MATH_LIBRARY.split(), numbers)

    for names, params in ((_TORCH_ONE, _ONE), (_TORCH_TWO, _TWO)):
        for name, op in names.items():
            for owner in _BOTH:
                yield from _entry(owner, name, Lowering(op, params))
    for names, params in ((_SPECIAL_ONE, _ONE), (_SPECIAL_TWO, _TWO)):
        for name, op in names.items():
            yield from _entry(torch.special, name, Lowering(op, params))
    for owner in _BOTH:
        yield from _entry(owner, "detach", Lowering("stop_gradient", _ONE))
    for owner in (torch, torch.special):
        yield from _entry(owner, "polygamma", Lowering("polygamma", ("n", "input")))
    for name, own in _TORCH_LIBRARY.items():
        for owner in _BOTH:
            if (owner, name) != (torch.Tensor, "where"):
                yield from _entry(owner, name, Lowering(function=getattr(elementwise, own)))
    yield from _entry(torch.Tensor, "where", Lowering(function=elementwise.where_method))
    yield from _library(torch.special, _SPECIAL_LIBRARY, elementwise)
    for owner in _BOTH:
        yield from _entry(owner, "mvlgamma", Lowering(function=elementwise.multigammaln))
        yield from _entry(owner, "frexp", Lowering(function=numbers.frexp))
    yield from _library(torch, ["gcd", "lcm"], numbers)

    yield from _library(torch.nn.functional, _ACTIVATIONS, activations)
    yield from _library(torch, _ACTIVATIONS_IN_TORCH, activations)
    yield from _entry(torch.Tensor, "relu", Lowering(function=activations.relu))
    for name in ("sigmoid", "tanh"):
        yield from _entry(torch.nn.functional, name, Lowering(name, _ONE))


def _library(owner: ModuleType, names: list[str], library: ModuleType) -> Iterator[tuple[object, Lowering]]:
    for name in names:
        yield from _entry(owner, name, Lowering(function=getattr(library, name)))


def _entry(owner: Any, name: str, lowering: Lowering) -> Iterator[tuple[object, Lowering]]:
    if has_original(owner, name):
        yield original(owner, name), lowering


LOWERINGS: dict[object, Lowering] = dict(_entries())
"""By the callable itself."""


def lowering_of(function: object) -> Lowering | None:
    """The lowering of a function known by identity, of an ``Intrinsic`` too; None for any other object."""
    if isinstance(function, Intrinsic):
        return Lowering(function.name)
    try:
        return LOWERINGS.get(function)
    except TypeError:
        return None
