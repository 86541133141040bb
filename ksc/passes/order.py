"""Loops that only add to tensors run through these in the order in which memory lies.

    (build n (lam i (build m (lam j (acc_add (j i) x_bar (mul (index i y) (index j z)))))))
        ⟶
    (build m (lam j (build n (lam i (acc_add (j i) x_bar (mul (index i y) (index j z)))))))

The reverse of ``x.T @ v``, or of a convolution, goes through its loops as they were written, and what was read row by
row is added to column by column. Loops over columns that do more are parted (``ksc.passes.parting``). What is added to
one place may then be added in another order. This comes after
products of matrices were taken out; sums that the new innermost loop adds up become reductions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import effectful_functions, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import AccType, TensorType, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.fuse import fuse
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place
from ksc.passes.parting import Parting

SHORTEST = 16
"""The number of iterations that fill registers, as far as sizes are known."""

APART, NEXT = 16, 1
"""What an access costs in a loop over elements that lie apart, or next to each other; the same element is free."""


def order_additions(program: Program) -> Program:
    """Choose the innermost of such loops, and fuse what can be fused now; the same program where all stay."""
    effectful = effectful_functions(program.functions)
    ordered = with_functions(program, lambda function: _function(function, effectful))
    return ordered if ordered is program else fuse(ordered, since=program)


def _function(function: Function, effectful: Collection[str]) -> Function:
    if not any(eqn.op == "acc_add" and len(eqn.args) > 2 for eqn in walk(function.body)):
        return function
    facts, top = Facts.of(function)
    parting = Parting(facts, effectful, lambda loop, inner, place: _goes_down(loop, inner, place, facts))
    return with_body(function, _block(function.body, top, parting))


def _block(block: Block, place: Place, parting: Parting) -> Block:
    facts = parting.facts
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        nest = _nest(eqn, place, facts)
        if nest is not None:
            eqns.append(nest.ordered())
            continue
        parts = parting.parts(eqn, place)
        if parts is not None:
            eqns += parts
            continue
        blocks = [_block(inner, facts.inside(inner, eqn, place), parting) for inner in eqn.blocks]
        eqns.append(with_blocks(eqn, blocks))
    return with_eqns(block, eqns)


def _goes_down(columns: Eqn, inner: Eqn, place: Place, facts: Facts) -> bool:
    """Whether a loop that only adds to elements, in one over columns, had better be around it."""
    (body,) = inner.blocks
    where = facts.inside(body, inner, place)
    added = [eqn.args[1:-1] for eqn in body.eqns if eqn.op == "acc_add"]
    column = columns.blocks[0].params[0]
    if not all(moves(eqn, where, facts, dear=True) for eqn in body.eqns):
        return False
    if not added or not all(at and at[-1] is column for at in added):
        return False
    if not all(_is_natural(count, place, facts) for count in (*columns.args, *inner.args)):
        return False
    nest = _Nest(columns, (column, *body.params), (*columns.args, *inner.args), body.eqns)
    return nest.cost(column) < nest.cost(body.params[-1])


@dataclass(frozen=True, slots=True)
class _Nest:
    """Loops one in the other, with indices from the outermost on and their counts, and what an iteration does."""

    outermost: Eqn
    indices: Sequence[Var]
    counts: Sequence[Atom]
    eqns: Sequence[Eqn]

    def ordered(self) -> Eqn:
        """The nest, with the cheapest loop innermost; itself where that is the one that was."""
        costs = [math.inf if self.has_rows(index) else self.cost(index) for index in self.indices]
        best = min(reversed(range(len(costs))), key=costs.__getitem__)
        if costs[best] == costs[-1] or self.is_short(best):
            return self.outermost
        order = [*(k for k in range(len(costs)) if k != best), best]
        eqns = tuple(self.eqns)
        for k in reversed(order):
            body = Block((self.indices[k],), eqns, ())
            eqns = (Eqn((), "build", (self.counts[k],), {}, (body,), self.outermost.span),)
        return eqns[0]

    def has_rows(self, index: Var) -> bool:
        """Whether each iteration over ``index`` adds to rows of its own, kept at hand where its loop is outside."""
        added = [eqn.args[1:-1] for eqn in self.eqns if eqn.op == "acc_add"]
        return index is not self.indices[-1] and all(len(at) > 1 and at[0] is index for at in added)

    def cost(self, index: Var) -> float:
        """What the accesses of an iteration cost where the loop over ``index`` is the innermost."""
        moving = changing([index], self.eqns)
        costs = 0.0
        for tensor, at in accesses(self.eqns):
            stored = isinstance(tensor.type, AccType)
            if any(one in moving for one in at[:-1]):
                costs += APART * (1 + stored)
            elif at and at[-1] in moving:
                costs += NEXT * (1 + stored)
        return costs + APART * len(self.eqns) if self.is_short(self.indices.index(index)) else costs

    def is_short(self, k: int) -> bool:
        """Whether a loop is known to have few iterations."""
        count = self.counts[k]
        return isinstance(count, Const) and int(count.value) < SHORTEST


def changing(indices: Collection[Atom], eqns: Sequence[Eqn]) -> set[Atom]:
    """What changes with one of the indices."""
    moving = set(indices)
    for eqn in eqns:
        if not moving.isdisjoint(eqn.args):
            moving.update(eqn.outs)
    return moving


def accesses(eqns: Sequence[Eqn]) -> Iterator[tuple[Atom, Sequence[Atom]]]:
    """The tensors that are read or added to, with the indices."""
    for eqn in eqns:
        if eqn.op == "index":
            yield eqn.args[0], eqn.args[1:]
        elif eqn.op == "acc_add":
            yield eqn.args[0], eqn.args[1:-1]


def _nest(outermost: Eqn, place: Place, facts: Facts) -> _Nest | None:
    """The nest that begins with a loop, if it only adds to elements, and nothing in it may stop the kernel."""
    indices: list[Var] = []
    counts: list[Atom] = []
    eqns: list[Eqn] = []
    loop, where = outermost, place
    while True:
        if loop.op not in ("build", "for") or loop.outs or len(loop.blocks[0].params) != len(loop.args):
            return None
        (body,) = loop.blocks
        if not all(_is_natural(count, where, facts) for count in loop.args):
            return None
        if any(isinstance(count, Var) and not facts.is_visible(count, place) for count in loop.args):
            return None
        indices += body.params
        counts += loop.args
        where = facts.inside(body, loop, where)
        *steps, last = body.eqns or (None,)
        inner = last if last is not None and last.op in ("build", "for") else None
        for eqn in steps if inner is not None else body.eqns:
            if eqn is None or not moves(eqn, where, facts) or (inner is not None and eqn.op == "acc_add"):
                return None
            eqns.append(eqn)
        if inner is None:
            break
        loop = inner
    if len(indices) < 2 or not any(eqn.op == "acc_add" for eqn in eqns):
        return None
    return _Nest(outermost, indices, counts, eqns)


def _is_natural(count: Atom, place: Place, facts: Facts) -> bool:
    polynomial = facts.polynomial(facts.resolve(count))
    return facts.is_natural(polynomial) or facts.never_negative(polynomial, place)


def moves(eqn: Eqn, place: Place, facts: Facts, *, dear: bool = False) -> bool:
    """Whether an equation may be evaluated in another order, and more often unless it may be ``dear``."""
    if eqn.op == "acc_add":
        acc, *at, value = eqn.args
        return isinstance(acc, Var) and bool(at) and is_scalar(value.type)
    if eqn.op == "index" and isinstance(eqn.outs[0].type, TensorType):
        return False
    cheap = eqn.op in ("index", "size") or (eqn.op in PRIMITIVES and (dear or PRIMITIVES[eqn.op].cost != "expensive"))
    return cheap and not fails(eqn, place, facts)
