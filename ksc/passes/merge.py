"""Two ``if`` of one condition become one.

    y = (if c a b), …, x_bar = (if c d e)      ⟶      …, y x_bar = (if c (tuple a d) (tuple b e))

So the value and the gradient of a branch are computed in that branch together. What stands between must not read
the results of the first one, which must have no effect: it moves down.
"""

from __future__ import annotations

from collections.abc import Collection

from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Block, Eqn, Function, Program
from ksc.ir.rewrite import assemble, effectful_functions, read_vars, substitute_block


def merge_ifs(program: Program) -> Program:
    """Merge every pair of ``if`` that can be, in all blocks."""
    effectful = effectful_functions(program.functions)
    functions = {
        name: Function(name, _merge(function.body, effectful), function.span)
        for name, function in program.functions.items()
    }
    return assemble(functions, program.entry, program.boxes, renew=False)


def _merge(block: Block, effectful: Collection[str]) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        first = _partner(eqns, eqn, effectful) if eqn.op == "if" else None
        if first is not None:
            eqn = _together(eqns.pop(first), eqn)
        eqns.append(eqn)
    merged = []
    for eqn in eqns:
        blocks = tuple(_merge(inner, effectful) for inner in eqn.blocks)
        merged.append(Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span))
    return Block(block.params, tuple(merged), block.results, block.span)


def _partner(eqns: list[Eqn], second: Eqn, effectful: Collection[str]) -> int | None:
    for k in reversed(range(len(eqns))):
        first = eqns[k]
        if first.op == "if" and first.args == second.args:
            read = read_vars(eqns[k + 1 :])
            movable = not has_effect(first, effectful, ()) and not _adds(first)
            return k if movable and not any(out in read for out in first.outs) else None
    return None


def _adds(eqn: Eqn) -> bool:
    return any(inner.op == "acc_add" or _adds(inner) for block in eqn.blocks for inner in block.eqns)


def _together(first: Eqn, second: Eqn) -> Eqn:
    blocks = []
    for a, b in zip(first.blocks, second.blocks, strict=True):
        seen = substitute_block(b, dict(zip(first.outs, a.results, strict=True)))
        blocks.append(Block((), a.eqns + seen.eqns, a.results + seen.results, a.span))
    return Eqn(first.outs + second.outs, "if", first.args, first.params, tuple(blocks), second.span)
