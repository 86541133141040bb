"""Additions of a loop to elements side by side, which meet from one iteration to the next, are made place by place.

    (build n (lam i                                   (build (sub n 1) (lam i
      (let (v (index i x))                               (acc_add (add i 1) a (index (add i 1) x))
        (acc_add i a v)                        ⟶         (acc_add (add i 1) a (index i x))))
        (acc_add (add i 1) a v))))                    and what is left at the ends

That is the reverse of a stencil. As it was, each iteration waits for the one before, in which its elements were added
to; now an iteration has a place of its own, and they fill registers. What is added is computed again where it is a few
products, and kept in a row otherwise. Done to what the compiler of a processor is given, in innermost loops that are
not known to be short.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from ksc.ir.builder import Builder, stack_type
from ksc.ir.liveness import prune_eqns
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import Env, clone_block, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import Integer, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.polynomial import Polynomial
from ksc.passes.order import SHORTEST

FARTHEST = 8
"""How far apart places may be: what is left at the ends takes as many iterations."""

CHEAP = frozenset({"index", "size", "mul", "neg", "add", "sub"})
"""What may be computed by each of the loops."""

MOST = 4
"""The number of such equations with numbers."""


def part_overlaps(program: Program) -> Program:
    """Do so in all functions; the same program where there are none."""
    return with_functions(program, _function)


def _function(function: Function) -> Function:
    if not any(_additions(eqn) for eqn in walk(function.body)):
        return function
    return with_body(function, _block(function.body, Facts.of(function)[0]))


def _block(block: Block, facts: Facts) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        adds = _additions(eqn)
        parts = _parts(eqn, adds, facts) if adds else None
        eqns += parts or [with_blocks(eqn, [_block(inner, facts) for inner in eqn.blocks])]
    return with_eqns(block, eqns)


def _additions(loop: Eqn) -> list[Eqn]:
    """The additions of numbers in a loop that does nothing else, if there are several."""
    if loop.op not in ("build", "for") or loop.outs or len(loop.args) != 1:
        return []
    if isinstance(loop.args[0], Const) and int(loop.args[0].value) < SHORTEST:
        return []
    (body,) = loop.blocks
    adds = [eqn for eqn in body.eqns if eqn.op == "acc_add"]
    plain = all(eqn.op in ("index", "size", "acc_add") or eqn.op in PRIMITIVES for eqn in body.eqns)
    return adds if plain and len(adds) > 1 and all(is_scalar(eqn.args[-1].type) for eqn in adds) else []


def _parts(loop: Eqn, adds: Sequence[Eqn], facts: Facts) -> list[Eqn] | None:
    """The loops that take the place of one; None where its additions do not meet, or are not next to each other."""
    (index,) = loop.blocks[0].params
    if not any(_meet(a, b, facts) for a, b in combinations(adds, 2)):
        return None
    bound = {index, *(out for eqn in loop.blocks[0].eqns for out in eqn.outs)}
    if any(not bound.isdisjoint(add.args[:-2]) for add in adds):
        return None
    moving = [add for add in adds if len(add.args) > 2 and index in facts.polynomial(add.args[-2]).symbols()]
    fixed = [add for add in adds if add not in moving]
    groups: dict[int, list[Eqn]] = {}
    for add in moving:
        base = facts.polynomial(add.args[-2]) - Polynomial.symbol(index)
        step = (facts.polynomial(add.args[-2]) - facts.polynomial(moving[0].args[-2])).value
        if step is None or abs(step) > FARTHEST or not bound.isdisjoint(base.symbols()):
            return None
        groups.setdefault(step, []).append(add)
    if len(groups) < 2 or any(not bound.isdisjoint(add.args[:-1]) for add in fixed):
        return None
    # What all iterations add to goes with any of the others.
    groups[0] += fixed
    return _loops(loop, groups, fixed, facts)


def _meet(a: Eqn, b: Eqn, facts: Facts) -> bool:
    """Whether two additions may be to one element, in different iterations."""
    if a.args[0] is not b.args[0] or len(a.args) < 3 or a.args[1:-1] == b.args[1:-1]:
        return False
    pairs = zip(a.args[1:-2], b.args[1:-2], strict=True)
    return all((facts.polynomial(one) - facts.polynomial(other)).value in (None, 0) for one, other in pairs)


def _loops(loop: Eqn, groups: Mapping[int, Sequence[Eqn]], fixed: Collection[Eqn], facts: Facts) -> list[Eqn]:
    """A loop over the places that all additions reach, by how far on each is, and short ones for those at the ends."""
    (body,) = loop.blocks
    (index,) = body.params
    (count,) = loop.args
    pure = [eqn for eqn in body.eqns if eqn.op != "acc_add"]
    bound = {out for eqn in pure for out in eqn.outs}
    values = dict.fromkeys(add.args[-1] for group in groups.values() for add in group)
    dear = [value for value in values if isinstance(value, Var) and value in bound and _is_dear(pure, value)]
    builder = Builder(loop.span)
    size: Atom = count
    known = facts.definition(count)
    if not facts.is_natural(facts.polynomial(facts.resolve(count))):
        size = count = builder.apply("max", count, const(0))
    elif known is not None and known.op == "max" and known.args[1] == const(0):
        size = known.args[0]
    rows: dict[Atom, Var] = {}
    if dear:
        rows = {value: Var(value.name, stack_type(1, value.type)) for value in dear}
        own = Var(index.name, Integer)
        block = clone_block(Block((), prune_eqns(pure, (), set(dear)), tuple(dear)), {index: own})
        made = Block((own,), block.eqns, block.results, body.span)
        builder.eqns.append(Eqn(tuple(rows.values()), "build", (count,), {}, (made,), loop.span))

    def added(inner: Builder, group: Sequence[Eqn], at: Atom) -> list[Eqn]:
        """The additions of a group, of what is computed for an iteration."""
        env: Env = {index: at}
        for value in dict.fromkeys(add.args[-1] for add in group):
            if isinstance(value, Var) and value in rows:
                (env[value],) = inner.emit("index", [rows[value], at], [value.type])
        needed = {arg for add in group for arg in add.args if isinstance(arg, Var) and arg not in rows}
        copy = clone_block(Block((), (*prune_eqns(pure, (), needed), *group), ()), env)
        inner.eqns += copy.eqns[: -len(group)]
        return list(copy.eqns[-len(group) :])

    def over(size: Atom, parts: Mapping[int, Sequence[Eqn]], first: Mapping[int, Atom]) -> None:
        """A loop of so many iterations over groups, each from an iteration on; what it adds in one place is summed."""
        own = Var(index.name, Integer)
        inner = Builder(loop.span)
        totals: dict[Sequence[Atom], Eqn] = {}
        for step, group in parts.items():
            at = own if first[step] == const(0) else inner.apply("add", own, first[step])
            for was, add in zip(group, added(inner, group, at), strict=True):
                place = add.args[:-1] if was in fixed else add.args[:-2]
                if place in totals:
                    total = inner.apply("add", totals[place].args[-1], add.args[-1])
                    add = replace(totals[place], args=(*totals[place].args[:-1], total))
                totals[place] = add
        block = Block((own,), (*inner.eqns, *totals.values()), (), body.span)
        builder.eqns.append(Eqn((), "build", (size,), {}, (block,), loop.span))

    least, most = min(groups), max(groups)
    left = builder.apply("sub", size, const(most - least))
    over(builder.apply("max", left, const(0)), groups, {step: const(most - step) for step in groups})
    for step, group in groups.items():
        before: Atom = const(0)
        if step < most:
            before = builder.apply("min", count, const(most - step))
            over(before, {step: group}, {step: const(0)})
        if step > least:
            after = builder.apply("min", builder.apply("sub", count, before), const(step - least))
            over(builder.apply("max", after, const(0)), {step: group}, {step: builder.apply("sub", count, after)})
    return builder.eqns


def _is_dear(eqns: Sequence[Eqn], value: Var) -> bool:
    needed = prune_eqns(eqns, (), {value})
    numbers = [eqn for eqn in needed if any(out.type != Integer for out in eqn.outs)]
    return len(numbers) > MOST or not all(eqn.op in CHEAP for eqn in numbers)
