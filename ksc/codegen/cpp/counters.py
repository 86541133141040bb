"""What counts the iterations of a ``while``."""

from __future__ import annotations

from ksc.ir.nodes import Const, Eqn, Var, const
from ksc.ir.types import IntegerType


def counters(eqn: Eqn) -> list[int]:
    """The carries of a ``while`` that start at a constant of 0 or more and go up by one in each iteration."""
    body = eqn.blocks[-1]
    steps = {inner.outs[0]: inner.args for inner in body.eqns if inner.op == "add"}
    return [
        k
        for k, (init, param, result) in enumerate(zip(eqn.args, body.params, body.results, strict=False))
        if isinstance(init, Const)
        and isinstance(init.type, IntegerType)
        and int(init.value) >= 0
        and isinstance(result, Var)
        and steps.get(result) == (param, const(1))
    ]
