"""Which values are finite where the arguments are: zero times them is zero.

Sums and products count as finite, although they may overflow. What has a pole, a domain or grows like ``exp`` does not,
nor does what another function gives.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from ksc.ir.nodes import Atom, Block, Const, Eqn, Var
from ksc.ir.types import is_differentiable

_OPS = frozenset(
    """abs add asinh atan atan2 bool_to_float cbrt ceil clamp clamp_max clamp_min copysign cos erf erfc floor hypot
    kronecker logaddexp max min mul neg round select sigmoid sign sin sinc softplus stop_gradient sub tanh to_float
    trunc with_value index update size""".split()
)


def finite_vars(params: Iterable[Var], body: Block) -> set[Var]:
    """The variables of a function, those of blocks inside included, that are finite where ``params`` are."""
    found = set(params)
    _visit(body, found)
    return found


def is_finite(atom: Atom, known: Collection[Var]) -> bool:
    """Whether an atom is finite, ``known`` being the variables that are."""
    if isinstance(atom, Const):
        return not isinstance(atom.value, float) or math.isfinite(atom.value)
    return atom in known or not is_differentiable(atom.type)


def gives_finite(eqn: Eqn, known: Collection[Var]) -> bool:
    """Whether an equation without blocks gives what is finite."""
    return eqn.op in _OPS and all(is_finite(arg, known) for arg in eqn.args)


def _visit(block: Block, known: set[Var]) -> bool:
    """Enter what is finite in a block; whether all is that it adds to accumulators."""
    finite_sums = True
    for eqn in block.eqns:
        if eqn.op == "acc_add":
            finite_sums &= is_finite(eqn.args[-1], known)
        elif eqn.op in ("for", "while"):
            finite_sums &= _visit_loop(eqn, known)
        elif eqn.blocks:
            finite_sums &= _visit_blocks(eqn, known)
        elif gives_finite(eqn, known):
            known.update(eqn.outs)
    return finite_sums


def _visit_blocks(eqn: Eqn, known: set[Var]) -> bool:
    sums = all([_visit(block, known) for block in eqn.blocks])
    accs = len(eqn.args) if eqn.op == "withacc" else 0
    if sums and all(is_finite(init, known) for init in eqn.args[:accs]):
        known.update(eqn.outs[:accs])
    for out, *results in zip(eqn.outs[accs:], *(block.results for block in eqn.blocks), strict=True):
        if all(is_finite(result, known) for result in results):
            known.add(out)
    return sums


def _visit_loop(eqn: Eqn, known: set[Var]) -> bool:
    """The carries are finite if all of them stay so."""
    trial = known.union(*(block.params for block in eqn.blocks))
    sums = all([_visit(block, trial) for block in eqn.blocks])
    if all(is_finite(atom, trial) for atom in (*eqn.args, *eqn.blocks[-1].results)):
        known |= trial
        known.update(eqn.outs)
        return sums
    return all([_visit(block, known) for block in eqn.blocks])
