"""Reading and writing elements of tensors, tuples, lists, dicts and constants."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TypeGuard

from ksc.frontend import operators
from ksc.frontend.capture import capture
from ksc.frontend.frame import Frame
from ksc.frontend.iteration import reversed_range, static_items
from ksc.frontend.lists import entries_of, replace, set_item, set_slice
from ksc.frontend.picking import picked
from ksc.frontend.rows import item_of, slice_of
from ksc.frontend.tensors.assignment import assign_place, augmented, augmented_place
from ksc.frontend.tensors.indexing import items_of, place_of, read_place
from ksc.frontend.values import (
    Array,
    Iteration,
    Range,
    Ref,
    Rows,
    Static,
    Struct,
    Value,
    as_slice,
    describe,
    scalar_type,
)
from ksc.ir.types import Integer


def subscript(frame: Frame, value: Value, node: ast.Subscript) -> Value:
    """``value[index]``: of a tensor anything, of a container at an index that is known at compile time."""
    from ksc.frontend.expressions import evaluate

    if isinstance(value, Ref | Array):
        return read_place(frame, place_of(frame, value, items_of(frame, node.slice), node), node)
    if isinstance(value, Rows):
        return _of_rows(frame, value, node)
    given = evaluate(frame, node.slice)
    if _is_sequence(value) and not isinstance(given, Static) and scalar_type(given) == Integer:
        return picked(frame, value, given, node)
    if scalar_type(value) is not None:
        frame.refuse(node, f"a number ({describe(value)}) has no elements", "index a tuple", code="KS200")
    what = "the index of a tuple, list or dict"
    index = _constant(frame, given, node.slice, what, "use a constant index, or choose with `if`")
    if isinstance(value, Range) and index == slice(None, None, -1):
        return reversed_range(frame, value, node)
    if isinstance(value, Struct):
        if value.cls is dict:
            entry = value.field(index)
            if entry is None:
                frame.refuse(node, f"the dict has no key {index!r}", "use a key that it has", code="KS117")
            return entry
        if not _is_sequence(value):
            frame.refuse(node, f"{describe(value)} has no elements", "read its fields by name", code="KS200")
        if isinstance(index, slice):
            cls = value.cls if value.cls in (tuple, list) else tuple
            return Struct(cls, value.items[index])
        found = operators.evaluate_static(frame, lambda items, k: items[k], (value.items, index), node)
        assert isinstance(found, Static)
        item: Value = found.value
        return item
    if isinstance(value, Static):
        element = operators.evaluate_static(frame, lambda obj, k: obj[k], (value.value, index), node)
        assert isinstance(element, Static)
        return capture(element.value, "the element", frame.span(node))
    instead = "unpack it, or loop over it" if isinstance(value, Iteration) else "index a tuple"
    frame.refuse(node, f"{describe(value)} has no elements", instead, code="KS200")


def _of_rows(frame: Frame, rows: Rows, node: ast.Subscript) -> Value:
    (item, *others) = items_of(frame, node.slice)
    bounds = as_slice(item)
    if others or (bounds is None and scalar_type(item) != Integer):
        frame.refuse(node, f"{describe(rows)} is indexed by no number", "use one index or slice", code="KS200")
    return item_of(frame, rows, item, node) if bounds is None else slice_of(frame, rows, bounds, node)


def assign_subscript(frame: Frame, target: ast.Subscript, value: Value) -> None:
    """``owner[index] = value``."""
    owner = _owner(frame, target)
    if not isinstance(owner, Struct):
        assign_place(frame, place_of(frame, owner, items_of(frame, target.slice), target), value, target)
        return
    index = _written(frame, target)
    if isinstance(index, slice) and owner.cls is list:
        set_slice(frame, owner, index, static_items(frame, value, target), target)
    else:
        set_item(frame, owner, Static(index), value, target)


def augment_subscript(
    frame: Frame, target: ast.Subscript, op: ast.operator, value: Callable[[], Value], node: ast.AST
) -> None:
    """``owner[index] op= value``; the owner and the index are evaluated once."""
    owner = _owner(frame, target)
    if not isinstance(owner, Struct):
        place = place_of(frame, owner, items_of(frame, target.slice), target)
        augmented_place(frame, op, place, value(), node)
        return
    index = _written(frame, target)
    if isinstance(index, slice):
        frame.refuse(target, "a slice of a list is written", "build a new list", code="KS107")
    items = entries_of(owner) if owner.cls is dict else owner.items
    found = operators.evaluate_static(frame, lambda items, k: items[k], (items, index), target)
    assert isinstance(found, Static)
    item: Value = found.value
    set_item(frame, owner, Static(index), augment_value(frame, op, item, value(), node), target)


def augment_value(frame: Frame, op: ast.operator, current: Value, value: Value, node: ast.AST) -> Value:
    """What a variable holds after ``variable op= value``: tensors and lists are changed, all else is replaced."""
    if isinstance(current, Ref):
        return augmented(frame, op, current, value, node)
    if isinstance(current, Struct) and current.cls is list and isinstance(op, ast.Add):
        replace(frame, current, [*current.items, *static_items(frame, value, node)], node)
        return current
    return operators.binary(frame, op, current, value, node)


def _owner(frame: Frame, target: ast.Subscript) -> Ref | Array | Struct:
    from ksc.frontend.expressions import evaluate

    owner = evaluate(frame, target.value)
    if isinstance(owner, Ref | Array) or (isinstance(owner, Struct) and owner.cls in (list, dict)):
        return owner
    reason = f"an element of {describe(owner)} cannot be written"
    frame.refuse(target, reason, "build a new one", code="KS107")


def _written(frame: Frame, target: ast.Subscript) -> object:
    """The index of a list or dict of which an item is written."""
    from ksc.frontend.expressions import evaluate

    instead = "use a constant index, or a tensor in place of the list"
    return _constant(frame, evaluate(frame, target.slice), target.slice, "the index of a list", instead)


def _is_sequence(value: Value) -> TypeGuard[Struct]:
    return isinstance(value, Struct) and issubclass(value.cls, tuple | list)


def _constant(frame: Frame, index: Value, node: ast.expr, what: str, instead: str) -> object:
    """The Python object that an index is."""
    bounds = as_slice(index)
    if bounds is None:
        return frame.require_static(index, node, what, instead)
    return slice(*(frame.require_static(part, node, "the bound of a slice", instead) for part in bounds.items))
