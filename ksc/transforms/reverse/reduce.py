"""The reverse of ``reduce``: every term of a sum has the cotangent of the sum.

    s = (reduce add n (lam i (mul a (index i x))))
                                            a_bar x_bar = (withacc 0.0 zeros (lam (a_bar x_bar)
                              ⟶               (build n (lam i
                                                (acc_add a_bar (mul s_bar (index i x)))
                                                (acc_add x_bar i (mul s_bar a))))))

Other monoids, and sums of terms that call recursive functions, were turned into ``for`` before
(``ksc.transforms.reductions``).
"""

from __future__ import annotations

from ksc.ir.nodes import Block, Eqn
from ksc.transforms.reverse.loop import note, reverse_elements
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep


def augment(sweep: Sweep, eqn: Eqn) -> Eqn:
    """A sum keeps nothing."""
    (body,) = eqn.blocks
    eqns = sweep.augment(body.eqns)
    block = Block(body.params, tuple(eqns), body.results, body.span)
    return note(sweep, eqn, Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, (block,), eqn.span), Kept(len(eqn.outs)), eqns)


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the reversed loop of a sum."""
    marks = [scope.presence(out) for out in eqn.outs]
    bars = [scope.take(out) for out in eqn.outs]
    if all(bar is None for bar in bars) and not sweep.accumulates(eqn):
        return
    reverse_elements(sweep, scope, eqn, {}, lambda builder, k, result, at: bars[k], marks)
