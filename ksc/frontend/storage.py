"""Writes to a storage: which ones are allowed, and what is not known any more after one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ksc.frontend.capture import capture
from ksc.frontend.frame import Frame
from ksc.frontend.values import Array, BoundMethod, Cell, Partial, Poison, Ref, Rows, Struct, Value


class WritesArgumentError(Exception):
    """A function that is not the kernel itself writes into an argument; it is inlined where it is called."""


def about_to_write(frame: Frame, cell: Cell, node: ast.AST) -> None:
    """Note that the content of a cell changes: what may be the same storage cannot be read any more.

    Raises UnsupportedError (KS120) where an argument of the kernel would change.
    """
    store = frame.region.store
    _require_writable(frame, cell, cell, node)
    for other in [other for other in store if other is not cell and other.shares(cell)]:
        _require_writable(frame, cell, other, node)
        line = getattr(node, "lineno", 0)
        listed = isinstance(store[other], Struct)
        told = cell.name.isidentifier() and cell.name != other.name
        whole = repr(cell.name) if told else f"a {'list' if listed else 'tensor'}"
        store[other] = Poison(
            "KS121",
            f"this may be {whole} or a part of it, which line {line} changes: that depends on the arguments",
            f"keep a copy, as in `y = {'x.copy()' if listed else 'x[i].clone()'}`, or write `x = x + y` for `x += y`",
        )


def _require_writable(frame: Frame, cell: Cell, other: Cell, node: ast.AST) -> None:
    if other is cell and cell.listed:
        held = frame.region.store.get(cell)
        what, copy = ("list", f"{held.cls.__name__}(x)") if isinstance(held, Struct) else ("tensor", "x.clone()")
        reason = f"a {what} in a list whose length, or index, depends on the arguments is changed"
        frame.refuse(node, reason, f"work on a copy: `x = {copy}`", code="KS122")
    if other.owner is None:
        return
    entry = frame.region.entry
    if entry is not None and entry.inlinable:
        raise WritesArgumentError
    name = other.owner
    what = f"{name!r}, which is not of this function," if other.captured else f"the argument {name!r}"
    reason = f"{what} is changed" if other is cell else f"this may change {what.rstrip(',')}"
    own = name if other is cell else cell.name
    own = own if own.isidentifier() else "x"
    held = frame.region.store.get(cell)
    copy = f"{held.cls.__name__}({own})" if isinstance(held, Struct) else f"{own}.clone()"
    target = "own" if other is cell and other.captured else own
    frame.refuse(node, reason, f"work on a copy: `{target} = {copy}`", code="KS120")


def storages(value: Value) -> Iterator[Cell]:
    """The storages of the tensors and lists in a value."""
    if isinstance(value, Ref):
        yield value.cell
    elif isinstance(value, Struct):
        if value.cell is not None:
            yield value.cell
        for item in value.items:
            yield from storages(item)
    elif isinstance(value, Rows):
        yield from (part.cell for part in value.parts)


def from_outside(frame: Frame, obj: object, name: str, node: ast.AST) -> Value:
    """The value of an object found outside the function under ``name``: its lists and dicts are never changed.

    Raises UnsupportedError (KS110) for objects that can change unnoticed, and for objects of unknown kinds.
    """
    value = capture(obj, name, frame.span(node), frame.guards)
    return kept_as_argument(frame, value, name, captured=True)


def kept_as_argument(frame: Frame, value: Value, name: str, *, captured: bool = False) -> Value:
    """The value of a parameter, or of what is ``captured``: its tensors and lists are never changed."""
    match value:
        case Array():
            cell = Cell(value.sizes, value.elem, owner=name, name=name)
            cell.narrow = value.narrow
            frame.region.store[cell] = value
            return Ref(cell, value.sizes)
        case Struct(cls=cls, items=items, keys=keys):
            own = tuple(kept_as_argument(frame, item, name, captured=captured) for item in items)
            if cls not in (list, dict):
                same = all(new is old for new, old in zip(own, items, strict=True))
                return value if same else value.changed(own)
            cell = Cell(owner=name, name=name)
            cell.captured = captured
            frame.region.store[cell] = made = Struct(cls, own, keys, cell)
            return made
        case BoundMethod(function=function, owner=owner):
            return BoundMethod(function, kept_as_argument(frame, owner, name, captured=captured))
        case Partial(function=inner, args=args, kwargs=kwargs):
            own = tuple(kept_as_argument(frame, arg, name, captured=captured) for arg in args)
            named = {key: kept_as_argument(frame, arg, name, captured=captured) for key, arg in kwargs.items()}
            return Partial(inner, own, named)
        case _:
            return value
