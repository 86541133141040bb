"""The reverse of ``call``: a pair of functions.

    y = (f x)      ⟶      y b = ([suffwdpass f] x)   in the forward sweep,
                          x_bar = ([sufrevpass f] y_bar b)   in the reverse sweep

A call with the param ``rev`` names a function that is the derivative; the pair then keeps the arguments for it. With
the param ``transpose``, ``fwd`` names its transpose.

What the first keeps for the second is a list of variables, or one box of them where the callee is recursive, so
that its type is finite. The second is made for the results that have a cotangent, since a zero in the place of a
missing one could meet an infinite derivative; where that shows at run time only, it takes a Bool beside the cotangent.
It gives a Bool beside what may not be there itself. A call inside an ``if`` or loop is run again in the reverse sweep;
not so a call of a recursive or effectful function, whose results are saved.
"""

from __future__ import annotations

from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.types import Bool, is_differentiable
from ksc.transforms.reverse.presence import PERHAPS, Presence, as_bool, there_if
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
    marks = [scope.presence(out) for out in outs]
    bars = [scope.take(out) for out in outs]
    if all(bar is None for bar in bars):
        return
    pair = kept.pair
    tangible = [k for k, out in enumerate(outs) if is_differentiable(out.type)]
    seeds = tuple(1 if pair.given else _seed(bars[k], marks[k]) for k in tangible)
    args: list[Atom] = []
    for k, seed in zip(tangible, seeds, strict=True):
        bar = bars[k]
        if seed:
            args.append(zero(scope.builder, outs[k]) if bar is None else bar)
    args += [
        as_bool(scope.builder, marks[k], f"has_{outs[k].name}_bar")
        for k, seed in zip(tangible, seeds, strict=True)
        if seed == PERHAPS
    ]
    targets = [k for k, on in enumerate(pair.active) if on]
    names = [f"{atom_name(eqn.args[k])}_bar" for k in targets]
    types = [tangent_type(eqn.args[k].type) for k in targets]
    backward = sweep.pairs.backward(pair, seeds)
    flags = [k for k, unsure in zip(targets, backward.unsure, strict=True) if unsure]
    names += [f"has_{atom_name(eqn.args[k])}_bar" for k in flags]
    types += [Bool for _ in flags]
    given = scope.builder.emit("call", [*args, *residuals], types, names=names, params={"callee": backward.name})
    present = dict(zip(flags, map(there_if, given[len(targets) :]), strict=True))
    for k, bar in zip(targets, given, strict=False):
        if any(bars[j] is not None and pair.flows[j] >> k & 1 for j in range(len(bars))):
            scope.add(eqn.args[k], bar, present.get(k))


def _seed(bar: Atom | None, mark: Presence) -> int:
    if bar is None:
        return 0
    return 1 if mark is None else PERHAPS
