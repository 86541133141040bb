"""A loop that stays one in the IR: what it carries from iteration to iteration, and of which type.

A variable is *carried through* where an iteration may read or keep what it held before; the body is traced until
the types of these no longer change. A variable that is only read after the loop is *carried out*: the body never sees
it at its start. Of the storages there were before the loop, those are carried that the body is found to write.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ksc.errors import KnossosError
from ksc.frontend import operators
from ksc.frontend.checkpoints import DEFAULT, SQUARE_ROOT
from ksc.frontend.expected import content_template, expect_changes
from ksc.frontend.flow import GO_ON, Flow, any_of, branch, sequence
from ksc.frontend.frame import Frame
from ksc.frontend.join import (
    Meeting,
    abstract_leaves,
    adopt,
    adopt_contents,
    atoms_for,
    atoms_given,
    generalise_kept,
    readable,
    rebuild,
    same_template,
    template_of,
    unbound,
    unify,
    unify_contents,
)
from ksc.frontend.logic import short_circuit
from ksc.frontend.placeholders import with_placeholders
from ksc.frontend.refuse import ChangingSizesError, NeedsStaticError
from ksc.frontend.rows import Growth, growing, item_template, stacked_rows, stacked_types
from ksc.frontend.scope import After, Names, bound_names, kept_through, live_at_loop, live_before, may_exit_loop
from ksc.frontend.sizes import changes_sizes
from ksc.frontend.tensors.integers import at_least
from ksc.frontend.values import (
    DEAD,
    FALSE,
    TRUE,
    Abstract,
    Array,
    Binding,
    Cell,
    Dynamic,
    Poison,
    Ref,
    Static,
    Struct,
    Value,
    describe,
    instantiate,
    leaves,
)
from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Var, const
from ksc.ir.types import Bool, Integer, Type

_EXITS = ("<broke>", "<returned>", "<result>")
"""What a loop carries beside variables, called so that no variable can be."""


Params = dict[str | Cell, list[Var]]
"""The parameters of a block for each variable and storage."""


@dataclass(slots=True, eq=False)
class Body:
    """One tracing of a loop's body: its equations, the parameters of what it carries through, and how it ends.

    ``started`` is what the storages held at its start, ``store`` what they hold at its end.
    """

    builder: Builder
    params: Params
    env: dict[str, Binding]
    started: dict[Cell, Value]
    store: dict[Cell, Value]
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
        grows: bool = False,
        keeps_sizes: bool = False,
    ) -> None:
        self.frame = frame
        self.keeps_sizes = keeps_sizes
        self.checkpoint = checkpoint
        self.stmt = stmt
        self.after = after
        self.at_least_once = at_least_once
        self.exits = may_exit_loop(stmt.body)
        self.head: Names = live_at_loop(stmt, after) | frame.captured
        bound = bound_names([*stmt.body, stmt.test if isinstance(stmt, ast.While) else stmt.target])
        self.names = sorted(bound & self.head | bound & (after.live | frame.captured))
        through = kept_through(stmt, frozenset(self.names)) | frame.captured
        # What `else` binds anew need not be there where no iteration has left the loop.
        unread = self.head | live_before(stmt.orelse, after)
        self.rebound = {name for name in self.names if stmt.orelse and name not in unread}
        self.through = [name for name in self.names if name in through and name not in self.rebound]
        self.templates: dict[str, Value] = {name: self._initial(name) for name in self.names}
        for name in self.through:
            self.templates[name] = generalise_kept(self.templates[name])
        self.contents: dict[Cell, Value] = {}
        self.made: set[Cell] = set()
        self.grows = grows
        self.grown: dict[Cell, Growth] = {}
        self.flags: tuple[Value, Value] = (FALSE, FALSE)
        self.value: Value = DEAD

    def _initial(self, name: str) -> Value:
        """The value of a variable before the loop."""
        binding = self.frame.env.get(name)
        if binding is not None:
            return readable(binding.value, self.frame.region.store)
        return (
            DEAD if (self.at_least_once or name in self.rebound) and name not in self.through else unbound(name, None)
        )

    # The three shapes of loop.

    def trace_for(self, count: Atom, index: Var, start: Callable[[], None]) -> Flow:
        """A ``for`` of the IR over ``index``, bound by ``start``: nothing leaves the loop early."""
        block = self._body_block(self._settle(start, index), index)
        self._emit("for", [count], [block], reverse=False)
        return run_else(self.frame, self.stmt, GO_ON, self.after)

    def trace_counted_while(self, count: Atom, index: Var, start: Callable[[], None]) -> Flow:
        """A range whose body may leave the loop: a ``while`` that counts."""
        frame, stmt = self.frame, self.stmt
        body = self._settle(start, index)
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

    def _settle(self, start: Callable[[], None], *index: Var) -> Body:
        """Trace the body, which may read ``index``, until the templates of what is carried through stay the same.

        It starts with what the body is expected to change by its syntax, so that one tracing is enough as a rule:
        otherwise loops in loops are traced twice for each of them. Where that is wrong it starts once more without.
        """
        known = dict(self.templates)
        mark = len(self.frame.functions.entries)
        expected = expect_changes(self.frame, self.stmt, self.through, self.templates, self.made)
        if expected:
            self.templates |= expected.templates
            self.contents |= expected.contents
            try:
                with self.frame.attempt(KnossosError):
                    body = self._fixpoint(start, index)
                    if expected.holds(self.templates, {name: self._at_end(name, body) for name in expected.templates}):
                        return body
            except NeedsStaticError:
                if not expected.contents:
                    raise
            except KnossosError:
                pass
            self.frame.functions.forget_closures(mark)
            self.templates, self.contents, self.made, self.grown = known, {}, set(), {}
        return self._fixpoint(start, index)

    def _fixpoint(self, start: Callable[[], None], index: Sequence[Var]) -> Body:
        reconsidered = False
        while True:
            mark = len(self.frame.functions.entries)
            body = self._trace(start)
            if not self._widen(body, index):
                idle = [cell for cell in self.contents if body.store[cell] is body.started[cell]]
                if reconsidered or not idle:
                    if self.keeps_sizes:
                        self._require_same_sizes(body)
                    return body
                # What an earlier tracing wrote, when less was known of who shares it, need not be carried.
                reconsidered = True
                for cell in idle:
                    del self.contents[cell]
            self.frame.functions.forget_closures(mark)

    def _require_same_sizes(self, body: Body) -> None:
        """Raise ChangingSizesError where an iteration is seen to give a tensor that it starts with other sizes."""
        for name in self.through:
            starts, ends = leaves(self._initial(name)), leaves(self._at_end(name, body))
            for start, end in zip(starts, ends, strict=False):
                if isinstance(start, Ref) and isinstance(end, Ref):
                    held = None if end.steps else body.store.get(end.cell)
                    atom = held.atom if isinstance(held, Array) else None
                    if changes_sizes(start.sizes, end.sizes, atom, body.builder.eqns):
                        raise ChangingSizesError(name)

    def _trace(self, start: Callable[[], None]) -> Body:
        from ksc.frontend.statements import run_block

        frame, params, started = self.frame, Params(), dict[Cell, Value]()

        def code() -> Flow:
            self._enter(params)
            started.update(frame.region.store)
            start()
            return run_block(frame, self.stmt.body, After(self.head, self.after.live, self.head, tail="loop"))

        traced = frame.aside(code)
        return Body(traced.builder, params, traced.env, started, traced.store, traced.outcome)

    def _enter(self, params: Params) -> None:
        """Bind what is carried through to new parameters; what is carried out cannot be read yet."""
        frame = self.frame
        for cell in self.grown:
            frame.region.store[cell] = growing(cell)
        for cell, template in self.contents.items():
            adopt_contents(frame, cell, template, instantiate(template, cell.name, params.setdefault(cell, [])))
        for name in self.names:
            if name in self.through:
                template = self.templates[name]
                value = adopt(frame, template, instantiate(template, name, params.setdefault(name, [])))
            else:
                value = unbound(name, None)
            frame.env[name] = Binding(value, None)

    def _widen(self, body: Body, index: Sequence[Var]) -> bool:
        """Widen the templates by what the body ends with; whether one that the body reads has changed."""
        frame, changed = self.frame, False
        inner = [*index, *(out for eqn in body.builder.eqns for out in eqn.outs)]
        inner += [param for params in body.params.values() for param in params]
        meeting = Meeting(frame.region.store, inner, self.made)
        for name in self.names:
            before, now = self.templates[name], self._at_end(name, body)
            new = _closed(unify(before, now, self._conflict(name, before, now), meeting))
            changed = changed or (name in self.through and not same_template(before, new))
            self.templates[name] = new
        changed = self._widen_grown(body, meeting) or changed
        for cell, held in list(frame.region.store.items()):
            if cell in self.grown or cell not in body.store:
                continue
            if cell not in self.contents:
                if not body.flow.alive or body.store[cell] is body.started[cell]:
                    continue
                self.contents[cell] = content_template(cell, held)
                changed = True
            before, now = self.contents[cell], body.store[cell] if body.flow.alive else DEAD
            # Two errors are as good as one; the new one tells a loop around that something was written.
            written = isinstance(before, Poison) and isinstance(now, Poison)
            conflict = self._conflict(cell.name, before, now)
            new = now if written else unify_contents(cell, before, now, conflict, meeting)
            changed = changed or not same_template(before, new)
            self.contents[cell] = new
        flow = body.flow
        self.flags = (_flag(flow.broke), _flag(flow.returned))
        # Nothing in the loop sees what it returns, so what that shares is no reason to trace it again.
        returned = Meeting(frame.region.store, inner)
        self.value = returned.outward(readable(flow.value, body.store), 1)
        returned.settle()
        return meeting.settle() or changed

    def _widen_grown(self, body: Body, meeting: Meeting) -> bool:
        """Widen the lists that the body appends one item to; whether something changed."""
        if not self.grows or not body.flow.alive:
            return False
        frame, changed = self.frame, False
        for cell, held in list(frame.region.store.items()):
            now = body.store.get(cell)
            if cell not in self.grown:
                empty = isinstance(held, Struct) and held.cls is list and not held.items
                template = item_template(now.items[0]) if isinstance(now, Struct) and len(now.items) == 1 else None
                if not empty or template is None or cell in self.contents:
                    continue
                self.grown[cell] = Growth(template)
                changed = True
            conflict = self._conflict(cell.name, held, now or DEAD)
            if isinstance(now, Poison):
                frame.refuse(self.stmt, now.reason, now.instead, code=now.code)
            if not isinstance(now, Struct) or len(now.items) != 1:
                frame.refuse(self.stmt, conflict.reason, conflict.instead, code=conflict.code)
            growth = self.grown[cell]
            changed = growth.widen(frame, now.items[0], conflict, meeting) or changed
            if body.flow.returned is not FALSE and any(leaf.is_tensor for leaf in abstract_leaves(growth.template)):
                reason = f"{cell.name!r} grows by tensors in a loop that may return"
                frame.refuse(self.stmt, reason, "break out of the loop, and return after it", code="KS107")
            carried = [leaf.cell for row in self.templates.values() for leaf in abstract_leaves(row) if leaf.cell]
            changed = growth.shares_more([*frame.region.store, *carried]) or changed
        return changed

    def _conflict(self, name: str, before: Value, now: Value) -> Poison:
        line = self.stmt.lineno
        reason = (
            f"{name!r} is {describe(before)} before an iteration of the loop in line {line}, {describe(now)} after it"
        )
        instead = f"bind {name!r} to a value of the final type before the loop"
        if isinstance(before, Struct) and before.cls is list:
            instead = "write into a tensor made before the loop: `out = torch.zeros(n)`, `out[i] = …`"
        return Poison("KS202", reason, instead)

    def _at_end(self, name: str, body: Body) -> Value:
        needed = body.flow.needed(After(self.head, self.after.live, self.head)) | self.frame.captured
        if not body.flow.alive or name not in needed:
            return DEAD
        binding = body.env.get(name)
        return unbound(name, None) if binding is None else readable(binding.value, body.store)

    def _rows(self) -> list[tuple[str | Cell, str, Value]]:
        """Everything that is carried, in order: what it is, its name, its template."""
        rows: list[tuple[str | Cell, str, Value]] = [(name, name, self.templates[name]) for name in self.names]
        rows += [(cell, cell.name, template) for cell, template in self.contents.items()]
        exits = zip(_EXITS, (*self.flags, self.value), strict=True)
        return [*rows, *((name, name.strip("<>"), template) for name, template in exits)]

    # Blocks.

    def _params(self, known: Params) -> list[Var]:
        """The parameters of a block; where ``known`` lacks some they are new and never read."""
        params: list[Var] = []
        for key, name, template in self._rows():
            if key in known:
                params.extend(known[key])
            else:
                instantiate(template, name, params)
        return params

    def _cond_block(self, test: Callable[[], Value], *counter: Var) -> Block:
        """The loop goes on where it was not left, and ``test`` holds, which is evaluated only then."""
        frame, params = self.frame, list(counter)

        def code() -> Atom:
            known: Params = {}
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
        ends = [self._at_end(name, body) for name in self.names]
        ends += [body.store[cell] if flow.alive else DEAD for cell in self.contents]
        ends += [flow.broke, flow.returned, readable(flow.value, body.store)]
        with frame.ending(body.builder, body.store):
            results = [frame.apply(self.stmt, "add", index[0], const(1))] if step else []
            for (_, _, template), end in zip(self._rows(), ends, strict=True):
                results.extend(atoms_for(frame, template, end, self.stmt))
            for cell, growth in self.grown.items():
                appended = body.store[cell]
                assert isinstance(appended, Struct)
                results.extend(atoms_for(frame, growth.template, appended.items[0], self.stmt))
            return frame.builder.block([*index, *self._params(body.params)], results)

    def _emit(
        self, op: str, leading: list[Atom], blocks: list[Block], *, counted: bool = False, **options: object
    ) -> list[Value]:
        """Append the loop and bind the variables; the final flags and result."""
        frame, stmt = self.frame, self.stmt
        rows = self._rows()
        starts = [self._initial(name) for name in self.names]
        starts += [frame.region.store[cell] for cell in self.contents]
        pairs = zip(rows, [*starts, FALSE, FALSE, DEAD], strict=True)
        given = [atom for (_, _, row), start in pairs for atom in atoms_given(frame, row, start, stmt)]
        inits = with_placeholders(frame, stmt, blocks[-1], [const(0)] * counted + given)
        names = [param.name for param in blocks[-1].params][op == "for" :]
        types: list[Type] = [Integer] * counted + [leaf.type for _, _, row in rows for leaf in abstract_leaves(row)]
        stacked = [type_ for growth in self.grown.values() for type_ in stacked_types(growth.template)]
        types, names = [*types, *stacked], [*names, *["rows"] * len(stacked)]
        checkpoint = {}
        if self.checkpoint is not None:
            checkpoint = {"checkpoint": self.checkpoint or (SQUARE_ROOT if op == "for" else DEFAULT)}
        params = {"carries": len(inits), **checkpoint, **options}
        outs = frame.emit(stmt, op, [*leading, *inits], types, names=names, params=params, blocks=blocks)
        remaining = iter(outs[counted:])
        span = frame.source.span(stmt, head=True)
        for name in bound_names([*stmt.body, *([stmt.target] if isinstance(stmt, ast.For) else [])]):
            frame.env[name] = Binding(unbound(name, None), None)
        exits = []
        for key, _, template in rows:
            value = rebuild(template, remaining)
            if isinstance(key, Cell):
                adopt_contents(frame, key, template, value)
            elif key in _EXITS:
                exits.append(adopt(frame, template, value))
            else:
                frame.env[key] = Binding(adopt(frame, template, value), span)
        count = at_least(frame, stmt, leading[0], 0) if op == "for" else None
        for cell, growth in self.grown.items():
            frame.region.store[cell] = stacked_rows(frame, growth.template, remaining, count, growth.cells)
        return exits


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


def _closed(template: Value) -> Value:
    """The template with no variable of the IR but those of storages, which stay what they are."""
    if isinstance(template, Struct) and template.cell is None:
        return template.changed(tuple(map(_closed, template.items)))
    return template_of(template) if isinstance(template, Dynamic) else template
