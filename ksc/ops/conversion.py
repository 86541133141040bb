"""Conversions between types, questions about a Float, its parts, and a Float taken as a constant."""

from __future__ import annotations

from typing import Any

from ksc.ir.types import Bool, Float, Integer
from ksc.ops import cpp, ieee
from ksc.ops.forms import ONE, predicate
from ksc.ops.own import math
from ksc.ops.record import Failure, NonDifferentiable, Overload, Primitive, Width, identity, zero

_BIG = ((0,), (2**53 + 1,), (-(2**63),), (2**63 - 1,))


def _no_integer(a: float) -> bool:
    return not -(2.0**63) <= a < 2.0**63


def _exponent(a: float) -> int:
    return math.frexp(a)[1] if math.isfinite(a) else 0


def _nextafter(a: float, b: float, *, width: Width = "f64") -> float:
    if width == "f64":
        return math.nextafter(a, b)
    import numpy as np

    return float(np.nextafter(np.float32(a), np.float32(b)))


def _not_smooth(what: str) -> NonDifferentiable:
    return NonDifferentiable(f"{what} is a fact about the number format")


def _with_value(torch: Any, a: Any, value: Any) -> Any:
    a = a * 1.0
    a.data.copy_(value.detach())
    return a


def _ldexp(torch: Any, a: Any, n: Any) -> Any:
    return a * 2.0 ** n.to(a.dtype)


RECORDS = (
    Primitive(
        name="to_float",
        doc="The nearest Float to an Integer.",
        overloads=(Overload((Integer,), Float, float, cpp.CppForm("{T}({0})", cpp.PRIMARY, (cpp.NONE,))),),
        partials=(None,),
        domain=((-100, 100),),
        edges=_BIG,
        reference=lambda torch, a: a.to(torch.float64),
        ulp=(0, 0),
    ),
    Primitive(
        name="kronecker",
        doc="1 where two Integers are equal, else 0: an element of a unit tangent, whose zeros are known to be none.",
        overloads=(
            Overload(
                (Integer, Integer),
                Float,
                lambda a, b: float(a == b),
                cpp.CppForm("{0} == {1} ? {T}(1) : {T}(0)", cpp.TERNARY, (cpp.ADDITIVE, cpp.ADDITIVE)),
            ),
        ),
        partials=(None, None),
        domain=((-3, 3), (-3, 3)),
        edges=((2, 2), (0, -1), (2**63 - 1, 2**63 - 1)),
        reference=lambda torch, a, b: (a == b).to(torch.float64),
        commutative=True,
        ulp=(0, 0),
    ),
    Primitive(
        name="bool_to_float",
        doc="1 where it holds, else 0.",
        overloads=(Overload((Bool,), Float, float, cpp.CppForm("{T}({0})", cpp.PRIMARY, (cpp.NONE,))),),
        partials=(None,),
        domain=((False, True),),
        reference=lambda torch, a: a.to(torch.float64),
        ulp=(0, 0),
    ),
    Primitive(
        name="bool_to_int",
        doc="1 where it holds, else 0.",
        overloads=(Overload((Bool,), Integer, int, cpp.CppForm("int64_t({0})", cpp.PRIMARY, (cpp.NONE,))),),
        domain=((False, True),),
        reference=lambda torch, a: a.to(torch.int64),
        ulp=(0, 0),
    ),
    Primitive(
        name="to_int",
        doc="The Integer next to a Float in the direction of 0.",
        overloads=(Overload((Float,), Integer, int, cpp.call("ks::to_int", 1)),),
        domain=((-100.0, 100.0),),
        edges=((0.0,), (-0.9,), (0.9,), (1e18,), (-(2.0**63),)),
        failure=Failure(
            "cannot convert a float that is NaN, infinite or too large to an integer",
            cpp.CppForm("!ks::fits_int({0})", cpp.UNARY, (cpp.NONE,)),
            _no_integer,
        ),
        reference=lambda torch, a: a.to(torch.int64),
        ulp=(0, 0),
    ),
    predicate("isnan", "Whether it is not a number.", math.isnan),
    predicate("isinf", "Whether it is an infinity.", math.isinf),
    predicate("isfinite", "Whether it is neither infinite nor NaN.", math.isfinite),
    predicate(
        "signbit", "Whether the sign is minus, that of a zero or NaN included.", lambda a: math.copysign(1.0, a) < 0
    ),
    Primitive(
        name="ldexp",
        doc="a times two to the power of n.",
        overloads=(Overload((Float, Integer), Float, ieee.ldexp, cpp.call("ks::ldexp", 2)),),
        partials=(lambda a, n, r: lambda incoming: incoming.op("ldexp", n), None),
        domain=((-4.0, 4.0), (-20, 20)),
        edges=((1.0, 2000), (-1.0, 2000), (1.0, -2000), (0.0, 5), (math.inf, -5), (math.nan, 1), (1.0, 2**40)),
        reference=_ldexp,
        ulp=(0, 0),
    ),
    Primitive(
        name="exponent",
        doc="The Integer n where a is m times two to the power of n with |m| in [0.5, 1); 0 for 0, infinities, NaN.",
        overloads=(Overload((Float,), Integer, _exponent, cpp.call("ks::exponent", 1)),),
        domain=((-4.0, 4.0),),
        edges=ONE,
        reference=lambda torch, a: torch.frexp(a).exponent.to(torch.int64),
        ulp=(0, 0),
    ),
    Primitive(
        name="nextafter",
        doc="The number next to a in the direction of b, in the instance's format.",
        overloads=(Overload((Float, Float), Float, _nextafter, cpp.call("ks::nextafter", 2), by_width=True),),
        partials=(_not_smooth("the next number"), _not_smooth("the next number")),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        edges=((0.0, 1.0), (0.0, -1.0), (1.0, 1.0), (math.inf, 0.0), (1.0, math.nan)),
        reference="torch.nextafter",
        ulp=(0, 0),
    ),
    Primitive(
        name="stop_gradient",
        doc="The number itself; its derivative is declared to be 0.",
        overloads=(Overload((Float,), Float, float, cpp.CppForm("({0})", cpp.PRIMARY, (cpp.NONE,))),),
        partials=(zero,),
        domain=((-4.0, 4.0),),
        edges=ONE,
        reference=lambda torch, a: a.detach(),
        ulp=(0, 0),
    ),
    Primitive(
        name="with_value",
        doc="The second number; its derivative is declared to be that of the first, another way to compute it.",
        overloads=(Overload((Float, Float), Float, lambda a, value: value, cpp.call("ks::with_value", 2)),),
        partials=(identity, zero),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        edges=((1.0, 0.0), (math.nan, 1.0), (1.0, math.nan), (math.inf, 2.0), (0.0, -math.inf), (2.0, -0.0)),
        reference=_with_value,
        ulp=(0, 0),
    ),
)
