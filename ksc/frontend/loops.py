"""Loops: ``for`` over ranges and static items, ``while``, with ``break``, ``continue``, ``return`` and ``else``.

A range without ``break`` or ``return`` in its body becomes a ``for`` of the IR; every other loop that depends on the
arguments becomes a ``while`` whose condition also asks whether the loop was left. What the loop carries, and of which
type, is found by tracing the body until nothing changes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ksc.errors import KnossosError
from ksc.frontend import operators
from ksc.frontend.assign import assign
from ksc.frontend.carry import Loop, run_else
from ksc.frontend.checkpoints import checkpoints_of
from ksc.frontend.flow import GO_ON, Flow, sequence
from ksc.frontend.frame import Frame
from ksc.frontend.iteration import UNROLL_LIMIT, iteration_of, static_items
from ksc.frontend.recurrences import Recurrence, join_ends, with_carried_ends
from ksc.frontend.recursion import NeverReturnsError
from ksc.frontend.refuse import ChangingSizesError, LoopTypeError, NeedsStaticError
from ksc.frontend.scope import After, bound_names, live_at_loop
from ksc.frontend.tensors.integers import below, bounded
from ksc.frontend.values import FALSE, Array, Dynamic, Iteration, Range, Ref, Rows, Static, Value
from ksc.ir.nodes import Atom, Const, Var, const
from ksc.ir.types import Integer

RETRY_LIMIT = 64
"""The longest range that is unrolled because its body needs the index, or other values, at compile time."""


def run_for(frame: Frame, stmt: ast.For, after: After) -> Flow:
    """Trace a ``for`` loop."""
    from ksc.frontend.expressions import evaluate

    head, every = checkpoints_of(frame, stmt.iter)
    iterable = evaluate(frame, head)
    if isinstance(iterable, Static) and isinstance(iterable.value, range):
        bounds = iterable.value
        iterable = Range(Static(bounds.start), Static(bounds.stop), Static(bounds.step))
    if isinstance(iterable, Ref | Array | Iteration | Rows):
        found = iteration_of(frame, iterable, stmt.iter)
        assert found is not None
        recurrences: list[Recurrence] = []
        if not isinstance(found.count, Const) or int(found.count.value) > RETRY_LIMIT:
            stmt, recurrences = with_carried_ends(frame, stmt)
        flow = _run_lazy(frame, stmt, found, after, every)
        join_ends(frame, recurrences, stmt)
        return flow
    if not isinstance(iterable, Range):
        return _unrolled(frame, stmt, static_items(frame, iterable, stmt.iter), after)
    fixed = _static_range(frame, iterable, stmt.iter)
    if fixed is not None and len(fixed) == 0:
        return run_else(frame, stmt, GO_ON, after)
    unrolled = None
    if fixed is not None and len(fixed) <= RETRY_LIMIT:
        items = [Static(index) for index in fixed]
        unrolled = partial(_unrolled, frame, stmt, items, after)
    recurrences = []
    if unrolled is None:
        stmt, recurrences = with_carried_ends(frame, stmt)
    skipped = None if fixed is not None else partial(run_else, frame, stmt, GO_ON, after)
    rolled = partial(_rolled_for, frame, stmt, iterable, fixed, after, every)
    flow = _rolled_or(frame, rolled, unrolled, skipped)
    join_ends(frame, recurrences, stmt)
    return flow


def _run_lazy(frame: Frame, stmt: ast.For, found: Iteration, after: After, every: int | None) -> Flow:
    """Trace a loop over the items of tensors, made from an index in each iteration."""
    count = found.count
    known = int(count.value) if isinstance(count, Const) else None
    if known == 0:
        return run_else(frame, stmt, GO_ON, after)

    def rolled(keeps_sizes: bool) -> Flow:
        index = Var("k", Integer)
        bounded(frame, index, 0)
        below(frame, index, count)
        grows = known is None or known > RETRY_LIMIT
        once = known is not None
        loop = Loop(frame, stmt, after, at_least_once=once, checkpoint=every, grows=grows, keeps_sizes=keeps_sizes)
        trace = loop.trace_counted_while if loop.exits else loop.trace_for
        return trace(count, index, lambda: assign(frame, stmt.target, found.item(frame, Dynamic(index))))

    def unrolled() -> Flow:
        return _unrolled(frame, stmt, static_items(frame, found, stmt.iter), after)

    skipped = None if known is not None else partial(run_else, frame, stmt, GO_ON, after)
    return _rolled_or(frame, rolled, unrolled if known is not None and known <= RETRY_LIMIT else None, skipped)


def run_while(frame: Frame, stmt: ast.While, after: After) -> Flow:
    """Trace a ``while`` loop."""
    from ksc.frontend.expressions import truth

    head, every = checkpoints_of(frame, stmt.test)
    if every is not None:
        stmt = ast.copy_location(ast.While(head, stmt.body, stmt.orelse), stmt)
    if bound_names([stmt.test]):
        stmt = _without_binding_test(frame, stmt)
    first = frame.aside(lambda: truth(frame, stmt.test))
    if any(first.store[cell] is not held for cell, held in frame.region.store.items()):
        stmt = _without_binding_test(frame, stmt)
        first = frame.aside(lambda: truth(frame, stmt.test))
    known = isinstance(first.outcome, Static)
    if known and not first.outcome.value:
        return run_else(frame, stmt, GO_ON, after)

    recurrences: list[Recurrence] = []
    if not known:
        stmt, recurrences = with_carried_ends(frame, stmt)

    def rolled(keeps_sizes: bool) -> Flow:
        grows = not known
        loop = Loop(frame, stmt, after, at_least_once=known, checkpoint=every, grows=grows, keeps_sizes=keeps_sizes)
        return loop.trace_while(lambda: truth(frame, stmt.test))

    skipped = None if known else partial(run_else, frame, stmt, GO_ON, after)
    flow = _rolled_or(frame, rolled, partial(_unrolled_while, frame, stmt, after) if known else None, skipped)
    join_ends(frame, recurrences, stmt)
    return flow


def _rolled_or(
    frame: Frame,
    rolled: Callable[[bool], Flow],
    unrolled: Callable[[], Flow] | None,
    skipped: Callable[[], Flow] | None,
) -> Flow:
    """The loop as one of the IR, or where its body needs constants that only single iterations have, ``unrolled``.

    It is unrolled too, where it can be, if it changes the sizes of a tensor that it carries: ``rolled`` takes whether
    to give way then. ``skipped`` is the loop without an iteration, where that may be: what is left of it where the body
    never returns.
    """
    mark = len(frame.functions.entries)
    try:
        with frame.attempt(NeedsStaticError, LoopTypeError, NeverReturnsError, ChangingSizesError):
            return rolled(unrolled is not None)
    except ChangingSizesError:
        assert unrolled is not None
        frame.functions.forget_closures(mark)
        try:
            with frame.attempt(KnossosError):
                return unrolled()
        except KnossosError:
            frame.functions.forget_closures(mark)
            return rolled(False)
    except NeverReturnsError:
        if skipped is None:
            raise
        return skipped()
    except (NeedsStaticError, LoopTypeError):
        if unrolled is None:
            raise
    frame.functions.forget_closures(mark)
    return unrolled()


def _without_binding_test(frame: Frame, stmt: ast.While) -> ast.While:
    """``while (x := f()) > 0: …`` as ``while True: if not …: break``: what the test binds or changes, the body does."""
    if stmt.orelse:
        reason = "`:=`, or a change of a tensor, in the test of a loop with `else`"
        frame.refuse(stmt.test, reason, "bind or change it before", code="KS100")
    test = ast.copy_location(ast.UnaryOp(ast.Not(), stmt.test), stmt.test)
    leave = ast.copy_location(ast.If(test, [ast.copy_location(ast.Break(), stmt.test)], []), stmt.test)
    endless = ast.copy_location(ast.Constant(True), stmt.test)
    return ast.copy_location(ast.While(endless, [leave, *stmt.body], []), stmt)


def _static_range(frame: Frame, iterable: Range, node: ast.AST) -> range | None:
    parts = (iterable.start, iterable.stop, iterable.step)
    if all(isinstance(part, Static) for part in parts):
        made = operators.evaluate_static(frame, range, tuple(part.value for part in parts), node)  # type: ignore[attr-defined]
        assert isinstance(made, Static)
        found: range = made.value
        return found
    return None


def _rolled_for(
    frame: Frame,
    stmt: ast.For,
    iterable: Range,
    fixed: range | None,
    after: After,
    every: int | None,
    keeps_sizes: bool,
) -> Flow:
    count = const(len(fixed)) if fixed is not None else trip_count(frame, iterable, stmt.iter)
    grows = fixed is None or len(fixed) > RETRY_LIMIT
    once = fixed is not None
    loop = Loop(frame, stmt, after, at_least_once=once, checkpoint=every, grows=grows, keeps_sizes=keeps_sizes)

    plain = all(
        isinstance(part, Static) and part.value == value for part, value in ((iterable.start, 0), (iterable.step, 1))
    )
    name = stmt.target.id if plain and isinstance(stmt.target, ast.Name) else "k"
    index = Var(name, Integer)
    bounded(frame, index, 0)
    below(frame, index, count)

    def bind_index() -> None:
        value: Value = Dynamic(index)
        assign(frame, stmt.target, value if plain else range_item(frame, iterable, value, stmt.iter))

    return (
        loop.trace_counted_while(count, index, bind_index) if loop.exits else loop.trace_for(count, index, bind_index)
    )


def range_item(frame: Frame, iterable: Range, index: Value, node: ast.AST) -> Value:
    """The item of a range at an index; of one that counts down it is known that it stays above its end."""
    scaled = operators.binary(frame, ast.Mult(), index, iterable.step, node)
    value = operators.binary(frame, ast.Add(), iterable.start, scaled, node)
    step, stop = iterable.step, iterable.stop
    downwards = isinstance(step, Static) and step.value < 0
    if downwards and isinstance(stop, Static) and isinstance(value, Dynamic):
        bounded(frame, value.atom, stop.value + 1)
    upwards = isinstance(step, Static) and step.value > 0
    if upwards and isinstance(value, Dynamic) and isinstance(stop, Static | Dynamic):
        below(frame, value.atom, frame.atom(stop, node))
    return value


def trip_count(frame: Frame, iterable: Range, node: ast.AST) -> Atom:
    """How many items a range with run-time bounds has; zero or less where it is empty."""
    start, stop, step = iterable.start, iterable.stop, iterable.step
    if isinstance(step, Static):
        if step.value == 0:
            frame.refuse(node, "the step of a range is zero", "use another step", code="KS117")
        sign = 1 if step.value > 0 else -1
        if step.value == -1:
            return frame.atom(operators.binary(frame, ast.Sub(), start, stop, node), node)
        from_zero = isinstance(start, Static) and start.value == 0
        distance = stop if from_zero else operators.binary(frame, ast.Sub(), stop, start, node)
        if step.value == 1:
            return frame.atom(distance, node)
        rounded: Value = operators.binary(frame, ast.Add(), distance, Static(step.value - sign), node)
    else:
        nonzero = frame.atom(operators.compare(frame, ast.NotEq(), step, Static(0), node), node)
        frame.emit(node, "assert", [nonzero], [], params={"message": "range() arg 3 must not be zero"})
        positive = operators.compare(frame, ast.Gt(), step, Static(0), node)
        sign_atom = frame.apply(node, "select", frame.atom(positive, node), const(1), const(-1))
        distance = operators.binary(frame, ast.Sub(), stop, start, node)
        step_less = operators.binary(frame, ast.Sub(), step, Dynamic(sign_atom), node)
        rounded = operators.binary(frame, ast.Add(), distance, step_less, node)
    return frame.atom(operators.binary(frame, ast.FloorDiv(), rounded, step, node), node)


def _unrolled(frame: Frame, stmt: ast.For, items: Sequence[Value], after: After) -> Flow:
    """One copy of the body for each item."""
    from ksc.frontend.statements import run_block

    if len(items) > UNROLL_LIMIT:
        frame.refuse(stmt.iter, f"{len(items)} items are too many to be unrolled", "use a range", code="KS114")
    head = live_at_loop(stmt, after)
    inside = After(head, after.live, head, tail="loop")

    def from_(k: int) -> Flow:
        flow = GO_ON
        for j in range(k, len(items)):
            assign(frame, stmt.target, items[j])
            flow = run_block(frame, stmt.body, inside)
            flow = replace(flow, continued=FALSE, next=flow.next or flow.continued is not FALSE)
            if not flow.plain:
                following = replace(inside, tail="")
                return sequence(frame, flow, partial(from_, j + 1), following, stmt)
        return flow

    return run_else(frame, stmt, from_(0), after)


def _unrolled_while(frame: Frame, stmt: ast.While, after: After) -> Flow:
    """One copy of the body for each time that the test, known at compile time, holds."""
    from ksc.frontend.expressions import truth
    from ksc.frontend.statements import run_block

    head = live_at_loop(stmt, after)
    inside = After(head, after.live, head, tail="loop")

    def from_(k: int) -> Flow:
        for j in range(k, RETRY_LIMIT):
            instead = "use `for … in range(…)`, or values in the body that may depend on the iteration"
            if not frame.require_static(truth(frame, stmt.test), stmt.test, "the test of a loop to unroll", instead):
                return GO_ON
            flow = run_block(frame, stmt.body, inside)
            flow = replace(flow, continued=FALSE, next=flow.next or flow.continued is not FALSE)
            if not flow.plain:
                return sequence(frame, flow, partial(from_, j + 1), replace(inside, tail=""), stmt)
        frame.refuse(stmt.test, f"a loop of more than {RETRY_LIMIT} iterations to unroll", "use range", code="KS114")

    return run_else(frame, stmt, from_(0), after)
