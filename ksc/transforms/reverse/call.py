"""The reverse of ``call``: a pair of functions.

    y = (f x)      ⟶      y b = ([suffwdpass f] x)   in the forward sweep,
                          x_bar = ([sufrevpass f] y_bar b)   in the reverse sweep

A call with the param ``rev`` names a function that is the derivative; the pair then keeps the arguments for it. With
the param ``transpose``, ``fwd`` names its transpose.

What the first keeps for the second is a list of variables, or one box of them where the callee is recursive, so
that its type is finite. The second is made for the results that have a cotangent, since a zero in the place of a
missing one could meet an infinite derivative. A call inside an ``if`` or loop is run again in the reverse sweep; not
so a call of a recursive or effectful function, whose results are saved.
"""

from __future__ import annotations

from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.types import is_differentiable
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep
from ksc.transforms.tangents import atom_name, refuse_accumulators, tangent_type, zero
from ksc.transforms.transpose import rule_of


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
    pair = sweep.pairs.pair(callee, active, rule_of(sweep.pairs.module, eqn, "rev"), eqn.params)
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
    pair = kept.pair
    tangible = [k for k, out in enumerate(outs) if is_differentiable(out.type)]
    seeds = tuple(pair.given or bars[k] is not None for k in tangible)
    args: list[Atom] = []
    for k, seed in zip(tangible, seeds, strict=True):
        bar = bars[k]
        if seed:
            args.append(zero(scope.builder, outs[k]) if bar is None else bar)
    targets = [k for k, on in enumerate(pair.active) if on]
    names = [f"{atom_name(eqn.args[k])}_bar" for k in targets]
    types = [tangent_type(eqn.args[k].type) for k in targets]
    params = {"callee": sweep.pairs.backward(pair, seeds)}
    given = scope.builder.emit("call", [*args, *residuals], types, names=names, params=params)
    for k, bar in zip(targets, given, strict=True):
        if any(bars[j] is not None and pair.flows[j] >> k & 1 for j in range(len(bars))):
            scope.add(eqn.args[k], bar)
