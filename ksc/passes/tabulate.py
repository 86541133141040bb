"""Tables of what an outer loop computes again in each iteration.

    (for n … (lam (i) … (for k … (lam (j) … (exp (index j x)) …))))
      ⟶      t = (build k (lam (j) (exp (index j x))))    (for n … (lam (i) … (for k … (lam (j) … (index j t) …))))

A transcendental function, or a sum, that depends on indices of inner loops only is kept in a table, one element for
each of their iterations. That is done where the table is no larger than a tensor that it is computed from, which is
there anyhow. An outer loop without iterations has an empty table: nothing is read that would not have been. What only
some iterations compute, on a side of an ``if``, stays there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ksc.ir.builder import Builder, stack_type
from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Block, Const, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import Env, assemble, clone_block, effectful_functions, free_vars
from ksc.ir.types import Float
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place

_LONGEST = 16
"""The number of equations up to which an element is computed in a table."""

_LOOPS = ("build", "reduce", "for")


def tabulate_invariants(program: Program) -> Program:
    """Make tables in all functions, where they pay."""
    effectful = effectful_functions(program.functions)
    functions = {name: _Tables(function, effectful).run() for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


@dataclass(frozen=True, slots=True)
class _Around:
    """A loop, the block that it is in, and the indices of its iterations."""

    loop: Eqn
    place: Place
    indices: tuple[Var, ...]


class _Tables:
    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        self.function = function
        self.effectful = effectful
        self.facts, self.top = Facts.of(function)
        self.before: dict[Eqn, list[Eqn]] = {}
        self.instead: dict[Eqn, Eqn] = {}

    def run(self) -> Function:
        self.visit(self.function.body, self.top, ())
        if not self.instead:
            return self.function
        return Function(self.function.name, self.block(self.function.body), self.function.span)

    def visit(self, block: Block, place: Place, nest: Sequence[_Around]) -> None:
        """Look for what to keep in a block that each iteration of the loops around runs, the outermost first."""
        for eqn in block.eqns:
            if len(nest) > 1 and self.is_dear(eqn) and self.kept(eqn, place, nest):
                continue
            for inner in eqn.blocks:
                around: Sequence[_Around] = nest if eqn.op == "withacc" else ()
                if eqn.op in _LOOPS:
                    params = eqn.blocks[0].params
                    around = (*nest, _Around(eqn, place, params[:1] if eqn.op == "for" else params))
                self.visit(inner, self.facts.inside(inner, eqn, place), around)

    def is_dear(self, eqn: Eqn) -> bool:
        record = PRIMITIVES.get(eqn.op)
        dear = record.speculatable and record.cost == "expensive" if record is not None else eqn.op == "reduce"
        return dear and [out.type for out in eqn.outs] == [Float] and not has_effect(eqn, self.effectful, ())

    def kept(self, eqn: Eqn, place: Place, nest: Sequence[_Around]) -> bool:
        """Make a table before the outermost loop that can have it; whether there is one."""
        for k, outer in enumerate(nest[:-1]):
            inner = [index for around in nest[k + 1 :] for index in around.indices]
            found = self.element(eqn, outer.place, inner)
            if found is not None and self.make(eqn, *found, outer):
                return True
        return False

    def element(self, eqn: Eqn, outside: Place, inner: Sequence[Var]) -> tuple[Sequence[Eqn], Sequence[Var]] | None:
        """What computes ``eqn`` from what is seen ``outside``, and the indices among ``inner`` that it depends on."""
        needed: dict[Eqn, None] = {eqn: None}
        used: dict[Var, None] = {}
        pending = list(free_vars(Block((), (eqn,), ())))
        while pending:
            var = pending.pop()
            if self.facts.is_visible(var, outside):
                continue
            made = self.facts.definition(var)
            if var in inner:
                used[var] = None
            elif made is None or len(made.outs) != 1 or not self.is_part(made) or len(needed) >= _LONGEST:
                return None
            elif made not in needed:
                needed[made] = None
                pending += free_vars(Block((), (made,), ()))
        indices = [index for index in inner if index in used]
        sources = [part.args for part in needed if part.op == "index" and isinstance(part.args[0], Var)]
        sources += [part.args for one in needed for block in one.blocks for part in block.eqns if part.op == "index"]
        bounded = any(
            isinstance(source, Var) and self.facts.is_visible(source, outside) and set(indices) <= set(at)
            for source, *at in sources
        )
        return (self.in_order(needed), indices) if indices and bounded else None

    def is_part(self, eqn: Eqn) -> bool:
        record = PRIMITIVES.get(eqn.op)
        return eqn.op in ("index", "size") or (record is not None and record.speculatable) or self.is_dear(eqn)

    def in_order(self, needed: Collection[Eqn]) -> list[Eqn]:
        ordered: dict[Eqn, None] = {}

        def visit(eqn: Eqn) -> None:
            for var in free_vars(Block((), (eqn,), ())):
                made = self.facts.definition(var)
                if made is not None and made in needed and made not in ordered:
                    visit(made)
            ordered[eqn] = None

        for eqn in needed:
            if eqn not in ordered:
                visit(eqn)
        return list(ordered)

    def make(self, eqn: Eqn, eqns: Sequence[Eqn], indices: Sequence[Var], outer: _Around) -> bool:
        """Put the table before the loop, if no element of it can stop the kernel."""
        counts = [self.facts.counts[index] for index in indices]
        if not all(isinstance(count, Const) or self.facts.is_visible(count, outer.place) for count in counts):
            return False
        builder = Builder(eqn.span)
        runs = [
            builder.apply("lt", const(0), count)
            for count in (outer.loop.args[:1] if outer.loop.op == "for" else outer.loop.args)
            if not isinstance(count, Const) or int(count.value) < 1
        ]
        if runs:
            every, *others = runs
            for other in others:
                every = builder.apply("and", every, other)
            counts[0] = builder.apply("select", every, counts[0], const(0))
        params = tuple(Var(index.name, index.type) for index in indices)
        env: Env = dict(zip(indices, params, strict=True))
        body = clone_block(Block((), tuple(eqns), (eqn.outs[0],)), env)
        block = Block(params, body.eqns, body.results)
        table = Var(eqn.outs[0].name, stack_type(len(indices), Float))
        made = Eqn((table,), "build", tuple(counts), {}, (block,), eqn.span)
        self.facts.adopt([*builder.eqns, made], outer.place)
        inside = Place(made, outer.place)
        if any(fails(part, inside, self.facts) for part in block.eqns):
            return False
        self.before.setdefault(outer.loop, []).extend((*builder.eqns, made))
        self.instead[eqn] = Eqn(eqn.outs, "index", (table, *indices), span=eqn.span)
        return True

    def block(self, block: Block) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            eqns += self.before.get(eqn, ())
            new = self.instead.get(eqn, eqn)
            eqns.append(replace(new, blocks=tuple(map(self.block, new.blocks))) if new.blocks else new)
        return Block(block.params, tuple(eqns), block.results)
