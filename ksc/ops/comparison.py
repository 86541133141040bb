"""Comparisons and logic; their results are Bool and have no tangent."""

from __future__ import annotations

import operator
from collections.abc import Callable

from ksc.ir.types import Bool, Float, Integer, Type
from ksc.ops import cpp
from ksc.ops.own import math
from ksc.ops.record import Overload, Primitive

_EDGES = ((0.0, -0.0), (math.nan, math.nan), (math.inf, math.inf), (1.0, math.nan), (2.5, 2.5))


def _compare(
    name: str, doc: str, symbol: str, fn: Callable[..., bool], types: tuple[Type, ...], commutative: bool = False
) -> Primitive:
    precedence = cpp.EQUALITY if commutative else cpp.RELATIONAL
    form = cpp.infix(symbol, precedence, cpp.ADDITIVE, chains=False)
    return Primitive(
        name=name,
        doc=doc,
        overloads=tuple(Overload((type_, type_), Bool, fn, form) for type_ in types),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        edges=_EDGES,
        reference="torch." + {"lte": "le", "gte": "ge"}.get(name, name),
        commutative=commutative,
    )


def _logical(name: str, doc: str, fn: Callable[..., bool], form: cpp.CppForm) -> Primitive:
    arity = len(form.operands)
    return Primitive(
        name=name,
        doc=doc,
        overloads=(Overload((Bool,) * arity, Bool, fn, form),),
        domain=((False, True),) * arity,
        reference=f"torch.logical_{name}",
        commutative=arity == 2,
    )


RECORDS = (
    _compare("eq", "a == b", "==", operator.eq, (Float, Integer, Bool), commutative=True),
    _compare("ne", "a != b", "!=", operator.ne, (Float, Integer, Bool), commutative=True),
    _compare("lt", "a < b", "<", operator.lt, (Float, Integer)),
    _compare("gt", "a > b", ">", operator.gt, (Float, Integer)),
    _compare("lte", "a <= b", "<=", operator.le, (Float, Integer)),
    _compare("gte", "a >= b", ">=", operator.ge, (Float, Integer)),
    _logical("and", "Both hold.", lambda a, b: a and b, cpp.infix("&&", cpp.LOGICAL_AND, cpp.EQUALITY)),
    _logical("or", "At least one holds.", lambda a, b: a or b, cpp.infix("||", cpp.LOGICAL_OR, cpp.EQUALITY)),
    _logical("not", "It does not hold.", operator.not_, cpp.prefix("!")),
)
