"""Reading elements of tuples, lists, dicts and constants."""

from __future__ import annotations

import ast

from ksc.frontend import operators
from ksc.frontend.capture import capture
from ksc.frontend.frame import Frame
from ksc.frontend.values import Static, Struct, Value, describe, scalar_type


def subscript(frame: Frame, value: Value, node: ast.Subscript) -> Value:
    """``value[index]`` where the index is known at compile time."""
    index = _index(frame, node.slice)
    if scalar_type(value) is not None:
        frame.refuse(node, f"a number ({describe(value)}) has no elements", "index a tuple", code="KS200")
    if isinstance(value, Struct):
        if value.cls is dict:
            found = value.field(index)
            if found is None:
                frame.refuse(node, f"the dict has no key {index!r}", "use a key that it has", code="KS117")
            return found
        if not issubclass(value.cls, tuple | list):
            frame.refuse(node, f"{describe(value)} has no elements", "read its fields by name", code="KS200")
        if isinstance(index, slice):
            cls = value.cls if value.cls in (tuple, list) else tuple
            return Struct(cls, value.items[index])
        picked = operators.evaluate_static(frame, lambda items, k: items[k], (value.items, index), node)
        assert isinstance(picked, Static)
        item: Value = picked.value
        return item
    if isinstance(value, Static):
        element = operators.evaluate_static(frame, lambda obj, k: obj[k], (value.value, index), node)
        assert isinstance(element, Static)
        return capture(element.value, "the element", frame.span(node))
    frame.refuse(node, f"{describe(value)} has no elements", "index a tuple", code="KS200")


def _index(frame: Frame, node: ast.expr) -> object:
    from ksc.frontend.expressions import evaluate

    instead = "use a constant index, or choose with `if`"
    if isinstance(node, ast.Slice):
        parts = [
            None if part is None else frame.require_static(evaluate(frame, part), part, "the bound of a slice", instead)
            for part in (node.lower, node.upper, node.step)
        ]
        return slice(*parts)
    return frame.require_static(evaluate(frame, node), node, "the index of a tuple, list or dict", instead)
