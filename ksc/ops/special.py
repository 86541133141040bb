"""The error function, the gamma function and their relatives, and sinc with all its derivatives."""

from __future__ import annotations

from ksc.ir.builder import Expr
from ksc.ir.nodes import const
from ksc.ir.types import Float, Integer
from ksc.ops import cpp, ieee
from ksc.ops.forms import INF, NAN, unary
from ksc.ops.own import math
from ksc.ops.record import Overload, Primitive
from ksc.ops.special_values import digamma, erfcx, erfinv, polygamma, sinc, sinc_derivative

_POLES = ((-1.0,), (-2.0,), (-1.5,), (-10.3,), (3.0,), (171.0,), (172.0,), (30.5,), (1.4616,), (1e-5,))


def _integer(value: int, beside: Expr) -> Expr:
    return Expr(beside.builder, const(value))


RECORDS = (
    unary(
        "erf",
        "The error function.",
        math.erf,
        lambda a, r: (2.0 / math.sqrt(math.pi)) * (-(a * a)).op("exp"),
        domain=(-3.0, 3.0),
    ),
    unary(
        "erfc",
        "1 - erf(a), without cancellation.",
        math.erfc,
        lambda a, r: (-2.0 / math.sqrt(math.pi)) * (-(a * a)).op("exp"),
        domain=(-3.0, 3.0),
        edges=((20.0,), (-20.0,), (26.5,)),
    ),
    unary(
        "erfcx",
        "exp(a²) erfc(a), without overflow on the way.",
        erfcx,
        lambda a, r: 2.0 * a * r - 2.0 / math.sqrt(math.pi),
        domain=(-2.0, 3.0),
        edges=((20.0,), (30.0,), (-5.0,), (-27.0,)),
        ulp=(4, 16),
        reference="torch.special.erfcx",
    ),
    unary(
        "erfinv",
        "The inverse of erf.",
        erfinv,
        lambda a, r: (math.sqrt(math.pi) / 2.0) * (r * r).op("exp"),
        domain=(-0.95, 0.95),
        edges=((0.999999,), (-0.999999,), (2.0,), (1e-20,), (1.0 - 2**-53,)),
        ulp=(2, 8),
    ),
    unary(
        "gamma",
        "The gamma function.",
        ieee.gamma,
        lambda a, r: r * a.op("digamma"),
        domain=(0.5, 5.0),
        edges=_POLES,
        ulp=(6, 16),
        reference=None,
    ),
    unary(
        "lgamma",
        "The logarithm of the absolute value of gamma.",
        ieee.lgamma,
        lambda a, r: a.op("digamma"),
        domain=(2.5, 6.0),
        edges=_POLES,
        ulp=(4, 16),
    ),
    unary(
        "digamma",
        "The derivative of lgamma.",
        digamma,
        lambda a, r: _integer(1, a).op("polygamma", a),
        domain=(2.0, 6.0),
        edges=_POLES,
        ulp=(2, 32),
    ),
    Primitive(
        name="polygamma",
        doc="The derivative of digamma of order n, an Integer; NaN for negative n.",
        overloads=(Overload((Integer, Float), Float, polygamma, cpp.call("ks::polygamma", 2)),),
        partials=(None, lambda n, a, r: (n + 1).op("polygamma", a)),
        domain=((1, 5), (0.5, 6.0)),
        edges=(
            *((n, a) for n in (0, 1, 2, 3) for a in (0.1, -0.5, -3.3, 40.0, 1e10)),
            *((2, a) for a in (0.0, -1.0, INF, NAN)),
            (-1, 1.0),
            (7, -2.2),
            (20, 3.0),
        ),
        reference=lambda torch, n, a: torch.polygamma(int(n), a),
        cost="expensive",
        ulp=(2, 64),
    ),
    unary(
        "sinc",
        "sin(πa) / (πa), 1 at 0.",
        sinc,
        lambda a, r: _integer(1, a).op("sinc_derivative", a),
        domain=(-2.6, 2.6),
        edges=((1e-8,), (1e-3,)),
        ulp=(64, 64),
    ),
    Primitive(
        name="sinc_derivative",
        doc="The derivative of sinc of order n, an Integer; NaN for negative n.",
        overloads=(Overload((Integer, Float), Float, sinc_derivative, cpp.call("ks::sinc_derivative", 2)),),
        partials=(None, lambda n, a, r: (n + 1).op("sinc_derivative", a)),
        domain=((1, 4), (-2.6, 2.6)),
        edges=tuple((n, a) for n in (0, 1, 2, 3) for a in (0.0, 1e-8, 0.01, -0.5, 30.25, NAN, INF)),
        cost="expensive",
        ulp=(1024, 4096),
    ),
)
