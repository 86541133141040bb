"""Sums instead of accumulations, so that what a loop adds up and what it stores are fused apart.

    m_bar = (withacc 0.0 (lam m_bar
      (build n (lam i (acc_add m_bar (neg (index i d)))))))      ⟶      m_bar = (reduce add n (lam i (neg (index i d))))

* additions to one place in a body are one addition, also those that sides of an ``if`` make;
* a loop that adds to a place which does not depend on its index adds up in a ``reduce``, and that is added once; where
  it does more than that, only if the terms are cheap enough to compute a second time. A place that may be out of range
  is added to only where the loop is not run in vain;
* a scalar accumulator that no loop adds to is a sum, and a ``withacc`` without accumulators is its body.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property, reduce

from ksc.ir.builder import Builder
from ksc.ir.liveness import adds, has_effect, prune_block
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import Env, assemble, clone_block, effectful_functions, read_vars, replace, without_effects
from ksc.ir.types import AccType, Float, FloatType
from ksc.passes.cost import work
from ksc.passes.fuse import sizes
from ksc.passes.fuse.cost import SPLIT
from ksc.passes.fuse.facts import Facts

Place = tuple[Atom, ...]
"""An accumulator, and indices."""


def turn_accumulations_into_sums(program: Program) -> Program:
    """Apply the rules above in all functions."""
    effectful = effectful_functions(program.functions)
    functions = {name: sum_up(function, effectful) for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def sum_up(function: Function, effectful: Collection[str]) -> Function:
    """Apply them in one function."""
    return Function(function.name, _Sums(function, effectful).block(function.body, None), function.span)


class _Sums:
    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        self.function = function
        self.effectful = effectful
        self.env: Env = {}

    @cached_property
    def facts(self) -> tuple[Facts, sizes.Place]:
        """What is known of the function as it was; few programs ask."""
        return Facts.of(self.function)

    def block(self, block: Block, owner: Eqn | None) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            args = tuple(replace(arg, self.env) for arg in eqn.args)
            blocks = tuple(self.block(inner, eqn) for inner in eqn.blocks)
            new = Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span)
            match new.op:
                case "build":
                    eqns.extend(self.split(new, block, owner))
                case "if":
                    eqns.extend(_lifted(new))
                case "withacc":
                    eqns.extend(self.closed(new))
                case _:
                    eqns.append(new)
        results = tuple(replace(result, self.env) for result in block.results)
        return Block(block.params, tuple(_together(eqns)), results, block.span)

    def split(self, loop: Eqn, around: Block, owner: Eqn | None) -> list[Eqn]:
        """A loop in a block and the sums of what it adds to places that do not depend on its index."""
        (body,) = loop.blocks
        inside = {*body.params, *(out for eqn in body.eqns for out in eqn.outs)}
        sums = [add for add in body.eqns if _is_scalar_add(add) and not inside.intersection(add.args[:-1])]
        if not sums:
            return [loop]
        rest = tuple(eqn for eqn in body.eqns if eqn not in sums)
        terms = tuple(add.args[-1] for add in sums)
        pure = tuple(without_effects(rest))
        needed = prune_block(Block(body.params, pure, terms, body.span), self.effectful)
        empty = not body.results and not any(has_effect(e, self.effectful, ()) or adds(e) for e in rest)
        if not empty and work(needed) > SPLIT:
            return [loop]
        copy = clone_block(needed, {})
        outs = tuple(Var(add.args[0].name, Float) if isinstance(add.args[0], Var) else Var("s", Float) for add in sums)
        total = Eqn(outs, "reduce", loop.args, {"monoid": "add"}, (copy,), loop.span)
        added = [
            Eqn((), "acc_add", (*add.args[:-1], out), add.params, (), add.span)
            for add, out in zip(sums, outs, strict=True)
        ]
        added = [eqn for add in added for eqn in self.once(add, loop, around, owner)]
        if empty:
            return [total, *added]
        left = Block(body.params, rest, body.results, body.span)
        return [Eqn(loop.outs, "build", loop.args, loop.params, (left,), loop.span), total, *added]

    def once(self, add: Eqn, loop: Eqn, around: Block, owner: Eqn | None) -> list[Eqn]:
        """An addition behind the loop that made it: where that is not run, its place need not be in range."""
        acc, *at, _ = add.args
        counts = [count for count in loop.args if not isinstance(count, Const) or int(count.value) < 1]
        if not at or not counts:
            return [add]
        facts, top = self.facts
        place = facts.inside(around, owner, top) if owner is not None else top
        if isinstance(acc, Var) and all(facts.in_range(i, facts.size(acc, d), place) for d, i in enumerate(at)):
            return [add]
        builder = Builder(add.span)
        runs = [builder.apply("lt", const(0), count) for count in counts]
        runs_at_all = reduce(lambda a, b: builder.apply("and", a, b), runs)
        builder.emit("if", [runs_at_all], [], blocks=[Block((), (add,), ()), Block((), (), ())])
        return builder.eqns

    def closed(self, eqn: Eqn) -> list[Eqn]:
        """A ``withacc`` without the scalar accumulators that its body itself adds to, at most once each."""
        (body,) = eqn.blocks
        n = len(eqn.args)
        reads = read_vars(body.eqns)
        added = {add.args[0]: add for add in body.eqns if add.op == "acc_add" and len(add.args) == 2}
        direct = [
            k
            for k, param in enumerate(body.params)
            if param.type == AccType(Float) and reads.get(param, 0) == (1 if param in added else 0)
        ]
        gone = {added[body.params[k]] for k in direct if body.params[k] in added}
        eqns = tuple(inner for inner in body.eqns if inner not in gone)
        kept = [k for k in range(n) if k not in direct]
        values = {k: added[body.params[k]].args[1] for k in direct if body.params[k] in added}
        if kept:
            exported = {k: value for k, value in values.items() if isinstance(value, Var)}
            images = {k: Var(value.name, value.type) for k, value in exported.items()}
            block = Block(tuple(body.params[k] for k in kept), eqns, (*body.results, *exported.values()), body.span)
            outs = (*(eqn.outs[k] for k in kept), *eqn.outs[n:], *images.values())
            result = [Eqn(outs, "withacc", tuple(eqn.args[k] for k in kept), eqn.params, (block,), eqn.span)]
            values.update(images)
        else:
            result = list(eqns)
            self.env.update(zip(eqn.outs[n:], body.results, strict=True))
        for k in direct:
            init = eqn.args[k]
            if k in values and init != const(0.0):
                result.append(Eqn((eqn.outs[k],), "add", (init, values[k]), span=eqn.span))
            else:
                self.env[eqn.outs[k]] = values.get(k, init)
        return result


def _is_scalar_add(eqn: Eqn) -> bool:
    return eqn.op == "acc_add" and isinstance(eqn.args[-1].type, FloatType)


def _together(eqns: Sequence[Eqn]) -> list[Eqn]:
    """One addition for each place that several of the equations add to: the last one adds the sum."""
    last: dict[Place, int] = {}
    several: dict[Place, list[Atom]] = {}
    for k, eqn in enumerate(eqns):
        if _is_scalar_add(eqn):
            last[eqn.args[:-1]] = k
            several.setdefault(eqn.args[:-1], []).append(eqn.args[-1])
    result: list[Eqn] = []
    for k, eqn in enumerate(eqns):
        place = eqn.args[:-1]
        if not _is_scalar_add(eqn) or len(several[place]) == 1:
            result.append(eqn)
        elif last[place] == k:
            total, *others = several[place]
            for value in others:
                out = Var(place[0].name if isinstance(place[0], Var) else "s", Float)
                result.append(Eqn((out,), "add", (total, value), span=eqn.span))
                total = out
            result.append(Eqn((), "acc_add", (*place, total), eqn.params, (), eqn.span))
    return result


def _lifted(eqn: Eqn) -> list[Eqn]:
    """An ``if`` whose sides add to one place gives what is to be added there as a result.

    An index may be in range only where its side is taken: such an addition is lifted only if both sides make it.
    """
    inside = {out for block in eqn.blocks for inner in block.eqns for out in inner.outs}
    sides: list[dict[Place, Eqn]] = [
        {e.args[:-1]: e for e in block.eqns if _is_scalar_add(e) and not inside.intersection(e.args[:-1])}
        for block in eqn.blocks
    ]
    every = dict.fromkeys([*sides[0], *sides[1]])
    places = [place for place in every if len(place) == 1 or all(place in side for side in sides)]
    if not places:
        return [eqn]
    gone = {side[place] for side in sides for place in places if place in side}
    zero: Const = const(0.0)
    blocks = []
    for block, side in zip(eqn.blocks, sides, strict=True):
        values = tuple(side[place].args[-1] if place in side else zero for place in places)
        blocks.append(Block((), tuple(e for e in block.eqns if e not in gone), (*block.results, *values), block.span))
    outs = tuple(Var(place[0].name, Float) if isinstance(place[0], Var) else Var("s", Float) for place in places)
    added = [Eqn((), "acc_add", (*place, out), {}, (), eqn.span) for place, out in zip(places, outs, strict=True)]
    return [Eqn((*eqn.outs, *outs), "if", eqn.args, eqn.params, tuple(blocks), eqn.span), *added]
