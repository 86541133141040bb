"""Exponentials, logarithms, powers and roots, and the functions made of them that need care."""

from __future__ import annotations

from ksc.ir.builder import Expr
from ksc.ir.types import Float, Integer
from ksc.ops import cpp, ieee
from ksc.ops.forms import INF, NAN, binary, unary
from ksc.ops.own import math
from ksc.ops.record import Overload, Partial, PartialValue, Primitive

_LOG_POLES = {0.0: -INF, -INF: NAN}


def exp(x: float) -> float:
    """``math.exp`` with infinity on overflow."""
    try:
        return math.exp(x)
    except OverflowError:
        return INF


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without cancellation or early underflow."""
    small = exp(-abs(x))
    return (1.0 if x >= 0.0 else small) / (1.0 + small)


def softplus(x: float) -> float:
    """log(1 + exp(x))."""
    return (x if not x < 0.0 else 0.0) + math.log1p(exp(-abs(x)))


def logaddexp(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    if a == b and math.isinf(a):
        return a
    return (a if a >= b or a != a else b) + math.log1p(exp(-abs(a - b)))


def xlogy(x: float, y: float) -> float:
    """x log y, and zero where ``x`` is zero and ``y`` is not NaN."""
    return 0.0 if x == 0.0 and y == y else x * ieee.quiet(math.log, poles=_LOG_POLES)(y)


def xlog1py(x: float, y: float) -> float:
    """x log(1 + y), and zero where ``x`` is zero and ``y`` is not NaN."""
    return 0.0 if x == 0.0 and y == y else x * ieee.quiet(math.log1p, poles={-1.0: -INF})(y)


def entr(x: float) -> float:
    """-x log x; zero at zero, minus infinity below."""
    if x > 0.0:
        return -x * math.log(x)
    return x if x != x else (0.0 if x == 0.0 else -INF)


def _pow_base(x: Expr, y: Expr, r: Expr) -> PartialValue:
    # At y = 0 the factor is 0; near x = 0 it would be 0 * inf, so x gives way to 1 there.
    at_zero = y.eq(0.0) & ~(x.op("abs") > 1e-37)
    return y * at_zero.select(1.0, x).op("pow", y - 1.0)


def _pow_exponent(x: Expr, y: Expr, r: Expr) -> PartialValue:
    # A power of zero stays zero while y moves in y >= 0.
    at_zero = x.eq(0.0) & (y >= 0.0)
    return at_zero.select(0.0, r) * at_zero.select(1.0, x).op("log")


def _powi_base(x: Expr, n: Expr, r: Expr) -> PartialValue:
    return n.op("to_float") * n.eq(0).select(1.0, x).op("powi", n - 1)


def _xlogy_first(log_like: str, end: float) -> Partial:
    def partial(x: Expr, y: Expr, r: Expr) -> PartialValue:
        outside = x.eq(0.0) & (y <= end)
        inside = outside.select(end + 1.0, y)
        return lambda incoming: outside.select(0.0, incoming.op(log_like, inside))

    return partial


RECORDS = (
    unary(
        "exp", "e to the power of a.", exp, lambda a, r: r, domain=(-4.0, 4.0), edges=((709.0,), (710.0,), (-746.0,))
    ),
    unary("exp2", "2 to the power of a.", ieee.quiet(math.exp2), lambda a, r: r * math.log(2.0), domain=(-4.0, 4.0)),
    unary("expm1", "exp(a) - 1.", ieee.quiet(math.expm1), lambda a, r: r + 1.0, domain=(-4.0, 4.0)),
    unary(
        "log",
        "The natural logarithm.",
        ieee.quiet(math.log, poles=_LOG_POLES),
        lambda a, r: lambda incoming: incoming / a,
        domain=(0.1, 8.0),
    ),
    unary(
        "log2",
        "The logarithm to base 2.",
        ieee.quiet(math.log2, poles=_LOG_POLES),
        lambda a, r: lambda incoming: incoming / (a * math.log(2.0)),
        domain=(0.1, 8.0),
    ),
    unary(
        "log10",
        "The logarithm to base 10.",
        ieee.quiet(math.log10, poles=_LOG_POLES),
        lambda a, r: lambda incoming: incoming / (a * math.log(10.0)),
        domain=(0.1, 8.0),
    ),
    unary(
        "log1p",
        "log(1 + a).",
        ieee.quiet(math.log1p, poles={-1.0: -INF}),
        lambda a, r: lambda incoming: incoming / (a + 1.0),
        domain=(-0.9, 8.0),
    ),
    unary("sqrt", "The square root.", ieee.sqrt, lambda a, r: 0.5 / r, domain=(0.1, 8.0), ulp=(1, 1), cheap=True),
    unary(
        "rsqrt",
        "1 / sqrt(a).",
        lambda a: ieee.div(1.0, ieee.sqrt(a)),
        lambda a, r: -0.5 * r * r * r,
        domain=(0.1, 8.0),
        ulp=(2, 2),
        cheap=True,
    ),
    unary(
        "cbrt",
        "The cube root, also of negative numbers.",
        math.cbrt,
        lambda a, r: 1.0 / (3.0 * r * r),
        domain=(0.1, 8.0),
        reference=lambda torch, a: a.sign() * a.abs() ** (1 / 3),
    ),
    binary(
        "hypot",
        "The square root of a² + b², without overflow on the way.",
        math.hypot,
        (lambda a, b, r: a / r, lambda a, b, r: b / r),
        domain=((0.5, 4.0), (-4.0, 4.0)),
        commutative=True,
    ),
    binary(
        "pow",
        "a to the power of b, a NaN where a is negative and b is not whole.",
        ieee.pow,
        (_pow_base, _pow_exponent),
        domain=((0.2, 3.0), (-3.0, 3.0)),
        edges=((0.0, 1.0), (0.0, 0.5), (-0.0, 3.0), (-2.0, 3.0), (-2.0, 0.5), (1.0, NAN), (1e-200, 2.0), (-0.0, -3.0)),
    ),
    Primitive(
        name="powi",
        doc="A Float to the power of an Integer.",
        overloads=(Overload((Float, Integer), Float, ieee.powi, cpp.call("ks::powi", 2)),),
        partials=(_powi_base, None),
        domain=((0.2, 3.0), (-5, 5)),
        edges=(
            (0.0, 0),
            (0.0, 1),
            (0.0, 2),
            (-0.0, 3),
            (-0.0, -1),
            (0.0, -2),
            (-2.0, 3),
            (INF, 0),
            (NAN, 0),
            (NAN, 1),
            (-INF, 3),
        ),
        reference="torch.pow",
        cost="expensive",
        ulp=(4, 4),
    ),
    unary(
        "sigmoid",
        "1 / (1 + exp(-a)).",
        sigmoid,
        lambda a, r: r * (1.0 - r),
        domain=(-6.0, 6.0),
        edges=((40.0,), (-80.0,), (-700.0,)),
    ),
    unary(
        "softplus",
        "log(1 + exp(a)).",
        softplus,
        lambda a, r: a.op("sigmoid"),
        domain=(-6.0, 6.0),
        edges=((40.0,), (-80.0,), (-700.0,), (800.0,)),
        reference=lambda torch, a: torch.logaddexp(a, torch.zeros_like(a)),
    ),
    binary(
        "logaddexp",
        "log(exp(a) + exp(b)).",
        logaddexp,
        (lambda a, b, r: (a - b).op("sigmoid"), lambda a, b, r: (b - a).op("sigmoid")),
        domain=((-4.0, 4.0), (-4.0, 4.0)),
        edges=((800.0, 1.0), (-800.0, -801.0)),
        commutative=True,
    ),
    binary(
        "xlogy",
        "a log b, and 0 where a is 0 and b is not NaN.",
        xlogy,
        (_xlogy_first("xlogy", 0.0), lambda a, b, r: a / b),
        domain=((-4.0, 4.0), (0.2, 4.0)),
        edges=((0.0, NAN),),
        ulp=(6, 4),
    ),
    binary(
        "xlog1py",
        "a log(1 + b), and 0 where a is 0 and b is not NaN.",
        xlog1py,
        (_xlogy_first("xlog1py", -1.0), lambda a, b, r: a / (b + 1.0)),
        domain=((-4.0, 4.0), (-0.8, 4.0)),
        edges=((0.0, NAN),),
        reference="torch.special.xlog1py",
        ulp=(6, 4),
    ),
    unary(
        "entr",
        "-a log a, 0 at 0 and minus infinity below.",
        entr,
        lambda a, r: -1.0 - a.op("log"),
        domain=(0.1, 4.0),
        reference="torch.special.entr",
        ulp=(6, 4),
    ),
)
