"""Integer arithmetic as in Python, but for the wrap at 64 bits."""

from __future__ import annotations

import operator
from collections.abc import Callable

from ksc.ir.types import Integer
from ksc.ops import cpp
from ksc.ops.forms import Edges
from ksc.ops.record import Domain, Failure, Overload, Primitive, wrap64

_MIN, _MAX = -(2**63), 2**63 - 1
_SIGNS: Edges = ((7, 3), (-7, 3), (7, -3), (-7, -3), (-6, 3), (-5, 2), (_MIN, -1), (_MIN, 1), (_MAX, _MIN), (0, 5))

_BY_ZERO = Failure(
    "integer division or modulo by zero",
    cpp.CppForm("{1} == 0", cpp.EQUALITY, (cpp.NONE, cpp.ADDITIVE)),
    lambda a, b: b == 0,
    "KS_ERROR_ZERO_DIVISION",
)


def _negative(message: str) -> Failure:
    return Failure(message, cpp.CppForm("{1} < 0", cpp.RELATIONAL, (cpp.NONE, cpp.ADDITIVE)), lambda a, b: b < 0)


def _shift_left(a: int, count: int) -> int:
    return wrap64(a << count) if count < 64 else 0


def _shift_right(a: int, count: int) -> int:
    return a >> min(count, 63)


def _power(a: int, n: int) -> int:
    return wrap64(pow(a, n, 2**64))


def _record(
    name: str,
    doc: str,
    fn: Callable[[int, int], int],
    form: cpp.CppForm,
    *,
    domain: tuple[Domain, Domain] = ((-100, 100), (-100, 100)),
    edges: Edges = _SIGNS,
    failure: Failure | None = None,
    commutative: bool = False,
    reference: str | None = None,
) -> Primitive:
    return Primitive(
        name=name,
        doc=doc,
        overloads=(Overload((Integer, Integer), Integer, fn, form),),
        domain=domain,
        edges=edges,
        failure=failure,
        commutative=commutative,
        reference=reference,
        ulp=(0, 0),
    )


_COUNT: tuple[Domain, Domain] = ((-100, 100), (0, 70))
_COUNTS: Edges = ((1, 62), (1, 63), (1, 64), (-1, 64), (-5, 1), (_MIN, 63), (3, 0))

RECORDS = (
    _record(
        "idiv",
        "Python's a // b, rounded downwards.",
        lambda a, b: wrap64(a // b),
        cpp.call("ks::idiv", 2),
        domain=((-100, 100), (1, 9)),
        failure=_BY_ZERO,
        reference="torch.floor_divide",
    ),
    _record(
        "imod",
        "Python's a % b, with the sign of b.",
        operator.mod,
        cpp.call("ks::imod", 2),
        domain=((-100, 100), (1, 9)),
        failure=_BY_ZERO,
        reference="torch.remainder",
    ),
    _record(
        "ipow",
        "a to the power of b, which is not negative.",
        _power,
        cpp.call("ks::ipow", 2),
        domain=((-9, 9), (0, 12)),
        edges=((0, 0), (2, 62), (2, 63), (2, 64), (-2, 63), (3, 41), (-1, _MAX)),
        failure=_negative("negative power of an integer"),
        reference="torch.pow",
    ),
    _record(
        "bitand",
        "The bits that both have.",
        operator.and_,
        cpp.infix("&", cpp.BIT_AND, cpp.UNARY),
        commutative=True,
        reference="torch.bitwise_and",
    ),
    _record(
        "bitor",
        "The bits that one has.",
        operator.or_,
        cpp.infix("|", cpp.BIT_OR, cpp.UNARY),
        commutative=True,
        reference="torch.bitwise_or",
    ),
    _record(
        "bitxor",
        "The bits that just one has.",
        operator.xor,
        cpp.infix("^", cpp.BIT_XOR, cpp.UNARY),
        commutative=True,
        reference="torch.bitwise_xor",
    ),
    Primitive(
        name="bitnot",
        doc="-a - 1, all bits the other way.",
        overloads=(Overload((Integer,), Integer, operator.invert, cpp.prefix("~")),),
        domain=((-100, 100),),
        edges=((0,), (_MIN,), (_MAX,)),
        reference="torch.bitwise_not",
        ulp=(0, 0),
    ),
    _record(
        "shl",
        "a times two to the power of b.",
        _shift_left,
        cpp.call("ks::shl", 2),
        domain=_COUNT,
        edges=_COUNTS,
        failure=_negative("negative shift count"),
    ),
    _record(
        "shr",
        "a divided by two to the power of b, rounded downwards.",
        _shift_right,
        cpp.call("ks::shr", 2),
        domain=_COUNT,
        edges=_COUNTS,
        failure=_negative("negative shift count"),
    ),
)
