"""Calls of a kernel that Dynamo traces: which operator they come to is settled while it traces, and is a constant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch

from ksc.frontend.values import Abstract, Static, Struct, Value

FlatCall = tuple[Callable[..., Any], Value | None]
"""What to call with the flat arguments, and the structure of the results, None where they are the results."""


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

    def run(self, index: int, args: tuple[Any, ...]) -> Any:
        """The results of the call at a position."""
        call, template = self.calls[index]
        flat: list[Any] = []
        for arg in args:
            _flatten(arg, flat)
        result = call(*flat)
        if template is None:
            return result
        return _rebuild(template, iter(result if isinstance(result, tuple) else (result,)))


def describe(args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What tells apart arguments that need operators of their own, None where one is no tensor, number or structure."""
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
            members = _members(arg)
            parts = None if members is None else describe(members)
            if parts is None:
                return None
            found.append((type(arg), parts))
    return tuple(found)


def _members(value: Any) -> tuple[Any, ...] | None:
    if isinstance(value, tuple):
        return tuple(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple([getattr(value, field.name) for field in dataclasses.fields(value)])
    return None


def _flatten(value: Any, flat: list[Any]) -> None:
    members = _members(value)
    if members is None:
        flat.append(value)
        return
    for member in members:
        _flatten(member, flat)


def _rebuild(template: Value, leaves: Iterator[Any]) -> Any:
    # The same as ksc.arguments.rebuild, in the Python that Dynamo knows.
    if isinstance(template, Abstract):
        return next(leaves)
    if isinstance(template, Static):
        return template.value
    assert isinstance(template, Struct)
    parts = [_rebuild(item, leaves) for item in template.items]
    if template.cls is dict:
        return dict(zip(template.keys, parts, strict=True))
    return template.cls(**dict(zip(template.keys, parts, strict=True))) if template.keys else template.cls(parts)


def _example(description: Any) -> Any:
    """An argument that looks as described."""
    if isinstance(description, str):
        return {"bool": True, "int": 2, "float": 2.0}[description]
    kind, shown = description
    if isinstance(kind, torch.dtype):
        return torch.empty([1 if size == "1" else 2 for size in shown], dtype=kind, device="meta")
    parts = [_example(part) for part in shown]
    return tuple(parts) if kind is tuple else kind(*parts)
