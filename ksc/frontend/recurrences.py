"""Lists that a loop reads at their end while it appends to them: the last items are carried, the others stacked.

    ys = [y0]                                   ys_last, ys_more = ys[-1], []
    for row in x:                       ⟶       for row in x:
        ys.append(f(ys[-1], row))                   ys_last = f(ys_last, row)
                                                    ys_more.append(ys_last)
                                                ys.extend(ys_more)

Python's own meaning, as long as nothing else in the loop asks for the list; so it is done to the syntax tree.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from dataclasses import dataclass
from typing import TypeVar

import torch

from ksc.frontend.frame import Frame
from ksc.frontend.join import Meeting, abstract_leaves, unify
from ksc.frontend.lists import current, kept, replace
from ksc.frontend.rows import item_template
from ksc.frontend.storage import about_to_write, storages
from ksc.frontend.values import (
    Abstract,
    Array,
    Cell,
    Poison,
    Ref,
    Rows,
    Struct,
    Value,
    leaves,
)

Loop = TypeVar("Loop", bound=ast.For | ast.While)
REACH = 4
"""How many items from the end may be read."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """One such list: its name, and the names of its last items, the last one first, and of what is appended."""

    name: str
    lasts: tuple[str, ...]
    more: str


def with_carried_ends(frame: Frame, stmt: Loop) -> tuple[Loop, list[Recurrence]]:
    """The loop that carries the last items of lists, which are bound, and these lists; ``stmt`` without any."""
    names = [] if stmt.orelse else _appended(stmt)
    perhaps = [_recurrence(frame, stmt, name) for name in names]
    found: list[Recurrence] = [recurrence for recurrence in perhaps if recurrence is not None]
    if not found:
        return stmt, []
    for recurrence in found:
        frame.locals |= {*recurrence.lasts, recurrence.more}
        items = _items(frame, recurrence.name)
        assert items is not None
        for k, last in enumerate(recurrence.lasts):
            frame.bind(last, items[-1 - k], stmt)
        frame.bind(recurrence.more, Struct(list, ()), stmt)
    changed: Loop = _CarriedEnds(found).visit(copy.deepcopy(stmt))
    return ast.fix_missing_locations(changed), found


def join_ends(frame: Frame, recurrences: list[Recurrence], node: ast.AST) -> None:
    """Extend the lists by what the loop has appended."""
    for made in recurrences:
        xs = frame.lookup(made.name, node)
        more = current(frame, frame.env[made.more].value, node)
        assert isinstance(xs, Struct)
        if isinstance(more, Struct):
            replace(frame, xs, [*xs.items, *more.items], node)
        elif isinstance(more, Rows):
            assert xs.cell is not None
            about_to_write(frame, xs.cell, node)
            frame.region.store[xs.cell] = _joined(frame, xs.items, more, node)


def _appended(stmt: ast.For | ast.While) -> list[str]:
    """The lists that a statement of the loop's body appends to."""
    calls = (node.value for part in stmt.body for node in ast.walk(part) if isinstance(node, ast.Expr))
    found = [call.func for call in calls if isinstance(call, ast.Call) and _is_append(call)]
    return list(dict.fromkeys(function.value.id for function in found))  # type: ignore[attr-defined]


def _is_append(call: ast.Call) -> bool:
    function = call.func
    named = isinstance(function, ast.Attribute) and function.attr == "append" and isinstance(function.value, ast.Name)
    return named and len(call.args) == 1 and not call.keywords and not isinstance(call.args[0], ast.Starred)


def _recurrence(frame: Frame, stmt: ast.For | ast.While, name: str) -> Recurrence | None:
    """The list ``name`` where the loop only appends to it and reads its last items, some of which there are before."""
    uses: Counter[str] = Counter()
    reach = 0
    for node in ast.walk(stmt):
        if isinstance(node, ast.Name) and node.id == name:
            uses["all"] += 1
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _is_append(node.value):
            assert isinstance(node.value.func, ast.Attribute)
            assert isinstance(node.value.func.value, ast.Name)
            uses["known"] += node.value.func.value.id == name
        else:
            place = _place_from_end(node, name)
            uses["known"] += place > 0
            reach = max(reach, place)
    items = _items(frame, name)
    if not reach or uses["all"] != uses["known"] or items is None or not reach <= min(len(items), REACH):
        return None
    lasts = tuple(_fresh(frame, f"{name}_last{k or ''}") for k in range(reach))
    return Recurrence(name, lasts, _fresh(frame, f"{name}_more"))


