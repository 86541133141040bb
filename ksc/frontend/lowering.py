"""Which primitive a function of math or torch is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Lowering:
    """The primitive that a function is."""

    primitive: str


_UNARY = (
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh exp exp2 expm1 log log2 log10 log1p sqrt erf erfc"
).split()


def _table() -> dict[object, Lowering]:
    found: dict[object, Lowering] = {}
    for name in _UNARY:
        for module in (math, torch, torch.special, torch.Tensor):
            function = getattr(module, name, None)
            if function is not None:
                found[function] = Lowering(name)
    return found


_TABLE = _table()


def lowering_of(obj: object) -> Lowering | None:
    """The lowering of a function known by identity, None for others."""
    try:
        return _TABLE.get(obj)
    except TypeError:
        return None
