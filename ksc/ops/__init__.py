"""The primitives of the IR, one record each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ksc.errors import InvalidIRError
from ksc.ops import (
    arithmetic,
    comparison,
    conversion,
    exponential,
    integer,
    piecewise,
    rounding,
    special,
    trigonometric,
)
from ksc.ops.cpp import CppExpr, CppForm
from ksc.ops.record import Failure, NonDifferentiable, Overload, Primitive

__all__ = [
    "ALIASES",
    "PRIMITIVES",
    "CppExpr",
    "CppForm",
    "Failure",
    "NonDifferentiable",
    "Overload",
    "Primitive",
    "primitive",
]

_MODULES = (
    arithmetic,
    comparison,
    piecewise,
    conversion,
    integer,
    rounding,
    exponential,
    trigonometric,
    special,
)

PRIMITIVES: Mapping[str, Primitive] = MappingProxyType(
    {record.name: record for module in _MODULES for record in module.RECORDS}
)

ALIASES: Mapping[str, str] = MappingProxyType({"imax": "max", "imin": "min"})
"""Other names that the text form accepts."""


def primitive(name: str) -> Primitive:
    """The record of the scalar operation ``name``. Raises InvalidIRError where there is none."""
    try:
        return PRIMITIVES[ALIASES.get(name, name)]
    except KeyError:
        raise InvalidIRError(f"there is no scalar operation {name!r}") from None
