"""Choice: select, minimum and maximum, clamp, sign."""

from __future__ import annotations

import math

from ksc.ir.builder import Expr
from ksc.ir.types import Bool, Float, Integer
from ksc.ops import cpp, ieee
from ksc.ops.record import Evaluate, Overload, PartialValue, Primitive, zero

_PAIRS = ((1.5, 1.5), (0.0, -0.0), (-0.0, 0.0), (math.nan, 1.0), (1.0, math.nan), (math.inf, -math.inf), (-2.0, 3.0))


def maximum(a: float, b: float) -> float:
    """The larger one, the first at a tie, NaN where either is."""
    return a if a >= b or a != a else b


def minimum(a: float, b: float) -> float:
    """The smaller one, the first at a tie, NaN where either is."""
    return a if a <= b or a != a else b


def _wins(a: Expr, b: Expr, r: Expr) -> PartialValue:
    # At a tie each argument gets half; where a NaN decided, nothing passes to the other one.
    tie = a.eq(b)
    return tie.select(0.5, a.eq(r).select(1.0, 0.0))


def _extremum(name: str, doc: str, fn: Evaluate, reference: str) -> Primitive:
    form = cpp.call(f"ks::{name}", 2)
    return Primitive(
        name=name,
        doc=doc,
        overloads=(Overload((Float, Float), Float, fn, form), Overload((Integer, Integer), Integer, fn, form)),
        partials=(lambda a, b, r: _wins(a, b, r), lambda a, b, r: _wins(b, a, r)),
        domain=((-4.0, -0.5), (0.5, 4.0)),
        edges=_PAIRS,
        reference=reference,
        commutative=True,
    )


RECORDS = (
    Primitive(
        name="select",
        doc="The second argument where the first holds, else the third; both are evaluated.",
        overloads=tuple(
            Overload(
                (Bool, type_, type_),
                type_,
                lambda c, a, b: a if c else b,
                cpp.CppForm("{0} ? {1} : {2}", cpp.TERNARY, (cpp.LOGICAL_OR, cpp.LOGICAL_OR, cpp.LOGICAL_OR)),
            )
            for type_ in (Float, Integer, Bool)
        ),
        partials=(None, lambda c, a, b, r: c, lambda c, a, b, r: ~c),
        domain=((False, True), (-4.0, 4.0), (-4.0, 4.0)),
        edges=((True, 1.0, math.nan), (False, 1.0, math.inf)),
        reference="torch.where",
    ),
    _extremum(
        "max",
        "The larger one; NaN where either is; at a tie each gets half of the derivative.",
        maximum,
        "torch.maximum",
    ),
    _extremum(
        "min",
        "The smaller one; NaN where either is; at a tie each gets half of the derivative.",
        minimum,
        "torch.minimum",
    ),
    Primitive(
        name="sign",
        doc="-1, 0 or 1, NaN for NaN; its derivative is taken as 0 everywhere.",
        overloads=(
            Overload((Float,), Float, ieee.sign, cpp.call("ks::sign", 1)),
            Overload((Integer,), Integer, lambda a: (a > 0) - (a < 0), cpp.call("ks::sign", 1)),
        ),
        partials=(zero,),
        domain=((0.5, 4.0),),
        edges=((0.0,), (-0.0,), (-3.0,), (-math.inf,), (math.nan,)),
        reference="torch.sign",
    ),
)
