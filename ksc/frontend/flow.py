"""How control leaves a piece of code, and the meeting of two such flows under an ``if``.

A path may go on or leave by break, continue or return. Which way it took is a static truth value where it is known, a
Bool of the IR where it depends on the arguments: so the IR holds guarded ``if``s only.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ksc.frontend.frame import Frame, Traced
from ksc.frontend.join import (
    Meeting,
    abstract_leaves,
    adopt,
    adopt_contents,
    atoms_given,
    branch_conflict,
    readable,
    rebuild,
    unbound,
    unify,
    unify_contents,
)
from ksc.frontend.placeholders import filled
from ksc.frontend.recursion import go_on_with, living_side
from ksc.frontend.scope import After
from ksc.frontend.values import (
    DEAD,
    FALSE,
    NONE,
    TRUE,
    Abstract,
    Binding,
    Cell,
    Dynamic,
    Poison,
    Static,
    Struct,
    Value,
    leaves,
)
from ksc.ir.nodes import Atom, Span, Var


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Whether control may go on (``next``), by which way it has left (truth values), and the ``value`` returned."""

    next: bool = True
    broke: Value = FALSE
    continued: Value = FALSE
    returned: Value = FALSE
    value: Value = DEAD
    value_span: Span | None = None

    @property
    def exits(self) -> tuple[Value, Value, Value]:
        return self.broke, self.continued, self.returned

    @property
    def plain(self) -> bool:
        """Whether control certainly goes on."""
        return self.next and all(flag is FALSE for flag in self.exits)

    @property
    def alive(self) -> bool:
        """Whether any variable can be read afterwards: not if the function has certainly returned."""
        return self.next or self.broke is not FALSE or self.continued is not FALSE

    def needed(self, after: After) -> frozenset[str]:
        """The variables that may be read afterwards."""
        live = after.live if self.next else frozenset()
        if self.broke is not FALSE:
            live |= after.live_break
        if self.continued is not FALSE:
            live |= after.live_continue
        return live


GO_ON = Flow()
BREAK = Flow(next=False, broke=TRUE)
CONTINUE = Flow(next=False, continued=TRUE)


def return_flow(value: Value, span: Span | None) -> Flow:
    """The flow of a ``return``."""
    return Flow(next=False, returned=TRUE, value=value, value_span=span)


def any_of(frame: Frame, flags: Sequence[Value], node: ast.AST) -> Value:
    """The truth value that one of ``flags`` holds."""
    if any(isinstance(flag, Static) and flag.value for flag in flags):
        return TRUE
    atoms = [flag.atom for flag in flags if isinstance(flag, Dynamic)]
    if not atoms:
        return FALSE
    result = atoms[0]
    for atom in atoms[1:]:
        result = frame.apply(node, "or", result, atom)
    return Dynamic(result)


def branch(
    frame: Frame,
    cond: Atom,
    then: Callable[[], Flow],
    else_: Callable[[], Flow],
    after: After,
    node: ast.AST,
) -> Flow:
    """Trace both sides of an ``if`` whose condition is known at run time only, and join what they leave behind."""
    sides = living_side(frame, then, else_)
    if isinstance(sides, Traced):
        alone: Flow = go_on_with(frame, sides)
        return alone
    flows: tuple[Flow, Flow] = (sides[0].outcome, sides[1].outcome)
    needed = flows[0].needed(after) | flows[1].needed(after) | frame.captured
    names = [name for name in frame.locals if _rebound(name, frame, sides)]
    dropped = [name for name in names if name not in needed]
    names = sorted(name for name in names if name in needed)

    meeting = meeting_of(frame, sides)
    bindings = [tuple(_side_binding(frame, side, name, after) for side in sides) for name in names]
    rows: list[Row] = []
    for name, (a, b) in zip(names, bindings, strict=True):
        conflict = branch_conflict(name, a.value, b.value, (a.span, b.span))
        rows.append(Row(name, _unify_bindings(name, a, b, conflict, meeting), a.value, b.value))
    for label, left, right in zip(("broke", "continued", "returned"), flows[0].exits, flows[1].exits, strict=True):
        rows.append(Row(label, unify(left, right, _IMPOSSIBLE, meeting), left, right))
    spans = (flows[0].value_span, flows[1].value_span)
    ends = [readable(flow.value, side.store) for flow, side in zip(flows, sides, strict=True)]
    conflict = branch_conflict("the result", ends[0], ends[1], spans)
    result = unify(ends[0], ends[1], conflict, meeting)
    _check_result(frame, result, node)
    rows.append(Row("result", result, ends[0], ends[1]))
    alive = flows[0].alive, flows[1].alive
    contents = contents_rows(frame, sides, alive, meeting)
    meeting.settle()

    given = tuple(
        flow.value_span or next((pair[k].span for pair in reversed(bindings) if pair[k].span), None)
        for k, flow in enumerate(flows)
    )
    joined = join_rows(frame, cond, sides, [*rows, *contents], node, given)
    for name, value, (a, b) in zip(names, joined, bindings, strict=False):
        frame.env[name] = Binding(value, a.span or b.span)
    for name in dropped:
        frame.env[name] = Binding(unbound(name, None), None)
    broke, continued, returned, value = joined[len(names) : len(rows)]
    return Flow(
        next=flows[0].next or flows[1].next,
        broke=broke,
        continued=continued,
        returned=returned,
        value=value,
        value_span=spans[0] or spans[1],
    )


_IMPOSSIBLE = Poison("KS201", "a truth value that is none", "")


