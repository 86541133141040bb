"""The reverse of ``withacc`` and ``acc_add``: what was added has the cotangent of the final value.

    a y = (withacc a0 (lam a                a0_bar = a_bar
            (acc_add a (mul x x))     ⟶     x_bar = (add (mul a_bar x) (mul a_bar x)), then what y_bar gives
            (sin x)))

The body runs once, where it stands, so the forward sweep gives every value of it as a result and the reverse of the
body stands in the block around; what is not read is removed.
"""

from __future__ import annotations

from ksc.errors import DifferentiationError
from ksc.ir.nodes import Block, Eqn, Var
from ksc.ir.rewrite import Env, replace
from ksc.ir.types import AccType
from ksc.transforms.reverse.loop import note
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep
from ksc.transforms.tangents import tangent_type


def augment(sweep: Sweep, eqn: Eqn) -> Eqn:
    """Give the values of the body as further results."""
    (body,) = eqn.blocks
    eqns = sweep.augment(body.eqns)
    values = tuple(out for inner in eqns for out in inner.outs if not isinstance(out.type, AccType))
    block = Block(body.params, tuple(eqns), (*body.results, *values), body.span)
    outs = eqn.outs + tuple(Var(value.name, value.type) for value in values)
    return note(sweep, eqn, Eqn(outs, eqn.op, eqn.args, eqn.params, (block,), eqn.span), Kept(len(eqn.outs)), eqns)


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Reverse the body in the block around."""
    (body,) = eqn.blocks
    n = len(eqn.args)
    kept = sweep.kept[eqn].results
    marks = [scope.presence(out) for out in eqn.outs[:kept]]
    bars = [scope.take(out) for out in eqn.outs[:kept]]
    if all(bar is None for bar in bars) and not sweep.accumulates(eqn):
        return
    env: Env = {}
    for result, out in zip(body.results[kept - n :], eqn.outs[kept:], strict=True):
        assert isinstance(result, Var)
        env[result] = out
    eqns = sweep.copies(body.eqns, env)
    sweep.copy_knowledge(env)
    for param, final, mark in zip(body.params, bars, marks, strict=False):
        sweep.acc_bars[param] = final, mark
    for result, bar, mark in zip(body.results, bars[n:], marks[n:], strict=False):
        scope.add(replace(result, env), bar, mark)
    sweep.reverse(eqns, scope)
    for init, final, mark in zip(eqn.args, bars, marks, strict=False):
        scope.add(init, final, mark)


def reverse_acc_add(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Read the cotangent of the final value where the addition was made."""
    acc, *at, value = eqn.args
    assert isinstance(acc, Var)
    if acc not in sweep.acc_bars:
        raise DifferentiationError("an addition to an accumulator of the caller cannot be differentiated")
    final, present = sweep.acc_bars[acc]
    if final is None or not scope.wants(value):
        return
    if at:
        name = f"{value.name}_bar" if isinstance(value, Var) else "bar"
        final = scope.builder.emit("index", [final, *at], [tangent_type(value.type)], names=[name])[0]
    scope.add(value, final, present)
