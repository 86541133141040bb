"""A loop that stays one in the IR: what it carries from iteration to iteration, and of which type.

A variable is *carried through* where an iteration may read or keep what it held before; the body is traced until
the types of these no longer change. A variable that is only read after the loop is *carried out*: the body never sees
it at its start.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ksc.frontend import operators
from ksc.frontend.checkpoints import DEFAULT, SQUARE_ROOT
from ksc.frontend.flow import GO_ON, Flow, any_of, branch, sequence
from ksc.frontend.frame import Frame
from ksc.frontend.join import atoms_for, generalise, rebuild, same_template, template_of, unbound, unify
from ksc.frontend.logic import short_circuit
from ksc.frontend.scope import After, Names, bound_names, kept_through, live_at_loop, may_exit_loop
from ksc.frontend.values import (
    DEAD,
    FALSE,
    TRUE,
    Abstract,
    Binding,
    Dynamic,
    Poison,
    Static,
    Value,
    describe,
    instantiate,
)
from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Var, const
from ksc.ir.types import Bool

_EXITS = ("<broke>", "<returned>", "<result>")
"""What a loop carries beside variables, called so that no variable can be."""


@dataclass(slots=True, eq=False)
class Body:
    """One tracing of a loop's body: its equations, the parameters of what it carries through, and how it ends."""

    builder: Builder
    params: dict[str, list[Var]]
    env: dict[str, Binding]
    flow: Flow


