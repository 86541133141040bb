"""A loop that does nothing but carry the larger, or the smaller, of what it had and a number is a reduction.

    (for (i n) ((m -inf)) (max m (index i x)))        ⟶        (reduce max n (lam (i) (index i x)))

Reversing a ``reduce`` by ``max`` leaves such a loop where nothing needs to know which element it was. Iterations of a
reduction can be shared out among threads; those of the loop cannot.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ksc.ir.nodes import Block, Const, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import assemble
from ksc.ir.types import FloatType

_NEUTRAL = {"max": -math.inf, "min": math.inf}


def reduce_extremes(program: Program) -> Program:
    """Turn such loops over Floats, which begin at the infinity that any number replaces, into reductions."""
    functions = {
        name: Function(name, _block(function.body), function.span)
        if any(_monoid(eqn) for eqn in walk(function.body))
        else function
        for name, function in program.functions.items()
    }
    return assemble(functions, program.entry, program.boxes, renew=False)


def _block(block: Block) -> Block:
    return replace(block, eqns=tuple(map(_eqn, block.eqns)))


def _eqn(eqn: Eqn) -> Eqn:
    inner = replace(eqn, blocks=tuple(map(_block, eqn.blocks)))
    monoid = _monoid(inner)
    if not monoid:
        return inner
    (body,) = inner.blocks
    index, carry = body.params
    last = body.eqns[-1]
    (value,) = (arg for arg in last.args if arg is not carry)
    reduced = Block((index,), body.eqns[:-1], (value,), body.span)
    return Eqn(inner.outs, "reduce", inner.args[:1], {"monoid": monoid}, (reduced,), inner.span)


def _monoid(eqn: Eqn) -> str:
    """Of which operation a loop is a reduction; empty for any other loop."""
    if eqn.op != "for" or len(eqn.outs) != 1 or eqn.params["carries"] != 1 or eqn.params.get("checkpoint", 1) != 1:
        return ""
    (body,) = eqn.blocks
    start, carry = eqn.args[1], body.params[1]
    if not (body.eqns and isinstance(start, Const) and isinstance(carry.type, FloatType)):
        return ""
    last = body.eqns[-1]
    if last.op not in _NEUTRAL or body.results != last.outs or start.value != _NEUTRAL[last.op]:
        return ""
    return last.op if _reads(body, carry) == 1 == sum(arg is carry for arg in last.args) else ""


def _reads(block: Block, var: Var) -> int:
    inside = [eqn for eqn in walk(block)]
    blocks = [block, *(inner for eqn in inside for inner in eqn.blocks)]
    return sum(arg is var for eqn in inside for arg in eqn.args) + sum(r is var for b in blocks for r in b.results)
