"""Choice: select, minimum and maximum, clamp, sign."""

from __future__ import annotations

from ksc.ir.builder import Expr
from ksc.ir.types import Bool, Float, Integer
from ksc.ops import cpp
from ksc.ops.forms import TWO, Edges, binary
from ksc.ops.own import math
from ksc.ops.record import Domain, Evaluate, Overload, Partial, PartialValue, Primitive, Value, zero

_PAIRS: Edges = (*TWO, (1.5, 1.5), (math.nan, math.nan))


def maximum(a: Value, b: Value) -> Value:
    """The larger one, the first at a tie, NaN where either is."""
    return a if a >= b or a != a else b


def minimum(a: Value, b: Value) -> Value:
    """The smaller one, the first at a tie, NaN where either is."""
    return a if a <= b or a != a else b


def clamp_min(a: Value, low: Value) -> Value:
    """At least ``low``; NaN where either is."""
    return low if a < low or low != low else a


def clamp_max(a: Value, high: Value) -> Value:
    """At most ``high``; NaN where either is."""
    return high if a > high or high != high else a


def clamp(a: Value, low: Value, high: Value) -> Value:
    """First at least ``low``, then at most ``high``; NaN where any is."""
    return clamp_max(clamp_min(a, low), high)


def _sign(a: Value) -> int:
    return (a > 0) - (a < 0)


def _share(wins: str, mine: int) -> Partial:
    # At a tie each argument gets half, of two numbers that do not compare each gets all.
    def partial(a: Expr, b: Expr, r: Expr) -> PartialValue:
        me, other = (a, b) if mine == 0 else (b, a)
        loses, tie = other.op(wins, me), me.eq(other)
        return lambda incoming: loses.select(0.0, tie.select(0.5 * incoming, incoming))

    return partial


def _extremum(name: str, doc: str, fn: Evaluate, wins: str, reference: str) -> Primitive:
    form = cpp.call(f"ks::{name}", 2)
    return Primitive(
        name=name,
        doc=doc,
        overloads=(Overload((Float, Float), Float, fn, form), Overload((Integer, Integer), Integer, fn, form)),
        partials=(_share(wins, 0), _share(wins, 1)),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        edges=_PAIRS,
        reference=reference,
        commutative=True,
        ulp=(0, 0),
    )


def _bound(
    name: str, doc: str, fn: Evaluate, partials: tuple[Partial, ...], edges: Edges, domain: tuple[Domain, ...]
) -> Primitive:
    form = cpp.call(f"ks::{name}", len(partials))
    types = len(partials)
    return Primitive(
        name=name,
        doc=doc,
        overloads=(
            Overload((Float,) * types, Float, fn, form),
            Overload((Integer,) * types, Integer, fn, form),
        ),
        partials=partials,
        domain=domain,
        edges=edges,
        reference=f"torch.{name}",
        ulp=(0, 0),
    )


_BOUNDS: Edges = (
    *((a, 1.0, 2.0) for a in (0.0, 1.0, 1.5, 2.0, 3.0, math.nan, math.inf, -math.inf)),
    *((a, 2.0, 1.0) for a in (0.0, 1.0, 1.5, 2.0, 3.0)),
    (1.0, math.nan, 2.0),
    (1.0, 1.0, math.nan),
    (3.0, 2.0, 2.0),
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
                cpp.CppForm("{0} ? {1} : {2}", cpp.TERNARY, (cpp.LOGICAL_OR, cpp.LOGICAL_OR, cpp.TERNARY)),
            )
            for type_ in (Float, Integer, Bool)
        ),
        partials=(None, lambda c, a, b, r: c, lambda c, a, b, r: ~c),
        domain=((False, True), (-4.0, 4.0), (-4.0, 4.0)),
        edges=((True, 1.0, math.nan), (False, 1.0, math.inf), (False, -0.0, math.nan)),
        reference="torch.where",
        ulp=(0, 0),
    ),
    _extremum(
        "max",
        "The larger one, NaN where either is; at a tie each gets half of the derivative.",
        maximum,
        "gt",
        "torch.maximum",
    ),
    _extremum(
        "min",
        "The smaller one, NaN where either is; at a tie each gets half of the derivative.",
        minimum,
        "lt",
        "torch.minimum",
    ),
    _bound(
        "clamp_min",
        "a, but at least b; NaN where either is. The derivative at a == b goes to a.",
        clamp_min,
        (lambda a, low, r: a >= low, lambda a, low, r: a < low),
        _PAIRS,
        ((-4.0, 4.0), (-4.0, 4.0)),
    ),
    _bound(
        "clamp_max",
        "a, but at most b; NaN where either is. The derivative at a == b goes to a.",
        clamp_max,
        (lambda a, high, r: a <= high, lambda a, high, r: a > high),
        _PAIRS,
        ((-4.0, 4.0), (-4.0, 4.0)),
    ),
    _bound(
        "clamp",
        "a, but at least b, and then at most c; NaN where any is. The derivative at a bound goes to a.",
        clamp,
        (
            lambda a, low, high, r: (a >= low) & (a <= high),
            lambda a, low, high, r: (a < low) & (low < high),
            lambda a, low, high, r: (a > high) | (high < low),
        ),
        _BOUNDS,
        ((-4.0, 4.0), (-2.0, -1.0), (1.0, 2.0)),
    ),
    Primitive(
        name="sign",
        doc="-1, 0 or 1, and 0 for NaN; its derivative is taken as 0 everywhere.",
        overloads=(
            Overload((Float,), Float, lambda a: float(_sign(a)), cpp.call("ks::sign", 1)),
            Overload((Integer,), Integer, _sign, cpp.call("ks::sign", 1)),
        ),
        partials=(zero,),
        domain=((0.5, 4.0),),
        edges=((0.0,), (-0.0,), (-3.0,), (-math.inf,), (math.nan,)),
        reference="torch.sign",
        ulp=(0, 0),
    ),
    binary(
        "copysign",
        "The absolute value of a with the sign of b, that of a zero or NaN included.",
        math.copysign,
        (lambda a, b, r: a.op("sign") * r.op("sign"), zero),
        domain=((0.5, 4.0), (-4.0, 4.0)),
        ulp=(0, 0),
        cheap=True,
    ),
)
