"""Loops with checkpoints, as loops over segments of loops.

    (for :checkpoint k (i n) ((c x))          (for :checkpoint 1 (s (idiv (add n (sub k 1)) k)) ((c x))
      (f i c))                          ⟶       (for (j (min k (sub n (mul s k)))) ((c c))
                                                  (f (add (mul s k) j) c)))

The reverse of the outer loop keeps the carries at the start of each segment, and runs each segment again, with a tape
of its own, when it gets there: of n iterations n/k + k are kept instead of n, and each runs once more. A ``while`` is
cut likewise; whether it goes on is then a carry, so that its condition is asked as often as before.

(Griewank 1992 and Volin, Ostrovskii 1985; two levels, as the count of a ``while`` is not known beforehand.)
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Eqn, Var, const
from ksc.ir.rewrite import clone_block, substitute_block
from ksc.ir.types import Bool, Integer

SQUARE_ROOT = 0
"""The value of the param ``checkpoint`` that asks for segments about as long as there are segments."""

WHOLE = 1
"""The value of the param ``checkpoint`` that asks for a tape of all carries: a segment is one iteration."""


def cut_into_segments(block: Block) -> Block:
    """The block with every loop that has checkpoints, in it or in blocks inside it, cut into segments."""
    builder = Builder()
    for eqn in block.eqns:
        blocks = tuple(cut_into_segments(inner) for inner in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span) if blocks else eqn
        builder.span = eqn.span
        if new.params.get("checkpoint", WHOLE) == WHOLE:
            builder.eqns.append(new)
        elif new.op == "for":
            _cut_for(new, builder)
        else:
            _cut_while(new, builder)
    return builder.block(block.params, block.results, block.span)


def _renamed(variables: Sequence[Var]) -> tuple[Var, ...]:
    return tuple(Var(var.name, var.type) for var in variables)


def _cut_for(eqn: Eqn, builder: Builder) -> None:
    (body,) = eqn.blocks
    index, *carries = body.params
    count = builder.apply("max", eqn.args[0], const(0), name="n")
    length: Atom = const(eqn.params["checkpoint"])
    if length == const(SQUARE_ROOT):
        root = builder.apply("ceil", builder.apply("sqrt", builder.apply("to_float", count)))
        length = builder.apply("max", builder.apply("to_int", root), const(1), name="k")
    filled = builder.apply("add", count, builder.apply("sub", length, const(1)))
    segments = builder.apply("idiv", filled, length, name="segments")

    segment = Builder(eqn.span)
    s, j = Var("s", Integer), Var("j", Integer)
    first = segment.apply("mul", s, length, name="first")
    trips = segment.apply("min", length, segment.apply("sub", count, first), name="trips")
    step = Builder(eqn.span)
    at = step.apply("add", first, j, name=index.name)
    inner = substitute_block(Block((), body.eqns, body.results, body.span), {index: at})
    params = {key: value for key, value in eqn.params.items() if key != "checkpoint"}
    starts = _renamed(carries)
    ends = _renamed(carries)
    block = Block((j, *carries), (*step.eqns, *inner.eqns), inner.results, inner.span)
    segment.eqns.append(Eqn(ends, "for", (trips, *starts), params, (block,), eqn.span))
    outer = Block((s, *starts), tuple(segment.eqns), ends, segment.span)
    params = {**params, "checkpoint": WHOLE}
    builder.eqns.append(Eqn(eqn.outs, "for", (segments, *eqn.args[1:]), params, (outer,), eqn.span))


def _cut_while(eqn: Eqn, builder: Builder) -> None:
    cond, body = eqn.blocks
    length = const(eqn.params["checkpoint"])
    carries = body.params
    test = clone_block(Block((), cond.eqns, cond.results, cond.span), dict(zip(cond.params, eqn.args, strict=True)))
    builder.eqns.extend(test.eqns)

    step = Builder(eqn.span)
    j, going = Var("j", Integer), Var("going", Bool)
    step.eqns.extend(body.eqns)
    again = clone_block(
        Block((), cond.eqns, cond.results, cond.span), dict(zip(cond.params, body.results, strict=True))
    )
    step.eqns.extend(again.eqns)
    results = (step.apply("add", j, const(1), name="j"), *body.results, *again.results)
    head = Builder(eqn.span)
    seen = (Var("j", Integer), *_renamed(carries), Var("going", Bool))
    within = head.apply("lt", seen[0], length)
    asked = head.block(seen, [head.apply("and", within, seen[-1])])

    starts = (*_renamed(carries), Var("going", Bool))
    ends = (Var("j", Integer), *_renamed(carries), Var("going", Bool))
    blocks = (asked, Block((j, *carries, going), tuple(step.eqns), results, step.span))
    n = len(carries)
    inner = Eqn(ends, "while", (const(0), *starts), {"carries": n + 2}, blocks, eqn.span)
    around = (*_renamed(carries), Var("going", Bool))
    outer = (Block(around, (), around[-1:]), Block(starts, (inner,), ends[1:]))
    outs = (*eqn.outs, Var("going", Bool))
    params = {**eqn.params, "carries": n + 1, "checkpoint": WHOLE}
    builder.eqns.append(Eqn(outs, "while", (*eqn.args, *test.results), params, outer, eqn.span))
