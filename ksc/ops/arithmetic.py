"""Arithmetic on Float and Integer."""

from __future__ import annotations

import operator

from ksc.ir.types import Float, Integer
from ksc.ops import cpp, ieee
from ksc.ops.own import math
from ksc.ops.record import Evaluate, Overload, Primitive, Value, identity, negated, wrap64

_INF = math.inf
_PAIRS = (
    (0.0, 0.0),
    (-0.0, 0.0),
    (-0.0, -0.0),
    (1.0, _INF),
    (_INF, _INF),
    (_INF, -_INF),
    (math.nan, 1.0),
    (1e308, 1e308),
)


def _wrapped(fn: Evaluate) -> Evaluate:
    def evaluate(*args: int) -> Value:
        return wrap64(int(fn(*args)))

    return evaluate


def _both(arity: int, fn: Evaluate, form: cpp.CppForm) -> tuple[Overload, ...]:
    return (
        Overload((Float,) * arity, Float, fn, form),
        Overload((Integer,) * arity, Integer, _wrapped(fn), form),
    )


RECORDS = (
    Primitive(
        name="add",
        doc="a + b",
        overloads=_both(2, operator.add, cpp.infix("+", cpp.ADDITIVE)),
        partials=(identity, identity),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        edges=_PAIRS,
        reference="torch.add",
        commutative=True,
    ),
    Primitive(
        name="sub",
        doc="a - b",
        overloads=_both(2, operator.sub, cpp.infix("-", cpp.ADDITIVE)),
        partials=(identity, negated),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        edges=_PAIRS,
        reference="torch.sub",
    ),
    Primitive(
        name="mul",
        doc="a * b",
        overloads=_both(2, operator.mul, cpp.infix("*", cpp.MULTIPLICATIVE)),
        partials=(lambda a, b, r: b, lambda a, b, r: a),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        edges=_PAIRS,
        reference="torch.mul",
        commutative=True,
    ),
    Primitive(
        name="div",
        doc="a / b",
        overloads=(Overload((Float, Float), Float, ieee.div, cpp.infix("/", cpp.MULTIPLICATIVE)),),
        partials=(lambda a, b, r: lambda incoming: incoming / b, lambda a, b, r: -(r / b)),
        domain=((-4.0, 4.0), (0.5, 4.0)),
        edges=(*_PAIRS, (1.0, 0.0), (-1.0, 0.0), (1.0, -0.0)),
        reference="torch.div",
    ),
    Primitive(
        name="div_by",
        doc="a / b in a loop in which b stays the same.",
        overloads=(Overload((Float, Float), Float, ieee.div, cpp.call("ks::div_by", 2)),),
        partials=(lambda a, b, r: lambda incoming: incoming.op("div_by", b), lambda a, b, r: -(r / b)),
        domain=((-4.0, 4.0), (0.5, 4.0)),
        edges=(
            *_PAIRS,
            (1.0, 0.0),
            (-1.0, 0.0),
            (1.0, -0.0),
            (0.0, -1.0),
            (-0.0, -2.0),
            (1e-310, 3e-310),
            (1e308, 1e-3),
        ),
        reference="torch.div",
        ulp=(2, 2),
    ),
    Primitive(
        name="neg",
        doc="-a",
        overloads=_both(1, operator.neg, cpp.prefix("-")),
        partials=(negated,),
        domain=((-4.0, 4.0),),
        edges=((0.0,), (-0.0,), (_INF,), (math.nan,)),
        reference="torch.neg",
    ),
    Primitive(
        name="abs",
        doc="The absolute value; its derivative at 0 is 0.",
        overloads=_both(1, abs, cpp.call("ks::abs", 1)),
        partials=(lambda a, r: a.op("sign"),),
        domain=((0.5, 4.0),),
        edges=((0.0,), (-0.0,), (-1.5,), (-_INF,), (math.nan,)),
        reference="torch.abs",
    ),
)
