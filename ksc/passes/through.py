"""Additions straight to where what they add up to is added later.

    zeros = (build n (lam i 0.0))
    part = (withacc ((acc zeros)) (for (i d) … (acc_add (f i) acc v) …))
    (build n (lam (j) (acc_add (tuple k (g j)) whole (index j part))))
      ⟶      (for (i d) … (acc_add (tuple k (g (f i))) whole v) …)

That is how the cotangent of a slice is added to that of the whole. It is done where each element is added to about
once: the place of every addition depends on all loops around it. Others are better added up apart. The places have to
be known to be in range of what goes away, so no error is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import Env, assemble, clone_eqn, free_in, free_vars, read_vars, with_blocks
from ksc.ir.types import FloatType, IntegerType
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place


def add_through(program: Program) -> Program:
    """Do so in all functions."""
    functions = {name: _Through(function).run() for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


@dataclass(frozen=True, slots=True)
class _Target:
    """The loop that adds a tensor to another accumulator: its index, what computes the place,
    the addition and the element that it adds."""

    loop: Eqn
    index: Var
    eqns: tuple[Eqn, ...]
    add: Eqn
    value: Var


class _Through:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.uses: Mapping[Var, int] = read_vars(function.body.eqns, function.body.results)
        self.facts, self.top = Facts.of(function)

    def run(self) -> Function:
        body = self.block(self.function.body, self.top)
        return self.function if body is self.function.body else Function(self.function.name, body, self.function.span)

    def block(self, block: Block, place: Place) -> Block:
        eqns = [self.inner(eqn, place) for eqn in block.eqns]
        changed = any(new is not old for new, old in zip(eqns, block.eqns, strict=True))
        gone: set[Eqn] = set()
        for position, eqn in enumerate(block.eqns):
            if eqn.op == "withacc":
                later = [other for other in block.eqns[position + 1 :] if other not in gone]
                found = {k: target for k in range(len(eqn.args)) if (target := self.target(eqn, k, later, place))}
                if found:
                    eqns[position] = self.without(eqn, eqns[position], found)
                    gone.update(target.loop for target in found.values())
        if not gone and not changed:
            return block
        kept = tuple(new for new, old in zip(eqns, block.eqns, strict=True) if old not in gone)
        return Block(block.params, kept, block.results)

    def inner(self, eqn: Eqn, place: Place) -> Eqn:
        return with_blocks(eqn, [self.block(inner, self.facts.inside(inner, eqn, place)) for inner in eqn.blocks])

    def target(self, eqn: Eqn, k: int, later: Sequence[Eqn], place: Place) -> _Target | None:
        """Where the k-th accumulator of a ``withacc`` is added to, if all its additions can be made there."""
        (body,) = eqn.blocks
        acc, out, init = body.params[k], eqn.outs[k], eqn.args[k]
        if self.uses.get(out) != 1 or not self.is_zero(init):
            return None
        loop = next((other for other in later if other.op == "build" and out in free_in(other)), None)
        target = self.added(loop, out) if loop is not None else None
        if target is None or loop is None or not isinstance(init, Var):
            return None
        size = self.facts.size(init, 0)
        if not self.facts.equal(self.facts.resolve(loop.args[0]), size):
            return None
        acc_and_places = Block((target.index, target.value), (*target.eqns, target.add), ())
        if not all(self.is_before(var, eqn, later, place) for var in free_vars(acc_and_places)):
            return None
        inside = self.facts.inside(body, eqn, place)
        adds = self.additions(body, acc, inside, ())
        fits = sum(1 for _ in adds) == self.uses.get(acc) and all(
            self.facts.in_range(add.args[1], size, at) and set(indices) <= self.depends_on(add.args[1])
            for add, at, indices in adds
        )
        return target if fits and adds else None

    def is_zero(self, init: Atom) -> bool:
        made = self.facts.definition(init)
        return (
            made is not None
            and made.op == "build"
            and len(made.args) == 1
            and made.blocks[0].results == (const(0.0),)
            and not made.blocks[0].eqns
        )

    def is_before(self, var: Var, eqn: Eqn, later: Sequence[Eqn], place: Place) -> bool:
        made = {out for other in (eqn, *later) for out in other.outs}
        return var not in made and self.facts.is_visible(var, place)

    def added(self, loop: Eqn, tensor: Var) -> _Target | None:
        """What a loop does that adds each element of ``tensor`` to an accumulator, and nothing else."""
        (body,) = loop.blocks
        if len(body.params) != 1 or body.results:
            return None
        read = next((e for e in body.eqns if e.op == "index" and e.args == (tensor, *body.params)), None)
        add = next((e for e in body.eqns if e.op == "acc_add"), None)
        if read is None or add is None or add.args[-1] is not read.outs[0]:
            return None
        rest = tuple(e for e in body.eqns if e is not read and e is not add)
        integers = all(e.op in PRIMITIVES and isinstance(e.outs[0].type, IntegerType) for e in rest)
        return _Target(loop, body.params[0], rest, add, read.outs[0]) if integers else None

    def additions(
        self, block: Block, acc: Var, place: Place, indices: tuple[Var, ...]
    ) -> list[tuple[Eqn, Place, tuple[Var, ...]]]:
        """The additions to an accumulator of rank 1, with the indices of the loops around each."""
        found = []
        for eqn in block.eqns:
            if eqn.op == "acc_add" and eqn.args[0] is acc and len(eqn.args) == 3:
                found.append((eqn, place, indices))
            for inner in eqn.blocks:
                own = inner.params[:1] if eqn.op == "for" else inner.params if eqn.op in ("build", "reduce") else ()
                found += self.additions(inner, acc, self.facts.inside(inner, eqn, place), (*indices, *own))
        return [one for one in found if isinstance(one[0].args[-1].type, FloatType)]

    def depends_on(self, atom: Atom) -> set[Var]:
        """The variables that an integer is computed from."""
        seen: set[Var] = set()
        pending = [atom]
        while pending:
            one = pending.pop()
            if isinstance(one, Var) and one not in seen:
                seen.add(one)
                made = self.facts.definition(one)
                if made is not None and made.op in PRIMITIVES:
                    pending += made.args
        return seen

    def without(self, eqn: Eqn, new: Eqn, found: Mapping[int, _Target]) -> Eqn:
        """The ``withacc`` without accumulators that are added to elsewhere."""
        (body,) = new.blocks
        targets = {eqn.blocks[0].params[k]: target for k, target in found.items()}
        kept = [k for k in range(len(eqn.args)) if k not in found]
        block = Block(tuple(body.params[k] for k in kept), _redirected(body, targets).eqns, body.results)
        outs = tuple(out for k, out in enumerate(eqn.outs) if k not in found)
        return replace(new, outs=outs, args=tuple(eqn.args[k] for k in kept), blocks=(block,))


def _redirected(block: Block, targets: Mapping[Var, _Target]) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        target = targets.get(eqn.args[0]) if eqn.op == "acc_add" and isinstance(eqn.args[0], Var) else None
        if target is None:
            blocks = tuple(_redirected(inner, targets) for inner in eqn.blocks)
            eqns.append(replace(eqn, blocks=blocks) if blocks else eqn)
            continue
        env: Env = {target.index: eqn.args[1]}
        eqns += [clone_eqn(one, env) for one in target.eqns]
        acc, *at, _ = target.add.args
        places = [env.get(i, i) if isinstance(i, Var) else i for i in at]
        eqns.append(Eqn((), "acc_add", (acc, *places, eqn.args[-1]), target.add.params, (), target.add.span))
    return Block(block.params, tuple(eqns), block.results)
