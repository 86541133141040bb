"""What a loop is expected to change, by its syntax alone: most bodies need not be traced twice then.

A tensor that the body writes into is carried on; a name that stands for a tensor and is bound anew stands for another
one in the next iteration. Tracing tells whether that was right.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ksc.frontend.frame import Frame
from ksc.frontend.join import Meeting, generalise_kept, unify
from ksc.frontend.scope import changed_names
from ksc.frontend.values import Abstract, Array, Cell, Dead, Poison, Ref, Struct, Value, tensor_type

_WRITTEN = Poison("KS121", "it depends on the arguments whether this changed", "copy it before it is changed")


@dataclass(frozen=True, slots=True)
class Expected:
    """What is carried through a loop at first: templates of names and of storages.

    ``before`` are the storages that the names stood for.
    """

    templates: dict[str, Value]
    contents: dict[Cell, Value]
    before: dict[str, Cell]

    def __bool__(self) -> bool:
        return bool(self.templates or self.contents)

    def holds(self, templates: Mapping[str, Value], ends: Mapping[str, Value]) -> bool:
        """Whether each name stands for another storage at the end of an iteration than at its start."""
        return not any(
            isinstance(end, Dead)
            or (isinstance(end, Ref) and end.cell in (self.before[name], getattr(templates[name], "cell", None)))
            for name, end in ends.items()
        )


def expect_changes(
    frame: Frame, loop: ast.For | ast.While, through: Iterable[str], templates: Mapping[str, Value], made: set[Cell]
) -> Expected:
    """What ``loop`` is expected to change; of the names those that are carried ``through``."""
    bound, written = changed_names(loop)
    store = frame.region.store
    meeting = Meeting(store, (), made)
    expected = Expected({}, {}, {})
    for name in through:
        value = templates[name]
        if name in bound and isinstance(value, Ref) and value.cell in store:
            other = Ref(Cell(value.sizes, value.elem), value.sizes)
            expected.before[name] = value.cell
            expected.templates[name] = unify(value, other, _WRITTEN, meeting)
    meeting.settle()
    bindings = [frame.env[name].value for name in written if name in frame.env]
    cells = {value.cell for value in bindings if isinstance(value, Ref) and not value.cell.mixed}
    around = {other for cell in cells for other in cell.others}
    for cell, held in store.items():
        if cell in cells and isinstance(held, Array):
            expected.contents[cell] = content_template(cell, held)
        elif cell in around:
            expected.contents[cell] = _WRITTEN
    return expected


def content_template(cell: Cell, held: Value) -> Value:
    """The template of a storage that the loop writes."""
    if isinstance(held, Struct):
        return held.changed(tuple(map(generalise_kept, held.items)))
    if isinstance(held, Poison):
        return held
    return Abstract(tensor_type(cell.elem, cell.sizes), tensor=not cell.sizes, sizes=cell.sizes)
