"""Tables of what an outer loop computes again in each iteration.

    (for n … (lam (i) … (for k … (lam (j) … (exp (index j x)) …))))
      ⟶      t = (build k (lam (j) (exp (index j x))))    (for n … (lam (i) … (for k … (lam (j) … (index j t) …))))

A transcendental function, or a sum, that depends on indices of inner loops only is kept in a table, one element for
each of their iterations. That is done where the table is no larger than a tensor that it is computed from, which is
there anyhow. An outer loop without iterations has an empty table: nothing is read that would not have been. What only
some iterations compute, on a side of an ``if``, stays there. Where only the outer loop asserts that the indices are in
range, and all there are, the table has the sizes of that tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.builder import Builder
from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Atom, Block, Const, Eqn, Program, Var, const
from ksc.ir.rewrite import effectful_functions, free_in, with_functions
from ksc.ir.types import Float, Integer
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.sizes import Place
from ksc.passes.moves import Around, Moves


def tabulate_invariants(program: Program) -> Program:
    """Make tables in all functions, where they pay."""
    effectful = effectful_functions(program.functions)
    return with_functions(program, lambda function: _Tables(function, effectful).run())


class _Tables(Moves):
    loops = ("build", "reduce", "for")
    longest = 16

    def moves(self, eqn: Eqn, place: Place, nest: Sequence[Around]) -> bool:
        return len(nest) > 1 and self.is_dear(eqn) and self.kept(eqn, nest)

    def is_dear(self, eqn: Eqn) -> bool:
        record = PRIMITIVES.get(eqn.op)
        dear = record.speculatable and record.cost == "expensive" if record is not None else eqn.op == "reduce"
        return dear and [out.type for out in eqn.outs] == [Float] and not has_effect(eqn, self.effectful, ())

    def kept(self, eqn: Eqn, nest: Sequence[Around]) -> bool:
        """Make a table before the outermost loop that can have it; whether there is one."""
        for k, outer in enumerate(nest[:-1]):
            inner = [index for around in nest[k + 1 :] for index in around.indices]
            found = self.element(eqn, outer.place, inner)
            if found is None:
                continue
            eqns, indices, source = found
            counts = [self.facts.counts[index] for index in indices]
            if not all(self.is_outside(count, outer.place) for count in counts):
                continue
            if self.make(eqn, eqns, indices, counts, outer):
                return True
            sizes = self.sizes(source, indices, counts, outer)
            if sizes and self.make(eqn, eqns, indices, sizes, outer):
                return True
        return False

    def element(
        self, eqn: Eqn, outside: Place, inner: Sequence[Var]
    ) -> tuple[Sequence[Eqn], Sequence[Var], Sequence[Atom]] | None:
        """What computes ``eqn`` from what is seen ``outside``, the indices among ``inner`` that it depends on, and the
        tensor that is read at all of these, with where."""
        found = self.slice(free_in(eqn), outside, inner, self.longest - 1)
        if found is None:
            return None
        eqns, indices = found
        needed = [*eqns, eqn]
        reads = [part.args for part in needed if part.op == "index"]
        reads += [part.args for one in needed for block in one.blocks for part in block.eqns if part.op == "index"]
        for source, *at in reads:
            if isinstance(source, Var) and self.facts.is_visible(source, outside) and set(indices) <= set(at):
                return (needed, indices, (source, *at)) if indices else None
        return None

    def sizes(
        self, source: Sequence[Atom], indices: Sequence[Var], counts: Sequence[Atom], outer: Around
    ) -> Sequence[tuple[Var, int]]:
        """The dimensions of a tensor that indices go through, where the outer loop asserts that these are all."""
        tensor, *at = source
        assert isinstance(tensor, Var)
        dims = [at.index(index) for index in indices]
        fits = all(
            self.facts.equal_after(outer.loop.blocks[0], self.facts.resolve(count), self.facts.size(tensor, dim))
            for dim, count in zip(dims, counts, strict=True)
        )
        return [(tensor, dim) for dim in dims] if fits else []

    def is_part(self, eqn: Eqn) -> bool:
        record = PRIMITIVES.get(eqn.op)
        return eqn.op in ("index", "size") or (record is not None and record.speculatable) or self.is_dear(eqn)

    def make(
        self,
        eqn: Eqn,
        eqns: Sequence[Eqn],
        indices: Sequence[Var],
        limits: Sequence[Atom | tuple[Var, int]],
        outer: Around,
    ) -> bool:
        """Put the table before the loop, if no element of it can stop the kernel."""
        builder = Builder(eqn.span)
        counts: list[Atom] = []
        for limit in limits:
            if isinstance(limit, tuple):
                tensor, dim = limit
                counts += builder.emit("size", [tensor], [Integer], params={"dim": dim})
            elif self.facts.is_natural(self.facts.polynomial(self.facts.resolve(limit))):
                counts.append(limit)
            else:
                # A loop of fewer than no iterations runs none; no tensor is of such a size.
                counts.append(builder.apply("max", limit, const(0)))
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
        self.facts.adopt(builder.eqns, outer.place)
        (out,) = eqn.outs
        made = self.table(out.name, Block((), tuple(eqns), (out,)), indices, counts, outer.place, eqn.span)
        if made is None:
            return False
        self.before.setdefault(outer.loop, []).extend((*builder.eqns, made))
        self.instead[eqn] = Eqn(eqn.outs, "index", (made.outs[0], *indices), span=eqn.span)
        return True
