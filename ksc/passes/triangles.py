"""Triangular loops that only add to tensors go along rows: the loop inside changes places with the one around it.

    (build n (lam i (build i (lam j (acc_add (at i j) bar (mul (index i x) (index j y)))))))
        ⟶
    (build n (lam j (build (sub (sub n 1) j) (lam k
      (let (i (add k (add j 1))) (acc_add (at i j) bar (mul (index i x) (index j y))))))))

The reverse of a product with a triangle that is packed by columns goes through it by rows, as the product did: what it
reads and adds to lies apart, and what it collects for each column goes through memory. What else the outer loop adds
stays in a loop of its own; what the inner one needs of it is computed inside, if it is cheap. Rectangles are left to
``ksc.passes.order``. This comes after it is settled what is kept: a sum that is read from a table is cheap.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

from ksc.ir.builder import Builder, Expr
from ksc.ir.liveness import prune_eqns
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import (
    Env,
    clone_eqn,
    effectful_functions,
    free_in,
    with_blocks,
    with_body,
    with_eqns,
    with_functions,
)
from ksc.ir.types import AccType, Float, Integer
from ksc.passes.dce import remove_dead_code
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.polynomial import Polynomial
from ksc.passes.fuse.sizes import Place
from ksc.passes.order import APART, NEXT, SHORTEST, accesses, changing, moves


def turn_triangles(program: Program) -> Program:
    """Do so in all functions; the same program where there are none."""
    effectful = effectful_functions(program.functions)

    def change(function: Function) -> Function:
        if not any(_nests(eqn) for eqn in walk(function.body)):
            return function
        facts, top = Facts.of(function)
        return with_body(function, _Triangles(facts, effectful).block(function.body, top))

    changed = with_functions(program, change)
    return program if changed is program else remove_dead_code(changed)


def _nests(loop: Eqn) -> list[Eqn]:
    """The loops in one that only adds whose count is computed in it, so that they may be rows of a triangle."""
    if loop.op not in ("build", "for") or loop.outs or len(loop.args) != 1:
        return []
    (body,) = loop.blocks
    own = {*body.params, *(out for eqn in body.eqns for out in eqn.outs)}
    inner = [eqn for eqn in body.eqns if eqn.op in ("build", "for") and not eqn.outs and len(eqn.args) == 1]
    return [eqn for eqn in inner if eqn.args[0] in own]


@dataclass(frozen=True, slots=True)
class _Triangles:
    facts: Facts
    effectful: Collection[str]

    def block(self, block: Block, place: Place) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            turned = [new for nest in _nests(eqn) if (new := self.turned(eqn, nest, place)) is not None]
            if turned:
                (body,) = eqn.blocks
                nests = [nest for nest, _ in turned]
                rest = [one for one in body.eqns if one not in nests]
                eqns += [with_blocks(eqn, [with_eqns(body, rest)]), *(one for _, new in turned for one in new)]
                continue
            inner = [self.block(inner, self.facts.inside(inner, eqn, place)) for inner in eqn.blocks]
            eqns.append(with_blocks(eqn, inner))
        return with_eqns(block, eqns)

    def turned(self, loop: Eqn, nest: Eqn, place: Place) -> tuple[Eqn, list[Eqn]] | None:
        """A loop inside of another one, and the two the other way round; None where they stay."""
        (body,), (terms,) = loop.blocks, nest.blocks
        (row,), (column,) = body.params, terms.params
        inside = self.facts.inside(body, loop, place)
        shape = self.shape(loop, nest, row)
        if shape is None or not all(
            moves(eqn, self.facts.inside(terms, nest, inside), self.facts) for eqn in terms.eqns
        ):
            return None
        own = {out for eqn in body.eqns for out in eqn.outs}
        needed = prune_eqns(
            [eqn for eqn in body.eqns if eqn.outs], self.effectful, own.intersection(free_in(*terms.eqns))
        )
        if not all(moves(eqn, inside, self.facts) for eqn in needed):
            return None
        eqns = (*needed, *terms.eqns)
        if self.cost(eqns, row) >= self.cost(terms.eqns, column):
            return None
        return nest, self.columns(loop, nest, eqns, shape)

    def shape(self, loop: Eqn, nest: Eqn, row: Var) -> tuple[bool, int] | None:
        """Whether column j has the last n - j of n rows, or the first, and how many fewer it has; None if neither."""
        size, count = (self.facts.polynomial(self.facts.resolve(eqn.args[0])) for eqn in (loop, nest))
        slope = count.coefficient(row)
        if slope is None or slope.value not in (1, -1) or self.is_short(loop.args[0]):
            return None
        index = Polynomial.symbol(row)
        fewer = (index.plus(1) - count if slope.value == 1 else size - index - count).value
        return (slope.value == 1, fewer) if fewer in (0, 1) else None

    def columns(self, loop: Eqn, nest: Eqn, eqns: Sequence[Eqn], shape: tuple[bool, int]) -> list[Eqn]:
        """The loop over columns that have rows, around the one over rows that makes them."""
        row, column = loop.blocks[0].params[0], nest.blocks[0].params[0]
        last, fewer = shape
        before, around, inner = Builder(loop.span), Builder(nest.span), Builder(nest.span)
        at, step = Var(column.name, Integer), Var(row.name, Integer)
        size = (Expr(before, loop.args[0]) - fewer).op("max", 0) if fewer else Expr(before, loop.args[0])
        count = Expr(around, loop.args[0]) - Expr(around, at) - fewer
        start = Expr(around, at) + fewer
        env: Env = {column: at, row: (Expr(inner, step) + start).atom if last else step}
        moving = changing([row], eqns)
        sums: list[tuple[Eqn, Var]] = []
        for eqn in eqns:
            adds_here = eqn.op == "acc_add" and moving.isdisjoint(eqn.args[1:-1])
            same = eqn.op != "acc_add" and moving.isdisjoint(eqn.outs)
            copy = clone_eqn(eqn, env)
            if adds_here:
                acc = Var(copy.args[0].name, AccType(Float)) if isinstance(copy.args[0], Var) else None
                assert acc is not None
                sums.append((copy, acc))
                copy = Eqn((), "acc_add", (acc, copy.args[-1]), span=eqn.span)
            (around if same else inner).eqns.append(copy)
        rows = Eqn((), "build", (count.atom,), {}, (inner.block((step,), ()),), nest.span)
        if sums:
            totals = tuple(Var(acc.name, Float) for _, acc in sums)
            block = Block(tuple(acc for _, acc in sums), (rows,), ())
            around.eqns.append(Eqn(totals, "withacc", (const(0.0),) * len(sums), {}, (block,), nest.span))
            for (added, _), total in zip(sums, totals, strict=True):
                around.eqns.append(Eqn((), "acc_add", (*added.args[:-1], total), span=added.span))
        else:
            around.eqns.append(rows)
        before.eqns.append(Eqn((), "build", (size.atom,), {}, (around.block((at,), ()),), loop.span))
        return before.eqns

    def is_short(self, size: Atom) -> bool:
        return isinstance(size, Const) and int(size.value) < SHORTEST

    def cost(self, eqns: Sequence[Eqn], index: Var) -> int:
        """What the accesses of an iteration cost where the loop over ``index`` is the innermost."""
        moving = changing([index], eqns)
        costs = 0
        for tensor, at in accesses(eqns):
            if moving.isdisjoint(at):
                continue
            near = moving.isdisjoint(at[:-1]) and self.is_next(at[-1], index, moving)
            costs += (NEXT if near else APART) * (1 + isinstance(tensor.type, AccType))
        return costs

    def is_next(self, at: Atom, index: Var, moving: Set[Atom]) -> bool:
        """Whether an index grows by 1 with another one."""
        place = self.facts.polynomial(self.facts.resolve(at))
        factor = place.coefficient(index)
        others = [symbol for symbol in place.symbols() if symbol is not index]
        return factor is not None and factor.value == 1 and moving.isdisjoint(s for s in others if isinstance(s, Var))
