"""The reverse of ``build``: a parallel loop that gives nothing, only adds to accumulators.

y = (build n (lam i (mul a (index i x))))
                                        a_bar x_bar = (withacc 0.0 zeros (lam (a_bar x_bar)
                          ⟶               (build n (lam i
                                            (acc_add a_bar (mul (index i y_bar) (index i x)))
                                            (acc_add x_bar i (mul (index i y_bar) a))))))
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.builder import Builder, stack_type
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.transforms.reverse.loop import augmented_body, note, reverse_elements
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep
from ksc.transforms.tangents import atom_name, tangent_type


def augment(sweep: Sweep, eqn: Eqn) -> Eqn:
    """Give what has to be saved of each iteration as further results."""
    (body,) = eqn.blocks
    eqns, saved = augmented_body(sweep, body, eqn.span)
    rank = len(body.params)
    outs = tuple(Var(value.name, stack_type(rank, value.type)) for value in saved)
    block = Block(body.params, tuple(eqns), (*body.results, *saved), body.span)
    new = Eqn(eqn.outs + outs, eqn.op, eqn.args, eqn.params, (block,), eqn.span)
    for out, value in zip(outs, saved, strict=True):
        sweep.keeping.built(out, eqn, value)
    return note(sweep, eqn, new, Kept(len(eqn.outs), saved=(len(saved),)), eqns)


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the reversed loop."""
    kept = sweep.kept[eqn]
    marks = [scope.presence(out) for out in eqn.outs[: kept.results]]
    bars = [scope.take(out) for out in eqn.outs[: kept.results]]
    if all(bar is None for bar in bars) and not sweep.accumulates(eqn):
        return
    saved = {position: eqn.outs[position] for position in range(kept.results, len(eqn.outs))}

    def element(builder: Builder, k: int, result: Atom, at: Sequence[Var]) -> Atom | None:
        tensor = bars[k]
        if tensor is None:
            return None
        name = f"{atom_name(result)}_bar"
        return builder.emit("index", [tensor, *at], [tangent_type(result.type)], names=[name])[0]

    reverse_elements(sweep, scope, eqn, saved, element, marks)
