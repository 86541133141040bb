"""Calls of a kernel that Dynamo traces: which operator they come to is settled while it traces, and is a constant."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch

FlatCall = Callable[..., Any]


class TracedCalls:
    """The calls that a kernel comes to, by what its arguments look like.

    Args:
        find: gives the flat call for arguments, None where there is none.

    Attributes:
        find: ``find(description)`` gives the position in ``calls``, -1 where there is none; a constant to Dynamo.
        calls: the calls found so far.
    """

    def __init__(self, find: Callable[[tuple[Any, ...]], FlatCall | None]) -> None:
        self.calls: list[FlatCall] = []
        known: dict[Hashable, int] = {}

        def position(description: tuple[Any, ...] | None) -> int:
            if description is None:
                return -1
            if description not in known:
                call = find(tuple(map(_example, description)))
                known[description] = -1 if call is None else len(self.calls)
                if call is not None:
                    self.calls.append(call)
            return known[description]

        position._dynamo_marked_constant = True  # type: ignore[attr-defined]
        self.find = position


def describe(args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What tells apart arguments that need operators of their own, None where there is a structure among them."""
    found: list[Any] = []
    for arg in args:
        if isinstance(arg, torch.Tensor):
            found.append((arg.dtype, "".join(["1" if size == 1 else "n" for size in arg.shape])))
        elif isinstance(arg, bool):
            found.append("bool")
        elif isinstance(arg, int | torch.SymInt):
            found.append("int")
        elif isinstance(arg, float | torch.SymFloat):
            found.append("float")
        else:
            return None
    return tuple(found)


def _example(description: Any) -> Any:
    """An argument that looks as described."""
    if isinstance(description, str):
        return {"bool": True, "int": 2, "float": 2.0}[description]
    dtype, sizes = description
    return torch.empty([1 if size == "1" else 2 for size in sizes], dtype=dtype, device="meta")
