"""Lists and dicts that change: what one holds is kept under its cell, so that all names of it see a change."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ksc.frontend.frame import Frame
from ksc.frontend.rows import GrowingList, append_growing, refuse_growing
from ksc.frontend.storage import about_to_write
from ksc.frontend.values import Array, Cell, Poison, Rows, Static, Struct, Value, describe


def kept(frame: Frame, value: Value) -> Value:
    """The value with a storage for each list, dict and tensor in it that has none."""
    if isinstance(value, Array):
        return frame.fresh(value, frame.node)
    if not isinstance(value, Struct):
        return value
    items = tuple(kept(frame, item) for item in value.items)
    if value.cls not in (list, dict) or value.cell is not None:
        same = all(new is old for new, old in zip(items, value.items, strict=True))
        return value if same else value.changed(items)
    made = Struct(value.cls, items, value.keys, Cell())
    assert made.cell is not None
    frame.region.store[made.cell] = made
    return made


def current(frame: Frame, value: Value, node: ast.AST) -> Value:
    """The value with each list in it as it is now."""
    if not isinstance(value, Struct):
        return value
    if value.cell is not None and value.cell in frame.region.store:
        held = frame.region.store[value.cell]
        if isinstance(held, Poison):
            frame.refuse(node, held.reason, held.instead, code=held.code)
        if isinstance(held, Rows):
            return held
        assert isinstance(held, Struct)
        value = held
    items = tuple(current(frame, item, node) for item in value.items)
    same = all(new is old for new, old in zip(items, value.items, strict=True))
    return value if same else value.changed(items)


def replace(frame: Frame, xs: Struct, items: Sequence[Value], node: ast.AST) -> None:
    """Let the list hold other items."""
    if xs.cell is None or xs.cell not in frame.region.store:
        reason = "a list that is not a local variable's is changed"
        frame.refuse(node, reason, "copy it first, as in `xs = list(xs)`", code="KS107")
    about_to_write(frame, xs.cell, node)
    frame.region.store[xs.cell] = kept(frame, xs.changed(tuple(items)))


def set_entries(frame: Frame, found: Struct, entries: Mapping[Any, Value], node: ast.AST) -> None:
    """Let the dict hold these entries, in place of those that it has."""
    replace(frame, Struct(dict, (), tuple(entries), found.cell), list(entries.values()), node)


def _index(frame: Frame, xs: Struct, index: Value, node: ast.AST, *, inserting: bool = False) -> int:
    instead = "use a constant index, or a tensor in place of the list"
    k = frame.require_static(index, node, "the index of a list", instead)
    size = len(xs.items)
    if isinstance(k, bool) or not isinstance(k, int) or not (inserting or -size <= k < size):
        frame.refuse(node, f"index {k!r} is not one of {describe(xs)}", "use an index below its length", code="KS117")
    return k


def _append(frame: Frame, xs: Struct, args: Sequence[Value], node: ast.AST) -> Value:
    if xs.cls is GrowingList:
        append_growing(frame, xs, args[0], node)
    else:
        replace(frame, xs, [*xs.items, args[0]], node)
    return Static(None)


def _extend(frame: Frame, xs: Struct, args: Sequence[Value], node: ast.AST) -> Value:
    from ksc.frontend.iteration import static_items

    replace(frame, xs, [*xs.items, *static_items(frame, args[0], node)], node)
    return Static(None)


def _insert(frame: Frame, xs: Struct, args: Sequence[Value], node: ast.AST) -> Value:
    items = list(xs.items)
    items.insert(_index(frame, xs, args[0], node, inserting=True), args[1])
    replace(frame, xs, items, node)
    return Static(None)


def _pop(frame: Frame, xs: Struct, args: Sequence[Value], node: ast.AST) -> Value:
    items = list(xs.items)
    k = _index(frame, xs, args[0] if args else Static(-1), node)
    item = items.pop(k)
    replace(frame, xs, items, node)
    return item


def _clear(frame: Frame, xs: Struct, args: Sequence[Value], node: ast.AST) -> Value:
    replace(frame, xs, [], node)
    return Static(None)


def _reverse(frame: Frame, xs: Struct, args: Sequence[Value], node: ast.AST) -> Value:
    replace(frame, xs, xs.items[::-1], node)
    return Static(None)


def _copy(frame: Frame, xs: Struct, args: Sequence[Value], node: ast.AST) -> Value:
    return kept(frame, Struct(list, xs.items))


def entries_of(found: Struct) -> dict[Any, Value]:
    """The entries of a dict."""
    return dict(zip(found.keys, found.items, strict=True))


def _update(frame: Frame, found: Struct, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST) -> Value:
    entries = entries_of(found)
    for arg in args:
        if not (isinstance(arg, Struct) and arg.cls is dict):
            frame.refuse(node, f"a dict is updated by {describe(arg)}", "update it by a dict", code="KS107")
        entries.update(entries_of(arg))
    set_entries(frame, found, {**entries, **named}, node)
    return Static(None)


def _get(frame: Frame, found: Struct, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST) -> Value:
    entries, key = entries_of(found), _key(frame, args[0], node)
    return entries[key] if key in entries else args[1] if len(args) > 1 else Static(None)


def _setdefault(frame: Frame, found: Struct, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST) -> Value:
    entries, key = entries_of(found), _key(frame, args[0], node)
    if key not in entries:
        entries[key] = kept(frame, args[1] if len(args) > 1 else Static(None))
        set_entries(frame, found, entries, node)
    return entries[key]


def _pop_entry(frame: Frame, found: Struct, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST) -> Value:
    entries, key = entries_of(found), _key(frame, args[0], node)
    if key not in entries and len(args) == 1:
        frame.refuse(node, f"the dict has no key {key!r}", "use a key that it has", code="KS117")
    if key not in entries:
        return args[1]
    value = entries.pop(key)
    set_entries(frame, found, entries, node)
    return value


def _key(frame: Frame, value: Value, node: ast.AST) -> Any:
    return frame.require_static(value, node, "the key of a dict", "use constant keys, or a tensor in place of the dict")


DictMethod = Callable[[Frame, Struct, Sequence[Value], Mapping[str, Value], ast.AST], Value]
DICT_METHODS: dict[str, tuple[DictMethod, tuple[int, ...]]] = {
    "update": (_update, (0, 1)),
    "get": (_get, (1, 2)),
    "setdefault": (_setdefault, (1, 2)),
    "pop": (_pop_entry, (1, 2)),
}
"""How a method of a dict is traced, and the numbers of positional arguments that it takes."""


def call_dict_method(
    frame: Frame, name: str, owner: Struct, args: Sequence[Value], named: Mapping[str, Value], node: ast.AST
) -> Value:
    """What a method of a dict gives; the dict is taken as it is when the method is called."""
    method, counts = DICT_METHODS[name]
    if len(args) not in counts or (named and name != "update"):
        frame.refuse(node, f"dict.{name}() with other arguments than it takes", "see its signature", code="KS204")
    found = current(frame, owner, node)
    assert isinstance(found, Struct)
    return method(frame, found, args, named, node)


def set_item(frame: Frame, xs: Struct, index: Value, value: Value, node: ast.AST) -> None:
    """``xs[index] = value``."""
    if xs.cls is dict:
        set_entries(frame, xs, {**entries_of(xs), _key(frame, index, node): value}, node)
        return
    items = list(xs.items)
    items[_index(frame, xs, index, node)] = value
    replace(frame, xs, items, node)


def set_slice(frame: Frame, xs: Struct, place: slice, values: Sequence[Value], node: ast.AST) -> None:
    """``xs[start:stop:step] = values``; with a step, as many as there are items in the place."""
    items = list(xs.items)
    count = len(items[place])
    if place.step not in (None, 1) and len(values) != count:
        reason = f"{len(values)} items are assigned to a slice of {count} with a step"
        frame.refuse(node, reason, "assign as many items as the slice has", code="KS207")
    items[place] = values
    replace(frame, xs, items, node)


LIST_METHODS: dict[str, tuple[Callable[[Frame, Struct, Sequence[Value], ast.AST], Value], tuple[int, ...]]] = {
    "append": (_append, (1,)),
    "extend": (_extend, (1,)),
    "insert": (_insert, (2,)),
    "pop": (_pop, (0, 1)),
    "clear": (_clear, (0,)),
    "reverse": (_reverse, (0,)),
    "copy": (_copy, (0,)),
}
"""How a method of a list is traced, and the numbers of arguments that it takes."""


class ListMethod:
    """A method of a list, to be called."""

    __slots__ = ("name", "owner")

    def __init__(self, name: str, owner: Struct) -> None:
        self.name = name
        self.owner = owner

    def call(self, frame: Frame, args: Sequence[Value], keywords: bool, node: ast.AST) -> Value:
        """What the call gives; the list is taken as it is when it is called."""
        method, counts = LIST_METHODS[self.name]
        if keywords or len(args) not in counts:
            many = " or ".join(map(str, counts))
            frame.refuse(node, f"list.{self.name}() takes {many} arguments", "pass them by position", code="KS204")
        owner = current(frame, self.owner, node)
        if not isinstance(owner, Struct):
            reason = f"{describe(owner)} is changed"
            frame.refuse(node, reason, "append in one loop alone, or write into a tensor", code="KS107")
        if owner.cls is GrowingList and self.name != "append":
            refuse_growing(frame, node)
        return method(frame, owner, args, node)
