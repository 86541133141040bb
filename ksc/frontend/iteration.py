"""Iterables that are known at compile time, as the list of their items."""

from __future__ import annotations

import ast

from ksc.frontend.capture import capture
from ksc.frontend.frame import Frame
from ksc.frontend.values import Range, Static, Struct, Value, describe

UNROLL_LIMIT = 1024
"""The most iterations that a loop over static items may have."""


def static_items(frame: Frame, value: Value, node: ast.AST) -> list[Value]:
    """The items that iterating over ``value`` gives.

    Raises UnsupportedError where they are not known at compile time (KS111) or are too many (KS114).
    """
    match value:
        case Struct(cls=cls, items=items, keys=keys):
            if cls is dict:
                return [Static(key) for key in keys]
            if issubclass(cls, tuple | list):
                return list(items)
        case Range(start=start, stop=stop, step=step):
            instead = "loop over it with `for`, or give range constant bounds"
            bounds = [
                frame.require_static(part, node, "the bound of this range", instead) for part in (start, stop, step)
            ]
            return _limited(frame, range(*bounds), node)
        case Static(obj) if isinstance(obj, range | str | frozenset | bytes):
            return _limited(frame, obj, node)
    instead = "iterate over a range, a tuple or a list"
    frame.refuse(node, f"{describe(value)} cannot be iterated over", instead, code="KS111")


def _limited(frame: Frame, obj: range | str | frozenset[object] | bytes, node: ast.AST) -> list[Value]:
    if len(obj) > UNROLL_LIMIT:
        reason = f"{len(obj)} items are too many to be handled one by one (the limit is {UNROLL_LIMIT})"
        frame.refuse(node, reason, "use `for … in range(…)` with plain arithmetic in its body", code="KS114")
    items = sorted(obj, key=repr) if isinstance(obj, frozenset) else obj
    return [capture(item, "an item", frame.span(node)) for item in items]
