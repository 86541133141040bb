"""Primitives as callables, for code in the compiler's own language: ``intrinsics.floor(x)`` is the op ``floor``.

Called outside a kernel an intrinsic evaluates its primitive on Python numbers, an int beside a Float overload being
converted, so library code can be run and tested as plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from ksc.ir.types import Float
from ksc.ops import primitive
from ksc.ops.record import Value, type_of

R = TypeVar("R", bound=Value)


@dataclass(frozen=True, slots=True)
class Intrinsic(Generic[R]):
    """A callable that is the primitive of this name."""

    name: str

    def __call__(self, *values: Value) -> R:
        """Evaluate on Python numbers. Raises KernelRuntimeError where the primitive fails, TypeMismatchError."""
        record = primitive(self.name)
        types = tuple(type_of(value) for value in values)
        wanted = types if any(types == overload.args for overload in record.overloads) else record.overloads[0].args
        floats = [float(v) if k < len(wanted) and wanted[k] == Float else v for k, v in enumerate(values)]
        return cast(R, record.evaluate(*floats))


clamp: Intrinsic[float] = Intrinsic("clamp")
clamp_max: Intrinsic[float] = Intrinsic("clamp_max")
clamp_min: Intrinsic[float] = Intrinsic("clamp_min")
copysign: Intrinsic[float] = Intrinsic("copysign")
div: Intrinsic[float] = Intrinsic("div")
erf: Intrinsic[float] = Intrinsic("erf")
erfc: Intrinsic[float] = Intrinsic("erfc")
erfcx: Intrinsic[float] = Intrinsic("erfcx")
expm1: Intrinsic[float] = Intrinsic("expm1")
exponent: Intrinsic[int] = Intrinsic("exponent")
floor: Intrinsic[float] = Intrinsic("floor")
ceil: Intrinsic[float] = Intrinsic("ceil")
hypot: Intrinsic[float] = Intrinsic("hypot")
isfinite: Intrinsic[bool] = Intrinsic("isfinite")
isinf: Intrinsic[bool] = Intrinsic("isinf")
isnan: Intrinsic[bool] = Intrinsic("isnan")
ldexp: Intrinsic[float] = Intrinsic("ldexp")
lgamma: Intrinsic[float] = Intrinsic("lgamma")
log: Intrinsic[float] = Intrinsic("log")
log1p: Intrinsic[float] = Intrinsic("log1p")
logaddexp: Intrinsic[float] = Intrinsic("logaddexp")
nextafter: Intrinsic[float] = Intrinsic("nextafter")
round: Intrinsic[float] = Intrinsic("round")
sigmoid: Intrinsic[float] = Intrinsic("sigmoid")
softplus: Intrinsic[float] = Intrinsic("softplus")
sqrt: Intrinsic[float] = Intrinsic("sqrt")
stop_gradient: Intrinsic[float] = Intrinsic("stop_gradient")
tanh: Intrinsic[float] = Intrinsic("tanh")
to_int: Intrinsic[int] = Intrinsic("to_int")
trunc: Intrinsic[float] = Intrinsic("trunc")
