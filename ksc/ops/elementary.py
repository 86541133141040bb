"""Exponentials, logarithms, trigonometric and hyperbolic functions, roots."""

from __future__ import annotations

import math

from ksc.ir.types import Float
from ksc.ops import cpp, ieee
from ksc.ops.record import Domain, Evaluate, Overload, Partial, Primitive

INF = math.inf
NAN = math.nan
SPECIAL = ((0.0,), (-0.0,), (1.0,), (-1.0,), (INF,), (-INF,), (NAN,), (1e-310,), (1e300,), (-1e300,))


def unary(
    name: str,
    doc: str,
    evaluate: Evaluate,
    partial: Partial,
    *,
    domain: Domain,
    edges: tuple[tuple[float, ...], ...] = (),
    ulp: tuple[float, float] = (4, 4),
    reference: str | None = None,
) -> Primitive:
    """A record of a smooth function of one Float, ``ks::name`` in C++ and ``torch.name`` in torch."""
    return Primitive(
        name=name,
        doc=doc,
        overloads=(Overload((Float,), Float, evaluate, cpp.call(f"ks::{name}", 1)),),
        partials=(partial,),
        domain=(domain,),
        edges=(*SPECIAL, *edges),
        reference=reference or f"torch.{name}",
        cost="expensive",
        ulp=ulp,
    )


RECORDS = (
    unary(
        "exp",
        "e to the power of a.",
        ieee.quiet(math.exp),
        lambda a, r: r,
        domain=(-4.0, 4.0),
        edges=((710.0,), (-746.0,)),
    ),
    unary("sin", "The sine.", ieee.quiet(math.sin), lambda a, r: a.op("cos"), domain=(-4.0, 4.0)),
    unary("cos", "The cosine.", ieee.quiet(math.cos), lambda a, r: -a.op("sin"), domain=(-4.0, 4.0)),
    unary("tanh", "The hyperbolic tangent.", math.tanh, lambda a, r: 1.0 - r * r, domain=(-4.0, 4.0)),
)
