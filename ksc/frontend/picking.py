"""Items of a tuple or list of numbers at an index that the arguments tell: those of a tensor made of them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import reduce

from ksc.frontend.frame import Frame
from ksc.frontend.join import abstract_leaves, atoms_for
from ksc.frontend.recursion import widened
from ksc.frontend.rows import item_of, item_template
from ksc.frontend.storage import storages
from ksc.frontend.tensors.joining import chosen
from ksc.frontend.tensors.op import Op
from ksc.frontend.values import Cell, Dynamic, Poison, Ref, Rows, Struct, Value, describe, leaves
from ksc.ir.nodes import Atom
from ksc.ir.types import is_scalar

_INSTEAD = "use a constant index, or choose with `if`; of tensors, `torch.stack(values)[index]`"


def picked(frame: Frame, xs: Struct, index: Value, node: ast.Subscript) -> Value:
    """``xs[index]``, with the checks of an index into a tensor; raises what ``stacked`` raises."""
    rows, lists = stacked(frame, xs, node.slice)
    return item_of(frame, rows, index, node, lists)


def stacked(frame: Frame, xs: Struct, node: ast.AST) -> tuple[Rows, list[Cell]]:
    """The items as tensors of numbers, and the storages of the lists in them.

    Raises UnsupportedError (KS111) where items are not numbers, or tuples of numbers that are alike.
    """
    items, store = xs.items, frame.region.store
    cells = [cell for item in items for cell in storages(item)]
    lists = [cell for cell in cells if isinstance(store.get(cell), Struct)]
    templates = [item_template(item) for item in items]
    conflict = Poison("KS111", f"the index of {describe(xs)} depends on the arguments, and its items differ", _INSTEAD)
    known = [template for template in templates if template is not None]
    template = reduce(lambda a, b: widened(a, b, conflict), known) if items and len(known) == len(items) else None
    if template is None or not all(is_scalar(leaf.type) for leaf in abstract_leaves(template)):
        reason = "the index of a tuple, list or dict must be known at compile time where its items are no numbers"
        frame.refuse(node, reason, _INSTEAD, code="KS111")
    for leaf in leaves(template):
        if isinstance(leaf, Poison):
            frame.refuse(node, leaf.reason, leaf.instead, code=leaf.code)
    rows = [list(atoms_for(frame, template, item, node)) for item in items]
    parts = tuple(_stacked(Op(frame, "index", node), column) for column in zip(*rows, strict=True))
    for part in parts:
        part.cell.listed = True
        for cell in cells:
            if cell not in lists:
                part.cell.may_share(cell)
    return Rows(template, parts), lists


def _stacked(op: Op, column: Sequence[Atom]) -> Ref:
    scalars = [op.scalar(Dynamic(atom)) for atom in column]
    size = len(scalars)
    made = op.result(op.build([op.number(size)], lambda at: chosen(op, at, [size], scalars)))
    assert isinstance(made, Ref)
    return made
