"""Rounding to whole numbers, quotients and remainders of Floats."""

from __future__ import annotations

from ksc.ir.builder import Expr
from ksc.ops import ieee
from ksc.ops.forms import Edges, binary, unary
from ksc.ops.own import math
from ksc.ops.record import Domain, Evaluate, PartialValue, Primitive, identity, zero

_HALVES: Edges = ((0.5,), (1.5,), (2.5,), (-0.5,), (-2.5,), (0.49999999999999994,), (4503599627370497.5,))
_SMOOTH: Domain = (0.55, 0.95)
_QUOTIENT: tuple[Domain, Domain] = ((4.2, 4.8), (1.8, 1.9))
_SIGNS: Edges = ((7.0, 3.0), (-7.0, 3.0), (7.0, -3.0), (-7.0, -3.0), (-6.0, 3.0), (0.3, 0.1), (1e300, 1e-300))


def _quotient(a: Expr, b: Expr, r: Expr) -> PartialValue:
    # The whole number of times that b was taken away.
    return -((a - r) / b).op("round")


def _step(name: str, doc: str, evaluate: Evaluate) -> Primitive:
    return unary(name, doc, evaluate, zero, domain=_SMOOTH, edges=_HALVES, ulp=(0, 0), cheap=True)


RECORDS = (
    _step("floor", "The next whole number downwards; its derivative is taken as 0.", ieee.rounding(math.floor)),
    _step("ceil", "The next whole number upwards; its derivative is taken as 0.", ieee.rounding(math.ceil)),
    _step("trunc", "The next whole number towards 0; its derivative is taken as 0.", ieee.rounding(math.trunc)),
    _step(
        "round", "The nearest whole number, the even one of two; its derivative is taken as 0.", ieee.rounding(round)
    ),
    unary(
        "frac",
        "a - trunc(a).",
        lambda a: a - ieee.rounding(math.trunc)(a),
        identity,
        domain=_SMOOTH,
        edges=_HALVES,
        ulp=(0, 0),
        cheap=True,
    ),
    binary(
        "floordiv",
        "Python's a // b, and a / b where b is 0; its derivative is taken as 0.",
        ieee.floordiv,
        (zero, zero),
        domain=_QUOTIENT,
        edges=_SIGNS,
        ulp=(1, 1),
        reference="torch.floor_divide",
    ),
    binary(
        "floormod",
        "Python's a % b, with the sign of b; NaN where b is 0.",
        ieee.floormod,
        (identity, _quotient),
        domain=_QUOTIENT,
        edges=_SIGNS,
        ulp=(1, 1),
        reference="torch.remainder",
    ),
    binary(
        "fmod",
        "C's remainder, with the sign of a.",
        ieee.fmod,
        (identity, _quotient),
        domain=_QUOTIENT,
        edges=_SIGNS,
        ulp=(0, 0),
    ),
    binary(
        "remainder",
        "The remainder of IEEE 754: a less the nearest multiple of b.",
        ieee.remainder,
        (identity, _quotient),
        domain=_QUOTIENT,
        edges=_SIGNS,
        ulp=(0, 0),
        reference=None,
    ),
)
