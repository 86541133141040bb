"""Additions straight to where what they add up to is added later.

    zeros = (build n (lam i 0.0))
    part = (withacc ((acc zeros)) (for (i d) … (acc_add (f i) acc v) …))
    (build n (lam (j) (acc_add (tuple k (g j)) whole (index j part))))
      ⟶      (for (i d) … (acc_add (tuple k (g (f i))) whole v) …)

or, in a loop that carries something,

    part = (build n (lam i … v))
    (build n (lam (j) (acc_add (tuple k (g j)) whole (index j part))))
      ⟶      (build n (lam i … (acc_add (tuple k (g i)) whole v)))

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
from ksc.passes.fuse.sizes import Place, Size


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
            for out in eqn.outs if _is_sequential(place) else ():
                later = [other for other in block.eqns[position + 1 :] if other not in gone]
                built = self.built(eqn, out, later, place)
                if built is not None:
                    eqns[position] = _adding(eqns[position], out, built)
                    gone.add(built.loop)
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
        target = self.reader(out, later)
        if target is None or not isinstance(init, Var):
            return None
        size = self.facts.size(init, 0)
        if not self.goes(target, size, eqn, later, place):
            return None
        inside = self.facts.inside(body, eqn, place)
        adds = self.additions(body, acc, inside, ())
        fits = sum(1 for _ in adds) == self.uses.get(acc) and all(
            self.facts.in_range(add.args[1], size, at) and set(indices) <= self.depends_on(add.args[1])
            for add, at, indices in adds
        )
        return target if fits and adds else None

    def built(self, eqn: Eqn, out: Var, later: Sequence[Eqn], place: Place) -> _Target | None:
        """Where what a ``build`` gives, also one in a ``withacc``, is added to, and read by nothing else."""
        build = _maker(eqn, out)
        if build is None or self.uses.get(out) != 1 or len(build[0].args) != 1:
            return None
        target = self.reader(out, later)
        fits = target is not None and self.goes(target, self.facts.resolve(build[0].args[0]), eqn, later, place)
        return target if fits else None

    def reader(self, tensor: Var, later: Sequence[Eqn]) -> _Target | None:
        """The loop that adds each element of ``tensor`` to an accumulator, if that is what reads it first."""
        loop = next((other for other in later if tensor in free_in(other)), None)
        return self.added(loop, tensor) if loop is not None and loop.op == "build" else None

    def goes(self, target: _Target, size: Size, eqn: Eqn, later: Sequence[Eqn], place: Place) -> bool:
        """Whether a loop over ``size`` in an equation can make the additions of ``target``."""
        if not self.facts.equal(self.facts.resolve(target.loop.args[0]), size):
            return False
        acc_and_places = Block((target.index, target.value), (*target.eqns, target.add), ())
        return all(self.is_before(var, eqn, later, place) for var in free_vars(acc_and_places))

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


def _is_sequential(place: Place) -> bool:
    """Whether a place is in a loop that carries something: what stands there is not divided among threads."""
    return any(around.owner is not None and around.owner.op in ("for", "while") for around in place.around())


def _maker(eqn: Eqn, out: Var) -> tuple[Eqn, int] | None:
    """The ``build``, be it the equation or one in a ``withacc``, that gives a result of numbers; its number there."""
    k = eqn.outs.index(out)
    if eqn.op == "withacc" and k >= len(eqn.args):
        (body,) = eqn.blocks
        result = body.results[k - len(eqn.args)]
        assert isinstance(result, Var)
        build = next((inner for inner in body.eqns if result in inner.outs), None)
        if build is None or read_vars(body.eqns, body.results).get(result) != 1:
            return None
        k = build.outs.index(result)
    else:
        build = eqn
    if build.op != "build" or not isinstance(build.blocks[0].results[k].type, FloatType):
        return None
    return build, k


def _adding(eqn: Eqn, out: Var, target: _Target) -> Eqn:
    """The equation without a result whose elements are added elsewhere as they are computed."""
    found = _maker(eqn, out)
    assert found is not None
    build, k = found
    (body,) = build.blocks
    env: Env = {target.index: body.params[0]}
    eqns = [*body.eqns, *(clone_eqn(one, env) for one in target.eqns)]
    acc, *at, _ = target.add.args
    places = [env.get(i, i) if isinstance(i, Var) else i for i in at]
    eqns.append(Eqn((), "acc_add", (acc, *places, body.results[k]), target.add.params, (), target.add.span))
    block = Block(body.params, tuple(eqns), (*body.results[:k], *body.results[k + 1 :]))
    new = replace(build, outs=(*build.outs[:k], *build.outs[k + 1 :]), blocks=(block,))
    if build is eqn:
        return new
    (around,) = eqn.blocks
    n = eqn.outs.index(out) - len(eqn.args)
    rest = (*around.results[:n], *around.results[n + 1 :])
    inner = Block(around.params, tuple(new if one is build else one for one in around.eqns), rest)
    return replace(eqn, outs=tuple(other for other in eqn.outs if other is not out), blocks=(inner,))


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
