"""Two ``if`` of one condition become one.

    y = (if c a b), …, x_bar = (if c d e)      ⟶      …, y x_bar = (if c (tuple a d) (tuple b e))

So the value and the gradient of a branch are computed in that branch together. What stands between must not read
the results of the first one, which must have no effect: it moves down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ksc.ir.liveness import adds, has_effect
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var
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
    # An equation that has moved down leaves None behind.
    eqns: list[Eqn | None] = []
    latest: dict[Atom, int] = {}
    last_read: dict[Var, int] = {}
    for eqn in block.eqns:
        if eqn.op == "if":
            (cond,) = eqn.args
            k = latest.get(cond)
            first = eqns[k] if k is not None else None
            if k is not None and first is not None and _moves(first, k, last_read, effectful):
                eqn = _together(first, eqn)
                eqns[k] = None
            latest[cond] = len(eqns)
        last_read.update(dict.fromkeys(read_vars([eqn]), len(eqns)))
        eqns.append(eqn)
    merged = []
    for one in eqns:
        if one is not None:
            blocks = tuple(_merge(inner, effectful) for inner in one.blocks)
            merged.append(Eqn(one.outs, one.op, one.args, one.params, blocks, one.span))
    return Block(block.params, tuple(merged), block.results, block.span)


def _moves(first: Eqn, k: int, last_read: Mapping[Var, int], effectful: Collection[str]) -> bool:
    """Whether the equation number k may move below all that come after it."""
    if any(last_read.get(out, -1) > k for out in first.outs):
        return False
    return not has_effect(first, effectful, ()) and not adds(first)


def _together(first: Eqn, second: Eqn) -> Eqn:
    blocks = []
    for a, b in zip(first.blocks, second.blocks, strict=True):
        seen = substitute_block(b, dict(zip(first.outs, a.results, strict=True)))
        blocks.append(Block((), a.eqns + seen.eqns, a.results + seen.results, a.span))
    return Eqn(first.outs + second.outs, "if", first.args, first.params, tuple(blocks), second.span)
