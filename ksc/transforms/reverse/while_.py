"""The reverse of ``while``: the forward loop counts its iterations, the reversed one is a ``for`` over that many.

v = (while x (lt v 10.0) (mul v v))
                                        v n tape = (while x 0 (lt v 10.0) (tuple (mul v v) (add n 1) v))
                          ⟶             x_bar = (for n v_bar reversed (lam (i v_bar)
                                          v = (index i tape)
                                          (add (mul v_bar v) (mul v_bar v))))

Tensors that change in place, and checkpoints, are as in ``for``.
"""

from __future__ import annotations

from ksc.ir.builder import Builder, stack_type
from ksc.ir.nodes import Block, Eqn, Var, const
from ksc.ir.types import Integer
from ksc.transforms.reverse.loop import Carried, at_hand, augmented_body, note, reverse_carries
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep


def augment(sweep: Sweep, eqn: Eqn) -> Eqn:
    """Count the iterations, stack the carries and what has to be saved of each iteration."""
    cond, body = eqn.blocks
    n = eqn.params["carries"]
    eqns, saved = augmented_body(sweep, body, eqn.span, at_hand(sweep, eqn))
    builder = Builder(eqn.span)
    trips = Var("trips", Integer)
    next_trips = builder.apply("add", trips, const(1), name="trips")
    extra = (*body.params, *saved)
    names = [f"{param.name}_tape" for param in body.params] + [value.name for value in saved]
    outs = tuple(Var(name, stack_type(1, value.type)) for name, value in zip(names, extra, strict=True))
    results = (*body.results[:n], next_trips, *body.results[n:], *extra)
    blocks = (
        Block((*cond.params, Var("trips", Integer)), cond.eqns, cond.results, cond.span),
        Block((*body.params, trips), (*eqns, *builder.eqns), results, body.span),
    )
    all_outs = (*eqn.outs[:n], Var("trips", Integer), *eqn.outs[n:], *outs)
    new = Eqn(all_outs, eqn.op, (*eqn.args, const(0)), {**eqn.params, "carries": n + 1}, blocks, eqn.span)
    undos = {k: undo.shifted(n, 1) for k, undo in sweep.undos.get(eqn, {}).items()}
    logged = {var: position + (position >= n) for var, position in sweep.logged.get(eqn, {}).items()}
    kept = Kept(len(eqn.outs), n, (len(saved),), undos=undos, logged=logged, trails=sweep.keeping.trails(eqn))
    return note(sweep, eqn, new, kept, eqns)


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the reversed loop."""
    kept = sweep.kept[eqn]
    n = kept.tapes
    outs = [out for k, out in enumerate(eqn.outs[: kept.results + 1]) if k != n]
    marks = [scope.presence(out) for out in outs]
    bars = [scope.take(out) for out in outs]
    if all(bar is None for bar in bars) and not sweep.accumulates(eqn):
        return
    body = eqn.blocks[1]
    inner = Block(body.params[:n], body.eqns, body.results[:n] + body.results[n + 1 :], body.span)
    first = kept.results + 1
    tapes = eqn.outs[first : first + n]
    saved = {p - 1: eqn.outs[p] for p in range(first + n, len(eqn.outs))}
    loop = Carried(eqn, inner, None, eqn.outs[n], True, eqn.args[:n], tapes, saved, kept)
    reverse_carries(sweep, scope, loop, list(zip(bars, marks, strict=True)))