class Loop:
    """A loop of the IR under construction, for the statement ``stmt``."""

    def __init__(
        self,
        frame: Frame,
        stmt: ast.For | ast.While,
        after: After,
        *,
        at_least_once: bool,
        checkpoint: int | None = None,
    ) -> None:
        self.frame = frame
        self.checkpoint = checkpoint
        self.stmt = stmt
        self.after = after
        self.at_least_once = at_least_once
        self.exits = may_exit_loop(stmt.body)
        self.head: Names = live_at_loop(stmt, after) | frame.captured
        bound = bound_names([*stmt.body, stmt.test if isinstance(stmt, ast.While) else stmt.target])
        self.names = sorted(bound & self.head | bound & (after.live | frame.captured))
        through = kept_through(stmt, frozenset(self.names)) | frame.captured
        self.through = [name for name in self.names if name in through]
        self.templates: dict[str, Value] = {name: self._initial(name) for name in self.names}
        for name in self.through:
            self.templates[name] = generalise(self.templates[name])
        self.flags: tuple[Value, Value] = (FALSE, FALSE)
        self.value: Value = DEAD

    def _initial(self, name: str) -> Value:
        """The value of a variable before the loop."""
        binding = self.frame.env.get(name)
        if binding is not None:
            return binding.value
        return DEAD if self.at_least_once and name not in self.through else unbound(name, None)

    # The three shapes of loop.

    def trace_for(self, count: Atom, index: Var, start: Callable[[], None]) -> Flow:
        """A ``for`` of the IR over ``index``, bound by ``start``: nothing leaves the loop early."""
        block = self._body_block(self._settle(start), index)
        self._emit("for", [count], [block], reverse=False)
        return run_else(self.frame, self.stmt, GO_ON, self.after)

    def trace_counted_while(self, count: Atom, index: Var, start: Callable[[], None]) -> Flow:
        """A range whose body may leave the loop: a ``while`` that counts."""
        frame, stmt = self.frame, self.stmt
        body = self._settle(start)
        counter = Var(index.name, index.type)

        def test() -> Value:
            return Dynamic(frame.apply(stmt, "lt", counter, count))

        blocks = [self._cond_block(test, counter), self._body_block(body, index, step=True)]
        return self._after_while(self._emit("while", [], blocks, counted=True), endless=False)

    def trace_while(self, test: Callable[[], Value]) -> Flow:
        """A ``while`` of the IR."""
        body = self._settle(lambda: None)
        blocks = [self._cond_block(test), self._body_block(body)]
        condition = self.stmt.test if isinstance(self.stmt, ast.While) else None
        endless = isinstance(condition, ast.Constant) and bool(condition.value)
        return self._after_while(self._emit("while", [], blocks), endless=endless)

    def _after_while(self, final: Sequence[Value], *, endless: bool) -> Flow:
        broke, returned, value = final
        if endless and broke is FALSE:
            return Flow(next=False, returned=TRUE, value=value)
        flow = Flow(broke=broke if self.stmt.orelse else FALSE, returned=returned, value=value)
        return run_else(self.frame, self.stmt, flow, self.after)

    # What is carried.

    def _settle(self, start: Callable[[], None]) -> Body:
        """Trace the body until the templates of what is carried through no longer change."""
        while True:
            mark = len(self.frame.functions.entries)
            body = self._trace(start)
            if not self._widen(body):
                return body
            self.frame.functions.forget_closures(mark)

    def _trace(self, start: Callable[[], None]) -> Body:
        from ksc.frontend.statements import run_block

        frame, params = self.frame, dict[str, list[Var]]()

        def code() -> Flow:
            self._enter(params)
            start()
            return run_block(frame, self.stmt.body, After(self.head, self.after.live, self.head, tail="loop"))

        traced = frame.aside(code)
        return Body(traced.builder, params, traced.env, traced.outcome)

    def _enter(self, params: dict[str, list[Var]]) -> None:
        """Bind what is carried through to new parameters; what is carried out cannot be read yet."""
        for name in self.names:
            if name in self.through:
                value = instantiate(self.templates[name], name, params.setdefault(name, []))
            else:
                value = unbound(name, None)
            self.frame.env[name] = Binding(value, None)

    def _widen(self, body: Body) -> bool:
        """Widen the templates by what the body ends with; whether one that the body reads has changed."""
        changed = False
        for name in self.names:
            before, now = self.templates[name], self._at_end(name, body)
            new = template_of(unify(before, now, self._conflict(name, before, now)))
            changed = changed or (name in self.through and not same_template(before, new))
            self.templates[name] = new
        flow = body.flow
        self.flags = (_flag(flow.broke), _flag(flow.returned))
        self.value = template_of(flow.value)
        return changed

    def _conflict(self, name: str, before: Value, now: Value) -> Poison:
        line = self.stmt.lineno
        reason = (
            f"{name!r} is {describe(before)} before an iteration of the loop in line {line}, {describe(now)} after it"
        )
        return Poison("KS202", reason, f"bind {name!r} to a value of the final type before the loop")

    def _at_end(self, name: str, body: Body) -> Value:
        needed = body.flow.needed(After(self.head, self.after.live, self.head)) | self.frame.captured
        if not body.flow.alive or name not in needed:
            return DEAD
        binding = body.env.get(name)
        return unbound(name, None) if binding is None else binding.value

    def _rows(self) -> list[tuple[str, Value]]:
        """Everything that is carried, in order, with its template."""
        rows = [(name, self.templates[name]) for name in self.names]
        return [*rows, *zip(_EXITS, (*self.flags, self.value), strict=True)]

    # Blocks.

    def _params(self, known: dict[str, list[Var]]) -> list[Var]:
        """The parameters of a block; where ``known`` lacks some they are new and never read."""
        params: list[Var] = []
        for name, template in self._rows():
            if name in known:
                params.extend(known[name])
            else:
                instantiate(template, name.strip("<>"), params)
        return params

    def _cond_block(self, test: Callable[[], Value], *counter: Var) -> Block:
        """The loop goes on where it was not left, and ``test`` holds, which is evaluated only then."""
        frame, params = self.frame, list(counter)

        def code() -> Atom:
            known: dict[str, list[Var]] = {}
            self._enter(known)
            flags = []
            for key, flag in zip(_EXITS[:2], self.flags, strict=True):
                flags.append(instantiate(flag, key.strip("<>"), known.setdefault(key, [])))
            params.extend(self._params(known))
            left = any_of(frame, flags, self.stmt)
            if isinstance(left, Static):
                return frame.atom(test(), self.stmt)
            going_on = operators.negate(frame, left, self.stmt)
            return frame.atom(short_circuit(frame, True, going_on, test, self.stmt), self.stmt)

        traced = frame.aside(code)
        return traced.builder.block(params, [traced.outcome])

    def _body_block(self, body: Body, *index: Var, step: bool = False) -> Block:
        """The block of a traced body: its results are what it carries on, a counter first where it has to ``step``."""
        frame, flow = self.frame, body.flow
        ends = [*(self._at_end(name, body) for name in self.names), flow.broke, flow.returned, flow.value]
        with frame.block() as builder:
            builder.eqns = body.builder.eqns
            results = [frame.apply(self.stmt, "add", index[0], const(1))] if step else []
            for (_, template), end in zip(self._rows(), ends, strict=True):
                results.extend(atoms_for(frame, template, end, self.stmt))
        return builder.block([*index, *self._params(body.params)], results)

    def _emit(
        self, op: str, leading: list[Atom], blocks: list[Block], *, counted: bool = False, **options: object
    ) -> list[Value]:
        """Append the loop and bind the variables; the final flags and result."""
        frame, stmt = self.frame, self.stmt
        starts = [*(self._initial(name) for name in self.names), FALSE, FALSE, DEAD]
        inits: list[Atom] = [const(0)] if counted else []
        for (_, template), value in zip(self._rows(), starts, strict=True):
            inits.extend(atoms_for(frame, template, value, stmt))
        names = [param.name for param in blocks[-1].params][op == "for" :]
        types = [init.type for init in inits]
        checkpoint = {}
        if self.checkpoint is not None:
            checkpoint = {"checkpoint": self.checkpoint or (SQUARE_ROOT if op == "for" else DEFAULT)}
        params = {"carries": len(inits), **checkpoint, **options}
        outs = frame.emit(stmt, op, [*leading, *inits], types, names=names, params=params, blocks=blocks)
        remaining = iter(outs[counted:])
        values = [rebuild(template, remaining) for _, template in self._rows()]
        span = frame.source.span(stmt, head=True)
        for name in bound_names([*stmt.body, *([stmt.target] if isinstance(stmt, ast.For) else [])]):
            frame.env[name] = Binding(unbound(name, None), None)
        for name, value in zip(self.names, values, strict=False):
            frame.env[name] = Binding(value, span)
        return values[len(self.names) :]


def run_else(frame: Frame, stmt: ast.For | ast.While, flow: Flow, after: After) -> Flow:
    """What follows the loop itself: its ``else`` where there was no break; a break in that leaves the loop around."""
    from ksc.frontend.statements import run_block

    def unbroken() -> Flow:
        rest = replace(flow, broke=FALSE)
        return sequence(frame, rest, lambda: run_block(frame, stmt.orelse, after), after, stmt)

    if not stmt.orelse or (isinstance(flow.broke, Static) and flow.broke.value):
        return replace(flow, broke=FALSE, next=flow.next or flow.broke is not FALSE)
    if isinstance(flow.broke, Static):
        return unbroken()
    return branch(frame, frame.atom(flow.broke, stmt), lambda: GO_ON, unbroken, after, stmt)


def _flag(flag: Value) -> Value:
    """The template of a flag that starts as False."""
    return FALSE if flag is FALSE else Abstract(Bool)
