"""All functions of torch on tensors, and what is said of those that kernels do not know."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from types import FunctionType

import torch

from ksc.frontend.frame import Frame

# Each of these enters its functions in the table.
from ksc.frontend.tensors import (  # noqa: F401
    accumulating,
    columns,
    combinations,
    contractions,
    conversions,
    convolutions,
    creation,
    elementwise,
    exact,
    extrema,
    gathering,
    interpolation,
    joining,
    members,
    ordering,
    padding,
    pooling,
    prelude,
    rearranging,
    reductions,
    replacing,
    sampling,
    scans,
    shapes,
    sorting,
    splitting,
)
from ksc.frontend.tensors.refusals import REFUSED
from ksc.frontend.tensors.table import OWNERS, TABLE, Handler
from ksc.frontend.values import Value
from ksc.ops.names import LOWERINGS


def tensor_function(obj: object) -> Handler | None:
    """How a call of ``obj`` with tensors is traced, None where there is no rule for it."""
    return TABLE.get(obj)


def library_function(obj: object) -> Handler | None:
    """A function of the tensor library that another one calls; None for any other object."""
    if isinstance(obj, FunctionType) and obj.__module__.startswith("ksc.ops.library.tensors."):
        return prelude.written(obj.__name__, obj)
    return None


def refused_function(obj: object) -> Handler | None:
    """The refusal of a function of torch that kernels do not know; None where ``obj`` is no such function."""
    name = _names().get(obj) if callable(obj) and not isinstance(obj, type) else None
    if name is None:
        return None

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        short = name.rpartition(".")[2]
        reason, instead = REFUSED.get(short, ("", ""))
        if not reason:
            close = difflib.get_close_matches(short, _known_names(), n=3, cutoff=0.7)
            reason = "is not a function that kernels know"
            instead = f"use {' or '.join(close)}" if close else "write it with functions that kernels know"
        frame.refuse(node, f"{name}() {reason}", instead, code="KS106")

    return handler


_KINDS = (FunctionType, type(torch.sum), type(torch.Tensor.sum))
"""What a function or method of torch is."""


@cache
def _names() -> dict[object, str]:
    """The functions of torch by identity, with the names that they are called by."""
    found: dict[object, str] = {}
    for title, owner in OWNERS.items():
        for name in dir(owner):
            obj = getattr(owner, name, None)
            if not name.startswith("_") and isinstance(obj, _KINDS):
                found.setdefault(obj, f"{title}.{name}")
    return found


@cache
def _known_names() -> list[str]:
    names = {_names()[obj].rpartition(".")[2] for obj in (*TABLE, *LOWERINGS) if obj in _names()}
    return sorted(names)