class Row(NamedTuple):
    """Something that two sides give: its name, its template, and its value on each side.

    It is the content of ``cell`` where there is one.
    """

    name: str
    template: Value
    then: Value
    else_: Value
    cell: Cell | None = None


def meeting_of(frame: Frame, sides: Sequence[Traced]) -> Meeting:
    """Where code that was traced on the side meets what was before it."""
    return Meeting(frame.region.store, (out for side in sides for eqn in side.builder.eqns for out in eqn.outs))


def contents_rows(frame: Frame, sides: Sequence[Traced], alive: Sequence[bool], meeting: Meeting) -> list[Row]:
    """The storages whose content differs after the two sides."""
    rows = []
    for cell, before in frame.region.store.items():
        a, b = (side.store[cell] if lives else DEAD for side, lives in zip(sides, alive, strict=True))
        if all(end is before or end is DEAD for end in (a, b)):
            continue
        conflict = branch_conflict(cell.name, a, b, (None, None))
        # The error that stands for what was written tells a loop around that something was.
        first, second = (b, a) if a is before and isinstance(b, Poison) else (a, b)
        rows.append(Row(cell.name, unify_contents(cell, first, second, conflict, meeting), a, b, cell))
    return rows


def join_rows(
    frame: Frame,
    cond: Atom,
    sides: tuple[Traced, Traced],
    rows: Sequence[Row],
    node: ast.AST,
    given: Sequence[Span | None] = (None, None),
) -> list[Value]:
    """Emit the ``if`` of two traced sides; the values that are seen after it, one for each row.

    ``given`` says of each side where the user gives them.
    """
    settled = {k: Dynamic(cond) for k, row in enumerate(rows) if row.then is TRUE and row.else_ is FALSE}
    open_ = [row for k, row in enumerate(rows) if k not in settled]
    names = [name for row in open_ for name in _leaf_names(row.template, row.name)]
    ends = []
    for side, which in zip(sides, ("then", "else_"), strict=True):
        with frame.ending(side.builder, side.store):
            ends.append([atom for row in open_ for atom in atoms_given(frame, row.template, getattr(row, which), node)])
    made = [tuple(side.builder.eqns) for side in sides]
    blocks = []
    for k, (side, span) in enumerate(zip(sides, given, strict=True)):
        with frame.ending(side.builder, side.store):
            results = filled(frame, node, ends[k], ends[1 - k], made[1 - k])
            blocks.append(frame.builder.block((), results, span))
    types = [leaf.type for row in open_ for leaf in abstract_leaves(row.template)]
    outs: Iterator[Var] = iter(())
    if types or any(block.eqns for block in blocks):
        outs = iter(frame.emit(node, "if", [cond], types, names=names, blocks=blocks))
    values: list[Value] = []
    for k, row in enumerate(rows):
        value = settled[k] if k in settled else rebuild(row.template, outs)
        if row.cell is not None:
            adopt_contents(frame, row.cell, row.template, value)
        values.append(value if row.cell is not None else adopt(frame, row.template, value))
    return values


def _leaf_names(template: Value, name: str) -> list[str]:
    if isinstance(template, Struct):
        keys = template.keys or tuple(range(len(template.items)))
        parts = zip(keys, template.items, strict=True)
        return [inner for key, item in parts for inner in _leaf_names(item, f"{name}_{key}")]
    return [name] if isinstance(template, Abstract) else []


def _rebound(name: str, frame: Frame, sides: tuple[Traced, Traced]) -> bool:
    before = frame.env.get(name)
    return any(side.env.get(name) is not before for side in sides if side.outcome.alive)


def _side_binding(frame: Frame, side: Traced, name: str, after: After) -> Binding:
    flow: Flow = side.outcome
    # A side that certainly leaves the loop need not have bound what is read further on inside it.
    if not flow.alive or name not in flow.needed(after) | frame.captured:
        return Binding(DEAD, None)
    binding = side.env.get(name)
    if binding is None:
        return Binding(unbound(name, None), None)
    return Binding(readable(binding.value, side.store), binding.span)


def _unify_bindings(name: str, a: Binding, b: Binding, conflict: Poison, meeting: Meeting) -> Value:
    for mine, other in ((a, b), (b, a)):
        if isinstance(mine.value, Poison) and mine.span is None and not isinstance(other.value, Poison):
            return unbound(name, other.span)
    return unify(a.value, b.value, conflict, meeting)


def _check_result(frame: Frame, result: Value, node: ast.AST) -> None:
    for leaf in leaves(result):
        if isinstance(leaf, Poison):
            frame.refuse(node, leaf.reason, leaf.instead, code=leaf.code)


def sequence(frame: Frame, flow: Flow, rest: Callable[[], Flow], after: After, node: ast.AST) -> Flow:
    """``flow`` and then, where control has gone on, ``rest``."""
    if not flow.next:
        return flow
    if flow.plain:
        return rest()
    left = any_of(frame, flow.exits, node)
    assert isinstance(left, Dynamic)
    return branch(frame, left.atom, lambda: _having_left(flow), rest, after, node)


def _having_left(flow: Flow) -> Flow:
    """The flow where it is known that control does not go on: a single way to leave was taken."""
    open_ = [name for name in ("broke", "continued", "returned") if getattr(flow, name) is not FALSE]
    if len(open_) > 1:
        return replace(flow, next=False)
    return Flow(next=False, value=flow.value, value_span=flow.value_span, **{open_[0]: TRUE})


def end_of(after: After, span: Span | None) -> Flow:
    """The flow at the end of a block: a function returns None there."""
    return return_flow(NONE, span) if after.tail == "function" else GO_ON
