"""Binding of targets: names, elements, and tuples of targets."""

from __future__ import annotations

import ast

from ksc.frontend.frame import Frame
from ksc.frontend.iteration import is_lazy, iteration_of, static_items
from ksc.frontend.tensors.array import same_size
from ksc.frontend.values import Static, Struct, Value, describe
from ksc.ir.nodes import const


def assign(frame: Frame, target: ast.expr, value: Value) -> None:
    """Bind ``target`` to ``value``; a tuple of targets needs a value of its length."""
    match target:
        case ast.Name(id=name):
            frame.bind(name, value, target)
        case ast.Tuple(elts=elts) | ast.List(elts=elts):
            _unpack(frame, target, elts, value)
        case ast.Attribute():
            instead = "build a new object, for a dataclass by calling its class"
            frame.refuse(target, "attributes cannot be written in a kernel", instead, code="KS107")
        case ast.Subscript():
            from ksc.frontend.subscripts import assign_subscript

            assign_subscript(frame, target, value)
        case _:
            frame.refuse(target, "this cannot be assigned to in a kernel", "bind a plain name", code="KS104")


def _unpack(frame: Frame, target: ast.expr, elts: list[ast.expr], value: Value) -> None:
    starred = [k for k, element in enumerate(elts) if isinstance(element, ast.Starred)]
    if starred:
        _unpack_starred(frame, target, elts, starred[0], static_items(frame, value, target))
        return
    found = iteration_of(frame, value, target) if is_lazy(value) else None
    if found is not None:
        # As many items as targets: where the number is not known, that is checked at run time.
        same_size(frame, target, found.count, const(len(elts)))
        items = [found.item(frame, Static(k)) for k in range(len(elts))]
    else:
        items = static_items(frame, value, target)
    if len(items) != len(elts):
        count = f"{len(items)} {'item' if len(items) == 1 else 'items'}"
        what = f"a {value.cls.__name__}" if isinstance(value, Struct) else describe(value)
        reason = f"{what} of {count} cannot be unpacked into {len(elts)} variables"
        frame.refuse(target, reason, "name a variable for each item", code="KS207")
    for element, item in zip(elts, items, strict=True):
        assign(frame, element, item)


def _unpack_starred(frame: Frame, target: ast.expr, elts: list[ast.expr], place: int, items: list[Value]) -> None:
    """``a, *rest, b = items``."""
    after = len(elts) - place - 1
    if len(items) < place + after:
        reason = f"{len(items)} items cannot be unpacked into {place + after} variables and more"
        frame.refuse(target, reason, "use fewer targets", code="KS207")
    end = len(items) - after
    middle = elts[place]
    assert isinstance(middle, ast.Starred)
    for element, item in zip([*elts[:place], *elts[place + 1 :]], [*items[:place], *items[end:]], strict=True):
        assign(frame, element, item)
    assign(frame, middle.value, Struct(list, tuple(items[place:end])))
