"""Writes to a storage: which ones are allowed, and what is not known any more after one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ksc.frontend.frame import Frame
from ksc.frontend.values import Array, Cell, Poison, Ref, Rows, Struct, Value


class WritesArgumentError(Exception):
    """A function that is not the kernel itself writes into an argument; it is inlined where it is called."""


def about_to_write(frame: Frame, cell: Cell, node: ast.AST) -> None:
    """Note that the content of a cell changes: what may be the same storage cannot be read any more.

    Raises UnsupportedError (KS120) where an argument of the kernel would change.
    """
    store = frame.region.store
    _require_writable(frame, cell, cell, node)
    for other in [other for other in store if other is not cell and other.group is cell.group]:
        _require_writable(frame, cell, other, node)
        line = getattr(node, "lineno", 0)
        reason = f"whether this changed in line {line} depends on the arguments: there it may have had another name"
        store[other] = Poison("KS121", reason, "copy one of the two before it is changed, as in `x = x.clone()`")


def _require_writable(frame: Frame, cell: Cell, other: Cell, node: ast.AST) -> None:
    if other is cell and cell.listed:
        reason = "a tensor in a list whose length depends on the arguments is changed"
        frame.refuse(node, reason, "work on a copy: `x = x.clone()`", code="KS122")
    if other.owner is None:
        return
    entry = frame.region.entry
    if entry is not None and entry.inlinable:
        raise WritesArgumentError
    name = other.owner
    reason = f"the argument {name!r} is changed" if other is cell else f"this may change the argument {name!r}"
    own = name if other is cell else cell.name
    own = own if own.isidentifier() else "x"
    held = frame.region.store.get(cell)
    copy = f"{held.cls.__name__}({own})" if isinstance(held, Struct) else f"{own}.clone()"
    frame.refuse(node, reason, f"work on a copy: `{own} = {copy}`", code="KS120")


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


def kept_as_argument(frame: Frame, value: Value, name: str) -> Value:
    """The value of a parameter: its tensors and lists are never changed."""
    match value:
        case Array():
            cell = Cell(value.sizes, value.elem, owner=name, name=name)
            cell.narrow = value.narrow
            frame.region.store[cell] = value
            return Ref(cell, value.sizes)
        case Struct(cls=cls, items=items, keys=keys):
            own = tuple(kept_as_argument(frame, item, name) for item in items)
            if cls not in (list, dict):
                return value.changed(own)
            cell = Cell(owner=name, name=name)
            frame.region.store[cell] = made = Struct(cls, own, keys, cell)
            return made
        case _:
            return value
