"""The reverse of ``call``: a pair of functions.

    y = (f x)      ⟶      y b = ([suffwdpass f] x)   in the forward sweep,
                          x_bar = ([sufrevpass f] y_bar b)   in the reverse sweep

A call with the param ``rev`` names a function that is the derivative; the pair then keeps the arguments for it.

What the first keeps for the second is a list of variables, or one box of them where the callee is recursive, so
that its type is finite. A call inside an ``if`` or loop is run again in the reverse sweep; not so a call of a
recursive or effectful function, whose results are saved.
"""

from __future__ import annotations

from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.types import is_differentiable
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep
from ksc.transforms.tangents import atom_name, refuse_accumulators, tangent_type, zero


def augment(sweep: Sweep, eqn: Eqn) -> Eqn:
    """Call the first function of the pair."""
    active = tuple(isinstance(arg, Var) and arg in sweep.varied for arg in eqn.args)
    callee = eqn.params["callee"]
    if any(active):
        refuse_accumulators(eqn)
    if not any(active) or not any(out in sweep.varied for out in eqn.outs):
        if callee in sweep.pairs.module.effectful or callee in sweep.pairs.module.recursive:
            sweep.saved.add(eqn)
        return eqn
    pair = sweep.pairs.pair(callee, active, eqn.params.get("rev"))
    outs = eqn.outs + tuple(Var("saved", type_) for type_ in pair.residuals)
    new = Eqn(outs, "call", eqn.args, {"callee": pair.forward}, (), eqn.span)
    sweep.kept[new] = Kept(len(eqn.outs), pair=pair)
    if pair.saved:
        sweep.saved.add(new)
    return new


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Call the second function of the pair."""
    kept = sweep.kept.get(eqn)
    if kept is None or kept.pair is None:
        return
    outs, residuals = eqn.outs[: kept.results], eqn.outs[kept.results :]
    bars = [scope.take(out) for out in outs]
    if all(bar is None for bar in bars):
        return
    args: list[Atom] = []
    for out, bar in zip(outs, bars, strict=True):
        if is_differentiable(out.type):
            args.append(zero(scope.builder, out) if bar is None else bar)
    targets = [arg for arg, on in zip(eqn.args, kept.pair.active, strict=True) if on]
    names = [f"{atom_name(arg)}_bar" for arg in targets]
    types = [tangent_type(arg.type) for arg in targets]
    params = {"callee": kept.pair.backward}
    given = scope.builder.emit("call", [*args, *residuals], types, names=names, params=params)
    for arg, bar in zip(targets, given, strict=True):
        scope.add(arg, bar)
