"""Loop-invariant code: what does not depend on the iteration is computed before the loop.

    (for n 0.0 (lam (i s) (add s (mul (sin x) i))))      ⟶      t = (sin x), (for n 0.0 (lam (i s) (add s (mul t i))))

Only scalar primitives that cannot fail, and sizes, move: the loop may have no iteration.
"""

from __future__ import annotations

from collections.abc import Callable

from ksc.ir.nodes import Block, Const, Eqn, Function, Program, Var
from ksc.ir.rewrite import assemble
from ksc.ir.types import Integer
from ksc.ops import PRIMITIVES

_LOOPS = frozenset({"for", "while", "build", "reduce"})


def hoist_invariants(program: Program) -> Program:
    """Move invariant scalars out of loops, as far as they go."""
    return _hoist(program, _is_total)


def hoist_sizes(program: Program) -> Program:
    """Move what loops compute of sizes alone out of them, so that it has one name in all of them."""
    return _hoist(program, _is_size)


def _hoist(program: Program, moves: Callable[[Eqn], bool]) -> Program:
    functions = {
        name: Function(name, _block(function.body, moves), function.span)
        for name, function in program.functions.items()
    }
    return assemble(functions, program.entry, program.boxes, renew=False)


def _is_total(eqn: Eqn) -> bool:
    record = PRIMITIVES.get(eqn.op)
    return eqn.op == "size" or (record is not None and record.speculatable)


def _is_size(eqn: Eqn) -> bool:
    """Whether an equation gives an integer that cannot fail, a quotient by a constant included."""
    if eqn.op in ("idiv", "imod"):
        return isinstance(eqn.args[1], Const) and int(eqn.args[1].value) > 0
    return _is_total(eqn) and all(out.type == Integer for out in eqn.outs)


def _block(block: Block, moves: Callable[[Eqn], bool]) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        blocks = [_block(inner, moves) for inner in eqn.blocks]
        if eqn.op in _LOOPS:
            inside = {var for inner in blocks for var in inner.params}
            blocks = [_split(inner, inside, eqns, moves) for inner in blocks]
        eqns.append(Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, tuple(blocks), eqn.span))
    return Block(block.params, tuple(eqns), block.results, block.span)


def _split(block: Block, inside: set[Var], before: list[Eqn], moves: Callable[[Eqn], bool]) -> Block:
    """Append the invariant equations of a loop body to ``before``; the rest of the body."""
    inside = set(inside)
    kept = []
    for eqn in block.eqns:
        if moves(eqn) and not any(arg in inside for arg in eqn.args):
            before.append(eqn)
        else:
            kept.append(eqn)
            inside.update(eqn.outs)
    return Block(block.params, tuple(kept), block.results, block.span)
