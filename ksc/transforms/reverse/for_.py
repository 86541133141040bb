"""The reverse of ``for``: the loop run the other way, over a tape of what it overwrote and reads nonlinearly.

    p = (for n 1.0 (lam (i p) (mul p x)))
                                            p tape = (for n 1.0 (lam (i p) (tuple (mul p x) p)))
                              ⟶             x_bar, _ = (withacc 0.0 (lam x_bar
                                              (for n p_bar reversed (lam (i p_bar)
                                                (acc_add x_bar (mul p_bar (index i tape)))
                                                (mul p_bar x)))))

The forward loop stacks every carry; tapes that the reversed body does not read are removed with everything else
that is not read, so ``s = s + x * i`` keeps nothing. A tensor that changes in place has no tape: the reversed loop
carries it and takes each iteration back (``undo``).

    t = (for n x (lam (i t)                 t olds = (for n x (lam (i t)
          (let a (index i t)                        (let a (index i t)
            (update i t (mul a a)))))                 (tuple (update i t (mul a a)) a))))
                              ⟶             x_bar _ = (for n t_bar t reversed (lam (i t_bar t)
                                              (let ((t (update i t (index i olds)))
                                                    (v_bar (index i t_bar))
                                                    (a (index i t)))
                                                (tuple (update i t_bar (add (mul v_bar a) (mul v_bar a))) t)))))

A loop with checkpoints is cut into segments first (``segments``).
"""

from __future__ import annotations

from ksc.ir.builder import stack_type
from ksc.ir.nodes import Block, Eqn, Var
from ksc.transforms.reverse.loop import Carried, at_hand, augmented_body, note, reverse_carries
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep


def augment(sweep: Sweep, eqn: Eqn) -> Eqn:
    """Stack the carries, and what has to be saved of each iteration."""
    (body,) = eqn.blocks
    eqns, saved = augmented_body(sweep, body, eqn.span, at_hand(sweep, eqn))
    carried = body.params[1:]
    extra = (*carried, *saved)
    names = [f"{param.name}_tape" for param in carried] + [value.name for value in saved]
    outs = tuple(Var(name, stack_type(1, value.type)) for name, value in zip(names, extra, strict=True))
    block = Block(body.params, tuple(eqns), (*body.results, *extra), body.span)
    new = Eqn(eqn.outs + outs, eqn.op, eqn.args, eqn.params, (block,), eqn.span)
    kept = Kept(
        len(eqn.outs),
        len(carried),
        (len(saved),),
        undos=sweep.undos.get(eqn, {}),
        logged=sweep.logged.get(eqn, {}),
        trails=sweep.keeping.trails(eqn),
    )
    for out, value in zip(outs, extra, strict=True):
        sweep.keeping.stacked(out, eqn.args[0], value)
    return note(sweep, eqn, new, kept, eqns)


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the reversed loop."""
    kept = sweep.kept[eqn]
    marks = [scope.presence(out) for out in eqn.outs[: kept.results]]
    bars = [scope.take(out) for out in eqn.outs[: kept.results]]
    if all(bar is None for bar in bars) and not sweep.accumulates(eqn):
        return
    (body,) = eqn.blocks
    tapes = eqn.outs[kept.results : kept.results + kept.tapes]
    saved = {p: eqn.outs[p] for p in range(kept.results + kept.tapes, len(eqn.outs))}
    direction = not eqn.params["reverse"]
    loop = Carried(eqn, body, body.params[0], eqn.args[0], direction, eqn.args[1:], tapes, saved, kept)
    reverse_carries(sweep, scope, loop, list(zip(bars, marks, strict=True)))
