"""Calls of a kernel that Dynamo traces: which operator they come to is settled while it traces, and is a constant."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch

from ksc.frontend.values import Abstract, Static, Struct, Value
from ksc.small import SMALL_SIZE

FlatCall = tuple[Callable[..., Any], Value | None]
"""What to call with the flat arguments, and the structure of the results, None where they are the results."""

Places = tuple[tuple[int, Any], ...]
"""For each parameter the position of its argument, or -1 and its default."""

STATIC = "static"
"""Marks what is known when the kernel is traced."""


class TracedCalls:
    """The calls that a kernel comes to, by what its arguments look like.

    Args:
        find: gives the flat call for arguments, None where there is none.
        places: for a number of positional arguments and the names of others the position of each parameter among all
            of them, or -1 and its default; None where they do not fit. Left out, all are positional.

    Attributes:
        find: ``find(description)`` gives the number of the call, -1 where there is none; a constant to Dynamo.
        places: as given; a constant to Dynamo.
    """

    def __init__(
        self,
        find: Callable[[tuple[Any, ...]], FlatCall | None],
        places: Callable[[int, tuple[str, ...]], Places | None] | None = None,
    ) -> None:
        known: dict[Hashable, int] = {}
        count = itertools.count()

        def position(description: tuple[Any, ...] | None) -> int:
            if description is None:
                return -1
            if description not in known:
                call = find(tuple(map(_example, description)))
                known[description] = -1 if call is None else next(count)
                if call is not None:
                    # An attribute each, since Dynamo would not see a list grow while it traces.
                    setattr(self, f"call_{known[description]}", call)
            return known[description]

        def placed(count: int, names: tuple[str, ...]) -> Places | None:
            if places is not None:
                return places(count, names)
            return None if names else tuple((place, None) for place in range(count))

        position._dynamo_marked_constant = True  # type: ignore[attr-defined]
        placed._dynamo_marked_constant = True  # type: ignore[attr-defined]
        self.find = position
        self.places = placed

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The results of a call with these arguments, NotImplemented where an operator alone does not give them."""
        places = self.places(len(args), tuple(kwargs))
        if places is None:
            return NotImplemented
        given = (*args, *kwargs.values())
        complete = tuple([default if place < 0 else given[place] for place, default in places])
        index = self.find(describe(complete))
        return self.run(index, complete) if index >= 0 else NotImplemented

    def run(self, index: int, args: tuple[Any, ...]) -> Any:
        """The results of the call of this number."""
        call, template = getattr(self, f"call_{index}")
        flat: list[Any] = []
        for arg in args:
            _flatten(arg, flat)
        result = call(*flat)
        if template is None:
            return result
        return _rebuild(template, iter(result if isinstance(result, tuple) else (result,)))


def describe(args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What tells apart arguments that need operators of their own, None where that is not known of one."""
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
        elif arg is None or isinstance(arg, str):
            found.append((STATIC, arg))
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
    if value is None or isinstance(value, str):
        return
    if isinstance(value, torch.Tensor | int | float):
        flat.append(value)
        return
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
    if kind == STATIC:
        return shown
    if isinstance(kind, torch.dtype):
        # The operator is for any sizes: none that a program of its own would be compiled for.
        return torch.empty([1 if size == "1" else SMALL_SIZE + 1 for size in shown], dtype=kind, device="meta")
    parts = [_example(part) for part in shown]
    return tuple(parts) if kind is tuple else kind(*parts)
