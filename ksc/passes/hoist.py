"""Loop-invariant code: what does not depend on the iteration is computed before the loop.

    (for n 0.0 (lam (i s) (add s (mul (sin x) i))))      ⟶      t = (sin x), (for n 0.0 (lam (i s) (add s (mul t i))))

Only scalar primitives that cannot fail, and sizes, move: the loop may have no iteration.
"""

from __future__ import annotations

from ksc.ir.nodes import Block, Eqn, Function, Program, Var
from ksc.ir.rewrite import assemble
from ksc.ops import PRIMITIVES

_LOOPS = frozenset({"for", "while", "build", "reduce"})


def hoist_invariants(program: Program) -> Program:
    """Move invariant scalars out of loops, as far as they go."""
    functions = {
        name: Function(name, _block(function.body), function.span) for name, function in program.functions.items()
    }
    return assemble(functions, program.entry, program.boxes, renew=False)


def _block(block: Block) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        blocks = [_block(inner) for inner in eqn.blocks]
        if eqn.op in _LOOPS:
            inside = {var for inner in blocks for var in inner.params}
            blocks = [_split(inner, inside, eqns) for inner in blocks]
        eqns.append(Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, tuple(blocks), eqn.span))
    return Block(block.params, tuple(eqns), block.results, block.span)


def _split(block: Block, inside: set[Var], before: list[Eqn]) -> Block:
    """Append the invariant equations of a loop body to ``before``; the rest of the body."""
    inside = set(inside)
    kept = []
    for eqn in block.eqns:
        record = PRIMITIVES.get(eqn.op)
        total = eqn.op == "size" or (record is not None and record.speculatable)
        if total and not any(arg in inside for arg in eqn.args):
            before.append(eqn)
        else:
            kept.append(eqn)
            inside.update(eqn.outs)
    return Block(block.params, tuple(kept), block.results, block.span)
