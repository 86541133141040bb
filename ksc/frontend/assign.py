"""Binding of targets: names, elements, and tuples of targets."""

from __future__ import annotations

import ast

from ksc.frontend.frame import Frame
from ksc.frontend.iteration import static_items
from ksc.frontend.values import Value, describe


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
    for element in elts:
        if isinstance(element, ast.Starred):
            frame.refuse(element, "a starred target", "name each element, or use a slice", code="KS104")
    items = static_items(frame, value, target)
    if len(items) != len(elts):
        reason = f"{describe(value)} cannot be unpacked into {len(elts)} variables"
        frame.refuse(target, reason, f"use {len(items)} targets", code="KS207")
    for element, item in zip(elts, items, strict=True):
        assign(frame, element, item)
