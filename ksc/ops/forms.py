"""Short ways to write the records that have much in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ksc.ir.types import Bool, Float
from ksc.ops import cpp
from ksc.ops.own import math
from ksc.ops.record import Domain, Evaluate, NonDifferentiable, Overload, Partial, Primitive, Value

Edges = tuple[tuple[Value, ...], ...]

NAN = math.nan
INF = math.inf
ONE = ((0.0,), (-0.0,), (1.0,), (-1.0,), (0.5,), (INF,), (-INF,), (NAN,), (1e-310,), (-1e-310,), (1e300,), (-1e300,))
TWO: Edges = (
    *((a, b) for a in (0.0, -0.0, 1.0, -2.0, INF, -INF) for b in (0.0, -0.0, 2.0, -1.0, INF, -INF)),
    (NAN, 1.0),
    (1.0, NAN),
    (1e300, 1e300),
    (1e-300, 1e-300),
)


def unary(
    name: str,
    doc: str,
    evaluate: Evaluate,
    partial: Partial,
    *,
    domain: Domain,
    edges: Edges = (),
    ulp: tuple[float, float] = (4, 4),
    reference: str | Callable[..., Any] | None = "",
    cheap: bool = False,
) -> Primitive:
    """A function of one Float, ``ks::name`` in C++ and, unless told otherwise, ``torch.name`` in torch."""
    return Primitive(
        name=name,
        doc=doc,
        overloads=(Overload((Float,), Float, evaluate, cpp.call(f"ks::{name}", 1)),),
        partials=(partial,),
        domain=(domain,),
        edges=(*ONE, *edges),
        reference=f"torch.{name}" if reference == "" else reference,
        cost="cheap" if cheap else "expensive",
        ulp=ulp,
    )


def binary(
    name: str,
    doc: str,
    evaluate: Evaluate,
    partials: tuple[Partial | NonDifferentiable, Partial | NonDifferentiable],
    *,
    domain: tuple[Domain, Domain],
    edges: Edges = (),
    ulp: tuple[float, float] = (4, 4),
    reference: str | Callable[..., Any] | None = "",
    cheap: bool = False,
    commutative: bool = False,
) -> Primitive:
    """A function of two Floats, ``ks::name`` in C++ and, unless told otherwise, ``torch.name`` in torch."""
    return Primitive(
        name=name,
        doc=doc,
        overloads=(Overload((Float, Float), Float, evaluate, cpp.call(f"ks::{name}", 2)),),
        partials=partials,
        domain=domain,
        edges=(*TWO, *edges),
        reference=f"torch.{name}" if reference == "" else reference,
        cost="cheap" if cheap else "expensive",
        commutative=commutative,
        ulp=ulp,
    )


def predicate(name: str, doc: str, evaluate: Evaluate) -> Primitive:
    """A question about one Float."""
    return Primitive(
        name=name,
        doc=doc,
        overloads=(Overload((Float,), Bool, evaluate, cpp.call(f"ks::{name}", 1)),),
        domain=((-4.0, 4.0),),
        edges=ONE,
        reference=f"torch.{name}",
    )
