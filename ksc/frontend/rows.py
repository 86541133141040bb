"""Lists as long as the arguments tell: what a loop or a comprehension appends is stacked, one item per iteration.

While a loop appends to a list, which was empty before, the list holds what this iteration has appended, as a container
of class ``GrowingList``, and can only be appended to. After the loop it is ``Rows``: a tensor for each number or
tensor in an item, whose first dimension counts the items.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ksc.frontend.frame import Frame, Traced
from ksc.frontend.join import Meeting, abstract_leaves, atoms_for, generalise, same_template
from ksc.frontend.recursion import widened
from ksc.frontend.storage import storages
from ksc.frontend.tensors.array import size_of
from ksc.frontend.tensors.bounds import settled
from ksc.frontend.values import (
    Abstract,
    Array,
    Cell,
    Dynamic,
    Poison,
    Ref,
    Rows,
    Struct,
    Value,
    describe,
    leaves,
    tensor_type,
)
from ksc.ir.builder import stack_type
from ksc.ir.nodes import Atom, Const, Var
from ksc.ir.types import Integer, TensorType

_REMEDY = "write into a tensor made before the loop: `out = torch.zeros(n)`, `out[i] = …`"


class GrowingList:
    """The class of a list while a loop appends to it; its items are those of this iteration."""


def growing(cell: Cell) -> Struct:
    """The list at the start of an iteration."""
    return Struct(GrowingList, (), (), cell)


def is_growing(value: Value) -> bool:
    """Whether the value is, or holds, a list that a loop appends to."""
    if not isinstance(value, Struct):
        return False
    return value.cls is GrowingList or any(map(is_growing, value.items))


def append_growing(frame: Frame, xs: Struct, item: Value, node: ast.AST) -> None:
    """``xs.append(item)`` within the loop."""
    assert xs.cell is not None
    if xs.items:
        reason = f"{xs.cell.name!r} is appended to several times in an iteration of a loop"
        frame.refuse(node, reason, "append a tuple, or to one list each", code="KS107")
    from ksc.frontend.lists import kept

    frame.region.store[xs.cell] = Struct(GrowingList, (kept(frame, item),), (), xs.cell)


def refuse_growing(frame: Frame, node: ast.AST) -> None:
    """Refuse any other use of the list within the loop."""
    reason = "a list that grows in a loop is used inside the loop"
    frame.refuse(node, reason, "append to it alone; keep what is needed again in a variable", code="KS107")


@dataclass(slots=True, eq=False)
class Growth:
    """A list that a loop appends to: the template of its items and the storages of the tensors made of them.

    ``shared`` counts the storages around that items may be in: a write to one of those is noted in ``cells``.
    """

    template: Value
    cells: list[Cell] = field(default_factory=list)
    shared: int = 0

    def widen(self, frame: Frame, item: Value, conflict: Poison, meeting: Meeting) -> bool:
        """Widen the template by what an iteration appended; whether that changed it."""
        found = item_template(item)
        now = conflict if found is None else with_sizes(found, item, meeting)
        before = self.template
        if not same_template(before, now):
            self.template = widened(before, now, conflict)
        for leaf in leaves(self.template):
            if isinstance(leaf, Poison):
                frame.refuse(frame.node, leaf.reason, leaf.instead, code=leaf.code)
        while len(self.cells) < len(abstract_leaves(self.template)):
            cell = Cell(name="rows")
            cell.listed = True
            frame.region.store[cell] = growing(cell)
            self.cells.append(cell)
        for own in storages(item):
            for cell in self.cells:
                cell.may_share(own)
        return not same_template(before, self.template)

    def shares_more(self, around: Iterable[Cell]) -> bool:
        """Whether more of the storages ``around`` than before may be those of items."""
        before, self.shared = self.shared, sum(any(map(cell.shares, self.cells)) for cell in around)
        return self.shared != before


def item_template(item: Value) -> Value | None:
    """The template of an item that an iteration appends; None where it is no item of a stacked list."""
    found = generalise(item)
    stackable = all(isinstance(leaf, Abstract) for leaf in leaves(found))
    return found if stackable and abstract_leaves(found) and not is_growing(item) else None


def with_sizes(template: Value, item: Value, meeting: Meeting) -> Value:
    """The template with the sizes that are known outside of the loop."""
    pairs = iter(list(leaves(item)))

    def fill(part: Value) -> Value:
        if isinstance(part, Struct):
            return part.with_items(tuple(map(fill, part.items)))
        own = next(pairs)
        if isinstance(own, Ref | Array) and isinstance(part, Abstract):
            sizes = tuple(size if meeting.has(size) else None for size in own.sizes)
            return Abstract(tensor_type(own.elem, sizes), tensor=not sizes, sizes=sizes)
        return part

    return fill(template)


def stacked_rows(frame: Frame, template: Value, outs: Iterator[Var], count: Atom | None, cells: Sequence[Cell]) -> Rows:
    """The list of what each iteration gave, ``outs`` being stacked along the iterations."""
    parts = []
    for leaf, cell, out in zip(abstract_leaves(template), cells, outs, strict=False):
        sizes = (count, *(leaf.sizes or _known(leaf)))
        cell.sizes, cell.elem = sizes, leaf.type.elem if isinstance(leaf.type, TensorType) else leaf.type
        if not isinstance(frame.region.store.get(cell), Poison):
            frame.region.store[cell] = Array(out, sizes)
        parts.append(Ref(cell, sizes))
    return Rows(template, tuple(parts))


def _known(leaf: Abstract) -> tuple[Atom | None, ...]:
    if not isinstance(leaf.type, TensorType):
        return ()
    return tuple(None if size is None else Const(size, Integer) for size in leaf.type.sizes)


def stacked_types(template: Value) -> list[TensorType]:
    """The types of the tensors that items like this template are stacked to."""
    return [stack_type(1, leaf.type) for leaf in abstract_leaves(template)]  # type: ignore[misc]


# Comprehensions.


def comprehension_rows(scope: Frame, count: Atom, traced: Traced, index: Var, node: ast.AST) -> Rows:
    """The list that a comprehension gives, whose element was traced on the side at an index."""
    region = scope.region
    if any(traced.store[cell] is not held for cell, held in region.store.items()):
        instead = "write a `for` loop that appends to a list"
        scope.refuse(node, "an item changes a tensor or list around it", instead, code="KS107")
    inner = [index, *(out for eqn in traced.builder.eqns for out in eqn.outs)]
    meeting = Meeting(region.store, inner)
    template = item_template(traced.outcome)
    if template is None:
        reason = f"the number of items depends on the arguments, and an item is {describe(traced.outcome)}"
        instead = "let each item be numbers and tensors"
        scope.refuse(node, reason, instead, code="KS111")
    template = with_sizes(template, traced.outcome, meeting)
    with scope.ending(traced.builder, traced.store):
        results = list(atoms_for(scope, template, traced.outcome, node))
        block = settled(region, scope.builder.block([index], results), scope.functions.effectful())
    types = stacked_types(template)
    names = ["rows"] * len(types)
    if scope.functions.has_effects(block):
        params = {"carries": 0, "reverse": False}
        outs = scope.emit(node, "for", [count], types, names=names, params=params, blocks=[block])
    else:
        outs = scope.emit(node, "build", [count], types, names=names, blocks=[block])
    cells = [Cell(name="rows") for _ in types]
    for cell in cells:
        cell.listed = True
        for own in storages(traced.outcome):
            if own in region.store:
                cell.may_share(own)
    return stacked_rows(scope, template, iter(outs), count, cells)


# Reading.


def count_of(frame: Frame, rows: Rows, node: ast.AST) -> Atom:
    """How many items there are."""
    return size_of(frame, node, rows.parts[0], 0)


def item_of(frame: Frame, rows: Rows, index: Value, node: ast.AST, around: Iterable[Cell] = ()) -> Value:
    """The item at an index, maybe counted from the end.

    Lists and dicts in it are copies: they are not changed, and not read once one of those ``around`` was.
    """
    from ksc.frontend.tensors.indexing import place_of, read_place

    def copied(template: Struct, items: tuple[Value, ...]) -> Struct:
        cell = Cell(name="item")
        cell.listed = True
        for own in around:
            cell.may_share(own)
        frame.region.store[cell] = made = Struct(template.cls, items, template.keys, cell)
        return made

    picked = iter([read_place(frame, place_of(frame, part, [index], node), node) for part in rows.parts])

    def made(template: Value) -> Value:
        if isinstance(template, Struct):
            items = tuple(map(made, template.items))
            return copied(template, items) if template.cls in (list, dict) else template.with_items(items)
        if not isinstance(template, Abstract):
            return template
        value = next(picked)
        return value if template.is_tensor else Dynamic(frame.array(value, node).atom, template.weak)

    return made(rows.template)


def slice_of(frame: Frame, rows: Rows, bounds: Value, node: ast.AST) -> Rows:
    """The list of the items in a slice."""
    from ksc.frontend.tensors.indexing import place_of, read_place

    parts = [read_place(frame, place_of(frame, part, [bounds], node), node) for part in rows.parts]
    return Rows(rows.template, tuple(part for part in parts if isinstance(part, Ref)))


def single_part(frame: Frame, rows: Rows, node: ast.AST) -> Ref:
    """The tensor of all items, where an item is one number or tensor."""
    if not isinstance(rows.template, Abstract):
        frame.refuse(node, f"the items are {describe(rows.template)}", "make a list of each part", code="KS200")
    return rows.parts[0]
