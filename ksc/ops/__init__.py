"""The primitives of the IR, one record each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ksc.errors import InvalidIRError
from ksc.ops import arithmetic, comparison, elementary, piecewise
from ksc.ops.cpp import CppExpr, CppForm
from ksc.ops.record import Failure, NonDifferentiable, Overload, Primitive

__all__ = [
    "PRIMITIVES",
    "CppExpr",
    "CppForm",
    "Failure",
    "NonDifferentiable",
    "Overload",
    "Primitive",
    "primitive",
]

PRIMITIVES: Mapping[str, Primitive] = MappingProxyType(
    {record.name: record for module in (arithmetic, comparison, piecewise, elementary) for record in module.RECORDS}
)


def primitive(name: str) -> Primitive:
    """The record of the scalar operation ``name``. Raises InvalidIRError where there is none."""
    try:
        return PRIMITIVES[name]
    except KeyError:
        raise InvalidIRError(f"there is no scalar operation {name!r}") from None
