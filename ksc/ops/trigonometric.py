"""Trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

from ksc.ir.builder import Expr
from ksc.ops import ieee
from ksc.ops.forms import INF, Edges, binary, unary
from ksc.ops.own import math
from ksc.ops.record import PartialValue

_ENDS: Edges = ((0.999999,), (-0.999999,), (2.0,))


def _one_minus_square(a: Expr) -> Expr:
    return (1.0 - a) * (1.0 + a)


def _over_square(numerator: Expr, y: Expr, x: Expr) -> Expr:
    # Zero at the origin, where the angle has no direction.
    square = x * x + y * y
    origin = square.eq(0.0)
    return origin.select(0.0, numerator / origin.select(1.0, square))


def _atan2_y(y: Expr, x: Expr, r: Expr) -> PartialValue:
    return _over_square(x, y, x)


def _atan2_x(y: Expr, x: Expr, r: Expr) -> PartialValue:
    return -_over_square(y, y, x)


RECORDS = (
    unary("sin", "The sine.", ieee.quiet(math.sin), lambda a, r: a.op("cos"), domain=(-4.0, 4.0)),
    unary("cos", "The cosine.", ieee.quiet(math.cos), lambda a, r: -a.op("sin"), domain=(-4.0, 4.0)),
    unary("tan", "The tangent.", ieee.quiet(math.tan), lambda a, r: 1.0 + r * r, domain=(-1.4, 1.4)),
    unary(
        "asin",
        "The angle in [-π/2, π/2] whose sine is a.",
        ieee.quiet(math.asin),
        lambda a, r: _one_minus_square(a).op("rsqrt"),
        domain=(-0.9, 0.9),
        edges=_ENDS,
    ),
    unary(
        "acos",
        "The angle in [0, π] whose cosine is a.",
        ieee.quiet(math.acos),
        lambda a, r: -_one_minus_square(a).op("rsqrt"),
        domain=(-0.9, 0.9),
        edges=_ENDS,
    ),
    unary(
        "atan",
        "The angle in (-π/2, π/2) whose tangent is a.",
        math.atan,
        lambda a, r: lambda incoming: incoming / (a * a + 1.0),
        domain=(-4.0, 4.0),
    ),
    binary(
        "atan2",
        "The angle of the point (b, a); its derivative at the origin is 0.",
        math.atan2,
        (_atan2_y, _atan2_x),
        domain=((0.5, 4.0), (-4.0, 4.0)),
    ),
    unary("sinh", "The hyperbolic sine.", ieee.odd_overflow(math.sinh), lambda a, r: a.op("cosh"), domain=(-4.0, 4.0)),
    unary("cosh", "The hyperbolic cosine.", ieee.quiet(math.cosh), lambda a, r: a.op("sinh"), domain=(-4.0, 4.0)),
    unary("tanh", "The hyperbolic tangent.", math.tanh, lambda a, r: 1.0 - r * r, domain=(-4.0, 4.0)),
    unary(
        "asinh",
        "The inverse of sinh.",
        math.asinh,
        lambda a, r: (a * a + 1.0).op("rsqrt"),
        domain=(-4.0, 4.0),
    ),
    unary(
        "acosh",
        "The inverse of cosh, at least 0.",
        ieee.quiet(math.acosh),
        lambda a, r: ((a - 1.0) * (a + 1.0)).op("rsqrt"),
        domain=(1.2, 4.0),
        edges=((1.000001,),),
    ),
    unary(
        "atanh",
        "The inverse of tanh.",
        ieee.quiet(math.atanh, poles={1.0: INF, -1.0: -INF}),
        lambda a, r: lambda incoming: incoming / _one_minus_square(a),
        domain=(-0.9, 0.9),
        edges=_ENDS,
    ),
)
