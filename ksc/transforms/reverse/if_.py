"""The reverse of ``if``: the cotangents of each side are computed inside that side.

    y = (if c                       a_bar b_bar = (if c
      (sin a)              ⟶          (tuple (mul (cos a) y_bar) 0.0)
      (mul a b))                      (tuple (mul b y_bar) (mul a y_bar)))

So the derivative of a side that was not taken is never evaluated. Values of a side are computed again in its
reverse, but for those of recursive calls, which the forward ``if`` gives as further results; the other side gives
any value for them.

The cotangent of a tensor that has one already goes through the ``if`` instead of being added to afterwards:

    y = (if c (index i t) 0.0)      ⟶      t_bar = (if c (withacc t_bar (acc_add i t_bar y_bar)) t_bar)
"""

from __future__ import annotations

from ksc.ir.builder import Builder
from ksc.ir.nodes import Block, Eqn, Var
from ksc.ir.rewrite import Env
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sides import emit_sides
from ksc.transforms.reverse.sweep import Kept, Sweep
from ksc.transforms.tangents import default


def augment(sweep: Sweep, eqn: Eqn) -> Eqn:
    """Give what has to be saved as further results."""
    sides: list[list[Eqn]] = []
    saved: list[list[Var]] = []
    for block in eqn.blocks:
        inner = Builder(eqn.span)
        inner.eqns = sweep.augment(block.eqns)
        saved.append(sweep.packed(sweep.to_save(inner.eqns), inner))
        sides.append(inner.eqns)
    extra = [value for values in saved for value in values]
    blocks = tuple(
        Block((), tuple(eqns), (*block.results, *(v if v in own else default(v.type) for v in extra)), block.span)
        for block, eqns, own in zip(eqn.blocks, sides, saved, strict=True)
    )
    outs = eqn.outs + tuple(Var(value.name, value.type) for value in extra)
    new = Eqn(outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
    sweep.kept[new] = Kept(len(eqn.outs), saved=tuple(len(values) for values in saved))
    if any(inner in sweep.saved for eqns in sides for inner in eqns):
        sweep.saved.add(new)
    return new


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the reversed ``if``."""
    kept = sweep.kept[eqn]
    marks = [scope.presence(out) for out in eqn.outs[: kept.results]]
    bars = [scope.take(out) for out in eqn.outs[: kept.results]]
    if all(bar is None for bar in bars) and not sweep.accumulates(eqn):
        return
    sides: list[Scope] = []
    first = kept.results
    for block, count in zip(eqn.blocks, kept.saved, strict=True):
        inner = scope.inside("if", block.span)
        env: Env = {}
        for position in range(first, first + count):
            sweep.unpack(block, position, eqn.outs[position], env, inner)
        first += count
        eqns, results = sweep.recompute(block, env, inner)
        for result, bar, mark in zip(results, bars, marks, strict=False):
            inner.add(result, bar, mark)
        sweep.reverse(eqns, inner)
        sides.append(inner)
    then, else_ = sides
    emit_sides(sweep, scope, eqn.args[0], then, else_, eqn.span)
