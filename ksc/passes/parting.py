"""A loop over columns that adds to columns is parted, so that what it adds goes row by row.

    (build m (lam j
      (let (s (reduce add n (lam i (index i j x))))
        (build n (lam i (acc_add (i j) x_bar (mul s (index i j y))))))))
        ⟶
    s = (build m (lam j (reduce add n (lam i (index i j x)))))
    (build n (lam i (build m (lam j (acc_add (i j) x_bar (mul (index j s) (index i j y)))))))

That is the reverse of what was normalised, or summed up, along the first dimension. The numbers that an iteration has
for its column are kept for all columns; a row that it has for its column would be a matrix, and the loop stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ksc.ir.builder import stack_type
from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.ir.rewrite import Env, clone_block, free_in, free_vars
from ksc.ir.types import Integer, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place

Tables = Mapping[Var, Var]
"""Numbers of a column, with the tensors that have them for all columns."""


@dataclass(frozen=True, slots=True)
class Parting:
    """Parts loops of one function.

    ``goes_down`` says of a nest in a loop over columns whether its elements are next to those of the next column, and
    nothing in it may stop the kernel.
    """

    facts: Facts
    effectful: Collection[str]
    goes_down: Callable[[Eqn, Eqn, Place], bool]

    def parts(self, loop: Eqn, place: Place) -> list[Eqn] | None:
        """What takes the place of a loop over columns; None where it stays."""
        (body, *_) = loop.blocks or (Block((), (), ()),)
        if loop.op != "build" or len(loop.args) != 1 or not all(is_scalar(result.type) for result in body.results):
            return None
        of_loop = _OfLoop(self, loop, place)
        return of_loop.parted(body.eqns, {}, self.facts.inside(body, loop, place), body.results)


@dataclass(slots=True)
class _OfLoop:
    """The parts of one loop, which stands at ``outside``; what all columns ``share`` is computed before them."""

    parting: Parting
    loop: Eqn
    outside: Place
    shared: set[Var] = field(default_factory=set)

    def parted(
        self, eqns: Sequence[Eqn], tables: Tables, inside: Place, results: Sequence[Atom] = ()
    ) -> list[Eqn] | None:
        """The parts for some equations of the body, which read what ``tables`` have, and the results of the loop."""
        kept = [eqn for eqn in eqns if eqn.outs or eqn.op == "acc_add"]
        nests = [eqn for eqn in eqns if eqn not in kept]
        if not nests or any(has_effect(eqn, self.parting.effectful, ()) for eqn in kept):
            return None
        parts: list[Eqn] = []
        for eqn in kept:
            record = PRIMITIVES.get(eqn.op)
            if record is not None and record.speculatable and all(map(self.is_shared, eqn.args)):
                self.shared.update(eqn.outs)
                parts.append(eqn)
        own = [eqn for eqn in kept if eqn not in parts]
        made = {out for eqn in own for out in eqn.outs}
        needs = [var for var in free_in(*nests) if var in made]
        if not all(is_scalar(var.type) for var in needs):
            return None
        if needs or results or any(eqn.op == "acc_add" for eqn in own):
            block = _over_columns(own, (*needs, *results), tables, self.loop)
            columns = {var: Var(var.name, stack_type(1, var.type)) for var in needs}
            outs = (*columns.values(), *(self.loop.outs if results else ()))
            parts.append(Eqn(outs, "build", self.loop.args, {}, (block,), self.loop.span))
            tables = {**tables, **columns}
        for nest in nests:
            found = self.nest(nest, tables, inside)
            if found is None:
                return None
            parts.append(found)
        return parts

    def nest(self, eqn: Eqn, tables: Tables, inside: Place) -> Eqn | None:
        """What adds in a loop over columns as a loop, or a choice that all columns share, around one over columns."""
        if not all(map(self.is_shared, eqn.args)):
            return None
        if eqn.op == "if":
            sides = []
            for block in eqn.blocks:
                at = self.parting.facts.inside(block, eqn, inside)
                parts = self.parted(block.eqns, tables, at) if block.eqns else []
                if parts is None:
                    return None
                sides.append(Block((), tuple(parts), ()))
            return Eqn((), "if", eqn.args, eqn.params, tuple(sides), eqn.span)
        if eqn.op != "build" or not self.parting.goes_down(self.loop, eqn, inside):
            return None
        (body,) = eqn.blocks
        block = _over_columns(body.eqns, (), tables, self.loop)
        columns = Eqn((), "build", self.loop.args, {}, (block,), eqn.span)
        return Eqn((), "build", eqn.args, eqn.params, (Block(body.params, (columns,), ()),), eqn.span)

    def is_shared(self, atom: Atom) -> bool:
        return not isinstance(atom, Var) or atom in self.shared or self.parting.facts.is_visible(atom, self.outside)


def _over_columns(eqns: Sequence[Eqn], results: Sequence[Atom], tables: Tables, loop: Eqn) -> Block:
    """A copy of equations for each column, which reads numbers of its column in tables."""
    (column,) = loop.blocks[0].params
    block = Block((), tuple(eqns), tuple(results))
    index = Var(column.name, Integer)
    env: Env = {column: index}
    reads = []
    for var in free_vars(block):
        if var in tables:
            element = Var(var.name, var.type)
            reads.append(Eqn((element,), "index", (tables[var], index), span=loop.span))
            env[var] = element
    copy = clone_block(block, env)
    return Block((index,), (*reads, *copy.eqns), copy.results)
