"""The reverse of ``build``: a parallel loop that gives nothing, only adds to accumulators.

y = (build n (lam i (mul a (index i x))))
                                        a_bar x_bar = (withacc 0.0 zeros (lam (a_bar x_bar)
                          ⟶               (build n (lam i
                                            (acc_add a_bar (mul (index i y_bar) (index i x)))
                                            (acc_add x_bar i (mul (index i y_bar) a))))))
"""

from __future__ import annotations

from ksc.ir.builder import stack_type
from ksc.ir.nodes import Block, Eqn, Var
from ksc.ir.rewrite import Env
from ksc.ir.types import Integer
from ksc.transforms.reverse.loop import augmented_body, emit_loop, note
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep
from ksc.transforms.tangents import tangent_type


def augment(sweep: Sweep, eqn: Eqn) -> Eqn:
    """Give what has to be saved of each iteration as further results."""
    (body,) = eqn.blocks
    eqns, saved = augmented_body(sweep, body, eqn.span)
    rank = len(body.params)
    outs = tuple(Var(value.name, stack_type(rank, value.type)) for value in saved)
    block = Block(body.params, tuple(eqns), (*body.results, *saved))
    new = Eqn(eqn.outs + outs, eqn.op, eqn.args, eqn.params, (block,), eqn.span)
    return note(sweep, new, Kept(len(eqn.outs), saved=(len(saved),)), eqns)


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the reversed loop."""
    kept = sweep.kept[eqn]
    bars = [scope.take(out) for out in eqn.outs[: kept.results]]
    if all(bar is None for bar in bars) and not sweep.accumulates(eqn):
        return
    (body,) = eqn.blocks
    inner = scope.inside("loop")
    at = tuple(Var(param.name, Integer) for param in body.params)
    env: Env = dict(zip(body.params, at, strict=True))
    for position in range(kept.results, len(eqn.outs)):
        out = eqn.outs[position]
        type_ = body.results[position].type
        value = inner.builder.emit("index", [out, *at], [type_], names=[out.name])[0]
        sweep.unpack(body, position, value, env, inner)
    eqns, results = sweep.recompute(body, env, inner)
    for result, tensor in zip(results, bars, strict=False):
        if tensor is not None and inner.wants(result):
            element = inner.builder.emit("index", [tensor, *at], [tangent_type(result.type)], names=["e_bar"])[0]
            inner.add(result, element)
    sweep.reverse(eqns, inner)
    inner.leave()
    emit_loop(sweep, scope, inner, "build", eqn.args, {}, inner.builder.block(at, ()), [], [])
