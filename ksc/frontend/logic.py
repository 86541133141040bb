"""Choices inside expressions: ternaries and the short circuit of ``and`` and ``or``."""

from __future__ import annotations

import ast
from collections.abc import Callable

from ksc.frontend.flow import Row, contents_rows, join_rows, meeting_of
from ksc.frontend.frame import Frame, Traced
from ksc.frontend.join import Meeting, branch_conflict, unify
from ksc.frontend.recursion import aside_unless_dead, go_on_with, living_side
from ksc.frontend.values import FALSE, TRUE, Dynamic, Poison, Static, Value, leaves, scalar_type
from ksc.ir.nodes import PLACEHOLDER, Eqn
from ksc.ir.types import Bool
from ksc.ops import PRIMITIVES

CHEAP_LIMIT = 4
"""The most equations that the right side of ``and`` or ``or`` has, to be evaluated always."""


def choose(
    frame: Frame,
    cond: Value,
    then: Callable[[], Value],
    else_: Callable[[], Value],
    node: ast.AST,
    what: str,
) -> Value:
    """The value of one of two sides, of which only that one is evaluated; ``cond`` is a Bool of the IR."""
    sides = living_side(frame, then, else_)
    if isinstance(sides, Traced):
        alone: Value = go_on_with(frame, sides)
        return alone
    a, b = sides[0].outcome, sides[1].outcome
    span = frame.span(node)
    meeting = meeting_of(frame, sides)
    template = unify(a, b, branch_conflict(what, a, b, (span, span)), meeting)
    for leaf in leaves(template):
        if isinstance(leaf, Poison):
            frame.refuse(node, leaf.reason, leaf.instead, code=leaf.code)
    rows = [Row(PLACEHOLDER, template, a, b)]
    bound = _rebound_rows(frame, sides, meeting, node)
    contents = contents_rows(frame, sides, (True, True), meeting)
    meeting.settle()
    values = join_rows(frame, frame.atom(cond, node), sides, [*rows, *bound, *contents], node)
    for row, value in zip(bound, values[1:], strict=False):
        frame.bind(row.name, value, node)
    return values[0]


def _rebound_rows(frame: Frame, sides: tuple[Traced, Traced], meeting: Meeting, node: ast.AST) -> list[Row]:
    """The variables that ``:=`` has bound on a side."""
    rows = []
    for name in sorted({*sides[0].env, *sides[1].env}):
        bindings = [side.env.get(name) for side in sides]
        if bindings[0] is bindings[1]:
            continue
        missing = Poison("KS112", f"{name!r} may be unbound here", f"bind {name!r} on every path")
        a, b = (missing if binding is None else binding.value for binding in bindings)
        conflict = branch_conflict(name, a, b, (frame.span(node), frame.span(node)))
        rows.append(Row(name, unify(a, b, conflict, meeting), a, b))
    return rows


def short_circuit(frame: Frame, is_and: bool, first: Value, rest: Callable[[], Value], node: ast.AST) -> Value:
    """``first and rest`` (or ``or``) of truth values: an ``and`` where ``rest`` is cheap and safe, else an ``if``."""
    traced = aside_unless_dead(frame, rest)
    if traced is None:
        return first
    second = traced.outcome
    unchanged = traced.env == frame.env and all(traced.store[cell] is held for cell, held in frame.region.store.items())
    if unchanged and scalar_type(second) == Bool and _cheap(traced.builder.eqns):
        frame.builder.eqns.extend(traced.builder.eqns)
        if isinstance(second, Static):
            decided = bool(second.value) != is_and
            return (TRUE if second.value else FALSE) if decided else first
        op = "and" if is_and else "or"
        return Dynamic(frame.apply(node, op, frame.atom(first, node), frame.atom(second, node)))
    if is_and:
        return choose(frame, first, rest, lambda: FALSE, node, "the condition")
    return choose(frame, first, lambda: TRUE, rest, node, "the condition")


def _cheap(eqns: list[Eqn]) -> bool:
    return len(eqns) <= CHEAP_LIMIT and all(_harmless(eqn.op) for eqn in eqns)


def _harmless(op: str) -> bool:
    record = PRIMITIVES.get(op)
    return record is not None and record.speculatable and record.cost == "cheap"