def _place_from_end(node: ast.AST, name: str) -> int:
    """1 for ``name[-1]``, 2 for ``name[-2]`` and so on; 0 for anything else."""
    match node:
        case ast.Subscript(
            value=ast.Name(id=found), slice=ast.UnaryOp(ast.USub(), ast.Constant(int(k))), ctx=ast.Load()
        ) if found == name:
            return k
        case _:
            return 0


def _items(frame: Frame, name: str) -> tuple[Value, ...] | None:
    binding = frame.env.get(name)
    if binding is None or not isinstance(binding.value, Struct) or binding.value.cls is not list:
        return None
    cell = binding.value.cell
    held = frame.region.store.get(cell) if cell is not None else None
    return held.items if isinstance(held, Struct) and held.cls is list else None


def _fresh(frame: Frame, name: str) -> str:
    while name in frame.locals:
        name += "_"
    return name


class _CarriedEnds(ast.NodeTransformer):
    def __init__(self, recurrences: list[Recurrence]) -> None:
        self.recurrences = {made.name: made for made in recurrences}

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        call = node.value
        if not (isinstance(call, ast.Call) and _is_append(call)):
            return self.generic_visit(node)
        assert isinstance(call.func, ast.Attribute)
        assert isinstance(call.func.value, ast.Name)
        made = self.recurrences.get(call.func.value.id)
        if made is None:
            return self.generic_visit(node)
        item = self.visit(call.args[0])
        names = [ast.Name(name, ast.Store()) for name in made.lasts]
        before = [item, *(ast.Name(name, ast.Load()) for name in made.lasts[:-1])]
        shift = ast.Assign([ast.Tuple(list(names), ast.Store())], ast.Tuple(before, ast.Load()))
        if len(names) == 1:
            shift = ast.Assign([names[0]], item)
        last = ast.Name(made.lasts[0], ast.Load())
        append = ast.Call(ast.Attribute(ast.Name(made.more, ast.Load()), "append", ast.Load()), [last], [])
        return [ast.copy_location(shift, node), ast.copy_location(ast.Expr(append), node)]

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        for name, made in self.recurrences.items():
            if k := _place_from_end(node, name):
                return ast.copy_location(ast.Name(made.lasts[k - 1], ast.Load()), node)
        return self.generic_visit(node)


def _joined(frame: Frame, items: tuple[Value, ...], more: Rows, node: ast.AST) -> Rows:
    """The list of the items and then those of ``more``."""
    from ksc.frontend.library import known_function

    template = more.template
    for item in items:
        found = item_template(item)
        conflict = Poison(
            "KS202", "the items of a list that grows in a loop differ in type", "append items of one type"
        )
        template = conflict if found is None else unify(template, found, conflict, Meeting((), ()))
    for leaf in leaves(template):
        if isinstance(leaf, Poison):
            frame.refuse(node, leaf.reason, leaf.instead, code=leaf.code)
    columns = [[leaf for leaf in leaves(item) if not isinstance(leaf, Struct)] for item in items]
    stack, join = known_function(torch.stack), known_function(torch.cat)
    assert stack is not None
    assert join is not None
    parts = []
    for k, part in enumerate(more.parts):
        own = [kept(frame, Array(frame.atom(column[k], node), ()))
               if not isinstance(column[k], Ref | Array) else column[k] for column in columns]  # fmt: skip
        head = stack(frame, [Struct(list, tuple(own))], {}, node)
        whole = frame.array(join(frame, [Struct(list, (head, part))], {}, node), node)
        cell = Cell(whole.sizes, whole.elem, name="rows")
        cell.listed = True
        frame.region.store[cell] = whole
        parts.append(Ref(cell, whole.sizes))
        for other in [part.cell, *(own for item in items for own in storages(item))]:
            cell.may_share(other)
    plain = [Abstract(leaf.type, leaf.weak, leaf.tensor) for leaf in abstract_leaves(template)]
    remaining = iter(plain)

    def without_storages(value: Value) -> Value:
        if isinstance(value, Struct):
            return value.with_items(tuple(map(without_storages, value.items)))
        return next(remaining) if isinstance(value, Abstract) else value

    return Rows(without_storages(template), tuple(parts))
