"""About how much work equations are, for passes that may compute a value more than once."""

from __future__ import annotations

from collections.abc import Iterable

from ksc.ir.nodes import Atom, Block, Const, Eqn, Program, walk
from ksc.ir.types import Integer
from ksc.ops import PRIMITIVES
from ksc.passes.simplify.scalar import LARGEST_POWER

EXPENSIVE = 20
"""The cost of a transcendental function, where an addition of floats costs 1."""

UNBOUNDED = 1_000_000
"""The cost of a loop or a call."""

_STRUCTURAL = frozenset({"index", "size", "get", "tuple", "select", "bool_to_float", "to_float", "not", "and", "or"})


def work(body: Block) -> int:
    """About how many additions of floats the body of a loop costs, what stays the same in all iterations left out."""
    varying: set[Atom] = set(body.params)
    total = 0
    for eqn in body.eqns:
        if eqn.blocks or any(arg in varying for arg in eqn.args):
            varying.update(eqn.outs)
            total += _work_of(eqn)
    return total


def burden(program: Program) -> int:
    """How many loops, branches, calls and expensive functions a program is made of."""
    eqns = [eqn for function in program.functions.values() for eqn in walk(function.body)]
    dear = sum(eqn.op in PRIMITIVES and PRIMITIVES[eqn.op].cost == "expensive" for eqn in eqns)
    return dear + sum(bool(eqn.blocks) or eqn.op == "call" for eqn in eqns)


def _work(eqns: Iterable[Eqn]) -> int:
    return sum(_work_of(eqn) for eqn in eqns)


def _work_of(eqn: Eqn) -> int:
    record = PRIMITIVES.get(eqn.op)
    if eqn.op in _STRUCTURAL or (record is not None and all(arg.type == Integer for arg in eqn.args)):
        return 0
    if record is not None and eqn.op in ("pow", "powi") and _is_small_power(eqn.args[1]):
        return 2
    if record is not None:
        return EXPENSIVE if record.cost == "expensive" else 1
    if eqn.op == "if":
        return 1 + max(_work(block.eqns) for block in eqn.blocks)
    return UNBOUNDED


def _is_small_power(exponent: Atom) -> bool:
    return isinstance(exponent, Const) and exponent.value in range(LARGEST_POWER + 1)
